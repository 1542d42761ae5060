"""MONAI dictionary transforms that MONAI lacks.

LoadVolumed is the one reader of training, evaluation and inference. FindFieldd, ResizeFieldd and
NormalizeFieldd bring every fundus photograph to one look; RestoreFieldd, beside the transform that
it undoes, brings the answer back to the photograph's own pixels.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTransform
from torch.nn import functional

from medseg.errors import LabelError, UnsuitableError
from medseg.fundus import find_field
from medseg.io import read_mask, read_volume

Data = dict[Hashable, Any]


class LoadVolumed(MapTransform):
    """Read images and labels by medseg.io into MetaTensors of (C, spatial...).

    An image keeps its data type and leaves `source`, `source_shape` and `warnings` (one a line) in
    its meta data. A label becomes float32 with the label as value.

    Args:
        keys: images.
        label_keys: label images; a key that an item lacks is passed over.
        channels: channels that the network takes; one channel is repeated to reach it.
        labels: value to name, for the labels.

    Raises:
        UnreadableError: a file that can't be read.
        UnsuitableError: an image with other channels or with three spatial axes where 2 are needed.
        LabelError: a label with unknown values or of another size than the first image.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_keys: Sequence[str] = (),
        channels: int = 3,
        spatial_dims: int = 2,
        labels: Mapping[int | str, str] | None = None,
    ) -> None:
        super().__init__(keys)
        self.label_keys = tuple(label_keys)
        self.channels = channels
        self.spatial_dims = spatial_dims
        self.labels = {int(value): name for value, name in (labels or {}).items()}

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        loaded = dict(data)
        for key in self.key_iterator(loaded):
            loaded[key] = self._load_image(loaded[key])
        shape = loaded[self.keys[0]].shape[1:]
        for key in self.label_keys:
            if key in loaded:
                loaded[key] = self._load_label(loaded[key], shape)
        return loaded

    def _load_image(self, path: str) -> MetaTensor:
        volume = read_volume(path)
        array = volume.array
        if array.ndim - 1 != self.spatial_dims or array.shape[0] not in (1, self.channels):
            raise UnsuitableError(
                f"an image with {self.spatial_dims} axes and {self.channels} channels (or 1)",
                came=f"{array.ndim - 1} axes and {array.shape[0]} channels",
                do="Choose the task that fits the image.",
            )
        warnings = list(volume.warnings)
        if array.shape[0] != self.channels:
            array = np.repeat(array, self.channels, axis=0)
            warnings.append(f"the picture is grey: {self.channels} colour channels were expected")
        if array.dtype == np.uint16:
            array = array.astype(np.int32)  # torch computes little on uint16
        meta = {
            "filename_or_obj": volume.source,
            "source_shape": torch.tensor(array.shape[1:]),
            "warnings": "\n".join(warnings),
        }
        return MetaTensor(torch.as_tensor(array), meta=meta)

    def _load_label(self, path: str, shape: torch.Size) -> MetaTensor:
        mask = read_mask(path, self.labels)
        if mask.array.shape != tuple(shape):
            raise LabelError(
                f"a label of the image's size {tuple(shape)}",
                came=f"{mask.array.shape}",
                do="Pair the image with its own label.",
            )
        return MetaTensor(torch.as_tensor(mask.array[None].astype(np.float32)))


class FindFieldd(MapTransform):
    """Add the field of view of a fundus photograph as (1, row, column), uint8.

    Leaves `field_diameter_px` and what speaks against a fundus photograph in the image's meta data.

    Raises:
        UnsuitableError: see medseg.fundus.find_field.
    """

    def __init__(self, keys: KeysCollection, field_key: str = "field") -> None:
        super().__init__(keys)
        self.field_key = field_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        found = dict(data)
        for key in self.key_iterator(found):
            image = found[key]
            field = find_field(np.asarray(image))
            found[self.field_key] = MetaTensor(torch.as_tensor(field.mask[None].astype(np.uint8)))
            image.meta["field_diameter_px"] = torch.tensor(field.diameter_px)
            notes = [*image.meta["warnings"].splitlines(), *field.warnings]
            image.meta["warnings"] = "\n".join(notes)
        return found


class ResizeFieldd(MapTransform):
    """Cut to the field's bounding box and resize so that its circle has one diameter.

    A 700 px and a 3500 px photograph then look alike to the network. Results are float32, so that
    a label keeps the share of each pixel that it covers. The box goes to the meta data for
    RestoreFieldd.

    Args:
        keys: tensors of (C, row, column) on the photograph's grid; the first is the photograph.
        diameter_px: the field's diameter afterwards.
        margin: kept around the field, as a share of its diameter.
    """

    def __init__(
        self, keys: KeysCollection, diameter_px: int, field_key: str = "field", margin: float = 0.02
    ) -> None:
        super().__init__(keys)
        self.diameter_px = diameter_px
        self.field_key = field_key
        self.margin = margin

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        resized = dict(data)
        meta = dict(resized[self.keys[0]].meta)
        box = _bounding_box(np.asarray(resized[self.field_key][0]), self.margin)
        meta["field_box"] = box
        top, left, height, width = box.tolist()
        scale = self.diameter_px / float(meta["field_diameter_px"])
        size = (max(8, round(height * scale)), max(8, round(width * scale)))
        for key in self.key_iterator(resized):
            cut = torch.as_tensor(resized[key])[:, top : top + height, left : left + width]
            resized[key] = MetaTensor(_resize(cut.float(), size), meta=meta)
        return resized


class RestoreFieldd(MapTransform):
    """Undo ResizeFieldd for probabilities: back to the photograph's grid, 0 outside the field.

    Args:
        keys: tensors of (C, row, column) on the network's grid.
        image_key: the resized photograph, whose meta data knows the way back.
        field_key: the field on the photograph's grid, (1, row, column).
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
        top, left, height, width = (int(value) for value in meta["field_box"])
        rows, columns = (int(value) for value in meta["source_shape"])
        field = torch.as_tensor(restored[self.field_key])
        for key in self.key_iterator(restored):
            inner = _resize(torch.as_tensor(restored[key]).float(), (height, width))
            canvas = inner.new_zeros((inner.shape[0], rows, columns))
            canvas[:, top : top + height, left : left + width] = inner
            restored[key] = MetaTensor(canvas * field.to(canvas.device), meta=dict(meta))
        return restored


class NormalizeFieldd(MapTransform):
    """Level the light and the contrast inside the field, channel by channel; 0 outside it.

    The local mean (a Gaussian of `sigma` of the field's diameter, over the field's pixels alone) is
    subtracted and the result divided by its standard deviation in the field, as in Foracchia et al.
    2005. A channel that is nearly flat (the blue of many cameras) is not blown up to pure noise: its
    divisor is at least `floor` of the strongest channel's.

    Args:
        keys: (C, row, column) after ResizeFieldd.
        sigma: of the Gaussian, as a share of the larger side.
        floor: see above.
    """

    def __init__(
        self, keys: KeysCollection, field_key: str = "field", sigma: float = 0.05, floor: float = 0.25
    ) -> None:
        super().__init__(keys)
        self.field_key = field_key
        self.sigma = sigma
        self.floor = floor

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        levelled = dict(data)
        field = torch.as_tensor(levelled[self.field_key]).float()
        field = (field > 0.5).float()
        for key in self.key_iterator(levelled):
            image = torch.as_tensor(levelled[key])
            residual = (image - _local_mean(image, field, self.sigma)) * field
            spread = (residual.square().sum(dim=(1, 2)) / field.sum()).sqrt()
            # Rounding alone leaves a millionth of the brightness, the noise of a camera a thousandth.
            if not float(spread.max()) > 1e-4 * float((image * field).abs().max()):
                raise UnsuitableError(
                    "a photograph with some contrast inside its field",
                    came="one colour all over",
                    do="Check the export from the camera.",
                )
            spread = spread.clamp(min=float(self.floor * spread.max()))
            levelled[key] = MetaTensor(residual / spread[:, None, None], meta=levelled[key].meta)
        return levelled


class RandLesionsd(RandomizableTransform, MapTransform):
    """Paint soft bright and dark blobs, as exudates and haemorrhages look, into a levelled photograph.

    The label stays: what a blob covers is still a vessel, what it resembles is none.

    Args:
        keys: (C, row, column).
        prob: of painting at all.
        most: blobs at the most.
        radius_px: smallest and largest radius.
        strength: largest change, in standard deviations of the field.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.3,
        most: int = 12,
        radius_px: tuple[float, float] = (2.0, 20.0),
        strength: float = 3.0,
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.most, self.radius_px, self.strength = most, radius_px, strength

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        painted = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return painted
        image = painted[self.keys[0]]
        blobs = self._blobs(image.shape[1:])
        tint = torch.as_tensor(self.R.uniform(0.5, 1.0, size=(image.shape[0], 1, 1)), dtype=torch.float32)
        for key in self.key_iterator(painted):
            painted[key] = painted[key] + blobs * tint
        return painted

    def _blobs(self, shape: Sequence[int]) -> torch.Tensor:
        rows = torch.arange(shape[0], dtype=torch.float32)[:, None]
        columns = torch.arange(shape[1], dtype=torch.float32)[None]
        canvas = torch.zeros(tuple(shape))
        sign = 1.0 if self.R.uniform() < 0.5 else -1.0
        for _ in range(self.R.randint(1, self.most + 1)):
            row, column = self.R.uniform(0, shape[0]), self.R.uniform(0, shape[1])
            radius = np.exp(self.R.uniform(*np.log(self.radius_px)))
            stretch = self.R.uniform(0.5, 2.0)
            distance = torch.hypot((rows - row) * stretch, (columns - column) / stretch) / radius
            # A sigmoid edge: sharper than a Gaussian's, as a lesion's is.
            canvas += self.R.uniform(0.5, self.strength) * torch.sigmoid(6.0 * (1.0 - distance))
        return sign * canvas


class RandColourMixd(RandomizableTransform, MapTransform):
    """Mix the colour channels by a random matrix near the identity, at times down to grey.

    Stands for other sensors, filters and red-free light.
    """

    def __init__(
        self, keys: KeysCollection, prob: float = 0.5, spread: float = 0.3, grey: float = 0.2
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.spread, self.grey = spread, grey

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        mixed = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return mixed
        channels = mixed[self.keys[0]].shape[0]
        if self.R.uniform() < self.grey:
            matrix = np.repeat(self.R.dirichlet(np.ones(channels))[None], channels, axis=0)
        else:
            matrix = np.eye(channels) + self.R.uniform(-self.spread, self.spread, (channels, channels))
        weights = torch.as_tensor(matrix, dtype=torch.float32)
        for key in self.key_iterator(mixed):
            mixed[key] = MetaTensor(
                torch.einsum("dc,chw->dhw", weights, torch.as_tensor(mixed[key])), meta=mixed[key].meta
            )
        return mixed


def _bounding_box(mask: np.ndarray, margin: float) -> torch.Tensor:
    """(top, left, height, width) of the mask with a margin, inside the picture."""
    spans = []
    for axis, length in enumerate(mask.shape):
        inside = np.flatnonzero(mask.any(axis=1 - axis))
        first, last = int(inside[0]), int(inside[-1]) + 1
        pad = round(margin * (last - first))
        spans.append((max(0, first - pad), min(length, last + pad)))
    (top, bottom), (left, right) = spans
    return torch.tensor([top, left, bottom - top, right - left])


def _resize(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(
        image[None], size=size, mode="bilinear", align_corners=False, antialias=True
    )[0]


def _local_mean(image: torch.Tensor, field: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian mean over the field's pixels; computed at an eighth of the size, which it outlives."""
    from scipy.ndimage import gaussian_filter

    size = (max(1, image.shape[1] // 8), max(1, image.shape[2] // 8))
    stacked = functional.adaptive_avg_pool2d(torch.cat([image * field, field])[None], size)[0].numpy()
    width = sigma * max(size)
    smooth = torch.as_tensor(gaussian_filter(stacked, (0, width, width), mode="constant"))
    mean = smooth[:-1] / smooth[-1:].clamp(min=1e-3)
    return functional.interpolate(mean[None], size=image.shape[1:], mode="bilinear", align_corners=False)[0]
