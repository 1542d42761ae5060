"""A tracked training without a network, and what its store holds."""

import json
import logging
import subprocess
import sys
import textwrap
import time

from medseg.tracking.journal import Journal
from medseg.tracking.tracker import (
    Tracker,
)

EPOCHS = 3


CLOSED = "http://127.0.0.1:9"  # the discard port: nothing listens


def warnings_in(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and r.name[:6] == "medseg"]


def runs(client, experiment="vessels"):
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id], order_by=["start_time"]) if found else []


def history(client, run_id, key="loss"):
    """Every point of a metric, so that one that is there twice shows."""
    points = client.get_metric_history(run_id, key)
    return sorted((point.step, point.value) for point in points)


def losses(epochs):
    return [(epoch, 1 / epoch) for epoch in range(1, epochs + 1)]


def artifacts(client, run_id, path=None):
    return [file.path for file in client.list_artifacts(run_id, path)]


def train(folder, epochs=EPOCHS, first=1, **options):
    """A tracked training, which stays RUNNING; its position after each epoch, the 0th included."""
    tracker = Tracker(folder, experiment="vessels", **options)
    positions = {}
    for epoch in range(first, epochs + 1):
        positions[epoch - 1] = tracker.position
        tracker.commit()
        tracker.metrics({"loss": 1 / epoch}, epoch)
    positions[epochs] = tracker.position
    tracker.commit()
    return tracker, positions


def in_another_process(code, *arguments, **options):
    """Start Python code that has the tracker at hand."""
    header = """
        import os, signal, sys, time
        from pathlib import Path
        from medseg.tracking.tracker import Tracker, tracked
    """
    script = textwrap.dedent(header) + textwrap.dedent(code)
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def model_in(folder):
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "model.pth").write_text("weights")
    (folder / "MLmodel").write_text("flavors: {}\n")
    return folder


def resumable(folder):
    """A training as the real one: its checkpoint holds the epoch and the position."""
    checkpoint = folder / "checkpoint.json"
    saved = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"epoch": 0, "position": None}
    tracker = Tracker(folder, experiment="vessels", resume_at=saved["position"])

    def save(epoch):
        checkpoint.write_text(json.dumps({"epoch": epoch, "position": tracker.position}))
        tracker.commit()

    if not saved["epoch"]:
        tracker.parameters({"rate": 1})
        tracker.dataset("drive", "abc", "training")
    for epoch in range(saved["epoch"] + 1, 3):
        tracker.metrics({"loss": 1 / epoch}, epoch)
        tracker.picture(folder / "a.png", "worst", epoch)
        save(epoch)
    tracker.artifact(folder / "a.png")
    tracker.model(folder / "mlflow", "retina")
    tracker.finish("FINISHED")
    return tracker


def check_complete(client, folder):
    """The run that the journal is of holds everything once."""
    key = Journal(folder / "journal.jsonl").start().content["key"]
    (run,) = [run for run in runs(client) if run.data.tags["medseg.key"] == key]
    run_id = run.info.run_id
    assert run.info.status == "FINISHED"
    assert run.data.params == {"rate": "1"}
    assert history(client, run_id) == losses(2)
    assert len(client.get_run(run_id).inputs.dataset_inputs) == 1
    assert artifacts(client, run_id) == ["a.png", "images", "model"]
    pictures = artifacts(client, run_id, "images")
    # A kill between the two files of a picture leaves the first of them twice.
    assert sorted(name.split("+")[2] for name in pictures if name.endswith(".webp")) == ["1", "2"]
    assert len({name.split("+")[4] for name in pictures}) == 2
    assert len(client.search_model_versions(f"run_id = '{run_id}'")) == 1


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
