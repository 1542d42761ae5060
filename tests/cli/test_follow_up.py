"""medseg follow-up: what it prints and writes, and that a refusal writes nothing."""

import json

import pytest
from two_chests import result_folder

from medseg.cli import main

pytestmark = pytest.mark.seconds


def call(*words):
    return main(["follow-up", *map(str, words)])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    nodules = [[((70, 25, -20), radius)] for radius in (9, 11.5)]
    return [
        result_folder(out, case, seed=seed, nodules=nodules[seed]) for seed, case in enumerate(("old", "new"))
    ]


def test_two_results_to_a_page(folders, tmp_path, capsys):
    pytest.importorskip("SimpleITK")
    out = tmp_path / "out"
    assert call(*folders, "-o", out, "--dates", "2025-01-31,2025-07-02") == 0
    printed, warned = capsys.readouterr()
    assert printed.startswith("2025-01-31 to 2025-07-02")
    assert "grown" in printed
    assert "nothing shows that all images are of one patient" in warned
    record = json.loads((out / "follow_up.json").read_text())
    (found,) = record["comparisons"][0]["objects"]
    assert found["kind"] == "grown"
    assert (out / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["old"], 2, "two or more times"),
        (["old", "new"], 2, "the date of each study"),
        (["old", "new", "--dates", "2025-01-31,2025-01-31"], 2, "different dates"),
        (["old", "nothing", "--dates", "2025-01-31,2025-07-02"], 2, "--task"),
        (["old", "new", "--method", "classical"], 2, "--task beside --method"),
    ],
    ids=["one", "dates", "equal", "image", "method"],
)
def test_refusals_write_nothing(folders, tmp_path, monkeypatch, capsys, words, code, text):
    monkeypatch.chdir(folders[0].parent)
    assert call(*words, "-o", tmp_path / "out") == code
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_date_that_is_none_is_bad_usage(folders, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        call(*folders, "-o", tmp_path, "--dates", "31.1.2025,2.7.2025")
    assert stopped.value.code == 2
    assert "expected dates such as" in capsys.readouterr().err
