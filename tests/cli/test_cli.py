"""The command line: what is written, what is said, and the exit codes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from skimage import data as pictures

from medseg import phantoms
from medseg.cli import main
from medseg.cli.options import overrides_of

pytestmark = pytest.mark.seconds

TASK = "retinal_vessel"


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    path = tmp_path_factory.mktemp("photographs") / "photo.jpg"
    Image.fromarray(phantoms.fundus(500, seed=2)[0]).save(path, quality=95)
    return path


@pytest.fixture
def medseg(run_medseg):
    return run_medseg


def test_one_photograph(medseg, photograph, tmp_path, capsys):
    assert medseg("segment", TASK, photograph, "-o", tmp_path / "out", "--pixel-spacing-mm", "0.01") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "photo")
    record = json.loads((tmp_path / "out" / "photo" / "measurements.json").read_text())
    # A phantom is no photograph: the prediction of quality may say so, and no check of the input does.
    assert record["warnings"] == record["quality"]["reasons"]
    assert all("the image" in text or "vessel" in text for text in record["warnings"])
    found = record["measurements"]
    assert found["field_area_mm2"]["value"] == pytest.approx(found["field_area_px"]["value"] * 0.01**2)


def test_one_bad_file_does_not_stop_the_rest(medseg, photograph, tmp_path, capsys):
    folder = tmp_path / "in"
    (folder / "more").mkdir(parents=True)
    (folder / "empty.jpg").touch()
    (folder / "photo.jpg").write_bytes(photograph.read_bytes())
    (folder / "photo.png").write_text("not a picture")
    (folder / "zz.jpg").write_bytes(photograph.read_bytes())
    assert medseg("segment", TASK, folder, "-o", tmp_path / "out") == 4
    said = capsys.readouterr()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"photo", "sources.jsonl", "zz"}
    assert "empty.jpg, which is empty (0 bytes)" in said.err
    assert "photo.png, which is in no known format" in said.err
    assert "2 of 4 rejected" in said.err


def test_same_names_from_two_folders(medseg, photograph, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "photo.jpg").write_bytes(photograph.read_bytes())
    assert medseg("segment", TASK, photograph, str(other / "*.jpg"), "-o", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"photo", "photo-2", "sources.jsonl"}


def test_a_rejected_case_leaves_the_earlier_result_and_says_so(medseg, photograph, tmp_path, capsys):
    source = tmp_path / "photo.jpg"
    source.write_bytes(photograph.read_bytes())
    assert medseg("segment", TASK, source, "-o", tmp_path / "out") == 0
    before = (tmp_path / "out" / "photo" / "segmentation.png").read_bytes()
    source.write_bytes(photograph.read_bytes()[:2000])
    assert medseg("segment", TASK, source, "-o", tmp_path / "out") == 3
    assert "An earlier result in its folder was left as it was" in capsys.readouterr().err
    assert (tmp_path / "out" / "photo" / "segmentation.png").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "which is empty (0 bytes)"),
        (b"GIF89a but not really", "photo.jpg"),
        (b"%PDF-1.7", "which is in no known format"),
    ],
    ids=["empty", "broken", "other"],
)
def test_not_an_image(medseg, tmp_path, capsys, content, message):
    source = tmp_path / "photo.jpg"
    source.write_bytes(content)
    assert medseg("segment", TASK, source, "-o", tmp_path / "out") == 3
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_truncated(medseg, photograph, tmp_path, capsys):
    source = tmp_path / "photo.jpg"
    source.write_bytes(photograph.read_bytes()[:-3000])
    assert medseg("segment", TASK, source, "-o", tmp_path / "out") == 3
    assert "can't be decoded" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_empty_folder(medseg, tmp_path, capsys):
    assert medseg("segment", TASK, tmp_path, "-o", tmp_path / "out") == 3
    assert "image files" in capsys.readouterr().err


def test_a_pattern_without_a_match_does_not_stop_the_rest(medseg, photograph, tmp_path, capsys, caplog):
    sources = [str(tmp_path / "gone*.png"), photograph]
    assert medseg("segment", TASK, *sources, "-o", tmp_path / "out") == 4
    assert f"none in {sources[0]}" in caplog.text
    assert "1 of 2 rejected" in capsys.readouterr().err
    assert (tmp_path / "out" / "photo" / "measurements.json").exists()
    assert medseg("segment", TASK, sources[0], "-o", tmp_path / "out") == 3


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        pytest.param(b"M\xfcller_OD.jpg", {"LC_ALL": "C.UTF-8"}, marks=pytest.mark.slow),
        (b"M\xfcller_OD.jpg", {"LC_ALL": "POSIX"}),
        pytest.param("眼底.jpg".encode(), {"PYTHONIOENCODING": "cp1252"}, marks=pytest.mark.slow),
        ("眼底.jpg".encode(), {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        ("眼底.jpg".encode(), {"PYTHONIOENCODING": "ascii:strict"}),
    ],
)
@pytest.mark.seconds
def test_printing_never_fails(photograph, tmp_path, name, environment):
    for file in (name, b"bad_" + name):
        with open(os.path.join(os.fsencode(tmp_path), file), "wb") as copy:
            copy.write(photograph.read_bytes() if file == name else b"x")
    command = [sys.executable, "-m", "medseg.cli", "segment", TASK, tmp_path, "-o", tmp_path / "out"]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 4, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Error" not in done.stderr
    assert b"no known format" in done.stderr
    (record,) = (tmp_path / "out").glob("*/measurements.json")
    assert os.fsencode(record.parent.name) == name.removesuffix(b".jpg")
    json.loads(record.read_bytes())["provenance"]["input"].encode()
    (record.parent / "report.html").read_bytes().decode()


def test_an_inspection_of_a_name_that_is_no_text(medseg, tmp_path, capsys):
    (tmp_path / "M\udcfcller.png").write_bytes(b"x")
    assert medseg("inspect", tmp_path / "M\udcfcller.png", "--json") == 3
    said = json.loads(capsys.readouterr().out)
    assert "M?ller.png, which is in no known format" in said["reasons"][0]
    assert medseg("inspect", tmp_path / "M\udcfcller.png") == 3


def test_a_cat(medseg, tmp_path, capsys):
    Image.fromarray(pictures.chelsea()).save(tmp_path / "cat.png")
    assert medseg("segment", TASK, tmp_path / "cat.png", "-o", tmp_path / "out") == 0
    record = json.loads((tmp_path / "out" / "cat" / "measurements.json").read_text())
    assert "no round field of view" in record["warnings"][0]
    assert "warning: no round field of view" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["segment", "retinal_vesel", "PHOTO", "-o", "OUT"], "Did you mean retinal_vessel?"),
        (["segment", TASK, "PHOTO", "-o", "OUT", "--set", "treshold=0.4"], "Did you mean threshold?"),
        (["segment", TASK, "PHOTO", "-o", "OUT", "--set", "threshold"], "--set KEY=VALUE"),
        (["segment", TASK, "PHOTO", "-o", "OUT", "--device", "gpu"], "a device (auto, cpu, cuda or cuda:N)"),
        (["evaluate", TASK, "--set", "splitt=test"], "Did you mean split?"),
        (["train", TASK, "--set", "learning_rat=1"], "Did you mean learning_rate?"),
        (["check-data", "chase_db"], "Did you mean chase_db1?"),
        (["segmnt", TASK, "PHOTO", "-o", "OUT"], "got segmnt. Did you mean segment or send?"),
        (["--verison"], "a command of `medseg`; got --verison"),
        (["segment", TASK, "PHOTO", "--ouptut", "OUT"], "got --ouptut. Did you mean --output?"),
        (["segment", TASK, "PHOTO", "-o", "OUT", "--format=png"], "got --format. Did you mean --formats?"),
        (["segment", TASK, "PHOTO", "-o", "OUT", "--formats", "nfti"], "Did you mean nifti?"),
        (["segment", TASK, "PHOTO", "-o", "OUT", "--mode", "instances"], "Did you mean instance?"),
        (["train", TASK, "--fold", "1", "--output_dir", "OUT"], "Did you mean --folds?"),
    ],
)
def test_misspelt_names(medseg, photograph, tmp_path, capsys, arguments, message):
    filled = {"PHOTO": str(photograph), "OUT": str(tmp_path / "out")}
    assert medseg(*(filled.get(argument, argument) for argument in arguments)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_follows_two_hyphens_is_no_option(medseg, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert medseg("segment", TASK, "-o", "out", "--", "--formatt") == 3
    assert "got --formatt, which does not exist" in capsys.readouterr().err


def test_the_folder_of_the_data_is_named_on_the_command_line(medseg, phantom_data, monkeypatch, capsys):
    monkeypatch.setenv("MEDSEG_DATA", str(phantom_data.folder / "nowhere"))
    assert medseg("check-data", phantom_data.manifest) == 1
    assert "which is not a folder" in capsys.readouterr().err
    assert medseg("check-data", phantom_data.manifest, "--data", phantom_data.folder) == 0
    assert "no problems found" in capsys.readouterr().out


def test_values_of_overrides_are_what_they_look_like():
    pairs = ["a=1e-3", "b=0.5", "c=[2, 3]", "d=null", "e=run/model.pt", "f=true"]
    expected = {"a": 0.001, "b": 0.5, "c": [2, 3], "d": None, "e": "run/model.pt", "f": True}
    assert overrides_of(pairs) == expected


@pytest.mark.parametrize("value", ["-1", "0", "inf", "nan", "wide"])
def test_a_pixel_size_that_is_none(photograph, value):
    with pytest.raises(SystemExit) as caught:
        main(["segment", TASK, str(photograph), "-o", "out", f"--pixel-spacing-mm={value}"])
    assert caught.value.code == 2


def test_output_that_is_a_file(medseg, photograph, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert medseg("segment", TASK, photograph, "-o", tmp_path / "out") == 1
    assert "Traceback" not in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


def test_info_names_the_bundle_and_its_folder(medseg, capsys):
    assert medseg("info") == 0
    said = capsys.readouterr().out
    assert TASK in said
    assert "bundles" in said


@pytest.mark.slow
def test_three_entries_give_the_same_mask(medseg, monai_bundle, photograph, tmp_path):
    import medseg as package
    from medseg.bundle import find
    from medseg.io import read_mask

    assert medseg("segment", TASK, photograph, "-o", tmp_path / "cli") == 0
    python = package.segment(photograph, task=TASK, device="cpu").mask
    config = find(TASK) / "configs" / "inference.yaml"
    done = monai_bundle(
        "run", "--config_file", config, "--input", photograph, "--output_dir", tmp_path / "monai"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for folder in ("cli", "monai"):
        mask = read_mask(tmp_path / folder / "photo" / "segmentation.png", python.labels)
        assert np.array_equal(mask.array, python.array), folder
        assert (tmp_path / folder / "photo" / "report.html").is_file()


# --- tracking ---


def noted(folder, experiment="vessels", parent=None):
    """A run that was noted while the store was away."""
    from medseg.tracking.tracker import Tracker

    tracker = Tracker(folder / "tracking", experiment=experiment, parent=parent)
    tracker.metrics({"val_dice": 0.5}, 1)
    tracker.commit()
    tracker.finish("FINISHED")
    return tracker


def test_sync_sends_what_the_store_missed(medseg, mlflow_client, tmp_path, monkeypatch, capsys):
    """A parent and its child, as a cross-validation leaves them."""
    store = os.environ["MLFLOW_TRACKING_URI"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens there
    parent = noted(tmp_path / "cv")
    noted(tmp_path / "cv" / "fold_0", parent=parent.key)
    assert medseg("sync", tmp_path / "cv") == 1
    assert "nothing is lost" in capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert medseg("sync", tmp_path / "cv") == 0
    found = mlflow_client.search_runs([mlflow_client.get_experiment_by_name("vessels").experiment_id])
    assert [run.data.metrics for run in found] == [{"val_dice": 0.5}] * 2
    assert sum("mlflow.parentRunId" in run.data.tags for run in found) == 1
    assert medseg("sync", tmp_path) == 0


def test_sync_of_something_else(medseg, mlflow_client, tmp_path, capsys):
    assert medseg("sync", tmp_path) == 2
    assert "output_dir" in capsys.readouterr().err
