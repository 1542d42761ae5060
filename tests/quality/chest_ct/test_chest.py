import time
import tracemalloc
from itertools import permutations

import numpy as np
import pytest

from medseg.errors import UnsuitableError
from medseg.quality.chest_ct import check_chest_ct
from medseg.quality.chest_ct.coverage import slice_warnings

pytestmark = pytest.mark.seconds

PART = "only part of the chest is covered"
SIDE = "cut by the field of view at the "
SPINE = "the spine seems to lie in front"
SHOULDERS = "the shoulders seem to lie below"
LITTLE = "little aerated lung was found"
ONE = "aerated lung was found on one side only"


class Body:
    """Shapes painted in HU on a grid of `step_mm`; coordinates are mm to the right, front and head."""

    def __init__(self, size_mm=(420, 320, 340), step_mm=(4, 4, 4), noise_hu=20):
        self.affine = np.diag([*map(float, step_mm), 1.0])
        self.affine[:3, 3] = -np.array(size_mm) / 2
        shape = [round(size / step) for size, step in zip(size_mm, step_mm, strict=True)]
        self.x, self.y, self.z = (
            self.affine[axis, 3] + step_mm[axis] * np.arange(shape[axis]).reshape(np.roll([-1, 1, 1], axis))
            for axis in range(3)
        )
        self.hu = np.full(shape, -1000.0)
        self.noise = np.random.default_rng(0).normal(0, noise_hu, shape)

    def ellipsoid(self, hu, centre, radii):
        """An ellipsoid; a radius of infinity makes it a cylinder."""
        axes = zip((self.x, self.y, self.z), centre, radii, strict=True)
        self.hu[sum(((axis - middle) / radius) ** 2 for axis, middle, radius in axes) <= 1] = hu
        return self

    def box(self, hu, x, y, z=(-999, 999)):
        ranges = ((self.x, x), (self.y, y), (self.z, z))
        inside = [(axis >= low) & (axis < high) for axis, (low, high) in ranges]
        self.hu[inside[0] & inside[1] & inside[2]] = hu
        return self

    def table(self):
        """Foam within a thin shell, and foam upon it."""
        self.box(-850, (-200, 200), (-128, -112))
        self.box(-150, (-200, 200), (-156, -128))
        return self.box(-930, (-196, 196), (-152, -132))

    @property
    def array(self):
        return (self.hu + self.noise).round().astype(np.int16)


def chest(left_hu=-850, right_hu=-850, scale=1.0, size_mm=(420, 320, 340), step_mm=(4, 4, 4), noise_hu=20):
    """Two lungs with heart and liver between them, spine, shoulders, trachea, table."""
    body = Body(size_mm, step_mm, noise_hu).table()
    body.ellipsoid(-100, (0, 0, 0), (170, 112, np.inf)).ellipsoid(40, (0, 0, 0), (160, 102, np.inf))
    for side, hu in ((-1, left_hu), (1, right_hu)):
        body.ellipsoid(hu, (side * 72, 0, 20), (58, 82, 120))
        body.ellipsoid(500, (side * 110, -60, 120), (35, 12, 30))
    body.ellipsoid(40, (-25, 20, -20), (60, 55, 65))
    body.ellipsoid(60, (60, 0, -105), (75, 75, 60))
    body.ellipsoid(300, (0, -75, 0), (18, 18, np.inf))
    body.box(-1000, (-8, 8), (-20, -4), (40, 999))
    body.affine[:3] *= scale
    return body


def abdomen(lung_bases_mm=0):
    body = Body((420, 320, 400)).table()
    body.ellipsoid(-100, (0, 0, 0), (175, 112, np.inf)).ellipsoid(50, (0, 0, 0), (150, 90, np.inf))
    body.ellipsoid(300, (0, -65, 0), (20, 20, np.inf))
    rng = np.random.default_rng(0)
    for x, y, z in rng.uniform((-110, 0, -150), (110, 60, 150), (25, 3)):
        body.ellipsoid(-1000, (x, y, z), rng.uniform(6, 28, 3))
    stool = (body.hu > 0) & (body.x < -90) & (np.abs(body.y) < 25)
    body.hu[stool] = rng.uniform(-700, 50, stool.sum())
    for side in (-1, 1):
        body.ellipsoid(-850, (side * 80, -20, 200), (50, 50, max(1, lung_bases_mm)))
    return body


def head():
    body = Body((250, 250, 240), (2.5, 2.5, 2.5)).ellipsoid(-100, (0, 0, 10), (80, 98, 105))
    body.box(-930, (-90, 90), (-125, -60), (-40, 100))  # the head rest's foam, before the head
    body.ellipsoid(40, (0, 0, 10), (78, 96, 103)).ellipsoid(1000, (0, 0, 10), (75, 93, 100))
    body.ellipsoid(35, (0, 0, 10), (68, 86, 93)).ellipsoid(40, (0, -10, -90), (55, 60, 60))
    for side in (-1, 1):
        body.ellipsoid(-1000, (side * 25, 60, -35), (15, 18, 18))
        cells = np.hypot(np.hypot(body.x - side * 62, body.y + 20), body.z + 35) < 14
        body.hu[cells] = np.random.default_rng(1).uniform(-1000, 400, cells.sum())
    return body.box(-1000, (-9, 9), (10, 30), (-200, -50))


def legs():
    body = Body((420, 250, 400)).table()
    for side in (-1, 1):
        body.ellipsoid(-100, (side * 90, 0, 0), (80, 80, np.inf)).ellipsoid(
            50, (side * 90, 0, 0), (70, 70, np.inf)
        )
        body.ellipsoid(1000, (side * 90, 0, 0), (14, 14, np.inf))
    return body.box(50, (-50, 50), (-70, -40)).box(-900, (-30, 30), (-30, 20))  # a pillow between them


def _check(body):
    return check_chest_ct(body.array, body.affine)


def _turned(array, affine, order, flips):
    """The same scan, stored along other axes."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3)[:, list(order)]
    array = array.transpose(order)
    for axis, flip in enumerate(flips):
        if flip:
            matrix[:3, 3] += matrix[:3, axis] * (array.shape[axis] - 1)
            matrix[:3, axis] *= -1
            array = np.flip(array, axis)
    return array, affine @ matrix


class TestWholeChest:
    def test_no_warning(self):
        assert _check(chest()) == []

    def test_does_not_touch_the_array(self):
        body = chest()
        array = body.array
        before = array.copy()
        check_chest_ct(array, body.affine)
        np.testing.assert_array_equal(array, before)

    @pytest.mark.parametrize("flips", [(0, 1, 0), (1, 0, 1)])
    @pytest.mark.parametrize("order", list(permutations(range(3))))
    def test_any_orientation(self, order, flips):
        body = chest()
        array, affine = _turned(body.array[26:], body.affine, order, flips)
        for layout in (np.ascontiguousarray, np.asfortranarray):
            (text,) = check_chest_ct(layout(array), affine)
            assert SIDE + "left," in text

    @pytest.mark.parametrize("dtype", [">i2", "i4", "f2", "<f4", ">f8"])
    def test_types(self, dtype):
        body = chest()
        assert check_chest_ct(body.array.astype(dtype), body.affine) == []

    @pytest.mark.parametrize("noise_hu", [0, 150])
    def test_noise(self, noise_hu):
        assert _check(chest(noise_hu=noise_hu, step_mm=(2, 2, 5))) == []

    @pytest.mark.parametrize("scale", [0.35, 0.6, 1.25])
    def test_newborns_to_giants(self, scale):
        step = 4 if scale > 1 else 2.5
        assert _check(chest(scale=scale, step_mm=(step, step, 4))) == []

    def test_a_newborn_in_a_long_scan(self):
        """Little lung in few slices, but all of it."""
        assert _check(chest(scale=0.24, size_mm=(420, 320, 2000))) == []

    @pytest.mark.parametrize("step_mm", [(1.2, 1.2, 5), (2, 2, 2), (5, 5, 5), (3, 5, 1)])
    def test_grids(self, step_mm):
        assert _check(chest(step_mm=step_mm)) == []

    @pytest.mark.parametrize("padding_hu", [-3024, -2000, -1024, -1000])
    @pytest.mark.parametrize("clip_hu", [-4000, -1024])
    def test_padding_and_clipping(self, padding_hu, clip_hu):
        body = chest()
        array = np.maximum(body.array, clip_hu)
        array[np.broadcast_to(np.hypot(body.x, body.y) > 195, array.shape)] = padding_hu
        assert check_chest_ct(array, body.affine) == []

    def test_oblique_and_sheared(self):
        body = chest()
        angle = np.deg2rad(20)
        turn = np.eye(4)
        turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        assert check_chest_ct(body.array, turn @ body.affine) == []
        body.affine[1, 2] = 1.5  # a gantry that leans
        assert _check(body) == []


class TestDisease:
    @pytest.mark.parametrize("hu", [40, 5, -400, -980])
    @pytest.mark.parametrize("side", ["left_hu", "right_hu"])
    def test_one_lung_is_dense_removed_or_pure_air(self, side, hu):
        (text,) = _check(chest(**{side: hu}))
        assert text.startswith(ONE)

    def test_pure_ground_glass(self):
        assert _check(chest(left_hu=-640, right_hu=-640)) == []

    @pytest.mark.parametrize(("front_mm", "expected"), [(20, []), (62, [LITTLE])])
    def test_ards(self, front_mm, expected):
        """Air is left in front alone, as in those who lie on the back."""
        body = chest()
        body.hu[(body.hu == -850) & (body.y < front_mm) & (np.abs(body.x) < 150)] = 20
        assert [text[: len(LITTLE)] for text in _check(body)] == expected

    def test_emphysema_leaves_some_tissue(self):
        body = chest()
        holes = (body.hu == -850) & (np.random.default_rng(1).random((*body.hu.shape[:2], 1)) < 0.5)
        body.hu[holes & (body.z > 40)] = -985
        assert _check(body) == []


class TestCoverage:
    @pytest.mark.parametrize(
        ("part", "where"),
        [
            (np.s_[:, :, :60], "top,"),
            (np.s_[:, :, 35:], "bottom,"),
            (np.s_[:, :, 40:44], "top and bottom,"),
        ],
    )
    def test_ends(self, part, where):
        body = chest()
        affine = body.affine.copy()
        affine[2, 3] += 4 * (part[2].start or 0)
        array = body.array[part]
        (text,) = check_chest_ct(array, affine)
        assert text.startswith(f"{PART} ({4 * array.shape[2]} mm")
        assert f"cut at the {where}" in text

    @pytest.mark.parametrize(
        ("part", "where"),
        [
            (np.s_[22:], "left,"),
            (np.s_[:75], "right,"),
            (np.s_[:, 27:], "back,"),
            (np.s_[:, :52], "front,"),
            (np.s_[30:75], "left and right,"),
        ],
    )
    def test_sides(self, part, where):
        body = chest()
        (text,) = check_chest_ct(body.array[part], body.affine)
        assert f"{SIDE}{where}" in text

    @pytest.mark.parametrize("padding_hu", [-3024, -1024])
    @pytest.mark.parametrize("step_mm", [(4, 4, 4), (1.4, 1.4, 4)])
    def test_round_field(self, padding_hu, step_mm):
        body = chest(step_mm=step_mm)
        array = body.array
        array[np.broadcast_to(np.hypot(body.x, body.y) > 124, array.shape)] = padding_hu
        (text,) = check_chest_ct(array, body.affine)
        assert f"{SIDE}left and right," in text

    def test_a_field_that_moves_from_slice_to_slice(self):
        body = chest()
        array = body.array
        array[np.broadcast_to(np.hypot(body.x - body.z / 8, body.y), array.shape) > 124] = -2000
        (text,) = check_chest_ct(array, body.affine)
        assert f"{SIDE}left, right" in text

    def test_two_slices(self):
        body = chest(step_mm=(4, 4, 5))
        (text,) = check_chest_ct(body.array[:, :, 34:36], body.affine)
        assert f"{PART} (10 mm" in text

    def test_arms_and_skin_may_be_cut(self):
        body = chest()
        assert check_chest_ct(body.array[18:88, 13:68], body.affine) == []


class TestPosture:
    @pytest.mark.parametrize(
        ("axes", "expected"),
        [([1], [SPINE]), ([0, 1], [SPINE]), ([2], [SHOULDERS]), ([1, 2], [SPINE, SHOULDERS])],
    )
    def test_flips(self, axes, expected):
        body = chest()
        texts = check_chest_ct(np.flip(body.array, axes), body.affine)
        assert [text[: len(start)] for text, start in zip(texts, expected, strict=True)] == expected

    def test_contrast_in_the_heart_is_no_spine(self):
        body = chest()
        assert _check(body.ellipsoid(450, (-25, 40, -20), (50, 40, 65))) == []

    def test_a_part_is_not_judged(self):
        body = chest()
        (text,) = check_chest_ct(body.array[:, ::-1, 35:65], body.affine)
        assert text.startswith(PART)


class TestSlices:
    @pytest.mark.parametrize(
        ("spacing_mm", "expected"),
        [
            ((0.7, 0.7, 5.5), "5.5 mm apart"),
            ((10, 2, 2), "10 mm apart"),
            ((0.7, 0.7, 5), "7 times as thick as a pixel is wide (5 and 0.7 mm)"),
        ],
    )
    def test_thick(self, spacing_mm, expected):
        (text,) = slice_warnings(np.array(spacing_mm))
        assert expected in text

    @pytest.mark.parametrize("spacing_mm", [(2, 2, 5), (0.7, 0.7, 4), (0.5, 0.5, 0.5)])
    def test_thin_enough(self, spacing_mm):
        assert slice_warnings(np.array(spacing_mm)) == []

    def test_of_a_scan(self):
        (text,) = _check(chest(step_mm=(3, 3, 10)))
        assert "10 mm apart" in text


class TestOtherParts:
    @pytest.mark.parametrize("lung_bases_mm", [0, 45])
    def test_abdomen(self, lung_bases_mm):
        with pytest.raises(UnsuitableError, match="probably an abdomen or pelvis"):
            _check(abdomen(lung_bases_mm))

    def test_much_of_the_lungs_above_an_abdomen_passes(self):
        (text,) = _check(abdomen(110))
        assert "cut at the top," in text

    def test_head(self):
        with pytest.raises(UnsuitableError, match=r"got \d ml of aerated lung .* probably a head or a limb"):
            _check(head())

    def test_legs(self):
        with pytest.raises(UnsuitableError, match=r"got \d ml of aerated lung"):
            _check(legs())

    def test_neck_with_apices(self):
        body = chest(size_mm=(420, 320, 800))
        with pytest.raises(UnsuitableError, match=r"in \d+% of the slices"):
            check_chest_ct(body.array[:, :, 125:], body.affine)

    def test_nobody(self):
        with pytest.raises(UnsuitableError, match="expected a CT with a body in it; got 0 ml"):
            _check(Body())

    def test_a_table_without_a_body(self):
        with pytest.raises(UnsuitableError):
            _check(Body().table())

    def test_noise(self):
        rng = np.random.default_rng(0)
        with pytest.raises(UnsuitableError):
            check_chest_ct(rng.integers(-1024, 3071, (90, 90, 90)), np.diag([4, 4, 4, 1]))


class TestScale:
    @pytest.mark.parametrize(
        ("change", "match"),
        [
            (lambda hu: hu + 1024, "intercept was not applied. Add it to each value"),
            (lambda hu: (hu + 1024).astype(np.uint16), "from 0 to .* add -1024"),
            (lambda hu: np.where(hu > -985, hu + 1024, -1024), "from -1024 to .* add -1024"),
            (lambda hu: np.where(hu > -985, hu + 1024, -2000), "from -2000 to .* add -1024"),
            (lambda hu: hu.astype(np.uint16), "wrapped around"),
            (lambda hu: hu - 1024, "applied twice"),
            (lambda hu: hu + 8192, "all HU have 8192 added to them. Subtract 8192"),
            (lambda hu: hu + 4096.0, "all HU have 4096 added"),
            (
                lambda hu: (hu.astype(np.int32) + 32768).astype(np.uint16),
                "32768 added to them. Subtract 32768",
            ),
            (lambda hu: np.where(hu > -985, hu + 8192, 0), "from 0 to .* 8192 added"),
            (lambda hu: hu + 6000, "a constant was added: no value is below"),
            (lambda hu: hu - 8192, "a constant was subtracted"),
            (lambda hu: (hu.astype(np.int32) + 32768).astype(np.uint16).view(np.int16), "read as signed"),
            (
                lambda hu: ((hu + 1024) / 1500 * 255).clip(0, 255).astype(np.uint8),
                "0 to 2.. .* 8-bit picture",
            ),
            (lambda hu: (hu + 1000) / 2000, "normalised"),
            (lambda hu: (hu - hu.mean()) / hu.std(), "normalised"),
            (lambda hu: hu.clip(-160, 240), "from -160 to 240 .* below -160 were cut off"),
            (lambda hu: hu.clip(-600, 1500), "below -600 were cut off"),
            (lambda hu: (hu < -500).astype(np.uint8), r"from 0 to 1 .* a mask \(2 different"),
            (lambda hu: hu < -500, "a mask"),
            (lambda hu: (hu // 50 + 30).clip(0, 40).astype(float), "a mask"),
            (lambda hu: hu * 0, "from 0 to 0 .* blank"),
            (lambda hu: hu * 0 - 1000, "from -1000 to -1000 .* blank"),
            (lambda hu: (hu + 1024.0).clip(0) ** 2 / 3000, "such as MR"),
            (lambda hu: hu * 10 + 300, "between -200 and 200"),
            (lambda hu: np.where(hu > 200, np.nan, hu), "NaN"),
            (lambda hu: np.where(hu > 200, np.inf, hu), "infinite"),
            (lambda hu: hu[0], "three axes"),
            (lambda hu: hu[None], "three axes"),
            (lambda hu: hu[:0], "three axes"),
            (lambda hu: hu.astype(complex), "three axes"),
        ],
    )
    def test_not_hounsfield(self, change, match):
        body = chest(noise_hu=10)
        with pytest.raises(UnsuitableError, match=match):
            check_chest_ct(change(np.maximum(body.array, -1024)), body.affine)

    @pytest.mark.parametrize("window", [(-1000, 400), (-1350, 150), (-1024, 3071)])
    def test_a_window_that_keeps_the_lungs(self, window):
        body = chest()
        assert check_chest_ct(body.array.clip(*window), body.affine) == []

    def test_one_undefined_voxel(self):
        body = chest()
        array = body.array.astype(np.float32)
        array[13, 17, 19] = np.nan
        with pytest.raises(UnsuitableError, match="NaN"):
            check_chest_ct(array, body.affine)


class TestGrid:
    @pytest.mark.parametrize(
        ("factor", "match"),
        [
            ((1, 1, 3), "got 4 x 4 x 12 mm"),
            ((0.01, 0.01, 0.01), r"got 0.04 x 0.04 x 0.04 mm\. Check that the file's unit"),
            ((0.1, 0.1, 0.1), "60 mm wide .* got 42 mm wide, 32 mm deep, 34 mm from feet"),
            ((1, 1, 0.027), "10 mm from feet to head; got 420 mm wide, 320 mm deep, 9.18 mm"),
            ((0, 1, 1), "invertible"),
            ((np.nan, 1, 1), "invertible"),
        ],
    )
    def test_absurd(self, factor, match):
        body = chest()
        with pytest.raises(UnsuitableError, match=match):
            check_chest_ct(body.array, body.affine @ np.diag([*factor, 1]))

    def test_one_slice(self):
        body = chest()
        with pytest.raises(UnsuitableError, match="4 mm from feet to head"):
            check_chest_ct(body.array[:, :, 40:41], body.affine)


@pytest.mark.slow
def test_a_large_scan_needs_little_time_and_memory():
    body = chest(step_mm=(4, 4, 0.6), size_mm=(420, 320, 360))
    array = body.array.repeat(5, axis=0)[:512].repeat(6, axis=1)[:, :480]  # 512 x 480 x 600
    affine = body.affine @ np.diag([1 / 5, 1 / 6, 1, 1])
    check_chest_ct(body.array, body.affine)  # imports
    tracemalloc.start()
    started = time.process_time()
    check_chest_ct(array, affine)
    seconds, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.25 * array.nbytes
    assert seconds < 2  # 0.3 s on a free core; tracing and a busy machine cost some
