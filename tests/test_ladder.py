"""The ladder of methods on real photographs: each rung works, and each is another method."""

import numpy as np
import pytest

from medseg.data.manifests import load_items
from medseg.io import read_mask
from medseg.metrics.overlap import confusion
from medseg.pipeline import Segmenter

RUNGS = (
    *("threshold", "matched_filter", "kmeans", "hierarchical", "gmm"),
    *("svm", "cnn", "rnn", "unet", "residual_unet"),
)
LEAST_DICE = 0.35


@pytest.mark.slow
def test_each_rung_finds_vessels_in_its_own_way(data_root):
    """On photographs of the validation split of CHASE_DB1, which chose thresholds and nothing else."""
    items = load_items(["chase_db1"], "validation")[::2]
    truths = [read_mask(item["label"], {0: "background", 1: "vessel"}).array > 0 for item in items]
    masks = {name: _masks(name, items) for name in RUNGS}
    dice = {name: _dice(found, truths) for name, found in masks.items()}
    full = _dice([np.ones_like(truth) for truth in truths], truths)
    assert {name: value for name, value in dice.items() if value < max(LEAST_DICE, full)} == {}
    assert max(dice, key=dice.__getitem__) in ("unet", "residual_unet")
    alike = [
        (one, other)
        for one in RUNGS
        for other in RUNGS
        if one < other and all(map(np.array_equal, masks[one], masks[other]))
    ]
    assert alike == []


def _masks(name, items):
    segmenter = Segmenter("retinal_vessel", "cpu", method=name)
    return [segmenter.case(item["image"]).mask.array > 0 for item in items]


def _dice(found, truths):
    return float(np.mean([confusion(*pair).dice for pair in zip(found, truths, strict=True)]))
