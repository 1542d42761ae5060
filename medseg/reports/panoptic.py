"""panoptic.json and panoptic.png: the segments of a mask in the panoptic form of COCO.

The form: https://cocodataset.org/#format-data, section 4. COCO has pictures alone; for a volume the label
map that the other formats write takes the place of the PNG, and boxes have three axes, as the file says.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from medseg import __version__
from medseg.errors import UnsuitableError
from medseg.io.atomic import atomic_path
from medseg.io.raster import write_picture
from medseg.reports.legend import sizes_of
from medseg.reports.record import plain
from medseg.stamp import KEY, Stamp
from medseg.volume import Mask

JSON, PNG = "panoptic.json", "panoptic.png"
VOLUME_MAP = "segmentation.nii.gz"


def write_panoptic(mask: Mask, directory: Path, case: str, stamp: Stamp | None = None) -> None:
    """Write panoptic.json and, for a picture, panoptic.png, in which id = R + 256 G + 65536 B.

    Args:
        mask: (row, column) or (i, j, k), whose values are segments; 0 is void.
        directory: an existing folder.
        case: the name of the case.
        stamp: what the files tell of their origin.

    Raises:
        UnsuitableError: the mask's values are labels.
        OSError: the files can't be written in full.
    """
    record = panoptic_record(mask, case)
    if stamp is not None:
        record["info"][KEY] = stamp.entry()
    text = json.dumps(plain(record), indent=1, ensure_ascii=False)
    with atomic_path(directory / JSON) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    if mask.affine is None:
        write_picture(ids_to_rgb(mask.array), directory / PNG, stamp)


def panoptic_record(mask: Mask, case: str) -> dict[str, Any]:
    """The content of panoptic.json; arguments and errors as for write_panoptic."""
    if mask.segments is None:
        raise UnsuitableError(
            "a mask whose values are segments", got="labels", advice="Choose the mode panoptic or instance."
        )
    is_volume = mask.affine is not None
    number = {name: n for n, name in enumerate(mask.segments.is_thing, start=1)}
    boxes, areas = _boxes(mask.array), sizes_of(mask).tolist()
    segments = [
        {
            "id": value,
            "category_id": number[category],
            "area": areas[value],
            "bbox": boxes[value - 1],
            "iscrowd": 0,
        }
        for value, category in mask.segments.category.items()
        if areas[value]
    ]
    size = dict(zip("ijk", mask.array.shape, strict=True)) if is_volume else _height_and_width(mask)
    return {
        "info": {
            "description": "medseg",
            "version": __version__,
            "area": "voxels" if is_volume else "pixels",
            "bbox": "i, j, k of the first voxel, number of voxels along i, j, k"
            if is_volume
            else "x (column) and y (row) of the first pixel, width, height",
            "void": 0,
        },
        "images": [{"id": 1, "file_name": case, **size}],
        "annotations": [
            {"image_id": 1, "file_name": VOLUME_MAP if is_volume else PNG, "segments_info": segments}
        ],
        "categories": [
            {"id": number[name], "name": name, "isthing": int(is_thing)}
            for name, is_thing in mask.segments.is_thing.items()
        ],
    }


def ids_to_rgb(ids: np.ndarray) -> np.ndarray:
    """Segment ids (row, column) as colours (row, column, 3) uint8, id = R + 256 G + 65536 B."""
    wide = ids.astype(np.uint32)
    return np.stack([wide & 255, wide >> 8 & 255, wide >> 16 & 255], axis=-1).astype(np.uint8)


def _height_and_width(mask: Mask) -> dict[str, int]:
    return {"height": mask.array.shape[0], "width": mask.array.shape[1]}


def _boxes(ids: np.ndarray) -> list[list[int] | None]:
    """The box of each id from 1: first x and y, width and height; or first i, j and k, and the sizes."""
    from scipy.ndimage import find_objects

    boxes: list[list[int] | None] = []
    for found in find_objects(ids):
        axes = found and (found if ids.ndim == 3 else found[::-1])
        boxes.append(axes and [*(part.start for part in axes), *(part.stop - part.start for part in axes)])
    return boxes
