"""One look for every B-mode picture: its scan found, resized to one square, and its grey levels set.

RestoreScand, beside the transform that it undoes, brings the answer back to the picture's own pixels.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch.nn import functional

from medseg.errors import UnsuitableError
from medseg.transforms.field import _bounding_box, _resize
from medseg.transforms.load import Data
from medseg.ultrasound import find_scan

PERCENTILES = (1.0, 99.0)


class FindScand(MapTransform):
    """Add the scan of a B-mode picture as (1, row, column), uint8, and leave nothing else of the picture.

    The image becomes (1, row, column), float32, grey from 0 to 255, 0 outside the scan. What speaks against
    plain B-mode goes to its meta data. Where they hold `region_box`, the scan is looked for in it.

    Raises:
        UnsuitableError: see medseg.ultrasound.find_scan.
    """

    def __init__(self, keys: KeysCollection, field_key: str = "field") -> None:
        super().__init__(keys)
        self.field_key = field_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        found = dict(data)
        for key in self.key_iterator(found):
            meta = dict(found[key].meta)
            region = meta.get("region_box")
            box = None if region is None else tuple(int(value) for value in region)
            scan = find_scan(np.asarray(found[key]), box)  # type: ignore[arg-type]
            found[self.field_key] = MetaTensor(torch.as_tensor(scan.mask[None].astype(np.uint8)))
            meta["warnings"] = "\n".join([*meta["warnings"].splitlines(), *scan.warnings])
            found[key] = MetaTensor(torch.as_tensor((scan.grey * scan.mask)[None]), meta=meta)
        return found


class ResizeScand(MapTransform):
    """Cut to the scan's bounding box, resize its longer side to `size_px`, and pad with 0 to a square.

    Millimetres do not matter here: most pictures do not say them. Results are float32, so that a label
    keeps the share of each pixel that it covers. The box goes to the meta data for RestoreScand.

    Args:
        keys: tensors of (C, row, column) on the picture's grid; the first is the picture.
        size_px: side of the square.
    """

    def __init__(self, keys: KeysCollection, size_px: int, field_key: str = "field") -> None:
        super().__init__(keys)
        self.size_px = size_px
        self.field_key = field_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        resized = dict(data)
        meta = dict(resized[self.keys[0]].meta)
        box = _bounding_box(np.asarray(resized[self.field_key][0]), 0)
        meta["scan_box"] = box
        top, left, height, width = box.tolist()
        rows, columns = _inner_size(height, width, self.size_px)
        above, before = (self.size_px - rows) // 2, (self.size_px - columns) // 2
        padding = (before, self.size_px - columns - before, above, self.size_px - rows - above)
        for key in self.key_iterator(resized):
            cut = torch.as_tensor(resized[key])[:, top : top + height, left : left + width]
            inner = _resize(cut.float(), (rows, columns))
            resized[key] = MetaTensor(functional.pad(inner, padding), meta=meta)
        return resized


class RestoreScand(MapTransform):
    """Undo ResizeScand for probabilities: back to the picture's grid, bilinear, 0 outside the scan.

    Args:
        keys: tensors of (C, size_px, size_px) on the network's grid.
        image_key: the resized picture, whose meta data knows the way back.
        field_key: the scan on the picture's grid, (1, row, column).
    """

    def __init__(
        self, keys: KeysCollection, image_key: str = "image", field_key: str = "source_field"
    ) -> None:
        super().__init__(keys)
        self.image_key = image_key
        self.field_key = field_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        restored = dict(data)
        meta = restored[self.image_key].meta
        top, left, height, width = (int(value) for value in meta["scan_box"])
        field = torch.as_tensor(restored[self.field_key])
        for key in self.key_iterator(restored):
            square = torch.as_tensor(restored[key]).float()
            side = square.shape[-1]
            rows, columns = _inner_size(height, width, side)
            above, before = (side - rows) // 2, (side - columns) // 2
            inner = _resize(square[:, above : above + rows, before : before + columns], (height, width))
            canvas = inner.new_zeros((inner.shape[0], *field.shape[1:]))
            canvas[:, top : top + height, left : left + width] = inner
            restored[key] = MetaTensor(canvas * field.to(canvas.device), meta=dict(meta))
        return restored


class NormalizeScand(MapTransform):
    """Grey levels from 0 to 1: the 1st and 99th percentile inside the scan, clipped; 0 outside it.

    Gain and dynamic range are set by whoever scans, so that a grey value means nothing by itself.

    Args:
        keys: (C, row, column) after FindScand, of any range.
        field_key: the scan, on the grid of `keys`.

    Raises:
        UnsuitableError: one grey value all over the scan.
    """

    def __init__(self, keys: KeysCollection, field_key: str = "field") -> None:
        super().__init__(keys)
        self.field_key = field_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        levelled = dict(data)
        field = torch.as_tensor(levelled[self.field_key]) > 0.5
        for key in self.key_iterator(levelled):
            image = torch.as_tensor(levelled[key]).float()
            inside = image[:, field[0]].numpy()
            low, high = (float(level) for level in np.percentile(inside, PERCENTILES))
            if not high - low > 1e-4 * max(abs(high), abs(low)):
                raise UnsuitableError(
                    "an ultrasound picture with some contrast inside its scan",
                    came="one grey value all over",
                    do="Check the export from the scanner.",
                )
            scaled = ((image - low) / (high - low)).clamp(0, 1) * field
            levelled[key] = MetaTensor(scaled, meta=levelled[key].meta)
        return levelled


def _inner_size(height: int, width: int, size_px: int) -> tuple[int, int]:
    """(row, column) of the scan inside the square."""
    scale = size_px / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))
