"""Files of decisions as the review page saves them, for tests."""

import base64
import gzip
import hashlib
import io
import json

import nibabel as nib
import numpy as np
from PIL import Image

MASKS = ("segmentation.nii.gz", "segmentation.png")


def mask_file(folder):
    return next(folder / name for name in MASKS if (folder / name).is_file())


def read(folder):
    """The label map of a case: array, and affine of a volume."""
    path = mask_file(folder)
    if path.suffix == ".png":
        return np.array(Image.open(path)), None
    image = nib.load(path)
    return np.asarray(image.dataobj), image.affine


def encoded(array, affine=None):
    """The bytes of an edited mask: NIfTI-1 in gzip, or PNG."""
    array = array.astype(np.uint8)
    if affine is None:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "PNG")
        return buffer.getvalue()
    return gzip.compress(nib.Nifti1Image(array, affine).to_bytes())


def decide(folder, decision, edited=None, **changes):
    """An entry of `cases`; `edited` are the bytes of a mask."""
    path = mask_file(folder)
    entry = {
        "mask_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "decision": decision,
        "comment": "",
        "seconds": 41,
    }
    if edited is not None:
        entry["edited"] = {"name": path.name, "data": base64.b64encode(edited).decode()}
    return entry | changes


def save(path, cases, reviewer="Reader one", made="2026-07-01T10:00:00Z", **changes):
    """Write a file of decisions."""
    content = {"format": "medseg-review", "version": 1, "reviewer": reviewer, "made": made, "cases": cases}
    path.write_text(json.dumps(content | changes))
    return path
