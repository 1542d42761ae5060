"""medseg audit: exit codes, what it prints, and what it refuses."""

import json

import pytest
from hostile_bundle import slipping_zip, write_bundle, write_hostile

from medseg.cli import main


def call(*words):
    return main(["audit", *map(str, words)])


def test_a_sound_bundle_ends_with_0(tmp_path, capsys):
    assert call(write_bundle(tmp_path / "sound")) == 0
    assert (
        "sound: 3 files read, nothing executed; findings: 0 refuse, 0 warn, 0 note" in capsys.readouterr().out
    )


def test_a_task_is_found_by_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("lung_ct") == 0
    assert capsys.readouterr().out.startswith("lung_ct: ")


def test_warnings_end_with_6(tmp_path, capsys):
    assert call(write_bundle(tmp_path / "odd", "x: /data\n")) == 6
    out = capsys.readouterr().out
    assert "warn  path  configs/inference.yaml:14  an absolute path: x: /data" in out
    assert "MEDSEG_TRUSTED_BUNDLES" not in out


def test_a_hostile_bundle_ends_with_3_and_its_line(tmp_path, capsys):
    assert call(write_hostile(tmp_path / "evil", "target", tmp_path / "canary")) == 3
    out = capsys.readouterr().out
    assert "refuse  target  configs/inference.yaml:14  os.system is not on the list of allowed targets" in out
    assert "MEDSEG_TRUSTED_BUNDLES=evil@" in out
    assert not (tmp_path / "canary").exists()


def test_an_archive_that_slips_ends_with_3(tmp_path, capsys):
    assert call(slipping_zip(tmp_path / "name.zip")) == 3
    assert "GHSA-9rg3-9pvr-6p27" in capsys.readouterr().out
    assert not (tmp_path / "canary").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["name.zip"]


def test_json(tmp_path, capsys):
    assert call(write_hostile(tmp_path / "evil", "open", tmp_path / "canary"), "--json") == 3
    record = json.loads(capsys.readouterr().out)
    assert record["verdict"] == "refuse"
    assert record["identity"].startswith("evil@")
    assert sum(record["counts"].values()) == len(record["findings"])
    assert record["counts"]["refuse"] > 0
    finding = record["findings"][0]
    assert (finding["file"], finding["line"]) == ("configs/inference.yaml", 14)
    assert finding["text"].startswith("evil: $open(")


@pytest.mark.parametrize("name", ["nothing", "", "\0"])
def test_what_is_no_bundle_ends_with_2(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(name) == 2
    assert "configs/metadata.json" in capsys.readouterr().err


def test_a_bundle_can_not_write_to_the_terminal(tmp_path, capsys):
    folder = write_bundle(tmp_path / "evil", "evil: \"$open('\\e[2J\\u202e')\"\n", {"\x1b[2J.py": ""})
    assert call(folder) == 3
    out = capsys.readouterr().out
    assert not any(sign in out for sign in ("\x1b", "\u202e"))
