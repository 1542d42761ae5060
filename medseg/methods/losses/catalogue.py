"""Every loss of masks by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from monai.losses import BoundaryLoss, DiceCELoss, DiceLoss, FocalLoss, SoftclDiceLoss, TverskyLoss

from medseg.errors import UsageError, did_you_mean
from medseg.methods.losses.combined import InFloat32, WeightedSum
from medseg.methods.losses.pixelwise import CrossEntropy, SquaredError

DEFAULT = "dice_ce"
OUTPUTS = ("sigmoid", "softmax")

FOCUS = 2.0  # gamma: the paper's best
# Weights of false positives and of false negatives: the pair with the best Dice in the paper.
FALSE_POSITIVES, FALSE_NEGATIVES = 0.3, 0.7
# Of the surface integral beside Dice, whose distances are in pixels; what the paper starts with.
BOUNDARY_SHARE = 0.01
# Of clDice, the rest is Dice's; the largest that the paper allows.
CENTRELINE_SHARE = 0.5
# Erosions of the soft skeleton: at least the largest radius in pixels, or the middle of a wide tube is lost.
CENTRELINE_EROSIONS = 10


@dataclass(frozen=True)
class Setting:
    """What the outputs of a network are, and what of them a loss compares.

    Attributes:
        softmax: one channel per label, background first, whose logits compete, and a label image with the
            numbers of the channels; else one channel per label, each for itself, and a 0/1 image for each.
        include_background: whether overlaps count the background's channel too; without softmax it is none.
        batch: whether an overlap is that of all images of a batch together instead of the mean over them.
    """

    softmax: bool
    include_background: bool
    batch: bool

    @property
    def activation(self) -> dict[str, Any]:
        """The arguments of MONAI's losses."""
        if self.softmax:
            return {"to_onehot_y": True, "softmax": True}
        return {"sigmoid": True}

    @property
    def overlap(self) -> dict[str, Any]:
        """The arguments of MONAI's losses of overlap."""
        return {**self.activation, "include_background": self.include_background, "batch": self.batch}


def named_loss(
    name: str, *, outputs: str, include_background: bool = True, batch: bool = False
) -> torch.nn.Module:
    """A loss of logits and labels by its name; docs/how-to/losses.md has the formulas.

    The loss takes logits (B, C, spatial...) and labels, two or three spatial axes, and returns a scalar. It
    computes in float32 whatever the precision of the logits is, but for dice_ce, which is MONAI's own class.

    Args:
        name: one of loss_names().
        outputs: "softmax" for channels that compete, with labels (B, 1, spatial...) of the numbers 0 to
            C - 1; "sigmoid" for channels that don't, with labels (B, C, spatial...) from 0 to 1.
        include_background: whether overlap, squared error and surface count channel 0 of a softmax. Cross
            entropy and focal loss always do: without it a network is free to call everything foreground.
        batch: whether an overlap is taken over the batch as a whole.

    Raises:
        UsageError: there is no loss of that name, or no such outputs.
    """
    if name not in _BUILDERS:
        raise UsageError("the name of a loss", got=str(name), advice=did_you_mean(str(name), _BUILDERS))
    if outputs not in OUTPUTS:
        raise UsageError(
            "outputs of a network: sigmoid or softmax",
            got=str(outputs),
            advice=did_you_mean(outputs, OUTPUTS),
        )
    setting = Setting(outputs == "softmax", include_background, batch)
    loss = _BUILDERS[name](setting)
    return loss if name == DEFAULT else InFloat32(loss)


def loss_names() -> list[str]:
    """The names of all losses, the default first."""
    return sorted(_BUILDERS, key=lambda name: name != DEFAULT)


def _dice(setting: Setting) -> torch.nn.Module:
    return DiceLoss(**setting.overlap)


def _dice_ce(setting: Setting) -> torch.nn.Module:
    return DiceCELoss(**setting.overlap)


def _cross_entropy(setting: Setting) -> torch.nn.Module:
    return CrossEntropy(setting.softmax)


def _focal(setting: Setting) -> torch.nn.Module:
    """Lin et al., ICCV 2017."""
    return FocalLoss(gamma=FOCUS, to_onehot_y=setting.softmax, use_softmax=setting.softmax)


def _tversky(setting: Setting) -> torch.nn.Module:
    """Salehi et al., MLMI 2017."""
    return TverskyLoss(alpha=FALSE_POSITIVES, beta=FALSE_NEGATIVES, **setting.overlap)


def _mse(setting: Setting) -> torch.nn.Module:
    """Brier, Monthly Weather Review 1950."""
    return SquaredError(setting.softmax, setting.include_background)


def _boundary(setting: Setting) -> torch.nn.Module:
    """Kervadec et al., MIDL 2019.

    Their weight grows with the epochs. Here it is constant, so that a loss depends on its arguments alone.
    """
    surface = BoundaryLoss(**setting.activation, include_background=setting.include_background)
    return WeightedSum((1.0, _dice(setting)), (BOUNDARY_SHARE, surface))


def _centreline_dice(setting: Setting) -> torch.nn.Module:
    """Shit et al., CVPR 2021.

    Not MONAI's SoftDiceclDiceLoss: its Dice knows no `batch`, and it can't leave the background, which has no
    centreline, out of clDice alone.
    """
    centreline = SoftclDiceLoss(
        iter_=CENTRELINE_EROSIONS, include_background=not setting.softmax, **setting.activation
    )
    return WeightedSum((1 - CENTRELINE_SHARE, _dice(setting)), (CENTRELINE_SHARE, centreline))


_BUILDERS: dict[str, Callable[[Setting], torch.nn.Module]] = {
    "dice_ce": _dice_ce,
    "dice": _dice,
    "cross_entropy": _cross_entropy,
    "focal": _focal,
    "tversky": _tversky,
    "mse": _mse,
    "boundary": _boundary,
    "centreline_dice": _centreline_dice,
}
