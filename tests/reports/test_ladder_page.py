"""The panels of a case: one part and one scale for all methods, and their errors in the right colours."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from medseg.reports.ladder import draw_panels, shown_box
from medseg.reports.picture_overlay import AGREED, FALSE_ALARM, MISSED
from medseg.volume import Mask

LABELS = {0: "background", 1: "blob"}
SHAPE = (200, 300)


def blob(*box, value=1, shape=SHAPE):
    array = np.zeros(shape, np.uint8)
    array[tuple(slice(*edges) for edges in box)] = value
    return array


def pixels(url):
    head, _, content = url.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))).astype(int)


def near(picture, colour):
    return (np.abs(picture - colour.astype(int)).max(axis=2) < 40).mean()


def test_a_small_target_is_shown_with_its_false_alarms():
    truth, far = blob((90, 110), (100, 140)), blob((20, 30), (10, 20))
    assert shown_box(truth, [truth]) == (80, 90, 120, 150)
    assert shown_box(truth, [truth, far]) == (0, 0, 142, 172)


def test_a_large_target_is_shown_whole():
    truth = blob((10, 190), (20, 280))
    assert shown_box(truth, [truth]) == (0, 0, *SHAPE)


def test_a_network_of_lines_is_shown_where_the_masks_are_wrong():
    truth = np.zeros(SHAPE, np.uint8)
    truth[::20], truth[:, ::25] = 1, 1
    wrong = truth.copy()
    wrong[150:, 240:] = 1
    top, left, bottom, right = shown_box(truth, [truth, wrong])
    assert (bottom - top, right - left) == (120, 120)
    assert top <= 150
    assert (bottom, right) == (200, 300)
    assert left <= 240


def test_without_a_target():
    """A healthy image: where there are false alarms, else the whole picture."""
    nothing = np.zeros(SHAPE, np.uint8)
    assert shown_box(nothing, [nothing]) == (0, 0, *SHAPE)
    assert shown_box(nothing, [blob((90, 110), (100, 140))]) == (80, 90, 120, 150)


def test_panels_of_a_picture():
    image = np.full((3, *SHAPE), 120, np.uint8)
    truth = Mask(blob((80, 120), (100, 160)), LABELS)
    masks = {
        "perfect": truth,
        "empty": Mask(blob((0, 0), (0, 0)), LABELS),
        "right": Mask(blob((80, 120), (130, 190)), LABELS),
    }
    part, panels = draw_panels(image, truth, masks)
    assert list(panels) == ["image", "truth", *masks]
    shown = {name: pixels(url) for name, url in panels.items()}
    assert len({picture.shape for picture in shown.values()}) == 1
    assert part == "a part of 134 x 84 px"
    share = 40 * 60 / (134 * 84)
    assert near(shown["truth"], AGREED) == pytest.approx(share, abs=0.02)
    assert near(shown["perfect"], AGREED) == pytest.approx(share, abs=0.02)
    assert near(shown["empty"], MISSED) == pytest.approx(share, abs=0.02)
    for colour in (MISSED, AGREED, FALSE_ALARM):
        assert near(shown["right"], colour) == pytest.approx(share / 2, abs=0.02)
    assert near(shown["image"], AGREED) == 0


def test_labels_go_by_their_names():
    """Of the reference's values several may have one name, and a label that it lacks is not scored."""
    image = np.full((1, *SHAPE), 120, np.uint8)
    array = np.zeros(SHAPE, np.uint16)
    array[50:100, 100:150], array[100:150, 100:150] = 300, 7
    truth = Mask(array, {0: "background", 7: "left", 300: "left", 500: "background"})
    found = blob((50, 150), (100, 150), value=2)
    found[50:150, 150:160] = 1
    _, panels = draw_panels(image, truth, {"a": Mask(found, {0: "background", 1: "right", 2: "left"})})
    shown = pixels(panels["a"])
    assert near(shown, AGREED) > 0.2
    assert near(shown, MISSED) == 0
    assert near(shown, FALSE_ALARM) == 0


def test_panels_of_a_volume():
    """An axial slice above a coronal one, the same for all methods, however wrong their masks are."""
    shape = (40, 30, 50)
    image = np.random.default_rng(0).normal(0, 50, (1, *shape)).astype(np.float32)
    truth = Mask(blob((10, 30), (10, 20), (20, 40), shape=shape), LABELS, np.diag([2.0, 2, 2, 1]))
    far = Mask(blob((0, 5), (0, 5), (0, 5), shape=shape), LABELS, truth.affine)
    part, panels = draw_panels(image, truth, {"far": far, "perfect": truth})
    shown = {name: pixels(url) for name, url in panels.items()}
    assert len({picture.shape for picture in shown.values()}) == 1
    assert part.startswith("axial, slice 30 of 50")
    assert "coronal, slice 15 of 30" in part
    assert near(shown["far"], MISSED) > 0.1
    assert near(shown["perfect"], MISSED) == 0
