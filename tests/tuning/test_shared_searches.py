"""Searches in real stores, by processes that are killed, and with a server that goes away."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress

import pytest
from ladder_bundle import FIELD_PX
from postgresql_server import PostgreSQL

from medseg.tuning.store import Store, storage_url
from medseg.tuning.study import AGAIN_FOR, PROCESS

pytestmark = pytest.mark.slow

TRIALS = 4
LIMIT_S = 1500  # of a very busy machine; a free one takes half a minute


@pytest.fixture(scope="module")
def server():
    with PostgreSQL() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/study.db"
    return request.getfixturevalue("server").url()


@pytest.fixture
def start(phantom_data, mlflow_client, tmp_path):
    """Start `medseg tune` for a method that is not trained; what is left of it ends with the test."""
    started = []

    def run(url, study, folder="out", trials=TRIALS, workers=1):
        command = [
            *(sys.executable, "-m", "medseg.cli", "tune", "retinal_vessel", "--method", "threshold"),
            *("--manifest", str(phantom_data.manifest), "--trials", str(trials), "--workers", str(workers)),
            *("--storage", url, "--study", study, "--output_dir", str(tmp_path / folder)),
            *("--set", f"field_diameter_px={FIELD_PX}"),
        ]
        log = (tmp_path / f"{folder}.log").open("w")
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=tmp_path)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def trials_of(url, study):
    """The trials; none while there is no such study yet."""
    with suppress(KeyError):
        return _storage(url).get_all_trials(_storage(url).get_study_id_from_name(study), deepcopy=False)
    return []


@functools.cache
def _storage(url):
    return Store(storage_url(url, None), print).storage


def wait_for(found, otherwise):
    """What `found` returns, as soon as it is true."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.1)
    raise AssertionError(otherwise)


def wait_for_running(url, study, number):
    """The process of the trial with a number or a later one, as soon as it runs."""

    def running():
        for trial in trials_of(url, study):
            if trial.number >= number and trial.state.name == "RUNNING" and PROCESS in trial.user_attrs:
                return trial.user_attrs[PROCESS]["pid"]
        return None

    return wait_for(running, f"trial {number} never ran")


def complete(url, study):
    return [trial for trial in trials_of(url, study) if trial.state.name == "COMPLETE"]


def test_a_worker_that_is_killed_loses_its_trial_and_nothing_else(url, start, mlflow_client, tmp_path):
    search = start(url, "killed", workers=2)
    os.kill(wait_for_running(url, "killed", 1), signal.SIGKILL)
    assert search.wait(LIMIT_S) == 0
    trials = trials_of(url, "killed")
    lost = [trial.number for trial in trials if trial.state.name == "FAIL"]
    assert len(lost) == 1
    assert len(complete(url, "killed")) == TRIALS
    assert len(trials) == TRIALS + 1
    assert [trial.user_attrs.get(AGAIN_FOR) for trial in trials if AGAIN_FOR in trial.user_attrs] == lost
    experiment = mlflow_client.get_experiment_by_name("retinal_vessel")
    runs = mlflow_client.search_runs([experiment.experiment_id])
    counts = Counter(run.info.status for run in runs)
    assert counts["FINISHED"] == TRIALS + 1  # with the study's own
    assert counts["RUNNING"] == 0
    log = (tmp_path / "out.log").read_text()
    assert "ended with exit code -9" in log
    assert "hushhush" not in log


def test_the_same_command_goes_on_after_everything_was_killed(url, start):
    search = start(url, "resumed")
    wait_for_running(url, "resumed", 1)
    os.killpg(search.pid, signal.SIGKILL)
    search.wait()
    before = {trial.number: trial.value for trial in complete(url, "resumed")}
    assert before
    assert start(url, "resumed").wait(LIMIT_S) == 0
    after = {trial.number: trial.value for trial in complete(url, "resumed")}
    assert len(after) == TRIALS
    assert before.items() <= after.items()
    assert len(trials_of(url, "resumed")) == TRIALS + 1


def test_a_stop_by_the_user_is_clean(url, start, tmp_path, mlflow_client):
    search = start(url, "stopped", workers=2)
    wait_for_running(url, "stopped", 1)
    os.kill(search.pid, signal.SIGTERM)
    assert search.wait(LIMIT_S) == 1
    # A trial that had just ended may still have its result in its folder alone; the next command tells it.
    results = (json.loads(file.read_text()) for file in tmp_path.rglob("trial.json"))
    kept = {result["number"] for result in results if not result["told"]}
    left = [trial for trial in trials_of(url, "stopped") if trial.number not in kept]
    assert {trial.state.name for trial in left} <= {"COMPLETE", "FAIL", "WAITING"}
    log = (tmp_path / "out.log").read_text()
    assert "study stopped:" in log
    assert "Traceback" not in log
    assert list((tmp_path / "out").rglob("trials.csv"))
    experiment = mlflow_client.get_experiment_by_name("retinal_vessel")
    runs = mlflow_client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}


def test_two_commands_share_a_study_on_a_server(server, start):
    searches = [start(server.url(), "shared", folder) for folder in ("one", "other")]
    assert [search.wait(LIMIT_S) for search in searches] == [0, 0]
    trials = trials_of(server.url(), "shared")
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * TRIALS
    assert len({str(trial.params) for trial in trials}) == TRIALS


def test_a_server_that_goes_away_for_a_while(server, start, tmp_path):
    search = start(server.url(), "away")
    wait_for_running(server.url(), "away", 1)
    log = tmp_path / "out.log"
    server.stop()
    try:
        wait_for(lambda: "does not respond" in log.read_text(), "the search never missed the server")
    finally:
        server.start()
    assert search.wait(LIMIT_S) == 0
    assert len(complete(server.url(), "away")) == TRIALS
    assert "hushhush" not in log.read_text()


def test_a_server_that_is_down_at_the_start(server, start, tmp_path):
    search = start("postgresql://medseg:hushhush@127.0.0.1:9/studies", "none")
    assert search.wait(LIMIT_S) == 1
    log = (tmp_path / "out.log").read_text()
    assert "Start the server or correct --storage" in log
    assert "Traceback" not in log
    assert "hushhush" not in log
