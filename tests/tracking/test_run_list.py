"""A run is called by what was changed; its note begins with its scores; few parameters are shown."""

import re

import pytest

from medseg.bundle import changed_configuration, open_bundle, run_workflow
from medseg.tracking.run_list import name_of, note_of, of_interest


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"learning_rate": "0.01"}, "learning_rate=0.01"),
        (
            {"manifests": "['/data/of/somebody/my.json', 'hrf']", "epochs": "50", "learning_rate": "0.01"},
            "learning_rate=0.01, epochs=50, manifests=[my, hrf]",
        ),
        (
            {"network_def.channels": "[4, 8]", "patch_px": "64", "num_workers": "0", "device": "cpu"},
            "patch_px=64, network_def.channels=[4, 8]",
        ),
        ({"start_from": "/home/somebody/out/models/model.pt"}, "start_from=model.pt"),
        ({f"long_name_of_a_key_{n}": "1" for n in range(9)}, None),
        ({"loss": "x" * 500}, None),
    ],
)
def test_names(changed, name):
    found = name_of(changed)
    assert found == name or (name is None and len(found) < 140)
    assert "somebody" not in found


def test_many_changes_are_counted():
    assert name_of({f"long_name_of_a_key_{n}": "1" for n in range(9)}).endswith(" and 4 more")


@pytest.mark.parametrize("changed", [{}, {"device": "cpu", "num_workers": "4"}])
def test_the_time_tells_repeats_apart(changed):
    assert re.fullmatch(r"baseline 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", name_of(changed))


def test_parameters_of_interest():
    parameters = {
        "epochs": "3",
        "network": "$@network_def",
        "loss.sigmoid": "True",
        "optimizer.lr": "1",
        "data.training": "ab",
    }
    assert of_interest(parameters, {"optimizer.lr": "1"}) == {
        "epochs": "3",
        "optimizer.lr": "1",
        "data.training": "ab",
    }


def test_note():
    scores = {
        "dice": {"mean": 0.81234, "low": 0.7, "high": 0.9, "cases": 8},
        "iou": {"mean": None, "low": None, "high": None, "cases": 0},
        "hd95_px": {"mean": 3.0, "low": None, "high": None, "cases": 1},
    }
    note = note_of({"scores": scores, "split": "validation"}, {"malignancy_roc_auc": 0.9}, {"epochs": "2"})
    assert note == (
        "dice 0.8123 (0.7000 to 0.9000), hd95_px 3.0000, malignancy_roc_auc 0.9000; validation, 8 cases\n\n"
        "Changed: epochs=2"
    )
    assert note_of({"scores": {}}, {}, {}).startswith("no score is defined; validation, 0 cases")


def test_what_was_changed(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "medseg.bundle.changed_configuration", lambda *a: seen.append(changed_configuration(*a))
    )
    overrides = {"learning_rate": 0.01, "seed": 7, "output_dir": str(tmp_path), "initialize": []}
    overrides["run"] = ["$changed_configuration(@bundle_root, @config_files)"]
    run_workflow(open_bundle("retinal_vessel"), "train.yaml", overrides=overrides)
    assert seen == [{"learning_rate": "0.01"}], "a value as ever is none that was changed"
