"""`medseg compare --losses` on small phantoms: the same start, files, MLflow, failures, and going on."""

import json
import re

import pytest
import torch
from ladder_bundle import FIELD_PX
from tracked_training import artifacts, runs

from medseg.evaluation.past_runs import read_rows
from medseg.methods.losses.catalogue import _BUILDERS
from medseg.training import loss_comparison as module

pytestmark = pytest.mark.slow

SMALL = {
    "field_diameter_px": FIELD_PX,
    "patch_px": 64,
    "patches_per_image": 2,
    "batch_size": 3,
    "num_workers": 0,
    "cache_dir": "null",
    "network_def::channels": [4, 8],
    "network_def::strides": [1],
    "network_def::num_res_units": 0,
    "validate::inferer::inferer::roi_size": [FIELD_PX, FIELD_PX],
}


@pytest.fixture
def compare(run_medseg, phantom_data, mlflow_client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(losses, *arguments, **changed):
        keys = [word for key, value in {**SMALL, **changed}.items() for word in ("--set", f"{key}={value}")]
        words = ["compare", "retinal_vessel", "--losses", losses, "--manifest", phantom_data.manifest]
        return run_medseg(*words, "--epochs", 1, "--output_dir", "here", *keys, *arguments)

    return run


class Broken(torch.nn.Module):
    """A loss that becomes NaN."""

    def forward(self, pred, label):
        return pred.mean() * float("nan")


@pytest.fixture
def broken(monkeypatch):
    monkeypatch.setitem(_BUILDERS, "tversky", lambda setting: Broken())


def test_two_losses(compare, tmp_path, mlflow_client, capsys):
    assert compare("dice_ce,mse", "--split", "test") == 0
    said = capsys.readouterr().out
    assert "retinal_vessel phantoms test: 2 cases, 2 subjects" in said
    folder = tmp_path / "here"
    record = json.loads((folder / "comparison.json").read_text())
    assert list(record["losses"]) == ["dice_ce", "mse"]
    for loss in ("dice_ce", "mse"):
        for part, cases in ((".", ["3"]), ("split", ["4", "5"]), ("own_threshold", ["4", "5"])):
            assert [row.case for row in read_rows(folder / loss / part / "scores.csv")] == cases
        own = read_rows(folder / loss / "own_threshold" / "scores.csv")
        mean = sum(row.scores["dice"] for row in own) / 2
        assert record["losses"][loss]["dice"]["mean"] == pytest.approx(mean)
        chosen = json.loads((folder / loss / "threshold.json").read_text())
        assert record["losses"][loss]["threshold"] == chosen["threshold"]
    assert (folder / "comparison.html").read_text().count("data:image/jpeg") == 2 * 4

    parent, *children = runs(mlflow_client, "retinal_vessel")
    assert parent.info.run_name == "losses retinal_vessel phantoms test"
    assert [run.info.run_name for run in children] == ["dice_ce", "mse"]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert {"comparison.html", "table.csv", "curves.png"} <= set(artifacts(mlflow_client, parent.info.run_id))
    assert parent.data.metrics["dice/mse"] == pytest.approx(record["losses"]["mse"]["dice"]["mean"])


def test_all_trainings_start_alike(compare, tmp_path):
    """Without a step of the optimizer, whatever the loss is, all that is left is the start and the data."""
    assert compare("dice,centreline_dice", learning_rate=0, weight_decay=0) == 0
    one, other = (
        torch.load(tmp_path / "here" / loss / "models" / "model.pt", weights_only=True)
        for loss in ("dice", "centreline_dice")
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_loss_that_fails(compare, broken, tmp_path, mlflow_client, capsys):
    assert compare("tversky,dice_ce") == 1
    said = capsys.readouterr()
    assert re.search("^tversky +failed", said.out, re.MULTILINE)
    assert "expected a trained network by every loss; got tversky failed:" in said.err
    assert "a training loss that is a number" in said.err
    record = json.loads((tmp_path / "here" / "comparison.json").read_text())
    assert list(record["losses"]) == ["dice_ce"]
    assert list(record["failures"]) == ["tversky"]
    status = {run.info.run_name: run.info.status for run in runs(mlflow_client, "retinal_vessel")}
    assert status["tversky"] == "FAILED"
    assert status["dice_ce"] == "FINISHED"


def test_an_interrupted_comparison_goes_on(compare, tmp_path, mlflow_client, monkeypatch, capsys):
    whole = module._run

    def killed(plan, loss, *arguments):
        if loss == "mse":
            try:
                raise KeyboardInterrupt
            finally:  # the signal ends the loader's workers too
                raise RuntimeError("worker killed")
        return whole(plan, loss, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_run", killed)
        assert compare("dice_ce,mse") != 0
    first = tmp_path / "here" / "dice_ce" / "models" / "model.pt"
    written = first.stat().st_mtime_ns
    assert not (tmp_path / "here" / "comparison.json").exists()
    capsys.readouterr()

    assert compare("dice_ce,mse") == 2
    assert "Continue it with --resume and the same --losses" in capsys.readouterr().err
    assert compare("dice_ce,focal", "--resume") == 2
    capsys.readouterr()

    assert compare("dice_ce,mse", "--resume") == 0
    assert "mse" in capsys.readouterr().out
    checkpoint = torch.load(first.with_name("checkpoint.pt"), weights_only=True)
    assert checkpoint["standing"]["finished"]
    assert first.stat().st_mtime_ns >= written
    names = [run.info.run_name for run in runs(mlflow_client, "retinal_vessel")]
    assert sorted(names) == ["dice_ce", "losses retinal_vessel phantoms validation", "mse"]
