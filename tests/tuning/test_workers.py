"""Processes that run trials: what ends one trial, the search, or a process."""

import multiprocessing
import os
import signal
import threading
import time

import pytest
from tuning_plan import plan_in, states

from medseg.errors import MedsegError, UsageError
from medseg.tracking.journal import this_process
from medseg.tuning import workers
from medseg.tuning.search_space import SearchSpace
from medseg.tuning.study import PROCESS, REASON, SECONDS, Result, SharedStudy

pytestmark = pytest.mark.seconds


def scored(plan, claim, run_key, watch):
    return Result(claim.number, "COMPLETE", 0.5 + claim.number / 100, {SECONDS: 0.1})


@pytest.fixture
def study(tmp_path):
    return SharedStudy(plan_in(tmp_path))


@pytest.fixture
def trials_are(monkeypatch):
    return lambda run: monkeypatch.setattr(workers, "run_trial", run)


def test_all_trials_and_no_more(study, trials_are):
    trials_are(scored)
    workers.run_trials(study.plan, study, 1)
    assert [trial.value for trial in study.trials()] == [0.5, 0.51, 0.52]
    workers.run_trials(study.plan, study, 1)
    assert states(study) == ["COMPLETE"] * 3


def test_a_failed_trial_does_not_end_the_search(study, trials_are):
    def run(plan, claim, run_key, watch):
        if claim.number == 1:
            raise RuntimeError("patient Miller")
        return scored(plan, claim, run_key, watch)

    trials_are(run)
    workers.work(study)
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE"]
    assert "RuntimeError" in study.trials()[1].user_attrs[REASON]
    assert "Miller" not in study.trials()[1].user_attrs[REASON]


def test_a_failed_default_ends_the_search(study, trials_are):
    """What the bundle says itself does not work: neither will what is made of it."""

    def run(plan, claim, run_key, watch):
        raise MedsegError("a loss that is a number", got="nan", advice="Lower learning_rate.")

    trials_are(run)
    with pytest.raises(MedsegError, match="Lower learning_rate"):
        workers.work(study)
    assert states(study) == ["FAIL"]


def test_a_default_that_fails_for_an_unforeseen_reason_gives_no_traceback(study, trials_are):
    def run(plan, claim, run_key, watch):
        raise RuntimeError("patient Miller")

    trials_are(run)
    with pytest.raises(MedsegError, match="a default trial that can be run") as error:
        workers.work(study)
    assert "Miller" not in str(error.value)


def test_ctrl_c_ends_the_trial_too(study, trials_are):
    def run(plan, claim, run_key, watch):
        raise KeyboardInterrupt

    trials_are(run)
    with pytest.raises(KeyboardInterrupt):
        workers.work(study)
    assert states(study) == ["FAIL", "WAITING"]
    trials_are(scored)
    workers.work(study)
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]


def test_a_signal_while_a_trial_is_claimed_leaves_none_behind(study, trials_are, monkeypatch):
    draw = SearchSpace.draw

    def interrupted(space, trial):
        os.kill(os.getpid(), signal.SIGTERM)
        return draw(space, trial)

    trials_are(scored)
    with monkeypatch.context() as patch:
        patch.setattr(SearchSpace, "draw", interrupted)
        with pytest.raises(KeyboardInterrupt):
            workers.work(study)
    assert states(study) == ["FAIL", "WAITING"]
    workers.work(study)
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]


def test_validations_decide_whether_a_trial_goes_on(tmp_path, trials_are):
    study = SharedStudy(plan_in(tmp_path, trials=7))

    def run(plan, claim, run_key, watch):
        for epoch in (1, 2):
            if not watch(epoch, 0.1 if claim.number == 6 else 0.5):
                return Result(claim.number, "PRUNED")
        return scored(plan, claim, run_key, watch)

    trials_are(run)
    workers.work(study)
    assert states(study) == ["COMPLETE"] * 6 + ["PRUNED"]
    assert study.trials()[6].intermediate_values == {1: 0.1}
    assert study.trials()[0].intermediate_values == {1: 0.5, 2: 0.5}


def test_validations_that_the_store_did_not_get_come_with_the_next_one(study, monkeypatch):
    from sqlalchemy.exc import OperationalError

    told = []

    def report(number, scores):
        told.append(dict(scores))
        if len(told) == 1:
            raise OperationalError("x", {}, Exception("gone"))
        return True

    monkeypatch.setattr(study, "report", report)
    watch = workers._watch(study, 0)
    assert [watch(epoch, 0.5) for epoch in (1, 2, 3)] == [True] * 3
    assert told == [{1: 0.5}, {1: 0.5, 2: 0.5}, {3: 0.5}]


def test_heartbeats_go_on_after_one_that_failed(study, monkeypatch):
    beats = []

    def beat(number):
        beats.append(number)
        if len(beats) == 1:
            raise OSError("gone")

    monkeypatch.setattr(study, "beat", beat)
    monkeypatch.setattr(workers, "HEARTBEAT_S", 0.01)
    monkeypatch.setattr(workers, "_RETRY_S", 0.01)
    with workers._beating(study, 4):
        time.sleep(0.5)
    seen = len(beats)
    assert seen > 3
    assert set(beats) == {4}
    time.sleep(0.1)
    assert len(beats) == seen


def test_it_waits_for_the_trials_of_others_and_takes_over_those_that_are_lost(study, trials_are, monkeypatch):
    """The other process holds the last trial, and is killed while this one has nothing to do."""
    trials_are(scored)
    held = study.claim()
    name = study._id(held.number)
    host = {**this_process(), "host": "another"}
    study.study._storage.set_trial_user_attr(name, PROCESS, host)
    monkeypatch.setattr(workers, "POLL_S", 0.05)

    def kill():
        time.sleep(1.5)
        gone = {**this_process(), "pid": 2**22 + 1}
        SharedStudy(study.plan).study._storage.set_trial_user_attr(name, PROCESS, gone)

    killer = threading.Thread(target=kill)
    killer.start()
    workers.work(study)
    killer.join()
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]


@pytest.mark.parametrize("number", [0, -1])
def test_fewer_than_one_worker(number):
    with pytest.raises(UsageError, match="--workers of 1 or more"):
        workers.require_workers(number)


def test_a_block_ends_its_processes():
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))

    def run():
        with workers._ended([process]):
            process.start()
            raise KeyError

    with pytest.raises(KeyError):
        run()
    assert process.exitcode == -signal.SIGTERM
    assert os.getpid() != process.pid
