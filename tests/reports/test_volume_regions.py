"""Regions in transparent colours on slices of a volume."""

import numpy as np

from medseg.colours import REGIONS_RGB, region_rgb
from medseg.reports.volume_regions import draw_regions, paint_regions
from medseg.reports.volume_views import View
from medseg.volume import Mask, Window


def test_colours_of_regions_differ_and_repeat():
    colours = [region_rgb(value) for value in range(1, len(REGIONS_RGB) + 1)]
    assert len(set(colours)) == len(REGIONS_RGB)
    assert region_rgb(len(REGIONS_RGB) + 1) == colours[0]


def test_what_is_no_region_keeps_its_grey():
    labels = np.array([[0, 1], [2, 6]])
    picture = paint_regions(View("axial", np.full((2, 2), 100, np.uint8), labels, 1.0, "RLAP", 1, 1, 0.0))
    assert picture[0, 0].tolist() == [100] * 3
    painted = {tuple(picture[place].tolist()) for place in ((0, 1), (1, 0), (1, 1))}
    assert len(painted) == 3
    assert np.abs(picture[1, 1] - np.array(region_rgb(6)) * 0.55 - 45).max() <= 0.5


def test_the_legend_has_the_colours_of_the_regions():
    labels = np.zeros((40, 30, 20), np.uint8)
    labels[5:20, 5:25, 5:15], labels[20:35, 5:25, 5:15] = 3, 5
    names = {0: "background", 3: "third", 5: "fifth"}
    window = Window("Window", 0, 100, "HU")
    picture = draw_regions(np.full((1, *labels.shape), -50.0), Mask(labels, names, np.eye(4)), window)
    for value in (3, 5):
        assert (picture[:40] == region_rgb(value)).all(axis=2).any()
        assert (picture == np.round(0.55 * np.array(region_rgb(value)))).all(axis=2).sum() > 100
