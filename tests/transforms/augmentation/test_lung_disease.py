"""Painted disease: the lung looks otherwise, all else stays."""

import numpy as np
import pytest
import torch

from medseg.transforms.augmentation.lung_disease import KINDS, RandLungDiseased

HU = 1500.0


@pytest.fixture(scope="module")
def chest():
    """Two aerated lungs with a blurred border, and an airway in one of them; (image, labels)."""
    hu = torch.full((1, 40, 32, 32), 40.0)
    labels = torch.zeros(1, 40, 32, 32)
    labels[0, 4:17, 6:26, 4:28], labels[0, 23:36, 6:26, 4:28] = 1, 2
    labels[0, 8:11, 14:17, 4:28] = 3
    hu[labels > 0] = -850.0
    hu = torch.nn.functional.avg_pool3d(hu[None], 3, 1, 1, count_include_pad=False)[0]
    return (hu + 1024) / HU, labels


def paint(chest, kind, seed, prob=1.0):
    image, labels = chest
    transform = RandLungDiseased("image", prob=prob, kinds=[kind])
    transform.set_random_state(seed)
    done = transform({"image": image, "label": labels})
    assert done["label"] is labels
    return done["image"][0] * HU - 1024, image[0] * HU - 1024, labels[0]


@pytest.mark.parametrize("kind", KINDS)
def test_changes_lungs_alone(chest, kind):
    changed = 0.0
    for seed in range(4):
        hu, before, labels = paint(chest, kind, seed)
        lung = (labels == 1) | (labels == 2)
        differs = (hu - before).abs() > 0.5
        assert torch.isfinite(hu).all()
        assert not differs[labels == 3].any(), "the airway stays open"
        assert not differs[(before > -150) & ~lung].any(), "tissue stays"
        changed = max(changed, float(differs[lung].float().mean()))
    assert changed > 0.02


@pytest.mark.parametrize("kind", ["consolidation", "effusion", "white_out", "mass"])
def test_is_dense_with_no_dark_rim(chest, kind):
    """A rim of air that is left around dense lung would tell a network where the lung ends."""
    dense, left = 0, 0
    for seed in range(6):
        hu, _, labels = paint(chest, kind, seed)
        whole = torch.nn.functional.avg_pool3d((hu > -100)[None].float(), 5, 1)[0]
        dense += int((hu[(labels == 1) | (labels == 2)] > -100).sum())
        inner = labels[2:-2, 2:-2, 2:-2]
        around = hu[2:-2, 2:-2, 2:-2]
        left += int(((whole > 0.9) & (inner != 3) & (around < -400)).sum())
    assert dense > 500
    assert left < 0.02 * dense


def test_same_seed_same_picture(chest):
    first, second, other = (paint(chest, "consolidation", seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_not_at_all(chest):
    hu, before, _ = paint(chest, "white_out", 0, prob=0.0)
    assert torch.equal(hu, before)


def test_an_image_without_lungs():
    transform = RandLungDiseased("image", prob=1.0)
    transform.set_random_state(0)
    image = torch.rand(1, 8, 8, 8)
    done = transform({"image": image, "label": torch.zeros(1, 8, 8, 8)})
    assert np.allclose(done["image"], image, atol=1e-5)
