"""medseg index, similar and similarity: what they print, write and refuse."""

import json

import numpy as np
import pytest
from PIL import Image

from medseg.cli import main
from medseg.phantoms.breast import breast_ultrasound

pytestmark = pytest.mark.seconds


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Three synthetic breasts and a black picture, with a manifest."""
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path))
    items = []
    for seed in range(3):
        picture, mask, _ = breast_ultrasound(seed, (160, 200))
        Image.fromarray(picture).save(tmp_path / f"{seed}.png")
        Image.fromarray(255 * mask).save(tmp_path / f"{seed}_mask.png")
        items.append(
            {"image": f"{seed}.png", "label": f"{seed}_mask.png", "subject": f"s{seed}", "side": "left"}
        )
    Image.fromarray(np.zeros((200, 200), np.uint8)).save(tmp_path / "black.png")
    content = {
        **{"name": "phantoms", "description": "breasts", "labels": {"0": "background", "1": "lesion"}},
        **dict.fromkeys(("licence", "publisher", "citation"), "none"),
        **{"urls": [], "training": items, "validation": [], "test": []},
    }
    (tmp_path / "good.json").write_text(json.dumps(content))
    content["training"] = [{**items[0], "image": "black.png"}]
    (tmp_path / "bad.json").write_text(json.dumps(content))
    return tmp_path


def call(*words):
    return main(list(map(str, words)))


def test_from_a_manifest_to_a_page(pictures, capsys):
    index = pictures / "index"
    make = ["--task", "breast_ultrasound", "--descriptor", "intensity", "-o", index]
    assert call("index", pictures / "good.json", *make) == 0
    assert "3 added, 0 there already, 0 refused; 3 cases" in capsys.readouterr().out
    assert call("index", pictures / "good.json", pictures / "bad.json", *make) == 4
    captured = capsys.readouterr()
    assert "0 added, 3 there already, 1 refused; 3 cases" in captured.out

    assert call("similar", pictures / "0.png", "--index", index, "-k", 5, "-o", pictures / "out") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["rank", "distance", "case", "data", "set", "groups"]
    assert {line.split()[2] for line in lines[1:3]} == {"1", "2"}
    assert "the image itself is in the index and was left out" in lines
    assert lines[-1] == str(pictures / "out")
    assert {path.name for path in (pictures / "out").iterdir()} == {"report.html", "similar.json"}
    record = json.loads((pictures / "out" / "similar.json").read_text())
    assert record["search"] == "hashing"
    assert [each["groups"] for each in record["neighbours"]] == [{"side": "left"}] * 2

    assert call("similar", pictures / "0.png", "--index", index, "--exact", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["search"] == "exact"
    assert printed["neighbours"] == record["neighbours"]


def test_when_every_image_is_refused(pictures, capsys):
    make = ["--task", "breast_ultrasound", "--descriptor", "intensity", "-o", pictures / "index"]
    assert call("index", pictures / "bad.json", *make) == 3
    assert "images that can be described; got 1 that were refused" in capsys.readouterr().err
    assert call("index", pictures / "good.json", *make) == 0
    assert call("index", pictures / "bad.json", *make) == 3
    assert "0 added, 0 there already, 1 refused; 3 cases" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["similar", "0.png", "--index", "nothing"], 2, "the folder of an index"),
        (["similar", "0.png", "--index", "nothing", "-k", "0"], 2, "1 or more similar cases"),
        (["index", "nothing.json", "--task", "breast_ultrasound", "-o", "i"], 2, "a manifest"),
        (["index", "good.json", "--task", "brest", "-o", "i"], 2, "breast_ultrasound"),
        (["index", "good.json", "--task", "breast_ultrasound", "-o", "."], 2, "holds something else"),
        (["index", "good.json", "--task", "lung_ct", "-o", "i"], 2, "residual_unet"),
        (["similarity", "0.png", "nothing.png"], 3, "nothing.png"),
        (["similarity", "0.png", "."], 2, "one image"),
    ],
)
def test_what_is_refused(pictures, monkeypatch, capsys, words, code, message):
    monkeypatch.chdir(pictures)
    assert call(*words) == code
    assert message in capsys.readouterr().err


def test_two_pictures(pictures, capsys):
    assert call("similarity", pictures / "0.png", pictures / "1.png") == 0
    out = capsys.readouterr().out
    assert "structural similarity (SSIM)" in out
    assert "data range 255" in out
    assert call("similarity", pictures / "0.png", pictures / "0.png", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["measures"]["ssim"]["value"] == pytest.approx(1)
    assert "Wang" in record["measures"]["ssim"]["definition"]
    assert record["measures"]["psnr_db"]["value"] is None


def test_a_picture_of_another_size_is_warned_of(pictures, capsys):
    Image.open(pictures / "0.png").resize((100, 80)).save(pictures / "small.png")
    assert call("similarity", pictures / "0.png", pictures / "small.png", "--json") == 0
    captured = capsys.readouterr()
    assert "warning: the second was resized" in captured.err
    assert json.loads(captured.out)["warnings"]
