"""Folders of results as `medseg segment` writes them, without segmenting: for tests of the review page."""

import hashlib
import json

import numpy as np
from PIL import Image

from medseg import sources
from medseg.io import nifti

LABELS = {0: "background", 1: "left_lung", 2: "right_lung"}


def write_record(
    folder, source, *, task="lung_ct", labels=LABELS, quality=None, warnings=(), mode="semantic"
):
    record = {
        "task": task,
        "labels": {str(value): name for value, name in labels.items()},
        "measurements": {"volume_ml": {"value": 2.5, "unit": "ml"}},
        "warnings": list(warnings),
        "quality": quality or {"verdict": "warn" if warnings else "pass", "reasons": list(warnings)},
        "provenance": {
            "task": task,
            "method": "classical",
            "mode": mode,
            "input": folder.name,
            "input_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        },
    }
    (folder / "measurements.json").write_text(json.dumps(record))
    sources.remember(folder.parent, folder.name, source)


def volume_case(out, images, name, image, mask, affine, **about):
    """One volume: (i, j, k) values and labels on one grid."""
    folder = out / name
    folder.mkdir(parents=True)
    images.mkdir(exist_ok=True)
    source = nifti.write(image, affine, images / f"{name}.nii.gz")
    nifti.write(mask, affine, folder / "segmentation.nii.gz")
    return _finish(folder, source, about)


def picture_case(out, images, name, image, mask, **about):
    """One picture: (row, column) or (row, column, 3) values and (row, column) labels."""
    folder = out / name
    folder.mkdir(parents=True)
    images.mkdir(exist_ok=True)
    source = images / f"{name}.png"
    Image.fromarray(image).save(source)
    Image.fromarray(mask).save(folder / "segmentation.png")
    return _finish(
        folder, source, {"task": "breast_ultrasound", "labels": {0: "background", 1: "lesion"}} | about
    )


def _finish(folder, source, about):
    Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(folder / "overlay.png")
    (folder / "report.html").write_text("<p>report</p>")
    write_record(folder, source, **about)
    return folder
