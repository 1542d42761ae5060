"""What a training makes smaller: losses by name, and those that MONAI lacks."""

from medseg.methods.losses.catalogue import DEFAULT, loss_names, named_loss
from medseg.methods.losses.mask_and_classification import MaskAndClassificationLoss

__all__ = ["DEFAULT", "MaskAndClassificationLoss", "loss_names", "named_loss"]
