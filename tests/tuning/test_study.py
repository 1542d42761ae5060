"""A shared study: who gets which trial, what counts, and what is kept of lost ones."""

import dataclasses
import json

import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError
from tuning_plan import SPACE, plan_in, states

from medseg.errors import UsageError
from medseg.tuning import store as store_module
from medseg.tuning.search_space import SearchSpace
from medseg.tuning.study import AGAIN_FOR, DEFAULT, PROCESS, SECONDS, Result, SharedStudy, counted

pytestmark = pytest.mark.seconds

GONE = {"pid": 2**22 + 1, "created": 1.0}  # above Linux' largest process number


@pytest.fixture
def study(tmp_path):
    return SharedStudy(plan_in(tmp_path))


def complete(study, claim, score=0.5):
    study.tell(Result(claim.number, "COMPLETE", score, {SECONDS: 0.1}))


def kill(study, claim):
    """Make it look as if the process of a trial had been killed."""
    process = study.study.trials[claim.number].user_attrs[PROCESS]
    trial_id = study._id(claim.number)
    study.study._storage.set_trial_user_attr(trial_id, PROCESS, {**process, **GONE})


def test_the_first_trial_is_the_default(study):
    claim = study.claim()
    assert claim.is_default
    assert claim.values == SPACE.default
    complete(study, claim)
    assert not study.claim().is_default


def test_no_more_than_the_trials_of_the_plan_whoever_asks(study, tmp_path):
    other = SharedStudy(dataclasses.replace(study.plan, output_dir=tmp_path / "other"))
    claims = []
    for number in range(3):
        asking = (study, other)[number % 2]
        claims.append(asking.claim())
        complete(asking, claims[-1])
    assert [claim.number for claim in claims] == [0, 1, 2]
    assert study.claim() is None
    assert other.claim() is None
    assert states(study) == ["COMPLETE"] * 3


def test_running_trials_count(study, tmp_path):
    first = study.claim()
    study.study._storage.set_trial_user_attr(
        study._id(first.number), PROCESS, {"host": "another", "pid": 1, "created": 1.0}
    )
    assert counted(study.trials()) == 1
    assert study.is_running()
    for _ in range(2):
        complete(study, study.claim())
    assert study.claim() is None
    assert study.is_running()


def test_draws_depend_on_the_number_alone(tmp_path):
    """Also when the search was interrupted between two of them; two trials never get the same seed."""
    drawn = []
    for name in ("a", "b"):
        values = []
        for _ in range(3):
            asking = SharedStudy(plan_in(tmp_path / name))
            claim = asking.claim()
            values.append(dict(claim.values))
            complete(asking, claim)
        drawn.append(values)
    assert drawn[0] == drawn[1]
    assert drawn[0][1] != drawn[0][2]


def test_a_trial_whose_process_is_gone_fails_and_runs_again_in_its_place(study):
    lost = study.claim()
    kill(study, lost)
    again = study.claim()
    assert (again.number, again.values, again.is_default) == (1, lost.values, True)
    complete(study, again)
    for _ in range(2):
        complete(study, study.claim())
    assert study.claim() is None
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]


def test_a_trial_that_is_lost_before_it_was_drawn_is_drawn_as_any_other(tmp_path, monkeypatch):
    study = SharedStudy(plan_in(tmp_path, trials=4))
    complete(study, study.claim())
    with monkeypatch.context() as patch:
        patch.setattr(SearchSpace, "draw", lambda space, trial: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            study.claim()
    drawn = []
    for _ in range(3):
        claim = study.claim()
        drawn.append(str(claim.values))
        complete(study, claim)
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert len(set(drawn)) == 3


def test_a_trial_that_is_lost_twice_is_given_up(study):
    kill(study, study.claim())
    kill(study, study.claim())
    third = study.claim()
    assert AGAIN_FOR not in study.trials()[third.number].user_attrs
    assert states(study) == ["FAIL", "FAIL", "RUNNING"]
    assert counted(study.trials()) == 2


def test_a_trial_without_heartbeat_of_another_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "GRACE_S", 1)
    study = SharedStudy(plan_in(tmp_path))
    claim = study.claim()
    trial_id = study._id(claim.number)
    study.study._storage.set_trial_user_attr(trial_id, PROCESS, {"host": "another", **GONE})
    with study.store.storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = '2020-01-01 00:00:00.000000'")
    assert study.claim().number == 1
    assert states(study) == ["FAIL", "RUNNING"]


def test_not_while_the_store_has_just_come_back(tmp_path, monkeypatch):
    """Nobody could send a heartbeat then."""
    study = SharedStudy(plan_in(tmp_path))
    claim = study.claim()
    trial_id = study._id(claim.number)
    study.study._storage.set_trial_user_attr(trial_id, PROCESS, {"host": "another", **GONE})
    with study.store.storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = '2020-01-01 00:00:00.000000'")
    monkeypatch.setattr(type(study.store), "has_just_come_back", True)
    study.claim()
    assert states(study) == ["RUNNING", "RUNNING"]


def test_a_stopped_trial_fails_and_runs_again_however_often(study):
    for number in range(3):
        claim = study.claim()
        assert (claim.number, claim.values) == (number, SPACE.default)
        study.stop(number)
    assert counted(study.trials()) == 0


def test_a_result_that_comes_after_the_trial_was_taken_for_lost(study, caplog):
    lost = study.claim()
    study.study.tell(lost.number, state=_fail())
    study.study.enqueue_trial(dict(lost.values), user_attrs={AGAIN_FOR: lost.number, DEFAULT: True})
    complete(study, lost, score=0.7)
    assert states(study) == ["FAIL", "FAIL", "COMPLETE"]
    late = study.trials()[2]
    assert (late.value, late.params, late.user_attrs[DEFAULT]) == (0.7, SPACE.default, True)
    assert counted(study.trials()) == 1


def _fail():
    from optuna.trial import TrialState

    return TrialState.FAIL


def test_a_result_that_the_store_did_not_get_is_told_by_the_next_process(study, monkeypatch):
    claim = study.claim()
    monkeypatch.setattr(store_module, "PAUSES_S", ())
    down = StorageInternalError("x")
    down.__cause__ = OperationalError("x", {}, Exception("gone"))
    with monkeypatch.context() as patch:
        patch.setattr(study, "_tell", lambda result: (_ for _ in ()).throw(down))
        with pytest.raises(Exception, match="finished trials are kept"):
            complete(study, claim, score=0.8)
    assert states(study) == ["RUNNING"]
    again = SharedStudy(study.plan)
    assert states(again) == ["COMPLETE"]
    assert again.trials()[0].value == 0.8
    assert json.loads((study.plan.folder(0) / "trial.json").read_text())["told"]


def test_a_failed_trial_counts_but_a_failed_default_comes_again(study):
    study.tell(Result(study.claim().number, "FAIL", entries={"reason": "no memory"}))
    assert counted(study.trials()) == 1
    assert study.trials()[0].user_attrs["reason"] == "no memory"
    assert SharedStudy(study.plan).claim().is_default


def test_a_trial_below_the_median_is_not_worth_its_epochs(tmp_path):
    study = SharedStudy(plan_in(tmp_path, trials=9))
    for _ in range(5):
        claim = study.claim()
        assert study.report(claim.number, {1: 0.5})
        complete(study, claim)
    claim = study.claim()
    assert study.report(claim.number, {1: 0.6})
    complete(study, claim)
    claim = study.claim()
    assert not study.report(claim.number, {1: 0.4})
    study.tell(Result(claim.number, "PRUNED"))
    assert study.trials()[-1].value == 0.4
    assert counted(study.trials()) == 7


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"search space": "{}"}, "another search space"),
        ({"validation data": "other"}, "another validation data"),
        ({"settings": '{"epochs": 3}', "search space": "{}"}, "another search space and settings"),
    ],
)
def test_a_study_of_other_trials_is_refused(tmp_path, about, message):
    SharedStudy(plan_in(tmp_path, **{"validation data": "1"}))
    with pytest.raises(UsageError, match=f"{message}. Choose another --study"):
        SharedStudy(plan_in(tmp_path, **{"validation data": "1", **about}))


def test_machines_may_differ_in_their_folders_and_processors(tmp_path):
    SharedStudy(plan_in(tmp_path, settings='{"device": "cpu", "epochs": 3, "num_workers": 2}'))
    assert SharedStudy(plan_in(tmp_path, settings='{"device": "cuda", "epochs": 3, "cache_dir": null}'))
    with pytest.raises(UsageError, match="another settings"):
        SharedStudy(plan_in(tmp_path, settings='{"device": "cpu", "epochs": 4}'))


def test_a_study_that_medseg_did_not_make_is_refused(tmp_path):
    import optuna

    plan = plan_in(tmp_path)
    foreign = optuna.create_study(storage=plan.url, study_name=plan.study, direction="maximize")
    foreign.tell(foreign.ask(), 1.0)
    with pytest.raises(UsageError, match="a study that medseg did not make"):
        SharedStudy(plan)


def test_the_trials_of_another_study_are_not_overwritten(tmp_path):
    SharedStudy(plan_in(tmp_path))
    with pytest.raises(UsageError, match="an output_dir without the trials of another study"):
        SharedStudy(plan_in(tmp_path, study="other"))


def test_no_password_is_written(tmp_path, study):
    assert json.loads((study.plan.output_dir / "study.json").read_text())["store"].startswith("sqlite")
