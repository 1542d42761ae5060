"""An ensemble gives the mean of its members."""

import pytest
import torch
from monai.inferers import SlidingWindowInferer

from medseg.bundle.ensemble import Ensemble


def affine(scale, shift):
    layer = torch.nn.Conv2d(1, 1, 1)
    torch.nn.init.constant_(layer.weight, scale)
    torch.nn.init.constant_(layer.bias, shift)
    return layer


@pytest.fixture
def ensemble():
    """The mean of x + 1, 2x + 2 and 6x - 6 is 3x - 1."""
    return Ensemble([affine(1, 1), affine(2, 2), affine(6, -6)])


def test_the_mean(ensemble):
    inputs = torch.arange(24.0).reshape(2, 1, 3, 4)
    assert torch.equal(ensemble(inputs), 3 * inputs - 1)


def test_one_member_is_itself():
    member, inputs = affine(0.3, 0.1), torch.rand(2, 1, 3, 4)
    assert torch.equal(Ensemble([member])(inputs), member(inputs))


def test_members_belong_to_it(ensemble):
    """They go to a device, to evaluation and into a file together."""
    ensemble.eval()
    assert not any(module.training for module in ensemble.modules())
    assert len(list(ensemble.parameters())) == 6
    other = Ensemble([affine(0, 0) for _ in range(3)])
    other.load_state_dict(ensemble.state_dict())
    assert torch.equal(other(torch.ones(1, 1, 2, 2)), torch.full((1, 1, 2, 2), 2.0))


def test_in_windows(ensemble):
    inputs = torch.rand(1, 1, 20, 30)
    inferer = SlidingWindowInferer(roi_size=(16, 16), overlap=0.5, mode="gaussian")
    assert torch.allclose(inferer(inputs, ensemble), 3 * inputs - 1, atol=1e-5)
