import numpy as np
import pytest

from medseg.errors import UnsuitableError
from medseg.measurements.motion import measure_motion, path_of


def squares():
    """Four frames: a square of 4 px that moves by (3, 4) px, then is gone, then is back as 9 px."""
    masks = np.zeros((4, 20, 20), bool)
    masks[0, 2:4, 2:4] = True
    masks[1, 5:7, 6:8] = True
    masks[3, 8:11, 10:13] = True
    return masks


def test_the_path_in_px_and_mm():
    rows = path_of(squares(), 0, (0.5, 2.0), frame_ms=40)
    assert [row["area_px"] for row in rows] == [4, 4, 0, 9]
    assert rows[1]["area_mm2"] == 4.0
    assert (rows[1]["row_px"], rows[1]["column_px"]) == (5.5, 6.5)
    assert (rows[1]["row_mm"], rows[1]["column_mm"]) == (2.75, 13.0)
    assert rows[1]["displacement_px"] == 5.0
    assert rows[1]["displacement_mm"] == pytest.approx(np.hypot(1.5, 8))
    assert (rows[2]["row_px"], rows[2]["displacement_mm"]) == (None, None)
    assert [row["time_s"] for row in rows] == [0, 0.04, 0.08, 0.12]


def test_the_measurements():
    found = measure_motion(path_of(squares(), 1, (0.5, 2.0)), 1)
    assert {name: found[name]["value"] for name in ("frames", "frames_with_object", "drawn_frame")} == {
        "frames": 4,
        "frames_with_object": 3,
        "drawn_frame": 2,
    }
    assert (found["first_frame_with_object"]["value"], found["last_frame_with_object"]["value"]) == (1, 4)
    assert found["largest_area_px"]["value"] == 9
    assert found["smallest_area_mm2"]["value"] == 4.0
    assert found["path_length_px"]["value"] == pytest.approx(5 + np.hypot(3.5, 4.5))
    assert found["largest_displacement_px"]["value"] == pytest.approx(np.hypot(3.5, 4.5))


def test_without_a_pixel_size_there_are_no_mm():
    found = measure_motion(path_of(squares(), 0), 0)
    for name in ("drawn_area_mm2", "path_length_mm", "largest_displacement_mm"):
        assert found[name]["value"] is None
        assert "pixel size" in found[name]["reason"]


def test_no_object_on_the_drawn_frame():
    with pytest.raises(UnsuitableError, match="none on frame 3"):
        path_of(squares(), 2)
