"""Two answers in one tensor: the mask of a lesion, and whether it is malignant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from medseg.errors import UsageError
from medseg.transforms.load import Data

MALIGNANT = {"benign": 0.0, "malignant": 1.0}
UNKNOWN = -1.0


class JoinMalignancyd(MapTransform):
    """Append the pathology to a label as a channel: 0 benign, 1 malignant, -1 not known.

    Args:
        keys: labels (1, row, column).
        pathology_key: "benign" or "malignant"; anything else, or no entry, is not known.
    """

    def __init__(self, keys: KeysCollection, pathology_key: str = "pathology") -> None:
        super().__init__(keys)
        self.pathology_key = pathology_key

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        joined = dict(data)
        value = MALIGNANT.get(str(joined.get(self.pathology_key)), UNKNOWN)
        for key in self.key_iterator(joined):
            mask = torch.as_tensor(joined[key]).float()
            joined[key] = MetaTensor(torch.cat([mask, torch.full_like(mask[:1], value)]))
        return joined


class SplitMalignancyd(MapTransform):
    """Logits (2, row, column) to a probability map of the lesion (1, row, column) and one number.

    Args:
        keys: of the network's answers; afterwards the map.
        temperature: by which the logit of malignancy is divided (Guo et al., On Calibration of Modern Neural
            Networks, ICML 2017).
        malignancy_key: gets the probability, (1,).

    Raises:
        UsageError: a temperature that is not positive.
    """

    def __init__(
        self, keys: KeysCollection, temperature: float = 1.0, malignancy_key: str = "malignancy"
    ) -> None:
        super().__init__(keys)
        if not 0 < temperature < float("inf"):
            raise UsageError("a temperature above 0", came=f"{temperature:g}", do="Set temperature.")
        self.temperature, self.malignancy_key = temperature, malignancy_key

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        split = dict(data)
        for key in self.key_iterator(split):
            answer = torch.as_tensor(split[key]).float()
            split[self.malignancy_key] = torch.sigmoid(answer[1].mean() / self.temperature)[None]
            split[key] = MetaTensor(torch.sigmoid(answer[:1]))
        return split
