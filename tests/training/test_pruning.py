"""A training that is watched ends early where it promises too little, and its MLflow run says so."""

import pytest

from medseg.bundle import open_bundle, run_workflow
from medseg.tracking.journal import Journal
from medseg.tracking.tracker import EndedEarly
from medseg.training.pruning import ENDED_TAG, PRUNED, goes_on, watched

TINY = {
    "epochs": 3,
    "val_interval": 1,
    "patches_per_image": 2,
    "patch_px": 64,
    "batch_size": 2,
    "num_workers": 0,
    "autocast": False,
    "cache_dir": None,
    "field_diameter_px": 128,
    "validate::inferer::inferer::roi_size": [128, 128],
    "network_def::channels": [4, 8],
    "network_def::strides": [1],
    "network_def::num_res_units": 0,
}


def test_nobody_watches_by_default():
    assert goes_on(1, 0.0)
    with watched(lambda epoch, score: score > epoch):
        assert not goes_on(1, 0.5)
        assert goes_on(1, 2.0)
    assert goes_on(1, 0.0)


@pytest.mark.seconds
@pytest.mark.parametrize("last", [2, 3])
def test_a_pruned_training(phantom_data, mlflow_client, tmp_path, last):
    """After the last epoch there is nothing left to save: the training then ends as usual."""
    told = []

    def watch(epoch, score):
        told.append((epoch, score))
        return epoch < last

    def run():
        with watched(watch):
            run_workflow(
                open_bundle("retinal_vessel"),
                "train.yaml",
                overrides={
                    **TINY,
                    "manifests": [str(phantom_data.manifest)],
                    "output_dir": str(tmp_path / "out"),
                },
            )

    if last < TINY["epochs"]:
        with pytest.raises(EndedEarly, match="This training was pruned"):
            run()
    else:
        run()
    assert [epoch for epoch, _ in told] == list(range(1, last + 1))
    experiment = mlflow_client.get_experiment_by_name("retinal_vessel")
    (run,) = mlflow_client.search_runs([experiment.experiment_id])
    history = mlflow_client.get_metric_history(run.info.run_id, "val_dice")
    assert [(point.step, pytest.approx(point.value)) for point in history] == told
    assert Journal(tmp_path / "out" / "tracking" / "journal.jsonl").owner() is None
    pruned = last < TINY["epochs"]
    assert (run.info.status, run.data.tags.get(ENDED_TAG)) == (
        ("KILLED", PRUNED) if pruned else ("FINISHED", None)
    )
    assert (tmp_path / "out" / "scores.csv").exists() is not pruned
