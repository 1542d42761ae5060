"""The scan is found where the phantom has it; what is no plain B-mode picture is called so."""

from functools import cache

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_erosion
from skimage import data as photographs

from medseg import phantoms
from medseg.errors import UnsuitableError
from medseg.quality import ultrasound
from medseg.quality.inspection import inspect
from medseg.quality.ultrasound import find_region


@cache
def _phantom(seed=1, **more):
    """Picture, lesions and scan; shared, so to be left as they are."""
    return phantoms.breast_ultrasound(seed, **more)


def _rgb(grey):
    return np.stack([grey] * 3)


def _outline(width=1):
    lesion = _phantom()[1] > 0
    return lesion & ~binary_erosion(lesion, iterations=width)


def _warnings(picture):
    return find_region(picture if picture.ndim == 3 else picture[None]).warnings


class TestScan:
    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("lesions", [0, 1, 2])
    def test_bare_picture_is_kept_whole(self, seed, lesions):
        picture = _phantom(seed, lesions=lesions)[0]
        scan = find_region(picture[None])
        assert scan.mask.all()
        assert (scan.box, scan.warnings) == ((0, 0, 400, 360), ())
        np.testing.assert_array_equal(scan.grey, picture)

    @pytest.mark.seconds
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("shape", [(400, 360), (500, 700), (300, 420)])
    @pytest.mark.parametrize("outside", [0, 35, 255])
    def test_frame_is_cut_off(self, seed, shape, outside):
        picture, lesion, truth = _phantom(seed, shape=shape, framed=True)
        picture = np.where(~truth & (picture == 0), outside, picture).astype(np.uint8)
        scan = find_region(picture[None])
        assert (scan.mask & truth).sum() / (scan.mask | truth).sum() > 0.98
        assert scan.mask[lesion > 0].all()
        assert scan.warnings == ()

    @pytest.mark.seconds
    def test_sector(self):
        row, column = np.indices((600, 800))
        angle, radius = np.arctan2(column - 400, row + 100), np.hypot(row + 100, column - 400)
        sector = (np.abs(angle) < 0.6) & (radius > 130) & (radius < 650)
        picture = np.where(sector, _phantom(2, shape=(600, 800))[0], 0)
        assert find_region(picture[None]).mask[sector].mean() > 0.99

    @pytest.mark.parametrize(
        "change", [lambda p: p.astype(np.uint16) * 200, lambda p: p / 255, lambda p: p.astype(np.int32) * 9]
    )
    def test_any_number_type(self, change):
        picture = change(_phantom()[0])
        scan = find_region(picture[None])
        assert scan.warnings == ()
        assert scan.grey.max() == pytest.approx(255)

    def test_region(self):
        picture, _, truth = _phantom(framed=True)
        scan = find_region(picture[None], (66, 90, 400, 360))
        np.testing.assert_array_equal(scan.mask, truth)
        assert scan.box == (66, 90, 400, 360)
        assert scan.grey.shape == picture.shape


class TestWarnings:
    def test_grey_as_rgb(self):
        assert _warnings(_rgb(_phantom()[0])) == ()

    def test_colour_doppler(self):
        picture = _rgb(_phantom()[0])
        picture[:, 120:180, 150:200] = np.array([220, 40, 30])[:, None, None]
        assert _warnings(picture) == (ultrasound.COLOURED_AREA,)

    def test_coloured_contour(self):
        picture = _rgb(_phantom()[0])
        picture[:, _outline(2)] = np.array([255, 255, 0])[:, None]
        assert _warnings(picture) == (ultrasound.COLOURED_LINES,)

    def test_colours_of_the_frame_do_not_matter(self):
        picture, _, scan = _phantom(framed=True)
        picture = _rgb(picture)
        picture[2, ~scan] = 0
        assert _warnings(picture) == ()

    @pytest.mark.parametrize("width", [1, 2])
    def test_white_contour(self, width):
        picture = np.where(_outline(width), 255, _phantom()[0])
        assert _warnings(picture) == (ultrasound.DRAWN_CONTOUR,)

    @pytest.mark.seconds
    @pytest.mark.parametrize("gap", [0, 12])
    def test_two_views(self, gap):
        picture = np.hstack([_phantom(1)[0], np.zeros((400, gap), np.uint8), _phantom(2)[0]])
        assert _warnings(picture) == (ultrasound.TWO_VIEWS,)

    def test_two_views_on_a_screen_are_both_kept(self):
        picture = np.zeros((600, 900), np.uint8)
        picture[100:500, 40:400], picture[100:500, 450:810] = _phantom(1)[0], _phantom(2)[0]
        scan = find_region(picture[None])
        assert ultrasound.TWO_VIEWS in scan.warnings
        assert scan.mask[100:500, 40:400].mean() > 0.98
        assert scan.mask[100:500, 450:810].mean() > 0.98

    @pytest.mark.seconds
    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("framed", [False, True])
    def test_inverted(self, seed, framed):
        assert _warnings(255 - _phantom(seed, framed=framed)[0]) == (ultrasound.INVERTED,)

    def test_on_its_side(self):
        assert _warnings(_phantom()[0].T) == (ultrasound.NO_SPECKLE,)

    @pytest.mark.parametrize("name", ["camera", "coins", "coffee"])
    def test_grey_photographs_with_grain(self, name):
        picture = getattr(photographs, name)()
        grey = picture if picture.ndim == 2 else picture.mean(axis=-1).astype(np.uint8)
        assert ultrasound.NO_SPECKLE in _warnings(grey)


class TestRefusals:
    @pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
    def test_colour_photographs(self, name):
        with pytest.raises(UnsuitableError, match="a grey B-mode ultrasound picture"):
            find_region(getattr(photographs, name)().transpose(2, 0, 1))

    @pytest.mark.parametrize("name", ["astronaut", "chelsea"])
    def test_grey_photographs(self, name):
        with pytest.raises(UnsuitableError, match="neither the speckle nor the layers"):
            find_region(getattr(photographs, name)().mean(axis=-1)[None])

    @pytest.mark.seconds
    def test_fundus_photograph(self):
        with pytest.raises(UnsuitableError, match="a round bright region in the dark"):
            find_region(phantoms.fundus(500)[0].transpose(2, 0, 1))

    @pytest.mark.parametrize(("centre", "width"), [(-600, 1500), (40, 400)])
    @pytest.mark.parametrize("level", [0.3, 0.5, 0.7])
    @pytest.mark.seconds
    def test_slices_of_a_chest_ct(self, centre, width, level):
        hu = _chest()[:, :, int(level * _chest().shape[2])].T
        grey = 255 * np.clip((hu - centre) / width + 0.5, 0, 1)
        with pytest.raises(UnsuitableError, match="a B-mode ultrasound picture"):
            find_region(grey.astype(np.uint8)[None])

    @pytest.mark.parametrize("shape", [(80, 100), (400, 100), (1, 1)])
    def test_small(self, shape):
        with pytest.raises(UnsuitableError, match="at least 128 px high and wide"):
            find_region(np.zeros((1, *shape), np.uint8))

    def test_small_scan_in_a_large_frame(self):
        picture = np.zeros((600, 600), np.uint8)
        picture[300:360, 200:400] = _phantom()[0][:60, :200]
        with pytest.raises(UnsuitableError, match="an ultrasound region at least 64 px"):
            find_region(picture[None])

    @pytest.mark.parametrize(
        "picture",
        [
            np.full((300, 300), 9, np.uint8),
            np.full((300, 300), np.nan),
            np.random.default_rng(0).integers(0, 255, (300, 300), dtype=np.uint8),
            np.pad(np.full((1, 1), 255, np.uint8), 150),
        ],
        ids=["blank", "nan", "noise", "dot"],
    )
    def test_no_picture_at_all(self, picture):
        with pytest.raises(UnsuitableError):
            find_region(picture[None])


@cache
def _chest():
    array = phantoms.chest(seed=0).array
    return array[0] if array.ndim == 4 else array


class TestInspect:
    def _path(self, folder, picture):
        Image.fromarray(picture).save(folder / "a.png")
        return folder / "a.png"

    def test_pass(self, tmp_path):
        assert inspect(self._path(tmp_path, _phantom()[0]), "breast_ultrasound").verdict == "pass"

    def test_reject(self, tmp_path):
        found = inspect(self._path(tmp_path, photographs.astronaut()), "breast_ultrasound")
        assert (found.verdict, len(found.reasons)) == ("reject", 1)


@pytest.mark.data
@pytest.mark.seconds
def test_bus_bra(data_root):
    """30 of its pictures: nothing refused, next to nothing cut, no lesion touched, no warning."""
    images = sorted((data_root / "breast/bus_bra/images").glob("*.jpg"))[::50][:30]
    if not images:
        pytest.skip(f"BUS-BRA is not here: no pictures in {data_root / 'breast/bus_bra/images'}")
    kept, warned = [], 0
    for path in images:
        lesion = np.asarray(Image.open(path.parents[1] / "masks" / f"{path.stem}.png").convert("L")) > 0
        scan = find_region(np.asarray(Image.open(path))[None])
        assert scan.mask[lesion].mean() >= 0.98
        kept.append(scan.mask.mean())
        warned += bool(scan.warnings)
    assert np.mean(kept) > 0.99
    assert warned <= 1
