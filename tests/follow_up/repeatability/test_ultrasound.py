"""An ultrasound picture taken again keeps its lesion, at the size of a pixel that it names."""

import numpy as np
import pytest

from medseg.follow_up.repeatability.ultrasound import retake_ultrasound
from medseg.phantoms.breast import breast_ultrasound


def test_a_lesion_keeps_its_size_in_mm():
    _, mask, _ = breast_ultrasound(3)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    keep = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    white = (mask * 255)[None]
    for seed in range(4):
        again = retake_ultrasound(white, np.random.default_rng(seed), keep=keep)
        area = np.count_nonzero(again.picture[0] > 100) * again.pixel_size**2
        assert area == pytest.approx(mask.sum(), rel=0.06)


def test_nothing_differs_at_strength_0_and_black_stays_black():
    picture, _, _ = breast_ultrasound(3)
    picture[:, :40] = 0
    same = retake_ultrasound(picture[None], np.random.default_rng(0), 0.0)
    assert same.pixel_size == 1
    assert np.abs(same.picture[0].astype(int) - np.where(picture < 3, 0, picture)).max() <= 1
    assert not retake_ultrasound(picture[None], np.random.default_rng(0)).picture[0][:, :20].any()
