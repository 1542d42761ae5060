"""Reviewed cases as a data set to train on."""

import hashlib
import json

import numpy as np
import pytest
from fundus_pictures import phantom, write_png
from review_decisions import encoded

from medseg.data.manifests import check_manifest, load_items
from medseg.errors import UnsuitableError, UsageError
from medseg.io import read_mask, read_volume
from medseg.io.nifti import write as write_nifti
from medseg.phantoms.dicom_series import write_series
from medseg.review.collect import collect_corrected
from medseg.sources import remember

EYE = {"0": "background", "1": "vessel"}
CHEST = {"0": "background", "1": "left_lung", "2": "right_lung", "3": "airway"}


def write_case(folder, mask, affine, labels, verdict, task, source, mode="semantic"):
    folder.mkdir(parents=True)
    name = "segmentation.png" if affine is None else "segmentation.nii.gz"
    (folder / name).write_bytes(encoded(mask, affine))
    digest = hashlib.sha256(source.read_bytes()).hexdigest() if source.is_file() else ""
    record = {
        "task": task,
        "labels": labels,
        "measurements": {},
        "warnings": [],
        "quality": {"verdict": "pass", "reasons": []},
        **({"review": {"verdict": verdict}} if verdict else {}),
        "provenance": {"input_sha256": digest, "mode": mode},
    }
    (folder / "measurements.json").write_text(json.dumps(record))
    remember(folder.parent, folder.name, source)


@pytest.fixture
def eyes(tmp_path):
    for number, verdict in enumerate(("accepted", "edited", "rejected", "")):
        picture, mask, _ = phantom(number)
        source = tmp_path / "images" / f"{number}.png"
        source.parent.mkdir(exist_ok=True)
        write_png(source, picture)
        write_case(tmp_path / "out" / f"{number}", mask, None, EYE, verdict, "retinal_vessel", source)
    return tmp_path / "out"


def test_accepted_and_edited_pictures(eyes, tmp_path):
    content = collect_corrected(eyes, tmp_path / "reviewed.json")
    assert check_manifest(tmp_path / "reviewed.json") == []
    items = load_items(tmp_path / "reviewed.json", "training")
    assert [item["subject"] for item in items] == ["0", "1"]
    assert "1 accepted, 1 edited" in content["description"]
    assert "Whose images these are is not known" in content["description"]
    for number, item in enumerate(items):
        assert np.array_equal(read_mask(item["label"], item["labels"]).array, phantom(number)[1])
        assert item["image"] == str(tmp_path / "images" / f"{number}.png")


def test_two_cases_of_one_image_are_listed_once(eyes, tmp_path, caplog):
    """Otherwise a split could have it on both sides. The last review counts."""
    source = tmp_path / "copy.png"
    source.write_bytes((tmp_path / "images" / "0.png").read_bytes())
    write_case(eyes / "copy", phantom(0)[1], None, EYE, "edited", "retinal_vessel", source)
    for name, date in (("0", "2026-07-02T00:00:00+00:00"), ("copy", "2026-07-02T01:00:00+09:00")):
        file = eyes / name / "measurements.json"
        record = json.loads(file.read_text())
        record["review"]["date"] = date
        file.write_text(json.dumps(record))
    collect_corrected(eyes, tmp_path / "set.json")
    assert check_manifest(tmp_path / "set.json") == []
    assert [item["subject"] for item in load_items(tmp_path / "set.json", "training")] == ["0", "1"]
    assert "copy is left out: 0 has the same image" in caplog.text


def test_a_series_and_a_volume(tmp_path, small_volume):
    mask = (small_volume.array[0] > 0).astype(np.uint8)
    write_series(small_volume, tmp_path / "study")
    series = read_volume(tmp_path / "study")
    flat = tmp_path / "scan.nii.gz"
    write_nifti(small_volume.array[0] + 1, small_volume.affine, flat)
    for name, source, affine in (
        ("study", tmp_path / "study", series.affine),
        ("scan", flat, small_volume.affine),
    ):
        write_case(tmp_path / "out" / name, mask, affine, CHEST, "edited", "lung_ct", source)
    collect_corrected(tmp_path / "out", tmp_path / "set.json")
    assert check_manifest(tmp_path / "set.json") == []
    scan, study = load_items(tmp_path / "set.json", "training")
    assert scan["image"] == str(flat)
    copied = read_volume(study["image"])
    assert np.array_equal(copied.array, series.array)
    assert np.allclose(copied.affine, series.affine, atol=1e-4)


@pytest.mark.parametrize("verdict", ["rejected", ""])
def test_nothing_to_collect(tmp_path, verdict):
    picture, mask, _ = phantom(0)
    write_png(tmp_path / "0.png", picture)
    write_case(tmp_path / "out" / "0", mask, None, EYE, verdict, "retinal_vessel", tmp_path / "0.png")
    with pytest.raises(UnsuitableError, match="none among 1"):
        collect_corrected(tmp_path / "out", tmp_path / "set.json")
    assert {path.name for path in tmp_path.iterdir()} == {"0.png", "out"}


def test_several_tasks_are_refused(eyes, tmp_path):
    write_case(
        eyes / "other", phantom(0)[1], None, {"0": "background", "1": "lesion"}, "edited", "breast", eyes
    )
    with pytest.raises(UnsuitableError, match="those of breast, retinal_vessel"):
        collect_corrected(eyes, tmp_path / "set.json")


def test_numbers_of_objects_are_refused(eyes, tmp_path):
    source = tmp_path / "images" / "0.png"
    write_case(eyes / "4", phantom(0)[1], None, EYE, "accepted", "retinal_vessel", source, "instance")
    with pytest.raises(UnsuitableError, match="others in 4"):
        collect_corrected(eyes, tmp_path / "set.json")


def test_an_image_that_is_gone(eyes, tmp_path):
    (tmp_path / "images" / "1.png").unlink()
    with pytest.raises(UnsuitableError, match="by --images"):
        collect_corrected(eyes, tmp_path / "set.json")
    assert not (tmp_path / "set_data").exists()


@pytest.mark.parametrize("name", ["set.json", "set_data"])
def test_nothing_is_overwritten(eyes, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match="which exists"):
        collect_corrected(eyes, tmp_path / "set.json")
    assert (tmp_path / name).read_text() == "mine"
