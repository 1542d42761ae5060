"""Light and contrast inside the field of view are those of every camera."""

import numpy as np
import pytest
import torch
from fundus_items import NETWORK_PX, meta_of, photograph, saved
from monai.data import MetaTensor
from monai.transforms import Compose
from scipy.ndimage import binary_erosion, gaussian_filter

from medseg.errors import UnsuitableError
from medseg.transforms import (
    FindFieldOfViewd,
    LoadVolumed,
    NormalizeFieldOfViewd,
    ResizeFieldOfViewd,
)

pytestmark = pytest.mark.seconds


def _network_input(path, picture):
    steps = [
        LoadVolumed("image"),
        FindFieldOfViewd("image"),
        ResizeFieldOfViewd(["image", "field_of_view"], NETWORK_PX),
        NormalizeFieldOfViewd("image"),
    ]
    item = Compose(steps)({"image": saved(path, picture)})
    return np.asarray(item["image"]), np.asarray(item["field_of_view"][0]) > 0.5


@pytest.mark.parametrize("sizes", [(500, 1000), pytest.param((700, 3500), marks=pytest.mark.slow)])
def test_a_small_and_a_large_photograph_look_alike_to_the_network(tmp_path, sizes):
    inputs, fields = zip(*(_network_input(tmp_path / "a.png", photograph(s)[0]) for s in sizes), strict=True)
    rows, columns = (min(field.shape[axis] for field in fields) for axis in (0, 1))
    both = binary_erosion(fields[0][:rows, :columns] & fields[1][:rows, :columns], iterations=10)
    first, second = (gaussian_filter(image[1, :rows, :columns], 1.0)[both] for image in inputs)
    assert np.corrcoef(first, second)[0, 1] >= 0.95


class TestNormalizeFieldOfView:
    def _level(self, picture, field, **options):
        item = {"image": MetaTensor(torch.as_tensor(picture), meta=meta_of()), "field_of_view": field[None]}
        return np.asarray(NormalizeFieldOfViewd("image", **options)(item)["image"])

    @pytest.fixture
    def eye(self):
        picture, _, field = photograph(400)
        return picture.transpose(2, 0, 1).astype(np.float32), field

    def test_level_in_the_field_and_zero_outside(self, eye):
        levelled = self._level(*eye)
        assert levelled.dtype == np.float32
        assert not levelled[:, ~eye[1]].any()
        means, spreads = levelled[:, eye[1]].mean(axis=1), levelled[:, eye[1]].std(axis=1)
        assert np.abs(means).max() < 0.1
        assert spreads.max() == pytest.approx(1, abs=0.05)
        assert spreads.min() > 0.5

    def test_slow_changes_of_light_go(self, eye):
        row, column = np.indices(eye[1].shape) / eye[1].shape[0]
        shaded = eye[0] + (60 * row + 30 * column).astype(np.float32)
        plain, level = self._level(*eye)[1], self._level(shaded, eye[1])[1]
        assert np.corrcoef(eye[0][1][eye[1]], shaded[1][eye[1]])[0, 1] < 0.85
        assert np.corrcoef(plain[eye[1]], level[eye[1]])[0, 1] > 0.97

    @pytest.mark.parametrize(("gain", "offset"), [(0.2, 0), (257, 0), (1, 40), (3, -20)])
    def test_gain_and_offset_change_nothing(self, eye, gain, offset):
        np.testing.assert_allclose(
            self._level(eye[0] * gain + offset, eye[1]), self._level(*eye), rtol=0, atol=2e-3
        )

    def test_whole_numbers_are_as_good(self, eye):
        whole = self._level(eye[0].astype(np.uint8), eye[1])
        np.testing.assert_allclose(whole, self._level(*eye), atol=1e-5)

    def test_what_lies_outside_the_field_does_not_matter(self, eye):
        bright = np.where(eye[1], eye[0], 255).astype(np.float32)
        np.testing.assert_allclose(self._level(bright, eye[1]), self._level(*eye), atol=1e-5)

    @pytest.mark.parametrize("noise", [0.0, 0.5])
    def test_a_flat_channel_is_not_blown_up(self, eye, noise):
        flat = eye[0].copy()
        flat[2] = 7 + np.random.default_rng(0).normal(0, noise, eye[1].shape)
        levelled = self._level(flat, eye[1])
        assert np.isfinite(levelled).all()
        assert levelled[2].std() < 0.3
        np.testing.assert_allclose(levelled[:2], self._level(*eye)[:2], atol=1e-5)

    def test_nothing_to_see_is_an_error(self, eye):
        """Rounding errors of a plain disc are not to be blown up to a picture."""
        discs = (np.array([v, 60.3, 20.7], np.float32)[:, None, None] * eye[1] for v in (200.1, 0, 7e6, 1e-3))
        for picture in (*discs, np.full_like(eye[0], 80), np.full_like(eye[0], np.nan)):
            with pytest.raises(UnsuitableError, match="contrast"):
                self._level(picture, eye[1])
        faint = 100 + np.random.default_rng(0).normal(0, 0.1, eye[0].shape).astype(np.float32)
        assert self._level(faint, eye[1])[:, eye[1]].std() == pytest.approx(1, abs=0.05)
        with pytest.raises(UnsuitableError, match="contrast"):
            self._level(eye[0], np.zeros_like(eye[1]))
