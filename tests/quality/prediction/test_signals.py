"""Signals of a mask's quality on masks that are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from medseg.case import Case
from medseg.quality.prediction.signals import (
    case_signals,
    label_signals,
    look_signals,
    mask_signals,
    pairwise_dice,
    probability_of,
)
from medseg.volume import Mask


def disc(shape=(96, 96), radius=20):
    rows, columns = np.indices(shape)
    return (rows - shape[0] / 2) ** 2 + (columns - shape[1] / 2) ** 2 < radius**2


def case_of(where, image=None, **extras):
    image = np.where(where, 200, 50).astype(np.uint8)[None] if image is None else image
    return Case(Mask(where.astype(np.uint8), {0: "background", 1: "lesion"}), image, extras=extras)


def observed(where, sure, copies=()):
    scores = np.where(where, sure, -sure).astype(np.float32)[None]
    return SimpleNamespace(scores=scores, copies=tuple(copies) or (scores, scores), features=None)


def test_a_sure_network_and_an_unsure_one():
    sure, unsure = (label_signals(observed(disc(), logit), 1, "sigmoid") for logit in (6.0, 0.3))
    assert sure["soft"] > 0.95 > 0.8 > unsure["soft"]
    assert sure["entropy"] < unsure["entropy"]
    assert sure["peak"] > 0.99 > unsure["peak"]
    assert sure["mirrored"] == unsure["mirrored"] == 1


def test_copies_that_disagree():
    other = np.where(np.roll(disc(), 10, axis=1), 6.0, -6.0).astype(np.float32)[None]
    found = label_signals(observed(disc(), 6.0, [observed(disc(), 6.0).scores, other]), 1, "sigmoid")
    expected = 2 * (disc() & np.roll(disc(), 10, axis=1)).sum() / (2 * disc().sum())
    assert found["mirrored"] == pytest.approx(expected)


def test_no_network():
    assert label_signals(None, 1, "sigmoid") == {}


def test_probabilities_of_labels():
    scores = np.log(np.array([[0.2], [0.7], [0.1]]))
    assert probability_of(scores, 1, "softmax") == pytest.approx(0.7)
    assert probability_of(np.array([[0.0], [9.0]]), 1, "sigmoid") == pytest.approx(0.5)


def test_pairs_of_masks():
    empty = np.zeros(4, dtype=bool)
    assert pairwise_dice([empty, empty]) == 1
    assert pairwise_dice([empty, ~empty]) == 0
    assert np.isnan(pairwise_dice([empty]))


def test_the_written_mask():
    whole, empty = (mask_signals(case_of(where), 1) for where in (disc(), np.zeros((96, 96), bool)))
    assert (whole["empty"], empty["empty"]) == (0, 1)
    assert whole["contrast"] > 1
    assert np.isnan(empty["contrast"])
    ragged = disc() & (np.indices((96, 96))[1] % 4 > 1)
    assert mask_signals(case_of(ragged), 1)["roughness"] > 2 * whole["roughness"]
    assert mask_signals(case_of(ragged), 1)["pieces"] > whole["pieces"]


def test_the_look_of_an_image():
    random = np.random.default_rng(0)
    smooth = np.tile(np.linspace(0, 255, 96), (1, 96, 1)).astype(np.float32).transpose(0, 2, 1)
    noisy = smooth + random.normal(0, 20, smooth.shape)
    still, moving = (look_signals(case_of(disc(), image)) for image in (smooth, noisy))
    assert moving["detail"] > still["detail"]
    assert moving["noise"] > still["noise"]
    flat = look_signals(case_of(disc(), np.zeros((1, 96, 96))))
    assert all(np.isfinite(list(flat.values())))


def test_what_else_is_known():
    case = case_of(disc(), probability=disc().astype(float), lesion_probability=np.array([0.4]))
    measures = {"area": {"value": 5}, "width": {"value": None}, "height": {"value": 3}}
    found = case_signals(case, measures, {"area": (0, 4), "width": (0, 1), "height": (0, 4)})
    assert found == {"warnings": 0, "implausible": 1, "lesion_probability": 0.4}
