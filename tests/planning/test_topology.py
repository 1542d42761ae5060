"""Patches and halvings as nnU-Net would have them, within a number of voxels."""

import numpy as np
import pytest

from medseg.planning.topology import LEAST_TO_POOL, coarser, largest_patch, topology

MOST = 96**3


def test_even_spacing_is_halved_evenly():
    found = topology((64, 64, 64), (1, 1, 1))
    assert found.strides == ((2, 2, 2),) * 4
    assert found.patch == (64, 64, 64)
    assert found.channels == (16, 32, 64, 128, 128)


def test_a_coarse_axis_waits():
    """As nnU-Net's plan for prostate MR (0.62, 0.62, 3.6 mm): in-plane first."""
    found = topology((320, 256, 20), (0.62, 0.62, 3.6))
    assert found.strides[:2] == ((2, 2, 1), (2, 2, 1))
    assert (2, 2, 2) in found.strides


@pytest.mark.parametrize("shape", [(110, 84, 42), (512, 512, 400), (300, 300, 12), (20, 700, 30), (9, 9, 9)])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.7, 0.7, 5), (3, 1, 1)])
def test_a_patch_fits(shape, spacing):
    found = largest_patch(shape, spacing, MOST)
    assert np.prod(found.patch) <= MOST
    assert all(size % divisor == 0 for size, divisor in zip(found.patch, found.divisors, strict=True))
    assert all(
        size // divisor >= LEAST_TO_POOL / 2 or divisor <= 2
        for size, divisor in zip(found.patch, found.divisors, strict=True)
    )


def test_tiny_images_and_single_slices_have_a_patch():
    assert largest_patch((5, 3, 2), (1, 1, 1), MOST).strides == ((2, 2, 2),)
    flat = largest_patch((128, 128, 1), (1, 1, 5), MOST)
    assert flat.patch[2] == 1
    assert all(stride[2] == 1 for stride in flat.strides)


def test_a_large_image_gets_a_coarser_grid():
    found = coarser((512, 512, 400), (0.7, 0.7, 1.0), MOST, 0.25, coarsest=50)
    shape = np.array([512 * 0.7, 512 * 0.7, 400]) / found
    covered = np.prod(largest_patch(shape, found, MOST).patch) / shape.prod()
    assert 0.25 <= covered < 0.32


def test_not_coarser_than_the_structures_allow():
    assert max(coarser((512, 512, 400), (0.7, 0.7, 1.0), MOST, 0.25, coarsest=1.2)) <= 1.2
    assert coarser((96, 96, 96), (1.0, 1.0, 1.0), MOST, 0.25, coarsest=50) == (1.0, 1.0, 1.0)
