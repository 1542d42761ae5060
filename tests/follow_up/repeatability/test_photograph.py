"""A photograph taken again shows the retina where `to_source` says."""

import numpy as np
from scipy.ndimage import map_coordinates

from medseg.follow_up.repeatability.photograph import retake_photograph
from medseg.phantoms.retina import fundus


def test_nothing_differs_at_strength_0():
    picture, _, field = fundus(300, seed=1)
    channels = np.moveaxis(picture, -1, 0)
    again = retake_photograph(channels, field, np.random.default_rng(0), 0.0)
    np.testing.assert_array_equal(again.picture, channels * field)


def test_places_of_the_retina_are_known():
    picture, _, field = fundus(400, seed=1)
    channels = np.moveaxis(picture, -1, 0)
    again = retake_photograph(channels, field, np.random.default_rng(2))
    assert np.abs(again.to_source - np.indices(field.shape)).mean() > 3
    moved = map_coordinates(channels[1].astype(float), again.to_source, order=1)
    seen = again.picture.any(axis=0)
    assert not seen[~field].any()
    assert np.corrcoef(moved[seen], again.picture[1][seen])[0, 1] > 0.8
