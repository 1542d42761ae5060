"""The shipped weights reach their scores on the held-out photographs; random ones do not."""

import json

import pytest

TASK = "retinal_vessel"

pytestmark = [pytest.mark.data, pytest.mark.slow]


def scores(run_medseg, tmp_path, *arguments):
    assert run_medseg("evaluate", TASK, "--output_dir", tmp_path, *arguments) == 0
    summary = json.loads((tmp_path / "scores.json").read_text())
    return {name: entry["mean"] for name, entry in summary["scores"].items()}, summary


def test_chase_db1(run_medseg, data_root, tmp_path):
    means, summary = scores(run_medseg, tmp_path, "--manifest", "chase_db1")
    assert summary["scores"]["dice"]["cases"] == 8
    assert summary["scores"]["dice"]["subjects"] == 4
    assert means["dice"] >= 0.81
    assert means["roc_auc"] >= 0.98
    assert means["dice"] > means["second_observer_dice"]
    assert "best_threshold" not in summary


def test_hrf(run_medseg, data_root, tmp_path):
    means, summary = scores(run_medseg, tmp_path, "--manifest", "hrf")
    assert summary["scores"]["dice"]["cases"] == 9
    assert means["dice"] >= 0.79


def test_random_weights_fail(run_medseg, data_root, tmp_path):
    import torch

    from medseg.bundle import open_bundle, parse

    torch.manual_seed(0)
    network = parse(open_bundle(TASK), "inference.yaml").get_parsed_content("network_def")
    torch.save(network.state_dict(), tmp_path / "random.pt")
    means, _ = scores(run_medseg, tmp_path, "--manifest", "chase_db1", "--weights", tmp_path / "random.pt")
    assert means["dice"] < 0.5
    assert means["roc_auc"] < 0.9
