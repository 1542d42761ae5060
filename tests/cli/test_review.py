"""medseg review: the page, what the command prints and refuses."""

import json

import numpy as np
import pytest
from review_results import picture_case

from medseg.cli import main


@pytest.fixture
def out(tmp_path):
    """A folder with one picture, whose lesion is one pixel."""
    mask = np.zeros((9, 11), np.uint8)
    mask[4, 5] = 1
    picture_case(tmp_path / "out", tmp_path / "images", "one", mask * 200, mask)
    return tmp_path / "out"


def call(*words):
    return main(list(map(str, words)))


def test_the_page_is_written_and_named(out, tmp_path, capsys):
    assert call("review", out) == 0
    assert capsys.readouterr().out.strip() == str(out / "review" / "index.html")
    assert call("review", out, "-o", tmp_path / "page", "--images", tmp_path / "images") == 0
    assert (tmp_path / "page" / "niivue.umd.js").is_file()


def test_what_is_refused(out, tmp_path, capsys):
    assert call("review", tmp_path / "nowhere") == 2
    assert "expected a folder with results" in capsys.readouterr().err
    assert call("review", out, "-o", tmp_path / "page", "--apply", "decisions.json") == 2
    assert "-o for the page alone" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()
    for words in ((), ("--apply", "decisions.json"), ("--collect", "set.json")):
        assert call("review", out, "--images", tmp_path / "images", tmp_path / "gone", *words) == 3
        assert f"no {tmp_path / 'gone'}. Check the paths after --images" in capsys.readouterr().err
    assert not (out / "review").exists()


def test_an_accepted_case(out, tmp_path, capsys):
    """A file of decisions as the page saves it, and the manifest of what was accepted."""
    import hashlib

    digest = hashlib.sha256((out / "one" / "segmentation.png").read_bytes()).hexdigest()
    decision = {"mask_sha256": digest, "decision": "accept", "comment": "", "seconds": 4}
    file = tmp_path / "decisions.json"
    file.write_text(
        json.dumps(
            {
                **{"format": "medseg-review", "version": 1, "reviewer": "A. Reader"},
                **{"made": "2026-01-02T03:04:05Z", "cases": {"one": decision}},
            }
        )
    )
    assert call("review", "--apply", file, out) == 0
    assert "accepted" in capsys.readouterr().out
    record = json.loads((out / "one" / "measurements.json").read_text())
    assert record["review"]["verdict"] == "accepted"
    assert call("review", "--collect", tmp_path / "corrected.json", out) == 0
    assert "corrected.json: 1 cases" in capsys.readouterr().out
