"""What follows a network: connected components, outputs besides the mask, a network joined with rules."""

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
