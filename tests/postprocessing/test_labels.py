"""Small components go, holes are filled, and each change is noted."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.postprocessing.labels import CleanLabelsd, holes_of, small_components

LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}


def scores_of(labels, second=None):
    """One voxel, one label: 0.7 for it, 0.2 for the second, 0.05 for the rest."""
    scores = torch.full((4, *labels.shape), 0.05)
    if second is not None:
        scores.scatter_(0, torch.as_tensor(second, dtype=torch.int64)[None], 0.2)
    return scores.scatter_(0, torch.as_tensor(labels, dtype=torch.int64)[None], 0.7)


def clean(scores, airy=True, spacing_mm=10.0, **changes):
    """Of an image that is 0 where there is air, else 1; a voxel is 1 ml."""
    dense = 1 - torch.as_tensor(np.broadcast_to(airy, scores.shape[1:]).astype(np.float32))
    image = MetaTensor(dense[None], meta={"grid_spacing_mm": spacing_mm})
    settings = {"min_ml": {"left_lung": 5, "right_lung": 5, "airway": 2}, "filled": ("left_lung",)} | changes
    data = CleanLabelsd("pred", LABELS, **settings)({"pred": scores, "image": image})
    return data["pred"].argmax(0).numpy(), data["image"].meta["origin"].texts("note")


@pytest.fixture
def chest():
    labels = np.zeros((20, 10, 10), np.int64)
    labels[2:8, 2:8, 2:8], labels[12:18, 2:8, 2:8], labels[9:11, 4:6, 6:] = 1, 2, 3
    return labels


def test_nothing_to_do(chest):
    found, notes = clean(scores_of(chest))
    assert np.array_equal(found, chest)
    assert notes == []


def test_a_stray_piece_becomes_the_next_likely_label(chest):
    strayed, second = chest.copy(), chest.copy()
    strayed[14:16, 4:6, 4:5] = 1  # 4 ml of left in the right lung
    strayed[0, 0, 0:3] = 2  # 3 ml outside
    found, notes = clean(scores_of(strayed, second))
    assert np.array_equal(found, chest)
    assert notes == [
        "left_lung: 1 small component (4.0 ml) removed",
        "right_lung: 1 small component (3.0 ml) removed",
    ]


def test_a_voxel_may_be_longer_than_wide(chest):
    strayed = chest.copy()
    strayed[0, 0, 0:3] = 2
    _, notes = clean(scores_of(strayed, chest), spacing_mm=torch.tensor([10.0, 5.0, 20.0]))
    assert notes == ["right_lung: 1 small component (3.0 ml) removed"]


def test_a_large_piece_stays_and_the_largest_always(chest):
    chest[0, 0:6, 0] = 1
    found, notes = clean(scores_of(chest), min_ml={"left_lung": 6, "airway": 1000})
    assert np.array_equal(found, chest)
    assert notes == []


@pytest.mark.parametrize(("voxels_of_air", "stays"), [(0, False), (1, False), (3, True)])
def test_a_dense_piece_must_be_larger(chest, voxels_of_air, stays):
    """Of 30 ml, apart from the lung: muscle, or a lobe with a rest of air in it."""
    strayed, airy = chest.copy(), chest != 1
    strayed[0, :, 0:3] = 1
    airy[0, :, 0:3] = False
    airy[0, :voxels_of_air, 0] = True
    found, notes = clean(scores_of(strayed), airy, min_dense_ml={"left_lung": 40}, air=0.5)
    assert np.array_equal(found, strayed if stays else chest)
    assert notes == ([] if stays else ["left_lung: 1 small component (30.0 ml) removed"])


def test_a_large_dense_piece_and_a_dense_lung_stay(chest):
    strayed = chest.copy()
    strayed[0, :, 0:3] = 1
    found, notes = clean(scores_of(strayed), False, min_dense_ml={"left_lung": 30}, air=0.5)
    assert np.array_equal(found, strayed)
    assert notes == []


def test_a_hole_is_filled_with_the_label_that_is_next(chest):
    holed, second = chest.copy(), chest.copy()
    holed[4:6, 4:6, 4:6] = 0
    found, notes = clean(scores_of(holed, second))
    assert np.array_equal(found, chest)
    assert notes == ["left_lung: holes (8.0 ml in all) filled"]


def test_a_bay_is_no_hole(chest):
    chest[4:6, 4:6, 4:] = 0
    assert not holes_of(chest == 1).any()


def test_small_components_of_nothing():
    small, count = small_components(np.zeros((3, 4, 5), bool), 10, np.zeros((3, 4, 5), bool), 10)
    assert small.shape == (3, 4, 5)
    assert count == 0
    assert not small.any()
