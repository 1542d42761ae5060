"""MONAI dictionary transforms that MONAI lacks, by the names that bundles use."""

from medseg.transforms.augmentation import RandColourMixd, RandLesionsd
from medseg.transforms.field import FindFieldd, NormalizeFieldd, ResizeFieldd, RestoreFieldd
from medseg.transforms.load import LoadVolumed
from medseg.transforms.lung_disease import RandLungDiseased
from medseg.transforms.scan import CheckChestCTd, RestoreGridd, ToGridd
from medseg.transforms.ultrasound import FindScand, NormalizeScand, ResizeScand, RestoreScand

__all__ = [
    "CheckChestCTd",
    "FindFieldd",
    "FindScand",
    "LoadVolumed",
    "NormalizeFieldd",
    "NormalizeScand",
    "RandColourMixd",
    "RandLesionsd",
    "RandLungDiseased",
    "ResizeFieldd",
    "ResizeScand",
    "RestoreFieldd",
    "RestoreGridd",
    "RestoreScand",
    "ToGridd",
]
