"""medseg verify: exit codes, the table, JSON."""

import json
import shutil

import pytest
from stamped_results import PICTURE_FORMATS, lesions

from medseg.cli import main


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    home = tmp_path_factory.mktemp("written")
    for name in ("a", "b"):
        lesions().save(home / name, PICTURE_FORMATS)
    return home


@pytest.fixture
def out(written, tmp_path):
    return shutil.copytree(written, tmp_path / "out")


def call(*words):
    return main(["verify", *map(str, words)])


def test_all_as_written(out, capsys):
    assert call(out) == 0
    assert "2 cases: 2 as written" in capsys.readouterr().out
    assert call(out / "a") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["a", "as", "written"]


def test_some_are_changed(out, capsys):
    (out / "a" / "overlay.png").write_bytes(b"x")
    assert call(out) == 4
    text = capsys.readouterr().out
    assert "overlay.png was changed" in text
    assert "2 cases: 1 changed, 1 as written" in text
    assert call(out / "a") == 3
    (out / "b" / "overlay.png").unlink()
    assert call(out) == 3


def test_what_is_not_stamped_is_odd_and_no_failure(out, capsys):
    shutil.rmtree(out / "b")
    (out / "b").mkdir()
    (out / "b" / "measurements.json").write_text('{"measurements": {}}')
    assert call(out) == 6
    assert "1 as written, 1 not stamped" in capsys.readouterr().out


def test_json(out, capsys):
    (out / "a" / "overlay.png").write_bytes(b"x")
    assert call(out, "--json") == 4
    found = json.loads(capsys.readouterr().out)
    first, second = found["cases"]
    assert (first["case"], first["state"], first["faults"]) == ("a", "changed", ["overlay.png was changed"])
    assert second["stamp"]["task"] == "breast_ultrasound"
    assert second["installed"] == {"bundle": "another", "weights": "unknown"}
    assert found["missing_cases"] == []


def test_names_do_not_steer_the_terminal(out, capsys):
    (out / "a" / "\x1b[2J").write_text("")
    assert call(out) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_nothing_to_verify(tmp_path, capsys):
    assert call(tmp_path) == 3
    assert call(tmp_path / "none") == 3
    assert "Name the -o of `medseg segment`" in capsys.readouterr().err


def test_images_that_are_not_there(out, tmp_path):
    assert call(out, "--images", tmp_path / "none") == 3
