"""A program that ends while it writes: no half file, and no record of a result that is not whole."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from medseg import outputs
from medseg.io.atomic import atomic_path
from medseg.outputs import SegmentationResult
from medseg.phantoms import chest
from medseg.stamp import Stamp
from medseg.volume import Mask

pytestmark = pytest.mark.seconds


@pytest.fixture(scope="module")
def result():
    """A result that takes no time to make."""
    phantom = chest(shape=(76, 76, 68), seed=3)
    mask = Mask(
        phantom.labels, {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}, phantom.affine
    )
    provenance = {"task": "lung_ct", "input": "scan", "bundle_version": "0.1.0", "weights_sha256": None}
    return SegmentationResult(
        mask, {}, {"verdict": "pass", "reasons": []}, [], provenance, phantom.array[None]
    )


@pytest.fixture(autouse=True, scope="module")
def one_stamp():
    """Results whose files are compared byte for byte have the same number."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(outputs, "new_stamp", lambda provenance: Stamp(32 * "0"))
        yield


FORMATS = ["nifti", "mesh", "png"]  # with the record six files


def write_as_pydicom_does(path):
    """Its errors have no number, and their text is a traceback."""
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        cause = OSError(errno.ENOSPC, "No space left on device")
        raise OSError("With tag (7fe0,0010) got exception: Traceback ...") from cause


def test_a_full_disk_in_a_librarys_words(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*scan\.dcm'") as raised:
        write_as_pydicom_does(tmp_path / "scan.dcm")
    assert raised.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def whole(result, tmp_path_factory):
    return result.save(tmp_path_factory.mktemp("whole"), FORMATS)


def killed(result, folder, monkeypatch, method, at):
    """Save in another process that ends at a call of one of Path's methods."""
    child = os.fork()
    if child == 0:
        call, done = getattr(Path, method), []

        def die(self, target):
            if len(done) == at:
                os._exit(9)
            done.append(target)
            return call(self, target)

        monkeypatch.setattr(Path, method, die)
        result.save(folder, FORMATS)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.startswith(".")}


@pytest.mark.parametrize("killed_at", range(6))
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of forks beside threads
def test_killed_while_writing(result, tmp_path, monkeypatch, killed_at):
    """At whichever file, an earlier result is what it was, and a new folder is not there."""
    result.save(tmp_path / "scan", ["nifti"])
    before = contents(tmp_path / "scan")
    for folder in (tmp_path / "scan", tmp_path / "new"):
        killed(result, folder, monkeypatch, "replace", killed_at)
    assert contents(tmp_path / "scan") == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("killed_at", range(8))
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_killed_between_renames(result, whole, tmp_path, monkeypatch, killed_at):
    """No mixture, and no record but of what is whole."""
    result.save(tmp_path, ["nifti"])
    before, new = contents(tmp_path), contents(whole)
    killed(result, tmp_path, monkeypatch, "rename", killed_at)
    left = contents(tmp_path)
    if "measurements.json" in left:
        assert left == before
    else:
        assert set(left) <= {"segmentation.nii.gz"} or set(left) < set(new)
        assert all(content in (new[name], before.get(name)) for name, content in left.items())


@pytest.mark.parametrize("failing_at", range(8))
def test_a_rename_that_fails(result, tmp_path, monkeypatch, failing_at):
    """All files are as they were, and nothing hidden stays."""
    result.save(tmp_path, ["nifti"])
    (tmp_path / "notes.txt").write_text("mine")
    before = contents(tmp_path)
    rename, done = Path.rename, []

    def fail(self, target):
        done.append(target)
        if len(done) == failing_at + 1:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(KeyboardInterrupt):
        result.save(tmp_path, FORMATS)
    assert contents(tmp_path) == before
    assert {file.name for file in tmp_path.iterdir()} == set(before)


@pytest.mark.parametrize("error", [ValueError("odd"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_format_that_fails(result, tmp_path, monkeypatch, error):
    """Whatever stops it, nothing of the new result is there and all of the earlier one."""

    def fail(result, folder):
        (folder / "overlay.png").write_text("half")
        raise error

    result.save(tmp_path / "scan", ["nifti", "png"])
    (tmp_path / "scan" / "notes.txt").write_text("mine")
    before = contents(tmp_path / "scan")
    monkeypatch.setattr(outputs, "write_png", fail)
    for folder in (tmp_path / "scan", tmp_path / "new"):
        with pytest.raises(type(error)):
            result.save(folder, ["nifti", "mesh", "png"])
    assert contents(tmp_path / "scan") == before
    assert [file.name for file in tmp_path.rglob("*") if file.name.startswith(".")] == []
    assert not (tmp_path / "new").exists()


def test_the_record_is_the_last_file(result, tmp_path):
    folder = result.save(tmp_path, FORMATS)
    times = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert max(times, key=lambda name: times[name]) == "measurements.json"
    assert json.loads((folder / "measurements.json").read_text())["task"] == "lung_ct"
