"""Volumes look as radiologists expect them, whatever the order of the array."""

import itertools

import numpy as np
import pytest
from chest_volume import LABELS, LUNG_WINDOW_HU, SHAPE, phantom, rotation, stored

from medseg.errors import MedsegError, UnsuitableError
from medseg.reports import draw_overlay
from medseg.reports.picture_overlay import COLOURS
from medseg.reports.volume_overlay import CASING, LINE_PX, bar_mm, contours, three_views
from medseg.reports.volume_views import (
    cut,
    label_profiles,
    slices_with_most_labels,
    to_displayed,
    to_grey,
)
from medseg.volume import Mask

AXES = [
    (order, flips)
    for order in itertools.permutations(range(3))
    for flips in itertools.product((1, -1), repeat=3)
]


class TestDisplay:
    @pytest.mark.parametrize(("order", "flips"), AXES)
    def test_any_order_of_axes_looks_the_same(self, order, flips):
        hu, labels, affine = phantom()
        shown = to_displayed(*stored(order, flips))
        np.testing.assert_array_equal(shown.image, hu[::-1, ::-1, ::-1].transpose(2, 1, 0))
        np.testing.assert_array_equal(shown.labels, labels[::-1, ::-1, ::-1].transpose(2, 1, 0))
        first = affine @ [SHAPE[0] - 1, SHAPE[1] - 1, SHAPE[2] - 1, 1]  # right, front, head
        np.testing.assert_allclose(shown.affine @ [0, 0, 0, 1], first)
        np.testing.assert_allclose(shown.affine @ [1, 2, 3, 0], [-6, -4, -5, 0])
        assert np.shares_memory(shown.image, shown.image.base)
        assert shown.tilt_degrees == pytest.approx(0)

    @pytest.mark.parametrize(("order", "flips"), AXES[::7])
    def test_radiological_convention(self, order, flips):
        volume = to_displayed(*stored(order, flips), LUNG_WINDOW_HU)
        axial, coronal, sagittal = three_views(volume, label_profiles(volume.labels))
        assert [view.letters for view in (axial, coronal, sagittal)] == ["RLAP", "RLSI", "APSI"]
        for view in (axial, coronal):  # the right lung on the left of the picture
            half = view.labels.shape[1] // 2
            assert (view.labels[:, :half] != 1).all()
            assert (view.labels[:, half:] != 2).all()
            assert {1, 2} <= set(np.unique(view.labels))
        bone = cut(volume, "axial", 24 - 1 - 10, 1.0)
        assert np.argwhere(bone.grey > 250)[:, 0].max() < bone.grey.shape[0] / 2
        airway = cut(volume, "sagittal", 40 - 1 - 19, 1.0)
        rows, columns = np.nonzero(airway.labels == 3)
        assert rows.min() < airway.labels.shape[0] * 0.1  # up to the head
        assert columns.mean() < airway.labels.shape[1] / 2  # the front on the left

    @pytest.mark.parametrize("degrees", [-40, 20, 44])
    def test_an_oblique_array_is_shown_along_its_nearest_axes(self, degrees):
        image, mask = stored((2, 0, 1), (1, -1, 1), rotation(degrees))
        shown = to_displayed(image, mask)
        np.testing.assert_array_equal(shown.image, to_displayed(*stored()).image)
        assert shown.tilt_degrees == pytest.approx(abs(degrees))

    def test_a_sheared_array_keeps_its_axes(self):
        image, mask = stored()
        affine = mask.affine.copy()
        affine[1, 2] = 4.0  # each slice 4 mm further to the front, 39 degrees
        shown = to_displayed(image, Mask(mask.array, LABELS, affine))
        np.testing.assert_array_equal(shown.labels, to_displayed(image, mask).labels)
        assert shown.tilt_degrees == pytest.approx(np.degrees(np.arctan2(4, 5)))

    @pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, -1)])
    def test_slices_are_numbered_as_the_file_has_them(self, flips):
        volume = to_displayed(*stored(flips=flips))
        top = cut(volume, "axial", 0, 1.0)
        assert top.number == (24 if flips[2] > 0 else 1)
        assert top.count == 24
        assert top.z_mm == pytest.approx(100 + 23 * 5)
        assert top.caption == f"Axial, slice {top.number} of 24, z = 215.0 mm"
        assert cut(volume, "coronal", 0, 1.0).number == (30 if flips[1] > 0 else 1)
        assert cut(volume, "sagittal", 3, 1.0).caption == f"Sagittal, slice {37 if flips[0] > 0 else 4} of 40"

    def test_true_proportions(self):
        volume = to_displayed(*stored())
        for plane, size_mm in (("axial", (60, 80)), ("coronal", (120, 80)), ("sagittal", (120, 60))):
            view = cut(volume, plane, 5, 0.5)
            assert view.grey.shape == view.labels.shape == tuple(2 * length for length in size_mm)

    def test_resampling_invents_no_values(self):
        grey = cut(to_displayed(*stored(), LUNG_WINDOW_HU), "axial", 5, 0.3).grey
        assert grey.max() == to_grey(np.array([40]), LUNG_WINDOW_HU)
        assert grey.min() == to_grey(np.array([-1000]), LUNG_WINDOW_HU)

    def test_the_lung_window(self):
        values = np.array([-3000, -1350, -600, 150, 3000, np.nan])
        np.testing.assert_array_equal(to_grey(values, LUNG_WINDOW_HU), [0, 0, 128, 255, 255, 0])
        np.testing.assert_array_equal(to_grey(np.array([-32768, 32767], np.int16), LUNG_WINDOW_HU), [0, 255])

    def test_refuses_what_cannot_be_shown(self):
        image, mask = stored()
        with pytest.raises(UnsuitableError, match="no affine"):
            draw_overlay(image, Mask(mask.array, LABELS))
        with pytest.raises(UnsuitableError, match=r"shape \(2, 40"):
            draw_overlay(np.concatenate([image, image]), mask)
        with pytest.raises(MedsegError, match="a mask on the volume's grid"):
            draw_overlay(image[:, 1:], mask)


class TestTellingSlices:
    def test_profiles_count_voxels(self):
        labels = np.random.default_rng(1).integers(0, 4, (5, 6, 7)).astype(np.uint8)
        for array in (labels, labels.transpose(2, 0, 1), labels[::-1, :, ::-1], np.asfortranarray(labels)):
            profiles = label_profiles(array)
            assert set(profiles) == {1, 2, 3}
            for value, profile in profiles.items():
                for axis in range(3):
                    others = tuple({0, 1, 2} - {axis})
                    np.testing.assert_array_equal(profile[axis], (array == value).sum(axis=others))

    @pytest.mark.parametrize("highest", [1, 40])
    def test_profiles_of_many_slices_and_labels(self, highest):
        labels = np.random.default_rng(2).integers(0, highest + 1, (600, 7, 3)).astype(np.uint16)
        labels[100:] *= labels[100:] == 1
        profiles = label_profiles(labels)
        assert list(profiles[1][0]) == [(plane == 1).sum() for plane in labels]
        assert profiles[1][1].sum() == profiles[1][2].sum() == (labels == 1).sum()
        assert set(profiles) == set(np.unique(labels).tolist()) - {0}

    def test_most_of_the_labels_win(self):
        labels = np.zeros((20, 10, 10), np.uint8)
        labels[2:9, 2:8, 2:5] = 1
        labels[6:15, 3:6, 6:9] = 2  # both in 6 to 8
        assert slices_with_most_labels(label_profiles(labels), labels.shape)[0] == 7

    def test_the_middle_without_labels(self):
        assert slices_with_most_labels({}, (9, 4, 5)) == (4, 2, 2)


class TestOverlay:
    def test_lines_lie_outside_their_labels(self):
        labels = np.zeros((30, 40), np.uint8)
        labels[10:20, 10:20] = 1
        labels[10:20, 28:35] = 2
        drawing = contours(labels)
        assert (drawing[labels > 0] == 0).all()
        assert (drawing[15, 10 - LINE_PX : 10] == 1).all()
        assert (drawing[15, 35 : 35 + LINE_PX] == 2).all()
        assert drawing[15, 9 - LINE_PX] == drawing[15, 35 + LINE_PX] == CASING
        assert drawing[15, 8 - LINE_PX] == 0

    def test_touching_labels_are_parted_by_a_line_without_a_rim(self):
        labels = np.ones((20, 20), np.uint8)
        labels[:, 10:] = 2
        drawing = contours(labels, 1)
        assert (drawing[:, 9] == 2).all()
        assert np.count_nonzero(drawing) == 20

    @pytest.mark.seconds
    def test_the_picture_holds_the_three_views_beside_each_other(self):
        image, mask = stored((2, 1, 0), (-1, 1, 1))
        before = image.copy(), mask.array.copy()
        picture = draw_overlay(image, mask)
        volume = to_displayed(image, mask)
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        for view in three_views(volume, label_profiles(volume.labels)):
            clear = contours(view.labels) == 0
            place = _find(picture, np.where(clear, view.grey, 0), clear)
            assert place is not None, view.plane
            _has_ink_around(picture, *place, *view.grey.shape)
        for colour in COLOURS[:3]:  # in the legend on top, and on the slices
            drawn = (picture == colour).all(axis=-1)
            assert drawn[:50].any()
            assert drawn[100:].any()
        np.testing.assert_array_equal(image, before[0])
        np.testing.assert_array_equal(mask.array, before[1])

    def test_an_empty_mask_and_a_single_slice(self):
        image, mask = stored()
        empty = draw_overlay(image, Mask(np.zeros_like(mask.array), LABELS, mask.affine))
        assert empty.max() == 255
        thin = draw_overlay(image[..., 10:11], Mask(mask.array[..., 10:11] > 0, LABELS, mask.affine))
        assert (thin == COLOURS[0]).all(axis=-1).any()

    @pytest.mark.parametrize(("width_mm", "length"), [(440, 100), (250, 50), (60, 20), (2, 1)])
    def test_scale_bar_is_round(self, width_mm, length):
        assert bar_mm(width_mm) == length


def _has_ink_around(picture, top, left, rows, columns):
    """A letter on each border, and the caption and the scale bar below."""
    middle, centre = top + rows // 2, left + columns // 2
    for row, column in ((middle, left - 16), (middle, left + columns + 16), (top - 16, centre)):
        assert picture[row - 10 : row + 10, column - 12 : column + 12].max() == 255
    assert picture[top + rows + 6 : top + rows + 26, centre - 12 : centre + 12].max() == 255
    below = picture[top + rows + 32 : top + rows + 60, left : left + columns].max(axis=(0, 2))
    assert below[:200].max() == 200
    assert (below[-20:] == 255).all()


def _find(picture, grey, clear):
    """Where a grey picture lies in a colour one, or None; by some points of its middle row first."""
    rows, columns = grey.shape
    points = np.flatnonzero(clear[rows // 2])[::40]
    windows = np.lib.stride_tricks.sliding_window_view(picture[..., 0], columns, axis=1)
    hits = np.argwhere((windows[..., points] == grey[rows // 2, points]).all(axis=-1))
    for row, column in hits - (rows // 2, 0):
        part = picture[row : row + rows, column : column + columns]
        if row >= 0 and part.shape[:2] == grey.shape and (part[clear] == grey[clear][:, None]).all():
            return row, column
    return None
