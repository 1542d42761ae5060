"""From a drawn object to a mask of a volume, or a track through a film, with its files."""

import csv
import json

import numpy as np
import pytest
import tifffile

import medseg
from medseg.errors import UnsuitableError, UsageError
from medseg.io import write_mask
from medseg.io.film import Film
from medseg.io.stamps import read_stamp
from medseg.propagation import propagate, track
from medseg.verification.verify import verify
from medseg.volume import Mask, Volume

SPACING = (1.0, 2.0, 3.0)
AFFINE = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])


def tilted_rod():
    """(48, 40, 16): an ellipse that moves by 1.2 voxels a slice, bright on dark, on the slices 2 to 12."""
    i, j, k = np.ogrid[:48, :40, :16]
    inside = ((i - 14 - 1.2 * k) / 9) ** 2 + ((j - 20) / 6) ** 2 < 1
    return inside & (k >= 2) & (k <= 12)


@pytest.fixture(scope="module")
def rod():
    return tilted_rod()


@pytest.fixture(scope="module")
def volume(rod):
    noise = np.random.default_rng(0).normal(0, 5, rod.shape)
    return Volume((100 * rod + noise).astype(np.float32)[None], AFFINE, source="scan.nii.gz")


def drawn_on(rod, *slices):
    mask = np.zeros(rod.shape, np.uint8)
    for k in slices:
        mask[:, :, k] = rod[:, :, k]
    return mask


def dice(found, truth):
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


def test_one_slice_to_a_volume(rod, volume):
    result = propagate(volume, drawn_on(rod, 7))
    found = result.mask.array > 0
    assert dice(found, rod) > 0.93
    assert not found[:, :, [0, 1, 13, 14, 15]].any()
    assert np.array_equal(found[:, :, 7], rod[:, :, 7])  # what was drawn stays
    assert dice(np.repeat(drawn_on(rod, 7)[:, :, 7:8] > 0, 16, axis=2), rod) < 0.75  # it does beat a copy
    measured = {name: entry["value"] for name, entry in result.measurements.items()}
    assert measured["object_volume_ml"] == pytest.approx(found.sum() * 6 / 1000)
    assert (measured["object_slices"], measured["object_extent_mm"]) == (11, 33)
    assert measured["drawn_slices"] == [8]
    assert measured["end_towards_last_slice"].startswith("slice 13: ")
    assert (result.warnings, result.quality["verdict"]) == ([], "pass")


def test_reach_is_in_mm(rod, volume):
    result = propagate(volume, drawn_on(rod, 7), reach_mm=6.5)
    assert np.flatnonzero(result.mask.array.any(axis=(0, 1))).tolist() == [5, 6, 7, 8, 9]
    assert result.measurements["end_towards_first_slice"]["value"] == "slice 6: the reach that was asked for"


def test_between_two_drawn_slices(rod, volume):
    """Both drawings stay; between them it goes on where a slice shows nothing."""
    dark = volume.array.copy()
    dark[0, :, :, 7] = 0
    result = propagate(Volume(dark, AFFINE), drawn_on(rod, 3, 11))
    found = result.mask.array > 0
    assert all(np.array_equal(found[:, :, k], rod[:, :, k]) for k in (3, 11))
    assert found[:, :, 7].any()
    assert dice(found[:, :, 6], rod[:, :, 6]) > 0.85
    assert not found[:, :, 14:].any()


def test_slices_of_another_axis(rod, volume):
    mask = np.zeros(rod.shape, np.uint8)
    mask[:, 20] = rod[:, 20]
    found = propagate(volume, mask).mask.array > 0
    assert dice(found, rod) > 0.9
    assert np.array_equal(found, propagate(volume, mask, axis="coronal").mask.array > 0)


def test_the_orientation_of_the_array_does_not_matter(rod, volume):
    turned = Volume(volume.array.transpose(0, 3, 1, 2), AFFINE[:, [2, 0, 1, 3]])
    found = propagate(turned, drawn_on(rod, 7).transpose(2, 0, 1), axis="axial").mask.array
    assert np.array_equal(found.transpose(1, 2, 0), propagate(volume, drawn_on(rod, 7)).mask.array)


def test_an_object_like_its_surroundings_is_warned_of(rod, volume):
    noise = np.random.default_rng(1).normal(size=rod.shape).astype(np.float32)
    assert "hardly differ" in propagate(Volume(noise[None], AFFINE), drawn_on(rod, 7)).warnings[0]


def test_a_file_with_its_mask(rod, volume, tmp_path):
    from medseg.io import nifti

    nifti.write(volume.array[0], AFFINE, tmp_path / "scan.nii.gz")
    write_mask(Mask(drawn_on(rod, 7) * 3, {3: "lesion"}, AFFINE), tmp_path / "drawn.nii.gz")
    result = medseg.propagate(tmp_path / "scan.nii.gz", tmp_path / "drawn.nii.gz")
    folder = result.save(tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == {
        *("segmentation.nii.gz", "overlay.png", "report.html", "measurements.json")
    }
    assert verify(folder, [tmp_path / "scan.nii.gz"])[0].is_sure
    written = medseg.read_mask(folder / "segmentation.nii.gz", {0: "background", 1: "object"})
    assert np.array_equal(written.array, result.mask.array)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask: mask * 0, "an empty one"),
        (lambda mask: mask[:-1], "48 x 40 x 16; got one of 47 x 40 x 16"),
        (lambda mask: mask | np.roll(mask, 13, 1), "2 separate regions of 168, 168 pixels on number 8"),
        (lambda mask: mask + np.roll(mask, 4, 0), "2 values above 0: 1, 2"),
        (lambda mask: mask * -1.0, "whole numbers from 0"),
        (lambda mask: np.where(mask, np.nan, 0), "whole numbers from 0"),
        (lambda mask: mask.any(axis=(0, 1)) * np.ones_like(mask), "all of number 8"),
    ],
)
def test_what_is_wrong_with_a_mask(rod, volume, change, message):
    with pytest.raises(UnsuitableError, match=message):
        propagate(volume, change(drawn_on(rod, 7)))


def test_a_drawing_whose_axis_is_not_clear(volume):
    mask = np.zeros(volume.array.shape[1:], np.uint8)
    mask[4:7, 4:7, 4:7] = 1
    with pytest.raises(UsageError, match="could be drawn on sagittal or coronal or axial slices"):
        propagate(volume, mask)


def test_a_mask_that_lies_elsewhere(rod, volume):
    moved = AFFINE.copy()
    moved[0, 3] = 4
    with pytest.raises(UnsuitableError, match=r"4\.0 mm away"):
        propagate(volume, Mask(drawn_on(rod, 7), affine=moved))


@pytest.mark.parametrize(
    ("fill", "message"), [(np.nan, "NaN or infinite"), (7, "the same value everywhere on number 8")]
)
def test_what_is_wrong_with_a_volume(rod, volume, fill, message):
    array = volume.array.copy()
    array[..., 7] = fill
    with pytest.raises(UnsuitableError, match=message):
        propagate(Volume(array, AFFINE), drawn_on(rod, 7))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axis": "axal"}, "Did you mean axial"),
        ({"reach_mm": 0}, "a reach above 0"),
        ({"reach_mm": float("nan")}, "a reach above 0"),
    ],
)
def test_options(rod, volume, options, message):
    with pytest.raises(UsageError, match=message):
        propagate(volume, drawn_on(rod, 7), **options)


def test_a_single_slice_has_no_neighbours(rod, volume):
    with pytest.raises(UnsuitableError, match="at least two slices"):
        propagate(Volume(volume.array[..., 7:8], AFFINE), drawn_on(rod, 7)[..., 7:8], axis="axial")


@pytest.fixture(scope="module")
def film(volume):
    frames = np.clip(np.moveaxis(volume.array[0], -1, 0) + 60, 0, 255).astype(np.uint8)
    return Film(frames, "clip.dcm", pixel_spacing_mm=(0.5, 0.5), frame_ms=50)


def test_a_film(rod, film, tmp_path):
    result = track(film, rod[:, :, 7], frame=8)
    assert dice(np.moveaxis(result.masks, 0, -1) > 0, rod) > 0.9
    assert [row["frame"] for row in result.path if row["area_px"]] == list(range(3, 14))
    steps = np.diff([row["row_px"] for row in result.path if row["area_px"]])
    assert np.median(steps) == pytest.approx(1.2, abs=0.2)
    assert result.measurements["largest_displacement_mm"]["value"] == pytest.approx(3, abs=0.4)
    folder = result.save(tmp_path / "out")
    assert np.array_equal(tifffile.imread(folder / "segmentation.tif"), result.masks)
    with (folder / "path.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 16
    assert (rows[0]["row_px"], rows[7]["time_s"]) == ("", "0.3500")
    record = json.loads((folder / "measurements.json").read_text())
    assert record["measurements"]["frames_with_object"]["value"] == 11
    page = (folder / "report.html").read_text()
    assert "Frame 8 (drawn)" in page
    assert "https:" not in page
    assert (folder / "overlay.png").stat().st_size > 1000
    assert verify(folder)[0].state == "as written"
    for name in ("segmentation.tif", "overlay.png", "report.html"):
        assert read_stamp(folder / name).task == "tracking"


def test_a_film_without_a_pixel_size(rod, film):
    plain = Film(film.frames)
    assert track(plain, rod[:, :, 7], 8).measurements["path_length_mm"]["value"] is None
    scaled = track(plain, rod[:, :, 7], 8, pixel_spacing_mm=(0.5, 0.5)).measurements
    assert scaled["path_length_mm"]["value"] == pytest.approx(scaled["path_length_px"]["value"] / 2)


def test_reach_is_in_frames(rod, film):
    result = track(film, rod[:, :, 7], 8, reach=2)
    assert np.flatnonzero(result.masks.any(axis=(1, 2))).tolist() == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("frame", [0, 17, -1])
def test_frames_that_there_are_not(rod, film, frame):
    with pytest.raises(UsageError, match="a frame from 1 to 16"):
        track(film, rod[:, :, 7], frame)


def test_a_mask_of_another_size_than_the_film(rod, film):
    with pytest.raises(UnsuitableError, match="48 x 40; got one of 40 x 48"):
        track(film, rod[:, :, 7].T, 8)
