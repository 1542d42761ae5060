"""Areas of labels in a picture, counted by hand."""

import numpy as np
import pytest

from medseg.case import Case
from medseg.errors import UnsuitableError
from medseg.measurements import measure_areas
from medseg.volume import Mask

LABELS = {0: "background", 1: "disc", 2: "cup"}


def case(spacing_mm=None):
    array = np.zeros((10, 20), np.uint8)
    array[1:4, 1:5] = 1
    array[7:9, 10:12] = 1
    return Case(Mask(array, LABELS, pixel_spacing_mm=spacing_mm), array[None])


def test_in_pixels():
    found = measure_areas(case())
    assert found["disc_area_px"] == {"value": 16, "unit": "px"}
    assert found["disc_area_fraction"] == {"value": 0.08, "unit": "1"}
    assert found["disc_components"] == {"value": 2, "unit": "count"}
    assert found["cup_area_px"]["value"] == found["cup_components"]["value"] == 0
    assert found["disc_area_mm2"]["value"] is None
    assert "size of a pixel is not known" in found["disc_area_mm2"]["reason"]


def test_in_millimetres():
    assert measure_areas(case((0.5, 0.25)))["disc_area_mm2"] == {"value": 2.0, "unit": "mm2"}


def test_a_volume_has_none():
    volume = Mask(np.zeros((2, 2, 2), np.uint8), LABELS, affine=np.eye(4))
    with pytest.raises(UnsuitableError, match="the mask of a picture"):
        measure_areas(Case(volume, volume.array[None]))
