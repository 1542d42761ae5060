"""Visits that are read, and those that are refused."""

import json
from datetime import date

import pytest
from two_chests import LABELS, chest, result_folder

from medseg.errors import UnreadableError, UnsuitableError, UsageError
from medseg.follow_up.times import times_of
from medseg.io import write_mask
from medseg.volume import Mask

DATES = (date(2025, 7, 2), date(2025, 1, 31))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return [result_folder(out, case, seed=seed) for seed, case in enumerate(("first", "second"))]


def test_visits_are_in_the_order_of_their_dates(folders):
    found = times_of(folders, dates=DATES)
    assert [visit.case for visit in found.visits] == ["second", "first"]
    assert [visit.date for visit in found.visits] == sorted(DATES)
    assert found.notes == ["the visits were put in the order of their dates"]
    assert "nothing shows" in found.warnings[0]
    assert found.visits[0].image.array.shape[1:] == found.visits[0].mask.array.shape


def test_names_that_are_alike_stay_apart(folders, tmp_path):
    again = result_folder(tmp_path, "first", seed=3)
    found = times_of([folders[0], again], dates=DATES[::-1])
    assert [visit.case for visit in found.visits] == ["first", "first-2"]


@pytest.mark.parametrize(
    ("dates", "text"),
    [((), "the date of each study"), (DATES[:1], "2 dates"), (DATES[:1] * 2, "different dates")],
    ids=["none", "one", "equal"],
)
def test_dates_are_needed(folders, dates, text):
    with pytest.raises(UsageError, match=text):
        times_of(folders, dates=dates)


def test_one_time_is_refused(folders):
    with pytest.raises(UsageError, match="two or more times"):
        times_of(folders[:1])


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"method": "residual_unet"}, "agree in the method"),
        ({"weights_sha256": "12ab"}, "agree in the weights"),
        ({"bundle_version": "0.0.1"}, "agree in the version"),
        ({"mode": "panoptic"}, "of the mode semantic"),
    ],
    ids=["method", "weights", "version", "mode"],
)
def test_results_made_in_two_ways_are_refused_with_the_command_that_helps(folders, tmp_path, changed, text):
    other = result_folder(tmp_path, "other", changed)
    with pytest.raises(UsageError, match=text) as error:
        times_of([folders[0], other], dates=DATES)
    images = f"{folders[0].parent / 'first.nii.gz'} {tmp_path / 'other.nii.gz'}"
    assert f"medseg follow-up {images} --task lung_ct -o OUT" in str(error.value)


def test_a_folder_of_several_cases_is_refused(folders):
    with pytest.raises(UsageError, match="the folder of one case"):
        times_of([folders[0].parent, folders[1]], dates=DATES)


def test_an_image_needs_a_task(folders):
    with pytest.raises(UsageError, match="--task"):
        times_of([folders[0].parent / "first.nii.gz", folders[1]], dates=DATES)


def test_an_image_that_is_gone_is_looked_for_where_it_is_now(folders, tmp_path):
    folder = result_folder(tmp_path / "here", "third", seed=5)
    moved = tmp_path / "there"
    moved.mkdir()
    (tmp_path / "here" / "third.nii.gz").rename(moved / "renamed.nii.gz")
    with pytest.raises(UnsuitableError, match="--images"):
        times_of([folder, folders[1]], dates=DATES)
    assert len(times_of([folder, folders[1]], images=[moved], dates=DATES).visits) == 2


def test_a_mask_of_another_grid_is_refused(folders, tmp_path):
    _, labels, affine = chest()
    folder = result_folder(tmp_path, "third")
    write_mask(Mask(labels[:-1], LABELS, affine), folder / "segmentation.nii.gz")
    with pytest.raises(UnsuitableError, match="a mask of the shape"):
        times_of([folder, folders[1]], dates=DATES)
    affine[0, 3] += 5
    write_mask(Mask(labels, LABELS, affine), folder / "segmentation.nii.gz")
    with pytest.raises(UnsuitableError, match="on the grid of the image"):
        times_of([folder, folders[1]], dates=DATES)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "a damaged one in third"),
        ('{"task": "lung_ct", "labels": {"x": 1}, "measurements": {}, "provenance": {}}', "a damaged one"),
        (None, "third without one"),
    ],
    ids=["cut", "labels", "gone"],
)
def test_a_damaged_record_is_refused(folders, tmp_path, text, named):
    folder = result_folder(tmp_path, "third")
    path = folder / "measurements.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(UnreadableError, match=named):
        times_of([folder, folders[1]], dates=DATES)


def test_names_are_not_cut_in_messages(folders, tmp_path):
    other = result_folder(tmp_path, "other", {"method": "a_method_of_a_long_name"})
    with pytest.raises(UsageError, match="got classical and a_method_of_a_long_name"):
        times_of([folders[0], other], dates=DATES)


def test_a_rejected_mask_is_warned_of(folders, tmp_path):
    folder = result_folder(tmp_path, "third", seed=7)
    path = folder / "measurements.json"
    record = json.loads(path.read_text())
    record["quality"] = {"verdict": "reject", "reasons": ["too small"]}
    path.write_text(json.dumps(record))
    found = times_of([folder, folders[1]], dates=DATES)
    assert found.warnings[0].startswith("third: the mask was rejected by its quality check (too small)")
