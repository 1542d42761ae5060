"""Matched filters, on lines whose place is known."""

import numpy as np
import pytest
import torch

from medseg.errors import UnsuitableError
from medseg.methods.matched_filter import MatchedFilter, line_kernel

FILTERS = {
    "sigmas_px": [1.5, 2.5],
    "length_px": 15,
    "directions": 12,
    "threshold": 0.65,
    "contrast_px": 40,
    "border_px": 5,
}


def noisy(rows=128, columns=128):
    """A levelled picture without vessels, 0 outside a disk."""
    noise = torch.randn(1, 3, rows, columns, generator=torch.Generator().manual_seed(0))
    row, column = np.ogrid[:rows, :columns]
    disk = (row - rows / 2) ** 2 + (column - columns / 2) ** 2 < (0.45 * min(rows, columns)) ** 2
    return noise * 0.3, torch.as_tensor(disk)


@pytest.mark.parametrize("sigma", [1.0, 2.5, 4.0])
@pytest.mark.parametrize("angle", [0.0, 0.7, 2.0])
def test_a_kernel_does_not_see_brightness_and_measures_contrast(sigma, angle):
    kernel = line_kernel(sigma, 15, angle)
    assert float(kernel.sum()) == pytest.approx(0, abs=1e-5)
    steps = torch.arange(len(kernel)) - len(kernel) // 2
    row, column = torch.meshgrid(steps, steps, indexing="ij")
    across = row * np.cos(angle) - column * np.sin(angle)
    vessel = 7 - 2 * torch.exp(-across.square() / (2 * sigma**2))
    assert float((kernel * vessel).sum()) == pytest.approx(2, rel=1e-3)


@pytest.mark.parametrize("turned", [False, True])
def test_a_dark_line_is_found_and_a_bright_one_is_not(turned):
    picture, inside = noisy()
    picture[:, :, 40:44, 20:108] -= 4
    picture[:, :, 80:84, 20:108] += 4
    picture = (picture.transpose(2, 3) if turned else picture) * inside
    found = MatchedFilter(**FILTERS)(picture)[0, 0] > 0
    found = found.T if turned else found
    assert found[40:44, 36:92].float().mean() > 0.95
    assert found[46:74].float().mean() < 0.05
    assert not found[80:84].any()


def test_the_border_of_the_field_of_view_is_no_vessel():
    picture, inside = noisy()
    picture[:, :, inside] += 1.0
    row, column = np.ogrid[:128, :128]
    radius = torch.as_tensor(np.hypot(row - 64, column - 64))
    picture -= 3 * (radius > 0.45 * 128 - 4)  # the dark rim of a camera
    found = MatchedFilter(**FILTERS)(picture * inside)[0, 0] > 0
    assert not found[~inside].any()
    assert found[inside & (radius > 48)].float().mean() < 0.05


@pytest.mark.parametrize("shape", [(8, 8), (17, 200), (200, 30)])
def test_pictures_smaller_than_a_kernel(shape):
    logit = MatchedFilter(**FILTERS)(torch.randn(1, 3, *shape, generator=torch.Generator().manual_seed(0)))
    assert logit.shape == (1, 1, *shape)
    assert torch.isfinite(logit).all()


def test_nothing_inside_is_no_vessel():
    assert (MatchedFilter(**FILTERS)(torch.zeros(1, 3, 32, 32)) < 0).all()


def test_a_volume_is_refused():
    with pytest.raises(UnsuitableError, match="works on pictures only"):
        MatchedFilter(**FILTERS)(torch.zeros(1, 1, 8, 8, 8))
