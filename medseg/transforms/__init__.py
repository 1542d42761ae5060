"""Dictionary transforms that MONAI lacks, by the names that bundles use."""

from medseg.transforms.augmentation.blobs import RandBlobsd
from medseg.transforms.augmentation.colour_mix import RandColourMixd
from medseg.transforms.augmentation.lung_disease import RandLungDiseased
from medseg.transforms.augmentation.part import RandPartd
from medseg.transforms.augmentation.ultrasound_appearance import RandCalipersd, RandShadowd, RandSpeckled
from medseg.transforms.compose import steps
from medseg.transforms.gates.chest_ct import CheckChestCTd
from medseg.transforms.gates.ct import CheckCTd
from medseg.transforms.gates.fundus import FindFieldOfViewd
from medseg.transforms.gates.training_ranges import CheckTrainingRangesd
from medseg.transforms.gates.ultrasound import FindUltrasoundRegiond
from medseg.transforms.geometry.field_of_view import ResizeFieldOfViewd, RestoreFieldOfViewd
from medseg.transforms.geometry.grid import RestoreGridd, ToGridd
from medseg.transforms.geometry.letterbox import FromSquared, ToSquared
from medseg.transforms.intensity.bias_field import CorrectBiasFieldd
from medseg.transforms.intensity.denoising import (
    AnisotropicDiffusiond,
    BilateralFilterd,
    GaussianFilterd,
    MedianFilterd,
    NonLocalMeansd,
)
from medseg.transforms.intensity.field_of_view import NormalizeFieldOfViewd
from medseg.transforms.intensity.local_equalization import LocalEqualizationd
from medseg.transforms.load import LoadVolumed

__all__ = [
    "AnisotropicDiffusiond",
    "BilateralFilterd",
    "CheckCTd",
    "CheckChestCTd",
    "CheckTrainingRangesd",
    "CorrectBiasFieldd",
    "FindFieldOfViewd",
    "FindUltrasoundRegiond",
    "FromSquared",
    "GaussianFilterd",
    "LoadVolumed",
    "LocalEqualizationd",
    "MedianFilterd",
    "NonLocalMeansd",
    "NormalizeFieldOfViewd",
    "RandBlobsd",
    "RandCalipersd",
    "RandColourMixd",
    "RandLungDiseased",
    "RandPartd",
    "RandShadowd",
    "RandSpeckled",
    "ResizeFieldOfViewd",
    "RestoreFieldOfViewd",
    "RestoreGridd",
    "ToGridd",
    "ToSquared",
    "steps",
]
