"""`python -m monai.bundle run` on several images: one that can't be segmented does not stop the others."""

import numpy as np
import pytest
from PIL import Image

from medseg import phantoms
from medseg.bundle import find
from medseg.verification.verify import verify

pytestmark = pytest.mark.seconds

CONFIG = find("retinal_vessel") / "configs" / "inference.yaml"
FAST = ["--field_diameter_px", "160", "--inferer#inferer#inferer#roi_size", "[160, 160]"]


@pytest.fixture
def run(monai_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: monai_bundle("run", "--config_file", CONFIG, *FAST, *arguments)


def good(path, seed):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(phantoms.fundus(240, seed)[0]).save(path)


def bad(path):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"not a picture")


def saved(done):
    """The folders that were written, as the log names them: each as often as it was written."""
    said = (done.stdout + done.stderr).splitlines()
    return sorted(line.split("saved ")[1].strip() for line in said if "saved " in line)


def test_good_ones_among_bad_ones(run, tmp_path):
    """By names that look like numbers."""
    for number, name in enumerate(("a.png", "c.png", "e.png")):
        good(tmp_path / "123" / name, number)
    for name in ("b.png", "d.png"):
        bad(tmp_path / "123" / name)
    done = run("--input", "123", "--output_dir", "2024")
    assert done.returncode == 4, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert "2 of 5 rejected" in done.stdout + done.stderr
    for name in ("b.png", "d.png"):
        assert f"{name}, which is in no known format" in done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / "2024").iterdir()) == ["a", "c", "e", "sources.jsonl"]
    assert saved(done) == ["2024/a", "2024/c", "2024/e"]  # once each
    for name in ("a", "c", "e"):
        assert (tmp_path / "2024" / name / "measurements.json").is_file()
        assert np.asarray(Image.open(tmp_path / "2024" / name / "segmentation.png")).any()
    assert all(case.is_sure for case in verify(tmp_path / "2024", [tmp_path / "123"]))


@pytest.mark.parametrize("names", [["a.png"], ["a.png", "b.png"]])
def test_bad_ones_alone(run, tmp_path, names):
    for name in names:
        bad(tmp_path / "in" / name)
    done = run("--input=in", "--output_dir=out")
    assert done.returncode == 3, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert f"{len(names)} of {len(names)} rejected" in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_good_ones_alone(run, tmp_path):
    for number, name in enumerate(("a.png", "b.png")):
        good(tmp_path / "in" / name, number)
    done = run("--input", "in", "--output_dir", "1e3")
    assert done.returncode == 0, done.stderr[-2000:]
    assert saved(done) == ["1e3/a", "1e3/b"]
    assert "of 2 rejected" not in done.stdout + done.stderr


@pytest.mark.slow
def test_an_input_that_is_missing(run, tmp_path):
    done = run("--input", "none", "--output_dir", "out")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "none, which does not exist" in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_disk_that_takes_nothing(run, tmp_path):
    """The next case would fail too."""
    for number, name in enumerate(("a.png", "b.png")):
        good(tmp_path / "in" / name, number)
    (tmp_path / "out").write_text("mine")
    done = run("--input", "in", "--output_dir", "out")
    assert done.returncode not in (0, 3, 4)
    assert "rejected" not in done.stdout + done.stderr
    assert (tmp_path / "out").read_text() == "mine"
