"""Outside the region, filters see the nearest value inside."""

import numpy as np

from medseg.filling import filled


def test_the_nearest_value():
    values = np.array([[9, 1, 9, 9, 5, 9, 9]], np.float32)
    region = np.array([[False, True, False, False, True, False, False]])
    np.testing.assert_array_equal(filled(values, region), [[1, 1, 1, 5, 5, 5, 5]])


def test_a_region_of_everything():
    values = np.arange(8.0).reshape(2, 2, 2)
    np.testing.assert_array_equal(filled(values, np.ones((2, 2, 2), bool)), values)
