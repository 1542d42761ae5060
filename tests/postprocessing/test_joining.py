"""A network and the classical method joined: who has the say on what."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch.nn import functional

from medseg.case import Origin
from medseg.grid import plan, to_grid
from medseg.postprocessing.joining import (
    JoinLungsd,
    column,
    disagreements,
    join,
    possible,
    refused_components,
    rib_cage,
)

pytestmark = pytest.mark.seconds

LUNGS = (1, 2)


@pytest.fixture(scope="module")
def phantom(chest_phantom):
    """HU and labels on a grid of 2 mm in RAS order."""
    grid = plan(chest_phantom.array.shape, chest_phantom.affine, 2.0)
    hu = to_grid(torch.as_tensor(np.maximum(chest_phantom.array, -1024))[None], grid)
    shares = [to_grid(torch.as_tensor(chest_phantom.labels == v)[None].float(), grid)[0] for v in range(4)]
    return hu, torch.stack(shares).argmax(0).to(torch.uint8)


@pytest.fixture(scope="module")
def upper(phantom):
    half = torch.zeros_like(phantom[1], dtype=torch.bool)
    half[..., phantom[1].shape[2] // 2 :] = True
    return half


def joined(hu, labels):
    """Labels, scores with their box, notes and warnings, where a network on 4 mm says `labels`."""
    one_hot = functional.one_hot(labels.long(), 4).movedim(-1, 0).float()
    size = [round(length / 2) for length in labels.shape]
    logits = functional.interpolate(one_hot[None], size=size, mode="area")[0]
    origin = Origin().warned("reader", "the slices lean")
    image = MetaTensor(hu, meta={"grid_spacing_mm": 2.0, "origin": origin})
    data = JoinLungsd("pred", 250)({"pred": logits, "image": image})
    meta = data["image"].meta
    box = tuple(slice(*ends) for ends in meta["grid_box"].tolist())
    found = np.zeros(labels.shape, np.uint8)
    found[box] = data["pred"].float().argmax(0).numpy()
    return found, (data["pred"], box), meta["origin"].texts("note"), meta["origin"].texts("warning")


def dice(found, truth):
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


def test_little_changes_where_both_agree(phantom):
    hu, labels = phantom
    found, _, notes, warnings = joined(hu, labels)
    assert warnings == ["the slices lean"]
    assert notes == []
    for value in LUNGS:
        assert dice(found == value, (labels == value).numpy()) > 0.97


def test_dense_lung_is_the_networks(phantom, upper):
    hu, labels = phantom
    dense = torch.where((labels == 2) & upper, 30.0, hu[0])[None]
    found, _, _, [_, sentence] = joined(dense, labels)
    assert "ml of the right lung were found by the network alone" in sentence
    assert dice((found == 2) & upper.numpy(), ((labels == 2) & upper).numpy()) > 0.96


def test_a_thin_layer_is_no_dense_lung(phantom):
    """A network on 4 mm is that unsure of each border."""
    hu, labels = phantom
    known = torch.where(labels == 3, 0, labels).numpy()
    wide = functional.max_pool3d((labels == 1)[None].float(), 3, stride=1, padding=1)[0] > 0
    own = np.where(wide.numpy() & (known == 0), 1, known).astype(np.uint8)
    found, _ = join(own, known, hu[0].numpy(), np.ones(hu.shape[1:], bool), 2.0)
    assert np.array_equal(found > 0, known > 0)


def test_no_lung_far_above_all_air(phantom, upper):
    """A neck or a head: what hangs together with a lung there is none."""
    hu, labels = phantom
    known = np.where(upper | (labels == 3), 0, labels).astype(np.uint8)
    dense = np.where(known > 0, hu[0], 30.0)
    found, _ = join(
        np.where(labels == 3, 0, labels).astype(np.uint8), known, dense, np.ones(hu.shape[1:], bool), 2.0
    )
    top = np.nonzero(known)[2].max()
    assert (found[..., top + 1 : top + 8] > 0).sum() > 500
    assert not found[..., top + 9 :].any()


def test_no_lung_in_the_foam_of_a_table(phantom):
    """It has the density of lung, and the network may call it that."""
    hu, labels = phantom
    foam = hu.clone()
    foam[:, 40:80, :8] = -800
    own = labels.clone()
    own[40:80, :8] = 1
    found, *_ = joined(foam, own)
    assert not found[40:80, :8].any()


def test_no_lung_in_fat_nor_beyond_the_ribs():
    """A trunk of muscle in fat, with a ring of bone in the muscle and a pad of fat inside the ring."""
    x, y = np.meshgrid(np.arange(100.0), np.arange(100.0), indexing="ij")
    radius = np.hypot(x - 50, y - 50)
    plane = np.select([radius < 34, radius < 37, radius < 40, radius < 46], [40, 700, 40, -100], -1000)
    plane[40:60, 40:60] = -100
    hu = np.repeat(plane[..., None], 12, axis=2).astype(np.int16)
    allowed = possible(hu, (slice(0, 100), slice(0, 100), slice(0, 12)), 3.0)
    assert allowed[25:35, 50].all()
    assert not allowed[44:56, 44:56].any()
    assert not allowed[radius > 41].any()
    unribbed = np.where(hu == 700, 40, hu)
    assert possible(unribbed, (slice(0, 100), slice(0, 100), slice(0, 12)), 3.0)[50, 88].all()


def test_rib_cage():
    """Ribs slope: those of the neighbours count; without any, nothing is cut."""
    bone = np.zeros((20, 20, 9), bool)
    bone[[4, 16, 10, 10], [10, 10, 4, 16], 0] = True
    air = np.zeros_like(bone)
    cage = rib_cage(bone, air, 5.0)
    assert cage[8:13, 8:13].all()
    assert not cage[:3, :, :4].any()
    assert cage[..., 4:].all()
    air[1:3, 5:16, 0] = True  # a lung beyond the ribs that are seen is not cut off
    assert rib_cage(bone, air, 5.0)[1:17, 10, 0].all()


def test_column():
    """Half a chest dense: its place is known by the other half, and by its own front."""
    lung = np.zeros((40, 30, 5), bool)
    lung[4:12, 15:20] = True
    middle = np.zeros_like(lung)
    middle[20, 10] = True
    inside = column(lung, middle, 5.0)[..., 0]
    assert inside[30:36, :20].all()
    assert not inside[:, 23:].any()
    assert not inside[:1].any()
    assert not inside[39:].any()


def test_air_filled_lung_on_the_wrong_side_or_missing_is_put_right(phantom, upper):
    hu, labels = phantom
    wrong = torch.where((labels == 1) & upper, 2, labels).to(torch.uint8)
    top = torch.arange(labels.shape[2]) > 0.7 * labels.shape[2]
    wrong[(labels == 2) & top & (hu[0] < -700)] = 0
    found, _, _, warnings = joined(hu, wrong)
    for value in LUNGS:
        assert dice(found == value, (labels == value).numpy()) > 0.97
    assert "ml of the left lung were found by thresholds alone" in warnings[1]


def test_what_the_network_calls_no_lung_is_none(phantom):
    """Bowel, or foam beside a body: all of it, not a part."""
    hu, labels = phantom
    found, _, notes, warnings = joined(hu, torch.zeros_like(labels))
    assert not np.isin(found, LUNGS).any()
    assert "ml of air left out: lung by thresholds" in notes[0]
    assert len(warnings) == 3


def test_no_airway_in_the_bowel(phantom, upper):
    """Where thresholds find no airway, the network's counts, but not at the lung bases."""
    hu, labels = phantom
    known = torch.where(labels == 3, 0, labels).numpy()
    own = labels.clone()
    own[70:74, 70:74, 6:10] = 3
    gas = hu[0].clone()
    gas[70:74, 70:74, 6:10] = -1000
    found, _ = join(own.numpy(), known, gas.numpy(), np.ones(hu.shape[1:], bool), 2.0)
    assert not (found[..., :12] == 3).any()
    assert dice((found == 3) & upper.numpy(), ((labels == 3) & (hu[0] < -600) & upper).numpy()) > 0.9


def test_nothing_anywhere(phantom):
    hu, labels = phantom
    found, (scores, _), _, _ = joined(torch.full_like(hu, 40.0), torch.zeros_like(labels))
    assert not found.any()
    assert scores.shape[0] == 4


def test_border_follows_the_hu(phantom):
    """Of a border between two voxels, the scores tell where between them -400 HU lies."""
    hu, labels = phantom
    _, (scores, box), _, _ = joined(hu, labels)
    lead = (scores[1:3].amax(0) - scores[0]).float().numpy()
    best, values = scores.float().argmax(0).numpy(), hu[0].numpy()[box]
    inside, outside = np.isin(best, LUNGS) & (values < -400), (best == 0) & (values > -400)
    pairs = inside[:-1] & outside[1:]
    ahead, behind = lead[:-1][pairs], lead[1:][pairs]
    expected = (values[:-1][pairs] + 400) / (values[:-1][pairs] - values[1:][pairs])
    assert (np.abs(ahead / (ahead - behind) - expected) < 0.02).mean() > 0.8


def test_refused_components():
    pieces = np.zeros((7, 1, 1), bool)
    pieces[:3] = pieces[4:] = True
    accepted = np.zeros_like(pieces)
    accepted[1:3] = accepted[4] = True
    assert refused_components(pieces, accepted)[:, 0, 0].tolist() == [False] * 4 + [True] * 3


@pytest.mark.parametrize("most_ml", [250, 1e6])
def test_words_on_dense_and_on_missing_lung(phantom, upper, most_ml):
    _, labels = phantom
    whole, lower = labels.numpy(), torch.where((labels == 2) & upper, 0, labels).numpy()
    words = [
        *disagreements(whole, whole, lower, 2.0, most_ml),
        *disagreements(lower, lower, whole, 2.0, most_ml),
    ]
    assert [("network alone" in word, "thresholds alone" in word) for word in words] == (
        [(True, False), (False, True)] if most_ml == 250 else []
    )
