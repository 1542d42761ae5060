"""Synthetic pictures and volumes whose masks are known exactly.

`fundus` is a photograph of a retina, `chest` a chest CT, `breast_ultrasound` a B-mode picture. What needs
pydicom writes DICOM: `medseg.phantoms.dicom_series` a volume, with the faults of `dicom_faults` on request,
and `medseg.phantoms.dicom_ultrasound` a picture.
"""

from medseg.phantoms.breast import breast_ultrasound
from medseg.phantoms.chest_ct import Chest, ChestPhantom, chest
from medseg.phantoms.example import example_ct
from medseg.phantoms.retina import DISC, FOVEA, bar, fundus, sierpinski, stroke
from medseg.phantoms.retina import _tree as _tree
from medseg.phantoms.scanner import Scan

__all__ = [
    "DISC", "FOVEA", "Chest", "ChestPhantom", "Scan", "bar", "breast_ultrasound", "chest", "example_ct",
    "fundus", "sierpinski", "stroke",
]  # fmt: skip
