"""Stray pieces go, holes are filled, and each change is noted."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.case import Origin
from medseg.postprocessing import (
    CleanLabelsd,
    JoinClassicald,
    disagreements,
    holes_of,
    refused_pieces,
    small_pieces,
)

LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}
RANGE_HU = (-1024, 476)


def scores_of(labels, second=None):
    """One voxel, one label: 0.7 for it, 0.2 for the second, 0.05 for the rest."""
    scores = torch.full((4, *labels.shape), 0.05)
    if second is not None:
        scores.scatter_(0, torch.as_tensor(second, dtype=torch.int64)[None], 0.2)
    return scores.scatter_(0, torch.as_tensor(labels, dtype=torch.int64)[None], 0.7)


def clean(scores, airy=True, **changes):
    """Of an image that is 0 where there is air, else 1; a voxel is 1 ml."""
    dense = 1 - torch.as_tensor(np.broadcast_to(airy, scores.shape[1:]).astype(np.float32))
    image = MetaTensor(dense[None], meta={"grid_spacing_mm": 10.0})
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
    assert notes == ["left_lung: 1 pieces of 4.0 ml removed", "right_lung: 1 pieces of 3.0 ml removed"]


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
    assert notes == ([] if stays else ["left_lung: 1 pieces of 30.0 ml removed"])


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
    assert notes == ["left_lung: holes of 8.0 ml filled"]


def test_a_bay_is_no_hole(chest):
    chest[4:6, 4:6, 4:] = 0
    assert not holes_of(chest == 1).any()


def test_small_pieces_of_nothing():
    small, count = small_pieces(np.zeros((3, 4, 5), bool), 10, np.zeros((3, 4, 5), bool), 10)
    assert small.shape == (3, 4, 5)
    assert count == 0
    assert not small.any()


@pytest.fixture(scope="module")
def phantom(chest_phantom):
    """HU and labels on a grid of 2 mm in RAS order."""
    from medseg.grid import plan, to_grid

    grid = plan(chest_phantom.array.shape, chest_phantom.affine, 2.0)
    hu = to_grid(torch.as_tensor(np.maximum(chest_phantom.array, -1024))[None], grid)
    shares = [to_grid(torch.as_tensor(chest_phantom.labels == v)[None].float(), grid)[0] for v in range(4)]
    return hu, torch.stack(shares).argmax(0).to(torch.uint8)


LUNGS = {1: "left_lung", 2: "right_lung"}


def image_of(hu):
    scaled = ((hu - RANGE_HU[0]) / (RANGE_HU[1] - RANGE_HU[0])).clamp(0, 1)
    return MetaTensor(
        scaled, meta={"grid_spacing_mm": 2.0, "origin": Origin().warned("reader", "the slices lean")}
    )


def join(hu, labels):
    """Labels, notes and warnings after the classical method had its say."""
    image = image_of(hu)
    data = JoinClassicald("pred", LABELS, RANGE_HU, 250)({"pred": scores_of(labels), "image": image})
    meta = data["image"].meta
    return (
        data["pred"].argmax(0).numpy(), meta["origin"].texts("note"), meta["origin"].texts("warning")
    )  # fmt: skip


@pytest.fixture(scope="module")
def upper(phantom):
    half = torch.zeros_like(phantom[1], dtype=torch.bool)
    half[..., phantom[1].shape[2] // 2 :] = True
    return half


def test_little_changes_where_both_agree(phantom):
    hu, labels = phantom
    found, _, warnings = join(hu, labels)
    assert warnings == ["the slices lean"]
    changed = (found != labels.numpy()) & (labels.numpy() > 0)
    assert changed.sum() < 0.01 * (labels > 0).sum()


def test_dense_lung_is_the_networks(phantom, upper):
    hu, labels = phantom
    dense = torch.where((labels == 2) & upper, 30.0, hu[0])[None]
    found, _, [_, sentence] = join(dense, labels)
    assert "ml of the right lung are lung to the network alone" in sentence
    assert ((found == 2) & upper.numpy()).sum() > 0.99 * ((labels == 2) & upper).sum()


def test_air_filled_lung_on_the_wrong_side_or_missing_is_put_right(phantom, upper):
    hu, labels = phantom
    wrong = torch.where((labels == 1) & upper, 2, labels).to(torch.uint8)
    top = torch.arange(labels.shape[2]) > 0.7 * labels.shape[2]
    wrong[(labels == 2) & top & (hu[0] < -700)] = 0
    found, notes, warnings = join(hu, wrong)
    for value in LUNGS:
        truth = (labels == value).numpy()
        assert 2 * ((found == value) & truth).sum() / ((found == value).sum() + truth.sum()) > 0.97
    assert all("taken from the classical method" in note for note in notes)
    assert "ml are left lung to thresholds, not to the network" in warnings[1]


def test_what_the_network_calls_no_lung_is_none(phantom):
    """Bowel, or foam beside a body: all of it, not a part."""
    hu, labels = phantom
    found, notes, warnings = join(hu, torch.zeros_like(labels))
    assert not found.any()
    assert notes == []
    assert len(warnings) == 3


def test_border_follows_the_hu(phantom):
    """Of a border between two voxels, the scores tell where between them -400 HU lies."""
    hu, labels = phantom
    image, scores = image_of(hu), scores_of(labels)
    JoinClassicald("pred", LABELS, RANGE_HU, 250)({"pred": scores, "image": image})
    hu, best = hu[0].numpy(), scores.argmax(0).numpy()
    inside, outside = np.isin(best, (1, 2)) & (hu < -400), (best == 0) & (hu > -400)
    lead = (scores[1:3].amax(0) - scores[0]).float().numpy()
    pairs = inside[:-1] & outside[1:]
    ahead, behind = lead[:-1][pairs], lead[1:][pairs]
    expected = (hu[:-1][pairs] + 400) / (hu[:-1][pairs] - hu[1:][pairs])
    close = np.abs(ahead / (ahead - behind) - expected) < 0.02
    assert close.mean() > 0.8  # the others lie at vessels and the airway, where thresholds don't decide


def test_a_slab_is_left_to_the_classical_method(phantom):
    hu, labels = (part[..., 60:80] for part in phantom)
    image, nothing = image_of(hu), scores_of(torch.zeros_like(labels))
    JoinClassicald("pred", LABELS, RANGE_HU, 250, least_mm=60)({"pred": nothing, "image": image})
    assert np.isin(nothing.argmax(0).numpy(), (1, 2)).sum() > 1000
    assert image.meta["origin"].texts("warning")[-1].endswith("thresholds made the mask, not the network")


def test_refused_pieces():
    pieces = np.zeros((7, 1, 1), bool)
    pieces[:3] = pieces[4:] = True
    accepted = np.zeros_like(pieces)
    accepted[1:3] = accepted[4] = True
    assert refused_pieces(pieces, accepted)[:, 0, 0].tolist() == [False] * 4 + [True] * 3


@pytest.mark.parametrize("most_ml", [250, 1e6])
def test_words_on_dense_and_on_missing_lung(phantom, upper, most_ml):
    _, labels = phantom
    lower = torch.where((labels == 2) & upper, 0, labels).numpy()
    words = disagreements(labels.numpy(), lower, LUNGS, 2.0, most_ml)
    words += disagreements(lower, labels.numpy(), LUNGS, 2.0, most_ml)
    assert [("network alone" in word, "to thresholds, not" in word) for word in words] == (
        [(True, False), (False, True)] if most_ml == 250 else []
    )
