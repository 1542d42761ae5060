"""Connected components, outputs besides the mask, a network joined with the classical method."""

from medseg.postprocessing.joining import JoinLungsd
from medseg.postprocessing.labels import CleanLabelsd
from medseg.postprocessing.picture_components import CleanObjectsd, DropSmallComponentsd
from medseg.postprocessing.picture_outputs import RequireObjectd, SplitOutputsd

__all__ = [
    "CleanLabelsd",
    "CleanObjectsd",
    "DropSmallComponentsd",
    "JoinLungsd",
    "RequireObjectd",
    "SplitOutputsd",
]
