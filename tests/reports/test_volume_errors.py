"""Agreement, misses and false alarms of a volume are seen, each in its colour and its place."""

import numpy as np
import pytest
from chest_volume import LUNG_WINDOW_HU, SHAPE, stored

from medseg.errors import MedsegError
from medseg.reports.picture_overlay import AGREED, FALSE_ALARM, MISSED
from medseg.reports.volume_errors import compared, draw_volume_errors

LEGEND_PX = 40  # rows at the top of the sheet


def drawn(change=lambda labels: None, **how):
    image, mask = stored(**how)
    prediction = mask.array.copy()
    change(prediction)
    return draw_volume_errors(image, prediction, mask.array, mask.affine, LUNG_WINDOW_HU)


def pixels(sheet, colour):
    return int((sheet[LEGEND_PX:] == colour).all(axis=2).sum())


def test_outcomes():
    truth = np.array([[[0, 0, 1, 1, 1, 2]]])
    prediction = np.array([[[0, 3, 0, 2, 1, 2]]])
    assert compared(prediction, truth).tolist() == [[[0, 3, 1, 1, 2, 2]]]


@pytest.mark.seconds
def test_agreement_is_a_tint_of_the_picture():
    """No error is shown, and the anatomy under the agreement can be told apart."""
    sheet = drawn()
    assert pixels(sheet, MISSED) == pixels(sheet, FALSE_ALARM) == 0
    image, mask = stored()
    darker = draw_volume_errors(image - 100, mask.array, mask.array, mask.affine, LUNG_WINDOW_HU)
    lung = (sheet != darker).any(axis=2) & (sheet[..., 2] < sheet[..., 1])  # yellow: less blue
    assert lung.sum() > 10_000
    assert pixels(sheet, AGREED) == 0


def test_misses():
    def lose_a_lung(labels):
        labels[labels == 2] = 0

    sheet = drawn(lose_a_lung)
    assert pixels(sheet, MISSED) > 10_000
    assert pixels(sheet, FALSE_ALARM) == 0


def test_false_alarms():
    def add_a_block(labels):
        labels[6:16, 23:26, 4:20] = 1

    sheet = drawn(add_a_block)
    assert pixels(sheet, FALSE_ALARM) > 3_000
    assert pixels(sheet, MISSED) == 0


def test_a_small_error_is_looked_for():
    """One voxel of a false alarm, far from the middle: all three slices go through it."""
    sheet = drawn(lambda labels: labels.__setitem__((36, 26, 1), 1))
    third = sheet.shape[1] // 3
    assert all(pixels(sheet[:, n * third : (n + 1) * third], FALSE_ALARM) > 0 for n in range(3))


def test_patients_right_is_left():
    """Whatever the order of the array."""

    def lose_the_right_lung(labels):
        labels[labels == 2] = 0

    sheets = [
        drawn(lose_the_right_lung, order=o, flips=f)
        for o, f in (((0, 1, 2), (1, 1, 1)), ((2, 0, 1), (-1, 1, -1)))
    ]
    for sheet in sheets:
        axial = sheet[LEGEND_PX:, : sheet.shape[1] // 3]
        columns = np.nonzero((axial == MISSED).all(axis=2))[1]
        assert columns.max() < axial.shape[1] / 2


def test_another_grid():
    image, mask = stored()
    with pytest.raises(MedsegError):
        draw_volume_errors(image, mask.array[1:], mask.array, mask.affine, LUNG_WINDOW_HU)
    with pytest.raises(MedsegError):
        draw_volume_errors(image[:, 1:], mask.array, mask.array, mask.affine, LUNG_WINDOW_HU)
    assert mask.array.shape == SHAPE
