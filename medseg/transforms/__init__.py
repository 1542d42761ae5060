"""MONAI dictionary transforms that MONAI lacks, by the names that bundles use."""

from medseg.transforms.augmentation import RandColourMixd, RandLesionsd
from medseg.transforms.compose import steps
from medseg.transforms.field import FindFieldd, NormalizeFieldd, ResizeFieldd, RestoreFieldd
from medseg.transforms.lesion_answers import JoinAnswersd, NoLesiond, SplitAnswersd
from medseg.transforms.letterbox import FromSquared, ToSquared
from medseg.transforms.load import LoadVolumed
from medseg.transforms.lung_disease import RandLungDiseased
from medseg.transforms.scan import CheckChestCTd, RestoreGridd, ToGridd
from medseg.transforms.ultrasound import FindScand
from medseg.transforms.ultrasound_looks import RandCalipersd, RandPartd, RandShadowd, RandSpeckled

__all__ = [
    "CheckChestCTd",
    "FindFieldd",
    "FindScand",
    "FromSquared",
    "JoinAnswersd",
    "LoadVolumed",
    "NoLesiond",
    "NormalizeFieldd",
    "RandCalipersd",
    "RandColourMixd",
    "RandLesionsd",
    "RandLungDiseased",
    "RandPartd",
    "RandShadowd",
    "RandSpeckled",
    "ResizeFieldd",
    "RestoreFieldd",
    "RestoreGridd",
    "SplitAnswersd",
    "ToGridd",
    "ToSquared",
    "steps",
]
