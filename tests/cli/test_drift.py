"""medseg drift: exit codes, what it prints and writes, and what it refuses."""

import json
import shutil

import pytest
from drift_records import record, write_case, write_results

from medseg.cli import main


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Folders of results: a reference, one like it, one with larger areas. Read only."""
    root = tmp_path_factory.mktemp("results")
    write_results(root / "reference", 1, count=60, date="2026-09-10T00:00:00+00:00")
    write_results(root / "alike", 2)
    write_results(root / "larger", 3, shift=15)
    return root


def call(*words):
    return main(["drift", *map(str, words)])


def test_no_drift_ends_with_0_and_is_no_proof(results, tmp_path, capsys):
    assert call(results / "alike", "--reference", results / "reference", "-o", tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "40 cases now (2026-11-05 to 2026-11-05) against 60 of earlier results" in out
    assert "no drift shown in" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["drift.html", "drift.json"]
    assert "is no proof that nothing has changed" in (tmp_path / "out" / "drift.html").read_text()


def test_drift_ends_with_6_and_is_named(results, tmp_path, capsys):
    assert call(results / "larger", "--reference", results / "reference", "-o", tmp_path / "out") == 6
    out = capsys.readouterr().out
    assert "Organ area mm2 (drift)" in out
    written = json.loads((tmp_path / "out" / "drift.json").read_text())
    called = [finding["name"] for finding in written["findings"] if finding["called"]]
    assert written["drift"] is True
    assert called[0] == "organ_area_mm2"
    assert written["untested"] == {"organ_count": "always 1"}
    assert [month["name"] for month in written["months"]] == ["2026-09", "2026-11"]


def test_a_folder_is_the_reference_of_its_own_last_month(results, tmp_path, capsys):
    whole = tmp_path / "whole"
    for name in ("reference", "larger"):
        shutil.copytree(results / name, whole, dirs_exist_ok=True)
    assert call(whole, "--reference", whole, "--since", "2026-11", "--until", "2026-11") == 6
    out = capsys.readouterr().out
    assert "40 cases now (2026-11-05 to 2026-11-05) against 60 of earlier results" in out
    assert "40 results of the reference are of images or persons of now" in out


def test_broken_records_are_told_and_the_rest_is_compared(results, tmp_path, capsys):
    shutil.copytree(results / "alike", tmp_path / "now")
    (tmp_path / "now" / "alike_0" / "measurements.json").write_text("{")
    assert call(tmp_path / "now", "--reference", results / "reference") == 4
    captured = capsys.readouterr()
    assert "warning: expected the record of a result in alike_0/measurements.json" in captured.err
    assert "39 cases now" in captured.out


def test_several_images_of_a_person_count_once(results, tmp_path, capsys):
    lines = [f"alike_{number},person {number // 2}" for number in range(40)]
    (tmp_path / "subjects.csv").write_text("\n".join(["case,subject", *lines]))
    words = ["--reference", results / "reference", "--subjects", tmp_path / "subjects.csv"]
    assert call(results / "alike", *words) == 0
    out = capsys.readouterr().out
    assert "20 cases now" in out
    assert "now: 20 results are further images of the same persons" in out
    assert "the reference: whose images they are is unknown for 60 of 60 results" in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 3, "a bundle that knows what its training images measure; got organ"),
        (["--reference", "nowhere"], 3, "nowhere, which is missing"),
        (["--reference", "{alike}"], 3, "a reference with other images than those of now"),
        (["--reference", "{few}"], 3, "at least 10 persons in the reference; got 3"),
        (["--reference", "{retrained}"], 3, "segment the reference anew"),
        (["--reference", "{reference}", "--since", "2027-01"], 3, "results since 2027-01-01; got none of 40"),
        (["--reference", "{reference}", "--since", "soon"], 2, "a day such as 2026-11-30"),
        (["--reference", "{reference}", "--since", "2026-13"], 2, "a day such as 2026-11-30"),
        (
            ["--reference", "{reference}", "--since", "2026-11", "--until", "2026-10"],
            2,
            "--until not before --since",
        ),
        (["--reference", "{reference}", "--alpha", "5"], 2, "a share between 0 and 1 for --alpha"),
        (["--reference", "{reference}", "--task", "other"], 3, "results of other; got 40 of organ"),
        (["--reference", "{reference}", "--subjects", "nowhere.csv"], 1, "nowhere.csv"),
        (["--reference", "{reference}", "-o", "page.html"], 2, "a folder for -o"),
    ],
)
def test_refusals_write_nothing(results, tmp_path, capsys, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    write_results(tmp_path / "few", 4, count=3)
    write_results(tmp_path / "retrained", 5, count=12, weights="b" * 64)
    places = {name: results / name for name in ("alike", "reference")}
    places |= {name: tmp_path / name for name in ("few", "retrained")}
    words = [word.format(**places) for word in words]
    assert call(results / "alike", *words, *([] if "-o" in words else ["-o", "out"])) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "out").exists()


def test_two_tasks_in_one_folder_are_not_mixed(results, tmp_path, capsys):
    shutil.copytree(results / "alike", tmp_path / "now")
    write_case(tmp_path / "now", "stranger", record(1.0, task="another"))
    assert call(tmp_path / "now", "--reference", results / "reference") == 3
    told = capsys.readouterr().err
    assert "got 1 of another (unet, semantic, bundle 1, weights aaaaaaaa); 40 of organ" in told
    assert call(tmp_path / "now", "--reference", results / "reference", "--task", "organ") == 0


def test_a_page_that_can_not_be_written_leaves_the_earlier_one(results, tmp_path, capsys, monkeypatch):
    words = [results / "alike", "--reference", results / "reference", "-o", tmp_path / "out"]
    assert call(*words) == 0
    before = (tmp_path / "out" / "drift.json").read_bytes()

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medseg.drift.results.write_drift_page", fail)
    assert call(*words) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert (tmp_path / "out" / "drift.json").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["drift.html", "drift.json"]
