"""Synthetic pictures and volumes whose masks are known exactly.

`fundus` makes a photograph of a retina, `chest` a chest CT, `breast_ultrasound` a B-mode picture.
`medseg.phantoms.dicom_series` and `medseg.phantoms.dicom_ultrasound`, which import pydicom, write DICOM.
"""

from medseg.phantoms.breast import breast_ultrasound
from medseg.phantoms.chest_ct import Chest, ChestPhantom, chest
from medseg.phantoms.example import example_ct, example_ultrasound
from medseg.phantoms.retina import DISC, FOVEA, bar, fundus, sierpinski, stroke
from medseg.phantoms.retina import _tree as _tree
from medseg.phantoms.scanner import Scan

__all__ = [
    "DISC", "FOVEA", "Chest", "ChestPhantom", "Scan", "bar", "breast_ultrasound", "chest", "example_ct",
    "example_ultrasound", "fundus", "sierpinski", "stroke",
]  # fmt: skip
