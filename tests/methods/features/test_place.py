"""Coordinates in the region's box, and the distance to its border."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from medseg.methods.features import FeatureStack


def computed(names, region, spacing=1.0):
    return FeatureStack(names, spacing)(np.zeros((1, *region.shape), np.float32), region)


@pytest.mark.parametrize("shape", [(20, 24), (9, 10, 11)])
@pytest.mark.parametrize("spacing", [1, 1.5])
def test_distance(shape, spacing):
    region = np.random.default_rng(0).uniform(size=shape) > 0.05
    expected = distance_transform_edt(np.pad(region, 1), sampling=spacing)
    inner = (slice(1, -1),) * len(shape)  # beyond the image is beyond the region
    np.testing.assert_allclose(computed(["distance"], region, spacing)[0], expected[inner], rtol=1e-5)


def test_coordinates_of_a_picture():
    region = np.zeros((10, 12), bool)
    region[2:7, 3:12] = True
    row, column, depth = computed(["row", "column", "depth"], region)
    np.testing.assert_allclose(row[2:7, 5], [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(column[4, 3:12], np.linspace(0, 1, 9))
    np.testing.assert_allclose(depth, row)


def test_depth_begins_in_each_column_where_the_region_does():
    """As the skin of a sector that a curved probe shows."""
    region = np.ones((11, 3), bool)
    region[:4, 1] = False
    depth = computed(["depth"], region)[0]
    np.testing.assert_allclose(depth[:, 0], np.linspace(0, 1, 11))
    np.testing.assert_allclose(depth[4:, 1], np.linspace(0, 0.6, 7))


def test_coordinates_of_a_volume():
    region = np.zeros((6, 7, 8), bool)
    region[1:4, 0:5, 2:7] = True
    i, j, k = computed(["i", "j", "k"], region)
    np.testing.assert_allclose(i[1:4, 2, 3], [0, 0.5, 1])
    np.testing.assert_allclose(j[2, 0:5, 3], np.linspace(0, 1, 5))
    np.testing.assert_allclose(k[2, 2, 2:7], np.linspace(0, 1, 5))
