"""A program that ends while it writes: no half file, and no record of a result that is not whole."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from medseg.io.atomic import atomic_path
from medseg.outputs import SegmentationResult
from medseg.phantoms import chest
from medseg.volume import Mask


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


@pytest.mark.parametrize("killed_at", range(6))
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of forks beside threads
def test_killed_while_writing(result, whole, tmp_path, monkeypatch, killed_at):
    """At each file there is no half one under its final name, and no record before all are whole."""
    folder = tmp_path / "scan"
    result.save(folder, ["nifti"])  # an earlier result, whose record must not vouch for the new files
    child = os.fork()
    if child == 0:
        replace, done = Path.replace, []

        def die(self, target):
            if len(done) == killed_at:
                os._exit(9)
            done.append(target)
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", die)
        result.save(folder, FORMATS)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    files = [file for file in folder.iterdir() if not file.name.startswith(".")]
    assert {file.name for file in files} < {file.name for file in whole.iterdir()}
    assert not (folder / "measurements.json").exists()
    for file in files:
        assert file.stat().st_size == (whole / file.name).stat().st_size, file.name


def test_the_record_is_the_last_file(result, tmp_path):
    folder = result.save(tmp_path, FORMATS)
    times = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert max(times, key=lambda name: times[name]) == "measurements.json"
    assert json.loads((folder / "measurements.json").read_text())["task"] == "lung_ct"
