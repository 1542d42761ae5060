"""Which folders are verified, against which images, and by which bundle the results were made."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from stamped_results import PICTURE_FORMATS, lesions

import medseg
from medseg.bundle import configs_sha256, open_bundle, read_method, sha256, shipped_root
from medseg.errors import UnreadableError
from medseg.io.raster import write_picture
from medseg.phantoms.dicom_series import write_series
from medseg.sources import remember
from medseg.stamp import Stamp
from medseg.verification.installed import compare_installed
from medseg.verification.verify import find_folders, missing_cases, verify


def test_folders_of_cases(tmp_path):
    result = lesions()
    for name in ("a", "deep/b"):
        result.save(tmp_path / name, PICTURE_FORMATS)
    lost = result.save(tmp_path / "lost", PICTURE_FORMATS)
    for name in ("measurements.json", "segmentation.png"):
        (lost / name).unlink()
    (tmp_path / "follow_up").mkdir()
    (tmp_path / "follow_up" / "report.html").write_text("<html>")
    found = [folder.relative_to(tmp_path).as_posix() for folder in find_folders(tmp_path)]
    assert found == ["a", "deep/b", "lost"]
    assert find_folders(tmp_path / "a") == [tmp_path / "a"]
    assert [each.case for each in verify(tmp_path)] == found


def test_no_results(tmp_path):
    with pytest.raises(UnreadableError, match="a folder of results; got none in"):
        verify(tmp_path)
    with pytest.raises(UnreadableError, match="which is missing"):
        verify(tmp_path / "none")


def test_cases_that_have_no_folder(tmp_path):
    lesions().save(tmp_path / "a", PICTURE_FORMATS)
    for name in ("a", "gone"):
        remember(tmp_path, name, tmp_path / f"{name}.png")
    assert missing_cases(tmp_path) == ["gone"]
    assert missing_cases(tmp_path / "a") == []


def test_an_old_result(tmp_path):
    record = {"task": "lung_ct", "labels": {}, "measurements": {}, "warnings": [], "provenance": {}}
    (tmp_path / "measurements.json").write_text(json.dumps(record))
    (checked,) = verify(tmp_path)
    assert checked.state == "not stamped"
    assert not checked.faults
    assert not checked.is_sure


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    folder = lesions().save(tmp_path / "a", PICTURE_FORMATS)

    def refuse(folder, case):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("medseg.verification.verify.check_files", refuse)
    (checked,) = verify(folder)
    assert checked.faults == ("its files can't be read (Permission denied)",)


def test_the_image_of_a_picture(tmp_path):
    """Whatever it is called; of the same name with other pixels it is another."""
    for name, grey in (("images", 90), ("others", 91)):
        (tmp_path / name).mkdir()
        write_picture(np.full((8, 8, 3), grey, np.uint8), tmp_path / name / "eye.png")
    result, image = lesions(), tmp_path / "images" / "eye.png"
    about = {**result.provenance, "input": "eye", "input_sha256": sha256(image)}
    folder = dataclasses.replace(result, provenance=about).save(tmp_path / "eye", PICTURE_FORMATS)
    assert verify(folder, [tmp_path / "images"])[0].is_sure
    image.rename(tmp_path / "images" / "renamed.png")
    assert verify(folder, [tmp_path / "images"])[0].is_sure
    (other,) = verify(folder, [tmp_path / "others"])
    assert other.faults == ("the image eye is not the one that was segmented",)
    (tmp_path / "others" / "eye.png").rename(tmp_path / "others" / "left.png")
    (unknown,) = verify(folder, [tmp_path / "others"])
    assert unknown.state == "as written"
    assert unknown.doubts == ("its image is not among those that were named",)


@pytest.mark.seconds
def test_the_image_of_a_series(chest_phantom, tmp_path):
    """Known by its voxels, in whatever files."""
    write_series(chest_phantom, tmp_path / "images" / "scan")
    other = dataclasses.replace(chest_phantom, array=np.flip(chest_phantom.array, 2))
    write_series(other, tmp_path / "others" / "scan")
    segmenter = medseg.Segmenter("lung_ct", "cpu", method="classical")
    folder = segmenter(tmp_path / "images" / "scan").save(tmp_path / "scan", ["nifti"])
    for number, path in enumerate(sorted((tmp_path / "images" / "scan").iterdir(), reverse=True)):
        path.rename(path.with_name(f"{number}.ima"))
    (same,) = verify(folder, [tmp_path / "images" / "scan"])
    assert same.is_sure
    assert same.installed == {"bundle": "the same", "weights": "none"}
    (found,) = verify(folder, [tmp_path / "others" / "scan"])
    assert found.faults == ("the image scan is not the one that was segmented",)


def test_the_installed_bundle(tmp_path, monkeypatch):
    bundle = shutil.copytree(
        shipped_root() / "breast_ultrasound",
        tmp_path / "bundles" / "breast_ultrasound",
        ignore=shutil.ignore_patterns("*.pt"),
    )
    monkeypatch.chdir(tmp_path)
    opened = open_bundle("breast_ultrasound")
    assert opened.root == bundle.resolve()
    digest, method = configs_sha256(opened), read_method(opened).name
    assert digest == configs_sha256(open_bundle(str(shipped_root() / "breast_ultrasound")))
    stamp = Stamp("0" * 32, task="breast_ultrasound", method=method, bundle_sha256=digest)
    assert compare_installed(stamp)["bundle"] == "the same"
    assert compare_installed(dataclasses.replace(stamp, bundle_sha256="1"))["bundle"] == "another"
    unweighed = compare_installed(dataclasses.replace(stamp, weights_sha256="1"))
    assert unweighed == {"bundle": "the same", "weights": "unknown"}
    (bundle / "configs" / "inference.yaml").open("a").write("# changed\n")
    assert configs_sha256(opened) != digest
    for task in ("no_such_task", "../breast_ultrasound", ""):
        assert compare_installed(Stamp("0" * 32, task=task, bundle_sha256=digest))["bundle"] == "unknown"
