"""The field of view is found where the phantom has it; what is no fundus photograph is called so."""

import contextlib
import resource
import sys
from functools import cache

import numpy as np
import pytest

from medseg import phantoms
from medseg.errors import UnsuitableError
from medseg.io import read_mask, read_volume
from medseg.quality.fundus import find_field_of_view

pytestmark = pytest.mark.seconds

NO_FIELD = "no round field of view was found: the picture may not be a fundus photograph"
GREY = "the picture is grey: a colour photograph was expected"
COLOURS = "the picture's colours are not those of a retina (red most, blue least)"
SIDE, DIAMETER = 700, 0.92 * 700
LARGE = [pytest.param(size_px, marks=pytest.mark.slow) for size_px in (2000, 3500)]


@cache
def _phantom(size_px):
    """(C, row, column) and the true field; shared, so to be left as it is."""
    picture, _, field = phantoms.fundus(size_px)
    return picture.transpose(2, 0, 1), field


@pytest.fixture
def eye():
    picture, field = _phantom(SIDE)
    return picture.copy(), field.copy()


def _iou(a, b):
    return (a & b).sum() / (a | b).sum()


def _check(picture, field, warnings=(), diameter_px=DIAMETER, iou=0.98):
    found = find_field_of_view(picture)
    assert found.mask.dtype == bool
    assert found.mask.shape == picture.shape[1:]
    assert found.warnings == tuple(warnings)
    assert found.diameter_px == pytest.approx(diameter_px, rel=0.02)
    assert _iou(found.mask, field) >= iou


class TestPhantoms:
    @pytest.mark.parametrize("size_px", [300, 333, 500, 700, 1001, *LARGE])
    def test_sizes(self, size_px):
        _check(*_phantom(size_px), diameter_px=0.92 * size_px)

    @pytest.mark.parametrize(
        ("rows", "columns"),
        [
            (slice(100, -100), slice(None)),
            (slice(200, -200), slice(None)),
            (slice(None), slice(60, -60)),
            (slice(150, None), slice(None)),
            (slice(100, None), slice(120, None)),
            (slice(3, -40), slice(7, -1)),
        ],
    )
    def test_cut_by_the_frame(self, eye, rows, columns):
        _check(eye[0][:, rows, columns], eye[1][rows, columns])

    def test_reaches_to_the_frame_that_cuts_it(self):
        picture, field = (plane[..., 200:-201, 250:] for plane in _phantom(1001))
        mask = find_field_of_view(picture).mask
        for edge in (np.s_[0], np.s_[-1], np.s_[:, 0]):
            assert mask[edge].sum() == pytest.approx(field[edge].sum(), abs=15)

    @pytest.mark.parametrize("bar_px", [40, 80, 100, 150, 200])
    @pytest.mark.parametrize("sides", ["top", "top and bottom", "left and right"])
    def test_cut_by_black_bars(self, eye, bar_px, sides):
        picture, field = eye
        bars = [(slice(bar_px), slice(None))]
        if sides == "top and bottom":
            bars.append((slice(-bar_px, None), slice(None)))
        if sides == "left and right":
            bars = [(slice(None), slice(bar_px)), (slice(None), slice(-bar_px, None))]
        for rows, columns in bars:
            picture[:, rows, columns] = 0
            field[rows, columns] = False
        _check(picture, field)

    @pytest.mark.parametrize("offset", [(0, 0), (400, 30), (10, 500)])
    def test_off_the_middle_of_a_wide_frame(self, eye, offset):
        picture, field = np.zeros((3, 1200, 1300), np.uint8), np.zeros((1200, 1300), bool)
        place = tuple(slice(start, start + SIDE) for start in offset)
        picture[:, *place], field[place] = eye
        _check(picture, field)

    @pytest.mark.parametrize("most", [5, 25])
    @pytest.mark.parametrize("light", [1.0, 0.3])
    def test_noisy_surround(self, eye, most, light):
        picture, field = eye
        noise = np.random.default_rng(2).integers(0, most + 1, picture.shape, dtype=np.uint8)
        _check((np.where(field, picture, noise) * light).astype(np.uint8), field)

    def test_bright_surround_that_is_still_darker_than_the_eye(self, eye):
        _check(np.maximum(eye[0], 60), eye[1])

    @pytest.mark.parametrize(
        "change",
        [
            lambda p: (p * 0.3).astype(np.uint8),
            lambda p: p.astype(np.uint16) * 257,
            lambda p: p.astype(np.int32) * 16,
            lambda p: (p / 255).astype(np.float32),
            lambda p: (p / 255).astype(np.float16),
            lambda p: p / 255.0 - 1,
        ],
        ids=["dim", "16 bit", "12 bit", "float32", "float16", "below zero"],
    )
    def test_types_and_ranges(self, eye, change):
        _check(change(eye[0]), eye[1])

    def test_does_not_touch_the_picture(self, eye):
        before = eye[0].copy()
        find_field_of_view(eye[0])
        np.testing.assert_array_equal(eye[0], before)

    def test_a_large_field_next_to_small_bright_things(self, eye):
        picture, field = eye
        picture[:, 5:40, 5:30] = 230  # a name plate
        _check(picture, field)


class TestWarnings:
    def test_grey(self, eye):
        _check(eye[0][1:2], eye[1], [GREY])
        _check(np.repeat(eye[0][1:2], 3, axis=0), eye[1], [COLOURS])

    def test_colours_of_no_retina(self, eye):
        picture, field = eye
        _check(picture[::-1], field, [COLOURS])
        _check(picture * np.array([0, 1, 0], np.uint8)[:, None, None], field, [COLOURS])
        _check(np.where(field, 255 - picture, 0), field, [COLOURS])
        assert find_field_of_view(255 - picture).warnings == (NO_FIELD, COLOURS)

    @pytest.mark.parametrize("axis", [1, 2])
    @pytest.mark.parametrize(("black", "warned"), [(0.3, False), (0.5, True)])
    def test_a_part_is_black(self, eye, axis, black, warned):
        picture = np.moveaxis(eye[0], axis, 0)
        picture[: int(black * SIDE)] = 0
        warnings = find_field_of_view(np.moveaxis(picture, 0, axis)).warnings
        assert [text.split()[0] for text in warnings] == ["only"] * warned

    @pytest.mark.parametrize("axis", [1, 2])
    @pytest.mark.parametrize("shrink", [1, 2, 3])
    def test_two_fields(self, eye, axis, shrink):
        other = eye[0][:, ::shrink, ::shrink]
        room = [(0, 0), *((0, (SIDE - other.shape[1]) * (side != axis)) for side in (1, 2))]
        found = find_field_of_view(np.concatenate([eye[0], np.pad(other, room)], axis))
        (warning,) = found.warnings
        assert "2 round fields of view are in the picture and only the largest was analysed" in warning
        assert found.diameter_px == pytest.approx(DIAMETER, rel=0.02)

    def test_small_round_things_are_no_field(self, eye):
        picture = np.pad(eye[0], ((0, 0), (0, 0), (0, 200)))
        rows, columns = np.ogrid[:SIDE, : SIDE + 200]
        picture[:, (rows - 350) ** 2 + (columns - 800) ** 2 < 60**2] = 200
        assert find_field_of_view(picture).warnings == ()

    def test_no_surround(self, eye):
        inside = eye[0][:, 140:-140, 140:-140]
        found = find_field_of_view(inside)
        assert found.mask.all()
        assert found.warnings == (NO_FIELD,)
        assert found.diameter_px == 420

    def test_retina_photograph_is_fine(self):
        from skimage import data

        found = find_field_of_view(data.retina().transpose(2, 0, 1))
        assert found.warnings == ()
        assert found.diameter_px == pytest.approx(1395, rel=0.02)

    @pytest.mark.parametrize(
        "name",
        [
            "chelsea",
            "astronaut",
            "coffee",
            "rocket",
            "camera",
            "coins",
            "hubble_deep_field",
            "moon",
            "page",
            "logo",
            "immunohistochemistry",
            "cell",
        ],
    )
    def test_other_photographs_are_not(self, name):
        from skimage import data

        picture = getattr(data, name)()
        picture = picture[None] if picture.ndim == 2 else picture[..., :3].transpose(2, 0, 1)
        with contextlib.suppress(UnsuitableError):
            assert find_field_of_view(picture).warnings

    @pytest.mark.parametrize("name", ["chelsea", "astronaut", "coffee"])
    def test_nor_with_black_bars(self, name):
        """A black frame is no aperture."""
        from skimage import data

        padded = np.pad(getattr(data, name)().transpose(2, 0, 1), ((0, 0), (150, 150), (80, 80)))
        assert NO_FIELD in find_field_of_view(padded).warnings


class TestUnsuitable:
    @pytest.mark.parametrize(
        ("picture", "match"),
        [
            (np.zeros((3, 500, 500), np.uint8), "blank"),
            (np.full((3, 500, 500), 255, np.uint8), "blank"),
            (np.full((1, 500, 500), 90, np.uint16), "blank"),
            (np.full((3, 500, 500), 0.25), "blank"),
            (np.full((3, 500, 500), -0.25), "blank"),
            (np.broadcast_to(np.array([200, 60, 20], np.uint8)[:, None, None], (3, 500, 500)), "blank"),
            (np.zeros((3, 10, 10), np.uint8), "10x10"),
            (np.eye(10, dtype=np.uint8)[None] * 200, "10x10"),
            (np.arange(3, dtype=np.uint8).reshape(3, 1, 1), "1x1"),
            (np.random.default_rng(0).integers(0, 255, (3, 10, 9000), np.uint8), "9000x10"),
            (np.random.default_rng(0).integers(0, 255, (3, 150, 160), np.uint8), "field of view of 160 px"),
        ],
    )
    def test_blank_or_small(self, picture, match):
        with pytest.raises(UnsuitableError, match=match):
            find_field_of_view(picture)

    def test_small_field_in_a_large_picture(self):
        picture, _ = _phantom(300)
        small = picture[:, ::2, ::2]
        with pytest.raises(
            UnsuitableError, match=r"got a picture of 600x600 px with a field of view of 1[34]\d px"
        ):
            find_field_of_view(np.pad(small, ((0, 0), (225, 225), (225, 225))))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("where", [np.s_[0, 350, 350], np.s_[:, :, :300], np.s_[0, -1, -1], np.s_[:]])
    def test_not_finite(self, eye, value, where):
        picture = eye[0] / 255
        picture[where] = value
        with pytest.raises(UnsuitableError, match="finite"):
            find_field_of_view(picture)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
def test_80_megapixels_need_little_more_than_the_picture():
    rows, columns = np.ogrid[:8000, :10000]
    field = (rows - 4000) ** 2 + (columns - 5000) ** 2 <= 3900**2
    picture = field * np.array([150, 70, 30], np.uint8)[:, None, None]
    find_field_of_view(_phantom(300)[0])  # imports
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # The mask, one comparison, and 200 MB to spare; index arrays of the field alone were 800 MB.
    _check(picture, field, diameter_px=7800)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 2 * field.size + 200e6


@pytest.fixture
def retina(data_root):
    return data_root / "retina"


@pytest.mark.data
class TestRealPhotographs:
    def test_chase_db1(self, retina):
        paths = sorted((retina / "chase_db1").glob("*.jpg"))
        assert len(paths) == 28
        for path in paths:
            found = find_field_of_view(read_volume(path).array)
            assert found.warnings == (), path.name
            assert 880 < found.diameter_px < 930, path.name

    def test_fives(self, retina):
        paths = sorted((retina / "fives_half").glob("*_[ADGN].jpg"))
        assert len(paths) == 19
        for path in paths:
            assert find_field_of_view(read_volume(path).array).warnings == (), path.name

    def test_both_eyes_in_one_picture(self, retina):
        eyes = [read_volume(retina / "chase_db1" / f"Image_12{side}.jpg").array for side in "LR"]
        (warning,) = find_field_of_view(np.concatenate(eyes, 2)).warnings
        assert "2 round fields" in warning

    def test_hrf(self, retina):
        paths = sorted((retina / "hrf_half").glob("*.jpg"))
        assert len(paths) == 24
        for path in paths:
            found = find_field_of_view(read_volume(path).array)
            given = read_mask(path.with_name(f"{path.stem}_fov.png"), {0: "outside", 1: "field"}).array > 0
            assert found.warnings == (), path.name
            assert _iou(found.mask, given) >= 0.99, path.name
            assert found.diameter_px == pytest.approx(np.ptp(np.flatnonzero(given.any(axis=0))) + 1, rel=0.02)
