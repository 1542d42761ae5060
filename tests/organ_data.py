"""Small data sets of an organ that no bundle knows: files, and the manifest beside them."""

import json

import nibabel as nib
import numpy as np
from PIL import Image

VOXEL_MM = 5.0


def volume(seed, shape=(40, 32, 24), spacing_mm=(VOXEL_MM,) * 3, outside=-1000.0):
    """A body with two bright organs, (i, j, k) int16, its labels, and the affine in RAS+."""
    random = np.random.default_rng(seed)
    place = np.meshgrid(
        *((np.arange(n) - n / 2 + 0.5) * s for n, s in zip(shape, spacing_mm, strict=True)), indexing="ij"
    )
    values = np.full(shape, outside)
    values[(place[0] / 90) ** 2 + (place[1] / 70) ** 2 < 1] = outside + 1040
    labels = np.zeros(shape, np.uint8)
    for value, side in ((1, -1), (2, 1)):
        centre = np.array([45 * side, -10, 0]) + random.uniform(-5, 5, 3)
        labels[sum((axis - c) ** 2 for axis, c in zip(place, centre, strict=True)) < 22**2] = value
    values[labels > 0] = outside + 1120
    values += random.normal(0, 10, shape)
    return np.round(values).astype(np.int16), labels, np.diag([*spacing_mm, 1.0])


def picture(seed, shape=(60, 80), channels=3):
    """A bright disc on a grey ground, (row, column[, 3]) uint8, and its mask of 0 and 1."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    centre = np.array(shape) / 2 + random.uniform(-8, 8, 2)
    mask = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 12**2
    grey = np.clip(np.where(mask, 180, 90) + random.normal(0, 10, shape), 0, 255)
    pixels = np.stack([grey, grey * 0.8, grey * 0.5], axis=-1) if channels == 3 else grey
    return pixels.astype(np.uint8), mask.astype(np.uint8)


def write_volume(folder, name, array, labels, affine):
    nib.Nifti1Image(array, affine).to_filename(folder / f"{name}.nii.gz")
    nib.Nifti1Image(labels, affine).to_filename(folder / f"{name}_label.nii.gz")
    return {"image": f"{name}.nii.gz", "label": f"{name}_label.nii.gz", "subject": name}


def write_picture(folder, name, pixels, mask):
    Image.fromarray(pixels).save(folder / f"{name}.png")
    Image.fromarray(mask).save(folder / f"{name}_label.png")
    return {"image": f"{name}.png", "label": f"{name}_label.png", "subject": name}


def write_manifest(folder, training, validation=(), test=(), labels=("background", "organ"), **more):
    content = {
        "name": "organs",
        "description": "phantoms of an organ",
        "labels": {str(value): name for value, name in enumerate(labels)},
        **dict.fromkeys(("licence", "publisher", "citation"), "none"),
        "urls": [],
        "training": list(training),
        "validation": list(validation),
        "test": list(test),
        **more,
    }
    file = folder / "organs.json"
    file.write_text(json.dumps(content))
    return file


def volumes(folder, count=5, **options):
    """Items of so many volumes, with the labels left_organ and right_organ."""
    return [write_volume(folder, f"case{n}", *volume(n, **options)) for n in range(count)]


def pictures(folder, count=6, **options):
    return [write_picture(folder, f"case{n}", *picture(n, **options)) for n in range(count)]


SIDES = ("background", "left_organ", "right_organ")
