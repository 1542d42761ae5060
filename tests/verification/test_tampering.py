"""Whatever is done to a file of a result is told, and what is done to nothing is not."""

import json
import shutil

import pytest
from stamped_results import PICTURE_FORMATS, VOLUME_FORMATS, lesions, lungs

from medseg.verification.verify import verify

pytestmark = pytest.mark.seconds

RECORD = "measurements.json"
VOLUME_FILES = (
    *("airway.stl", "left_lung.stl", "overlay.png", "report.dcm", "report.html", "right_lung.stl"),
    *("rtstruct.dcm", "segmentation.dcm", "segmentation.nii.gz", "segmentation.nrrd", "tissue.nii.gz"),
    "tissue.png",
)
PICTURE_FILES = ("overlay.png", "panoptic.json", "panoptic.png", "report.html", "segmentation.png")
FILES = [*(("lungs", name) for name in VOLUME_FILES), *(("lesions", name) for name in PICTURE_FILES)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Each result twice: the files of `other` are those of another save."""
    home = tmp_path_factory.mktemp("written")
    for out in ("out", "other"):
        lungs().save(home / out / "lungs", VOLUME_FORMATS)
        lesions().save(home / out / "lesions", PICTURE_FORMATS)
    return home


@pytest.fixture
def case(written, tmp_path):
    """A function from the name of a case to a copy that may be damaged."""
    return lambda name: shutil.copytree(written / "out" / name, tmp_path / name)


def flip(path, at=0.5):
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def one(folder):
    (checked,) = verify(folder)
    return checked


def faults(folder):
    return list(one(folder).faults)


@pytest.mark.parametrize("name", ["lungs", "lesions"])
def test_an_untouched_result_is_as_written(written, name):
    checked = one(written / "out" / name)
    assert checked.state == "as written"
    assert list(checked.texts) == []
    names = {path.name for path in (written / "out" / name).iterdir()}
    assert names == {RECORD, *(file for case, file in FILES if case == name)}


@pytest.mark.parametrize(("name", "file"), FILES)
def test_what_is_done_to_a_file(case, written, name, file):
    folder = case(name)
    path = folder / file
    whole = path.read_bytes()
    for damage, told in ((flip, "was changed"), (cut, "was changed"), (type(path).unlink, "is missing")):
        damage(path)
        assert faults(folder) == [f"{file} {told}"]
        path.write_bytes(whole)
    shutil.copy(written / "other" / name / file, path)
    (fault,) = faults(folder)
    assert fault.startswith(f"{file} is of another result (")
    path.write_bytes(whole)
    assert faults(folder) == []


@pytest.mark.parametrize("at", [0, 0.2, 0.5, 0.8, 1])
def test_one_bit_of_the_record(case, at):
    folder = case("lungs")
    flip(folder / RECORD, at)
    assert one(folder).state == "changed"


def test_what_is_done_to_the_record(case, written):
    folder = case("lungs")
    path = folder / RECORD
    text = path.read_text()
    for change, told in (
        (text.replace('"value": 10.25', '"value": 11.25'), "a measurement was changed"),
        (text.replace('"verdict": "pass"', '"verdict": "warn"'), "its content was changed, the measurements"),
        (text.replace('"task": "lung_ct"', '"task": "lung_ct", "task": "lung_ct"', 1), "its layout"),
        (text.replace("\n", "\r\n"), "its layout was changed"),
        (json.dumps(json.loads(text)), "its layout was changed"),
    ):
        assert change != text
        path.write_bytes(change.encode())
        (fault,) = faults(folder)
        assert fault.startswith(f"{RECORD}: {told}")
    path.write_text(text[:-20])
    assert faults(folder) == [f"{RECORD} can't be read as JSON"]
    path.unlink()
    assert faults(folder) == [f"{RECORD} is missing"]


def test_the_record_of_another_save(case, written):
    folder = case("lungs")
    shutil.copy(written / "other" / "lungs" / RECORD, folder)
    assert len(faults(folder)) == len(VOLUME_FILES)
    assert all("is of another result" in fault for fault in faults(folder))


def test_stamps_cannot_be_taken_from_the_record_alone(case):
    """Else a changed result would look like an old one."""
    folder = case("lungs")
    record = json.loads((folder / RECORD).read_text())
    for key in ("medseg_stamp", "files", "digests"):
        del record[key]
    (folder / RECORD).write_text(json.dumps(record))
    (fault,) = faults(folder)
    assert "has no stamp, but airway.stl has one" in fault
    for path in folder.iterdir():
        if path.name != RECORD:
            path.unlink()
    assert one(folder).state == "not stamped"


def test_what_was_added(case, written):
    """A person's own files are named; what looks like a part of the result, or of another, is a fault."""
    folder = case("lungs")
    (folder / "notes.txt").write_text("mine")
    (folder / "figures").mkdir()
    assert one(folder).state == "as written"
    assert list(one(folder).notes) == ["figures was added", "notes.txt was added"]
    shutil.copy(written / "other" / "lungs" / "segmentation.nii.gz", folder / "better.nii.gz")
    (folder / "segmentation.png").write_bytes(b"")
    told = sorted(faults(folder))
    assert told[0].startswith("better.nii.gz is of another result (lung_ct, image cccccccc")
    assert told[1] == "segmentation.png is not of this result"


@pytest.mark.parametrize(
    "change",
    [
        {"files": None},
        {"files": {"../lungs/report.html": "0"}},
        {"files": {"": 1, "\0": 2}},
        {"labels": 5, "provenance": {"review": [3, {"earlier_mask": "/etc/passwd"}]}},
        {"provenance": [], "medseg_stamp": "text"},
        {"digests": [], "measurements": None},
    ],
    ids=str,
)
def test_odd_records_are_changed_ones(case, change):
    folder = case("lesions")
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps(record | change))
    assert one(folder).state == "changed"


def test_a_result_that_was_copied_as_a_whole(case, tmp_path):
    folder = case("lungs")
    shutil.copytree(folder, tmp_path / "twin")
    assert [(each.state, *each.notes) for each in verify(tmp_path)] == [
        ("as written", "another folder holds the same result"),
    ] * 2
