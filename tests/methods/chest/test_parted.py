"""Lungs of what a method takes for air, on a torso of cylinders."""

import numpy as np
import pytest
import torch

from medseg.methods.chest import ClassicalLungs
from medseg.methods.chest.parted import PartedLungs

SPACING_MM = 3.0


class Below(torch.nn.Module):
    """Air is what lies below a threshold."""

    def __init__(self, hu: float) -> None:
        super().__init__()
        self.hu = hu

    def forward(self, x):
        return self.hu - x


@pytest.fixture(scope="module")
def torso():
    """HU (1, 1, i, j, k) and labels: two lungs of -700 HU and a trachea that ends above them."""
    i, j, k = np.mgrid[:100, :66, :70].astype(np.float32)
    hu = np.full(i.shape, -1000, np.float32)
    hu[((i - 50) / 46) ** 2 + ((j - 33) / 30) ** 2 < 1] = 40
    labels = np.zeros(i.shape, np.uint8)
    for value, middle in ((1, 28), (2, 72)):
        labels[((i - middle) / 17) ** 2 + ((j - 33) / 22) ** 2 + ((k - 30) / 27) ** 2 < 1] = value
    labels[((i - 50) ** 2 + (j - 38) ** 2 < 9) & (k > 32)] = 3
    hu[labels > 0], hu[labels == 3] = -700, -1000
    hu += np.random.default_rng(0).normal(0, 10, hu.shape)
    return torch.as_tensor(hu)[None, None], labels


def dice(scores, labels):
    found = scores[0].argmax(0).numpy()
    return [
        2 * ((found == v) & (labels == v)).sum() / ((found == v).sum() + (labels == v).sum())
        for v in (1, 2, 3)
    ]


def test_air_is_parted_into_lungs_and_airway(torso):
    hu, labels = torso
    scores = PartedLungs(Below(-400), SPACING_MM)(hu)
    assert scores.shape == (1, 4, *labels.shape)
    assert min(dice(scores, labels)) > 0.9


def test_another_method_of_finding_air_gives_other_lungs(torso):
    """Lungs of -700 HU are not found below -900 HU: the classical threshold is not used."""
    hu, labels = torso
    assert min(dice(ClassicalLungs(SPACING_MM)(hu), labels)) > 0.9
    assert max(dice(PartedLungs(Below(-900), SPACING_MM)(hu), labels)[:2]) < 0.1


def test_without_air_all_is_background(torso):
    scores = PartedLungs(Below(-5000), SPACING_MM)(torso[0])
    assert (scores.argmax(1) == 0).all()
