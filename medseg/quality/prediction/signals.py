"""Cheap signs of how good a mask is: each a number of one label, or of the whole case.

None of them needs a reference. Scores are logits on the network's grid; probabilities are their sigmoid, or
their softmax over the labels. What can't be known is NaN, and the prediction takes a usual value in its
place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from medseg.case import WARNING, Case

Signals = dict[str, float]
# Of a case: label to signals that only one kind of image has.
OwnSignals = Callable[[Case], Mapping[str, Signals]]
SIGMOID, SOFTMAX = "sigmoid", "softmax"
SURE = 0.5  # probability from which a network calls a pixel the label
PEAK = 64  # pixels or voxels; their mean is the peak
LONGEST = {2: 256, 3: 128}  # pixels along a side of the copy on which an image is looked at
UNSET = float("nan")


def label_signals(observed: Any, label: int, outputs: str) -> Signals:
    """What the network's scores say of one label.

    Args:
        observed: as medseg.inference.observing.Observed; None for a method without a network.
        label: its value in the mask.
        outputs: sigmoid, a channel for each label, or softmax, the background's channel first.

    Returns:
        `mirrored`: the Dice of the mirrored copies' masks, the mean over pairs; `soft`: the Dice that the
        network itself expects, 2 sum(p m) / (sum(p) + sum(m)); `entropy`: in bits, of the pixels where it
        isn't sure, over the pixels of the mask; `peak`: the mean of the largest probabilities; `sure`: the
        share of the image that is called the label.
    """
    if observed is None:
        return {}
    # Every second voxel of a volume tells as much, in an eighth of the time.
    steps = (
        slice(None),
        *(slice(None, None, 2 if observed.scores.ndim == 4 else 1),) * (observed.scores.ndim - 1),
    )
    probability = probability_of(observed.scores[steps], label, outputs)
    called = probability > SURE
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    bits = -(clipped * np.log2(clipped) + (1 - clipped) * np.log2(1 - clipped))
    copies = [probability_of(copy[steps], label, outputs) > SURE for copy in observed.copies]
    total = probability.sum() + called.sum()
    largest = np.partition(probability.ravel(), -PEAK)[-PEAK:] if probability.size > PEAK else probability
    return {
        "mirrored": pairwise_dice(copies),
        "soft": float(2 * probability[called].sum() / total) if called.any() else UNSET,
        "entropy": float(np.log10(1e-3 + bits.sum() / (called.sum() + PEAK))),
        "peak": float(largest.mean()),
        "sure": _log_share(called.mean()),
    }


def probability_of(scores: np.ndarray, label: int, outputs: str) -> np.ndarray:
    """(spatial...) probability of a label of scores (channels, spatial...)."""
    with np.errstate(over="ignore"):
        if outputs == SIGMOID:
            return np.asarray(1 / (1 + np.exp(-scores[label - 1])))
        largest = scores.max(axis=0)
        weights = np.exp(scores - largest)
        return np.asarray(weights[label] / weights.sum(axis=0))


def pairwise_dice(masks: Sequence[np.ndarray]) -> float:
    """The mean Dice over all pairs of boolean masks; 1 for two empty ones, NaN for fewer than two."""
    found = []
    for number, first in enumerate(masks):
        for second in masks[number + 1 :]:
            total = int(first.sum()) + int(second.sum())
            found.append(2 * int((first & second).sum()) / total if total else 1.0)
    return float(np.mean(found)) if found else UNSET


def mask_signals(case: Case, label: int) -> Signals:
    """Of the written mask of one label: its size, its pieces, its outline, and how it stands out."""
    where = case.mask.array == label
    share = where.mean()
    signals = {"empty": float(not where.any()), "share": _log_share(share)}
    step = max(1, max(where.shape) // LONGEST[where.ndim])
    small = where[(slice(None, None, step),) * where.ndim]
    if not small.any():
        return signals | {"pieces": 0.0, "contrast": UNSET, "roughness": UNSET}
    from scipy.ndimage import binary_dilation, binary_erosion
    from scipy.ndimage import label as numbered

    image = _grey(case.image)[(slice(None, None, step),) * where.ndim]
    wide = binary_dilation(small, iterations=4)
    ring = wide & ~binary_dilation(small, iterations=1)
    spread = float(image[wide].std()) or 1.0
    contrast = float(image[small].mean() - image[ring].mean()) / spread if ring.any() else UNSET
    border = small & ~binary_erosion(small)
    return signals | {
        "pieces": float(np.log2(1 + numbered(small)[1])),
        "contrast": contrast,
        "roughness": float(border.sum() / small.sum() ** ((small.ndim - 1) / small.ndim)),
    }


def look_signals(case: Case) -> Signals:
    """How the image looks: fine detail and noise against its contrast, and where its brightness lies."""
    image = _grey(case.image)
    step = max(1, max(image.shape) // LONGEST[image.ndim])
    middle = image.shape[-1] // 2
    plane = image if image.ndim == 2 else image[..., middle]
    coarse = image[(slice(None, None, step),) * image.ndim]
    low, half, high = np.percentile(coarse, (1, 50, 99))
    contrast = float(high - low) or 1.0
    differences = [np.abs(np.diff(plane, n=order, axis=0)).mean() for order in (1, 2)]
    return {
        "detail": float(np.log10(1e-4 + differences[0] / contrast)),
        "noise": float(differences[1] / (differences[0] + 1e-6 * contrast)),
        "brightness": float((half - low) / contrast),
        "size": float(np.log2(max(image.shape))),
    }


def case_signals(
    case: Case, measurements: Mapping[str, Any], plausible: Mapping[str, Sequence[float]]
) -> Signals:
    """What else is known: warnings so far, implausible measures, and the method's further numbers."""
    values = [(measurements.get(name, {}).get("value"), limits) for name, limits in plausible.items()]
    implausible = sum(value is not None and not low <= value <= high for value, (low, high) in values)
    extras = {name: float(np.ravel(value)[0]) for name, value in case.extras.items() if np.size(value) == 1}
    return {
        "warnings": float(sum(finding.kind == WARNING for finding in case.findings)),
        "implausible": float(implausible),
        **extras,
    }


def _grey(image: np.ndarray) -> np.ndarray:
    """(spatial...) float32, the mean of the channels (C, spatial...)."""
    return image[0].astype(np.float32) if len(image) == 1 else image.mean(axis=0, dtype=np.float32)


def _log_share(share: float) -> float:
    return float(np.log10(1e-6 + share))
