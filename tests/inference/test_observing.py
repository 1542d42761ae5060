"""What an observing inferer keeps, and its mirrored window."""

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.networks.nets import UNet

from medseg.inference import FlipInferer, ObservingInferer
from medseg.inference.observing import window_at


def double(image):
    return 2 * image


@pytest.fixture
def network():
    torch.manual_seed(0)
    return UNet(2, 1, 1, (4, 8), (2,), norm="batch").eval()


@pytest.fixture
def image():
    return torch.rand(1, 1, 40, 48, generator=torch.Generator().manual_seed(1))


def test_the_scores_are_those_of_the_inferer(network, image):
    plain = SlidingWindowInferer((32, 32), overlap=0.25)
    with torch.inference_mode():
        observing = ObservingInferer(plain, axis=3, window=(16, 16))
        assert torch.equal(observing(image, network), plain(image, network))
        found = observing.last
    assert found.scores.shape == (1, 40, 48)
    assert [copy.shape for copy in found.copies] == [(1, 16, 16)] * 2
    assert found.features.ndim == 1
    assert np.isfinite(found.features).all()


def test_mirrored_copies_that_are_made_anyway(network, image):
    with torch.inference_mode():
        observing = ObservingInferer(FlipInferer(SimpleInferer(), axes=[3]), axis=3)
        scores = observing(image, network)
    first, second = observing.last.copies
    np.testing.assert_allclose((first + second) / 2, scores[0], atol=1e-6)
    assert not np.array_equal(first, second)


def test_the_mirrored_window_lies_where_the_window_is(image):
    """A function of single pixels gives the same for the mirror image."""
    observing = ObservingInferer(SimpleInferer(), axis=3, window=(16, 24))
    observing(image, torch.nn.Identity())
    first, second = observing.last.copies
    np.testing.assert_array_equal(first, second)
    assert observing.last.features is None


def test_a_window_larger_than_the_image(image):
    observing = ObservingInferer(SimpleInferer(), axis=3, window=(64, 64))
    observing(image, torch.nn.Identity())
    first, second = observing.last.copies
    assert first.shape == (1, 40, 48)
    np.testing.assert_array_equal(first, second)


def test_left_and_right_change_places():
    """Scores that follow the side of the image, as those of a left and a right lung."""

    class Sides(torch.nn.Module):
        def forward(self, image):
            left = torch.linspace(1, -1, image.shape[2])[None, None, :, None, None].expand_as(image)
            return torch.cat([torch.zeros_like(image), left, -left], 1)

    observing = ObservingInferer(SimpleInferer(), axis=2, window=(8, 4, 4), swapped=(1, 2))
    observing(torch.zeros(1, 1, 8, 4, 4), Sides())
    first, second = observing.last.copies
    np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, (slice(6, 14), slice(11, 19))),
        ((2, 3), (slice(0, 8), slice(0, 8))),
        ((18, 28), (slice(12, 20), slice(22, 30))),
        ((10, 12), (slice(6, 14), slice(8, 16))),
    ],
)
def test_window_at(found, expected):
    scores = torch.full((1, 20, 30), -1.0)
    if found:
        scores[0][found] = 1
    assert window_at(scores, (8, 8)) == expected
