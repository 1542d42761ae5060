"""Decisions applied after a process was killed while it applied them."""

import fcntl
import hashlib
import json
import os

import numpy as np
import pytest
from review_decisions import decide, save
from review_results import picture_case

from medseg.errors import UnsuitableError
from medseg.io import atomic
from medseg.review.apply import apply_decisions


@pytest.fixture
def out(tmp_path):
    """A case with a page, a SEG and a file of somebody else."""
    mask = np.zeros((9, 11), np.uint8)
    mask[4, 5] = 1
    picture_case(tmp_path / "out", tmp_path / "images", "one", mask * 200, mask)
    (tmp_path / "out" / "one" / "report.html").write_text("<main>")
    (tmp_path / "out" / "one" / "segmentation.dcm").write_text("a SEG")
    (tmp_path / "out" / "one" / ".notes").write_text("mine")
    return tmp_path / "out"


def state(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def killed_at(monkeypatch):
    """Let the renaming end before a number of renames, and nothing be tidied up: as kill -9 does."""

    def kill(number, act):
        def some(moves):
            for source, target in moves[:number]:
                source.rename(target)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(atomic, "_rename_all", some)
            patch.setattr(atomic.shutil, "rmtree", lambda *_, **__: None)
            with pytest.raises(KeyboardInterrupt):
                act()

    return kill


@pytest.mark.parametrize("number", range(7))
def test_a_killed_run_is_started_again(out, tmp_path, killed_at, number):
    file = save(tmp_path / "d.json", {"one": decide(out / "one", "reject")})
    before = state(out)
    killed_at(number, lambda: apply_decisions([file], out))
    assert list((out / "one").glob(".medseg-*"))
    (out / "one" / ".0123abcd.segmentation.automatic.png").write_text("half")
    (done,) = apply_decisions([file], out)
    assert done.verdict == "rejected"
    names = {name.replace("segmentation.dcm", "segmentation.dcm.rejected") for name in before}
    after = state(out)
    assert set(after) == names
    assert not list((out / "one").glob(".medseg-*"))
    assert after["one/segmentation.png"] == before["one/segmentation.png"]
    assert (out / "one" / "segmentation.dcm.rejected").read_text() == "a SEG"
    record = json.loads((out / "one" / "measurements.json").read_text())
    assert len(record["provenance"]["review"]) == 1


def test_what_may_be_in_use_stays(out, tmp_path):
    """The hidden folder of a case that is being segmented lies beside the cases."""
    (out / ".medseg-0123abcd").mkdir()
    (out / "new" / ".medseg-0123abcd").mkdir(parents=True)
    apply_decisions([save(tmp_path / "d.json", {"one": decide(out / "one", "accept")})], out)
    assert (out / ".medseg-0123abcd").is_dir()
    assert (out / "new" / ".medseg-0123abcd").is_dir()


def test_one_at_a_time(out, tmp_path):
    file = save(tmp_path / "d.json", {"one": decide(out / "one", "accept")})
    other = os.open(out, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(UnsuitableError, match="no other process applies decisions"):
        apply_decisions([file], out)
    os.close(other)
    assert apply_decisions([file], out)[0].verdict == "accepted"
