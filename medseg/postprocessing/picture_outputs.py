"""Outputs of a network besides the mask: logits of classifiers of the whole picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from medseg.case import note, warn
from medseg.errors import UsageError
from medseg.transforms.load import Data


class SplitOutputsd(MapTransform):
    """Split logits (3, row, column) into a probability map (1, row, column) and two probabilities (1,).

    A probability is the sigmoid of (logit + offset) / temperature: Platt scaling, or with an offset of 0 the
    temperature scaling of Guo et al., On Calibration of Modern Neural Networks, ICML 2017.

    Args:
        keys: network outputs (mask, first classifier, second classifier); replaced by the probability map.
        names: the entries that get the classifiers' probabilities.
        temperatures: of the two classifiers, above 0.
        offsets: of the two classifiers, in logits.

    Raises:
        UsageError: not two temperatures above 0, or not two offsets.
    """

    def __init__(
        self,
        keys: KeysCollection,
        names: tuple[str, str],
        temperatures: tuple[float, float],
        offsets: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        super().__init__(keys)
        if not (_are_two(temperatures) and min(temperatures) > 0):
            raise UsageError("two temperatures above 0", got=f"{temperatures}", advice="Set temperatures.")
        if not _are_two(offsets):
            raise UsageError("two finite offsets", got=f"{offsets}", advice="Set offsets.")
        self.scales, self.names = tuple(zip(offsets, temperatures, strict=True)), names

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        split = dict(data)
        for key in self.key_iterator(split):
            outputs = torch.as_tensor(split[key]).float()
            for name, logit, (offset, temperature) in zip(self.names, outputs[1:], self.scales, strict=True):
                split[name] = torch.sigmoid((logit.mean() + offset) / temperature)[None]
            split[key] = MetaTensor(torch.sigmoid(outputs[:1]))
        return split


class RequireObjectd(MapTransform):
    """Empty a mask where the classifier finds no object in the picture, and warn where that is uncertain.

    Args:
        keys: masks (1, row, column).
        name: of the object, such as lesion; the entry `<name>_probability`, (1,), is the classifier's output.
        threshold: the mask is emptied below this probability.
        uncertain: there is a warning from the first to below the second of these probabilities.
        image_key: its meta data gets the warning, and a note where a mask was emptied.

    Raises:
        UsageError: a threshold outside [0, 1], or not two probabilities in ascending order for `uncertain`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        name: str,
        threshold: float,
        uncertain: tuple[float, float],
        image_key: str = "image",
    ) -> None:
        super().__init__(keys)
        if not _are_two((threshold, 1)) or not 0 <= threshold <= 1:
            key = f"{name}_threshold"
            raise UsageError(f"a {key} from 0 to 1", got=f"{threshold}", advice=f"Set {key}.")
        if not _are_two(uncertain) or not 0 <= uncertain[0] <= uncertain[1] <= 1:
            wanted = "two probabilities, the smaller first, for `uncertain`"
            raise UsageError(wanted, got=f"{uncertain}", advice="Set uncertain.")
        self.name, self.threshold, self.uncertain, self.image_key = name, threshold, uncertain, image_key

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        judged = dict(data)
        probability = float(judged[f"{self.name}_probability"][0])
        meta = getattr(judged[self.image_key], "meta", {})
        if self.uncertain[0] <= probability < self.uncertain[1]:
            warn(
                meta,
                self,
                f"it is uncertain whether there is a {self.name}: its probability of {probability:.2f} is "
                f"between {self.uncertain[0]:g} and {self.uncertain[1]:g}",
            )
        if probability >= self.threshold:
            return judged
        for key in self.key_iterator(judged):
            mask = torch.as_tensor(judged[key])
            if (mask > 0).any():
                px, least = int((mask > 0).sum()), self.threshold
                text = f"{px} px removed: the {self.name} probability of {probability:.2f} is below {least:g}"
                note(meta, self, text)
            judged[key] = torch.zeros_like(mask)
        return judged


def _are_two(values: Any) -> bool:
    """Whether these are two finite numbers: users set them."""
    if not isinstance(values, list | tuple) or len(values) != 2:
        return False
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)
