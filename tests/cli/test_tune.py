"""Bad input of `medseg tune` is told before any trial."""

import json
import sys

import pytest
from ladder_bundle import copy_bundle

pytestmark = pytest.mark.seconds

THRESHOLD = ("--method", "threshold")


@pytest.fixture
def refused(run_medseg, phantom_data, mlflow_client, tmp_path, monkeypatch, capsys):
    """The message of a command that is refused, which leaves no study."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, code=2):
        options = () if "--manifest" in arguments else ("--manifest", phantom_data.manifest)
        assert run_medseg("tune", "retinal_vessel", *arguments, *options) == code
        message = capsys.readouterr().err
        assert "Traceback" not in message
        assert not list(tmp_path.rglob("study.db"))
        return message

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trials", 0), "--trials of 1 or more, or of 0 with --export"),
        (("--trials", -2, "--export", "x"), "--trials of 1 or more"),
        (("--trials", 1, "--workers", 0), "--workers of 1 or more"),
        (("--trials", 1, "--method", "treshold"), "Did you mean threshold?"),
        (("--trials", 1, "--set", "learning_rat=1"), "Did you mean learning_rate?"),
        (("--trials", 1, "--set", "learning_rate=0.1"), "keys that the search does not set itself"),
        (("--trials", 1, *THRESHOLD, "--epochs", 3), "--epochs for a method that is trained"),
        (("--trials", 1, "--epochs", 0), "--epochs of 1 or more"),
        (("--trials", 1, *THRESHOLD, "--storage", "mysql://x"), "--storage postgresql://"),
        (("--trials", 1, *THRESHOLD, "--export", "kmeans"), "a name that no method of retinal_vessel has"),
        (("--trials", 1, *THRESHOLD, "--export", "../x"), "a name of small letters"),
        (("--trials", 1, "--manifest", "drove"), "a manifest"),
    ],
)
def test_bad_options(refused, arguments, message):
    assert message in refused(*arguments)


def test_an_export_of_nothing(refused, tmp_path):
    message = refused("--trials", 0, *THRESHOLD, "--export", "tuned")
    assert "a study with a complete trial" in message
    assert not (tmp_path / "out").exists()


def test_a_method_without_a_search_space(refused, tmp_path):
    """Of a bundle in ./bundles, which goes before the shipped one."""
    root = copy_bundle(tmp_path)
    (root / "configs" / "search" / "rnn.yaml").unlink()
    message = refused("--trials", 1, "--method", "rnn")
    assert "a method of retinal_vessel with a search space" in message
    assert "threshold" in message


@pytest.mark.parametrize("method", ["threshold", "residual_unet"])
def test_no_validation_split(refused, phantom_data, method):
    phantom_data.content["validation"] = []
    phantom_data.save()
    assert "items in the split validation" in refused("--trials", 1, "--method", method, code=1)


def test_one_subject_alone(refused, phantom_data):
    for split in ("training", "validation"):
        for item in phantom_data.content[split]:
            item["subject"] = "anna"
    phantom_data.save()
    assert "of two subjects or more" in refused("--trials", 1, *THRESHOLD, code=1)
    assert json.loads(phantom_data.manifest.read_text())["validation"]


def test_optuna_is_missing(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "pip install 'medseg[tune]'" in refused("--trials", 1, *THRESHOLD, code=1)
