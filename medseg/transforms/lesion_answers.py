"""Three answers in one tensor: the mask of a lesion, whether it is malignant, and whether there is one."""

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

MALIGNANT = {"benign": 0.0, "malignant": 1.0}
UNKNOWN = -1.0


class JoinAnswersd(MapTransform):
    """Append two channels to a label: malignant (0 or 1, -1 for not known), and whether it has a lesion.

    Args:
        keys: labels (1, row, column).
        pathology_key: "benign" or "malignant"; anything else, or no entry, is not known.
    """

    def __init__(self, keys: KeysCollection, pathology_key: str = "pathology") -> None:
        super().__init__(keys)
        self.pathology_key = pathology_key

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        joined = dict(data)
        for key in self.key_iterator(joined):
            mask = torch.as_tensor(joined[key]).float()
            there = float((mask > 0.5).any())
            malignant = MALIGNANT.get(str(joined.get(self.pathology_key)), UNKNOWN) if there else UNKNOWN
            answers = [torch.full_like(mask, value) for value in (malignant, there)]
            joined[key] = MetaTensor(torch.cat([mask, *answers]))
        return joined


class SplitAnswersd(MapTransform):
    """Logits (3, row, column) to a probability map of the lesion (1, row, column) and two numbers.

    Args:
        keys: of the network's answers; afterwards the map.
        temperatures: what the logits of malignancy and of a lesion are divided by, after
        offsets: are added to them (Platt scaling; without an offset the temperature of Guo et al., On
            Calibration of Modern Neural Networks, ICML 2017).
        names: of the entries that get the probabilities, (1,).

    Raises:
        UsageError: not two temperatures above 0, or not two offsets.
    """

    def __init__(
        self,
        keys: KeysCollection,
        temperatures: tuple[float, float],
        offsets: tuple[float, float] = (0.0, 0.0),
        names: tuple[str, str] = ("malignancy", "lesion_probability"),
    ) -> None:
        super().__init__(keys)
        if not (_are_two(temperatures) and min(temperatures) > 0):
            raise UsageError("two temperatures above 0", came=f"{temperatures}", do="Set temperatures.")
        if not _are_two(offsets):
            raise UsageError("two offsets, finite numbers", came=f"{offsets}", do="Set offsets.")
        self.scales, self.names = tuple(zip(offsets, temperatures, strict=True)), names

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        split = dict(data)
        for key in self.key_iterator(split):
            answer = torch.as_tensor(split[key]).float()
            for name, logit, (offset, temperature) in zip(self.names, answer[1:], self.scales, strict=True):
                split[name] = torch.sigmoid((logit.mean() + offset) / temperature)[None]
            split[key] = MetaTensor(torch.sigmoid(answer[:1]))
        return split


class NoLesiond(MapTransform):
    """Empty a mask where the picture as a whole shows no lesion, and warn where that is uncertain.

    Args:
        keys: masks (1, row, column).
        threshold: the probability below which there is none.
        uncertain: from the first to below the second probability there is a warning.
        probability_key: of the picture, (1,).
        image_key: its meta data gets the warning, and a note where a lesion was drawn all the same.

    Raises:
        UsageError: a threshold that is no probability, or `uncertain` that are not two in their order.
    """

    def __init__(
        self,
        keys: KeysCollection,
        threshold: float,
        uncertain: tuple[float, float],
        probability_key: str = "lesion_probability",
        image_key: str = "image",
    ) -> None:
        super().__init__(keys)
        if not _are_two((threshold, 1)) or not 0 <= threshold <= 1:
            raise UsageError("a lesion_threshold of 0 to 1", came=f"{threshold}", do="Set lesion_threshold.")
        if not _are_two(uncertain) or not 0 <= uncertain[0] <= uncertain[1] <= 1:
            wanted = "two probabilities, the smaller first, for `uncertain`"
            raise UsageError(wanted, came=f"{uncertain}", do="Set uncertain.")
        self.threshold, self.uncertain = threshold, uncertain
        self.probability_key, self.image_key = probability_key, image_key

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        judged = dict(data)
        probability = float(judged[self.probability_key][0])
        meta = getattr(judged[self.image_key], "meta", {})
        if self.uncertain[0] <= probability < self.uncertain[1]:
            warn(
                meta,
                self,
                f"whether there is a lesion is uncertain: its probability is {probability:.2f}, where "
                f"{self.uncertain[0]:g} to {self.uncertain[1]:g} is uncertain",
            )
        if probability >= self.threshold:
            return judged
        for key in self.key_iterator(judged):
            mask = torch.as_tensor(judged[key])
            if (mask > 0).any():
                px, least = int((mask > 0).sum()), self.threshold
                note(meta, self, f"{px} px left out: lesion probability {probability:.2f}, below {least:g}")
            judged[key] = torch.zeros_like(mask)
        return judged


def _are_two(values: Any) -> bool:
    """Whether these are two finite numbers, as a key that a user sets may fail to be."""
    if not isinstance(values, list | tuple) or len(values) != 2:
        return False
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)
