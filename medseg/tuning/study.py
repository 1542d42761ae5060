"""A study that several processes share: who runs which trial, and what came of it."""

from __future__ import annotations

import json
import logging
import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from medseg import __version__
from medseg.errors import UsageError
from medseg.evaluation.score_files import write_json
from medseg.tracking.journal import is_gone, this_process
from medseg.tuning.plan import Plan, differences
from medseg.tuning.store import Store

RESULT, IDENTITY = "trial.json", "study.json"
# Entries of a trial in the store.
AGAIN_FOR, DEFAULT, PROCESS, REASON, SECONDS = "again_for", "default", "process", "reason", "seconds_per_case"
ABOUT, RUN_KEY, VERSION = "medseg", "run_key", "medseg_version"
_SEED = 7
_STARTUP_TRIALS = 5  # random ones, before the sampler and the pruner have something to compare with
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claim:
    """A trial that this process runs: its number, counted from 0, and its values of the parameters."""

    number: int
    values: Mapping[str, Any]
    is_default: bool


@dataclass(frozen=True)
class Result:
    """What came of a trial.

    Attributes:
        number: the trial's.
        state: COMPLETE, PRUNED or FAIL.
        score: the mean score of the validation split; None unless it is complete.
        entries: what the store keeps besides, such as seconds_per_case or the reason of a failure.
    """

    number: int
    state: str
    score: float | None = None
    entries: Mapping[str, Any] = field(default_factory=dict)


class SharedStudy:
    """A plan's study in its store, created by the first process that opens it.

    Raises:
        UsageError: the study was made with other settings, or the plan's output_dir belongs to another study.
        MedsegError: the store can't be reached.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.store = Store(plan.url, run_again)
        storage = self.store.storage
        with self.store.turn():
            self.study = self._opened(storage)
            self.run_key = str(self.study.user_attrs[RUN_KEY])
            self._require_own_folder()
            if not any(_is_default(trial) for trial in self.trials()):
                self.study.enqueue_trial(dict(plan.space.default), user_attrs={DEFAULT: True})
        self.tell_kept_results()

    def trials(self) -> list[Any]:
        """All trials, as Optuna's FrozenTrial."""
        return self.study.get_trials(deepcopy=False)

    def claim(self) -> Claim | None:
        """The next trial, which no other process gets; None if the study has all of its trials."""
        with self.store.turn():
            self._end_lost()
            if counted(self.trials()) >= self.plan.trials:
                return None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of heartbeats, which medseg.tuning.workers sends itself
                trial = self.study.ask()
            self.beat(trial.number)
            trial.set_user_attr(PROCESS, this_process())
            # The seed differs for each trial, so that two processes never draw the same values.
            self.study.sampler = _sampler(trial.number)
            values = self.plan.space.draw(trial)
        return Claim(trial.number, values, bool(trial.user_attrs.get(DEFAULT)))

    def is_running(self) -> bool:
        """Whether any process runs a trial."""
        return any(trial.state.name == "RUNNING" for trial in self.trials())

    def beat(self, number: int) -> None:
        """Tell that this process still runs a trial."""
        self.study._storage.record_heartbeat(self._id(number))

    def report(self, number: int, scores: Mapping[int, float]) -> bool:
        """Store the scores of a trial's validations by epoch; return whether the trial promises enough."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import Trial

        trial = Trial(self.study, self._id(number))
        try:
            for epoch, score in scores.items():
                trial.report(score, epoch)
        except UpdateFinishedTrialError:  # another process took it for lost; see tell
            return True
        return not trial.should_prune()

    def tell(self, result: Result) -> None:
        """Store what came of a trial; the trial's folder keeps it while the store is down.

        Raises:
            MedsegError: the store stays down.
        """
        file = self.plan.folder(result.number) / RESULT
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"run_key": self.run_key, "told": False, **asdict(result)})
        self.store.patiently(lambda: self._tell(result))
        write_json(file, {"run_key": self.run_key, "told": True, **asdict(result)})

    def tell_kept_results(self) -> None:
        """Store the results in the plan's folder that the store does not have."""
        for file in sorted(self.plan.output_dir.glob(f"trial_*/{RESULT}")):
            content = json.loads(file.read_text(encoding="utf-8"))
            if content.pop("run_key") == self.run_key and not content.pop("told"):
                self.tell(Result(**content))

    def stop(self, number: int) -> None:
        """Set this process's trial to FAILED because the user stops the search; it will run again."""
        self.study.tell(number, state=_state("FAIL"), skip_if_finished=True)
        with self.store.turn():
            trial = self.trials()[number]
            if number not in replaced(self.trials()):
                _enqueue_again(self.study, trial)

    def _opened(self, storage: Any) -> Any:
        import optuna

        study = optuna.create_study(
            storage=storage,
            study_name=self.plan.study,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS),
        )
        found = study.user_attrs.get(ABOUT)
        directions = [direction.name for direction in study.directions]
        if found is None and directions == ["MAXIMIZE"] and not study.get_trials(deepcopy=False):
            study.set_user_attr(ABOUT, dict(self.plan.about))
            study.set_user_attr(VERSION, __version__)
            study.set_user_attr(RUN_KEY, uuid.uuid4().hex)
            return study
        if not isinstance(found, dict) or study.user_attrs.get(RUN_KEY) is None:
            raise self._other_study("a study that medseg did not make")
        other = differences(self.plan.about, found)
        if other:
            raise self._other_study(f"one with another {' and '.join(other)}")
        return study

    def _other_study(self, got: str) -> UsageError:
        return UsageError(
            f"a study {self.plan.study!r} with this search space, settings and data",
            got=got,
            advice="Choose another --study and --output_dir, or search as that study did.",
        )

    def _require_own_folder(self) -> None:
        file = self.plan.output_dir / IDENTITY
        if file.is_file():
            if json.loads(file.read_text(encoding="utf-8"))["run_key"] == self.run_key:
                return
            raise UsageError(
                "an output_dir without the trials of another study",
                got=str(self.plan.output_dir),
                advice="Choose another --output_dir, or the --storage and --study that it belongs to.",
            )
        self.plan.output_dir.mkdir(parents=True, exist_ok=True)
        write_json(file, {"run_key": self.run_key, "study": self.plan.study, "store": str(self.store)})

    def _end_lost(self) -> None:
        """Set the trials of processes that have ended to FAILED, and let them run again."""
        from optuna.storages import fail_stale_trials

        if not self.store.has_just_come_back:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it is experimental
                fail_stale_trials(self.study)
        this = this_process()
        for trial in self.trials():
            process = trial.user_attrs.get(PROCESS)
            if trial.state.name != "RUNNING" or not process or process["host"] != this["host"]:
                continue
            # While it asks for a trial, this process runs none.
            if process["pid"] == this["pid"] or is_gone(process):
                self.study.tell(trial.number, state=_state("FAIL"))
                run_again(self.study, trial)

    def _tell(self, result: Result) -> None:
        from optuna.exceptions import UpdateFinishedTrialError

        trial_id = self._id(result.number)
        try:
            for name, value in result.entries.items():
                self.study._storage.set_trial_user_attr(trial_id, name, value)
            self.study.tell(result.number, result.score, state=_state(result.state), skip_if_finished=True)
        except UpdateFinishedTrialError:
            if self.trials()[result.number].state.name == "FAIL" and result.state != "FAIL":
                self._add_late(result)

    def _add_late(self, result: Result) -> None:
        """Add the result of a trial that was taken for lost as a new trial; then it need not run again."""
        import optuna

        with self.store.turn():
            trials = self.trials()
            lost, replaces = trials[result.number], result.number
            for again in trials:
                if again.user_attrs.get(AGAIN_FOR) == result.number:
                    if again.state.name != "WAITING":
                        _logger.warning("trial %d ran twice: it was taken for lost", result.number)
                        return
                    self.study._storage.set_trial_state_values(again._trial_id, _state("FAIL"))
                    replaces = again.number
            self.study.add_trial(
                optuna.trial.create_trial(
                    state=_state(result.state),
                    value=result.score,
                    params=lost.params,
                    distributions=lost.distributions,
                    user_attrs={**lost.user_attrs, **result.entries, AGAIN_FOR: replaces},
                    intermediate_values=lost.intermediate_values,
                )
            )

    def _id(self, number: int) -> int:
        found = self.study._storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)
        return int(found)


def run_again(study: Any, trial: Any) -> None:
    """Queue a lost trial once more, unless it is a second run itself: it may be what kills its process."""
    if AGAIN_FOR in trial.user_attrs:
        _logger.warning("trial %d ended with its process, for the second time", trial.number)
        return
    _logger.warning("trial %d ended with its process; it will run again", trial.number)
    _enqueue_again(study, trial)


def _enqueue_again(study: Any, trial: Any) -> None:
    values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    kept = {DEFAULT: True} if trial.user_attrs.get(DEFAULT) else {}
    study.enqueue_trial(values, user_attrs={**kept, AGAIN_FOR: trial.number})


def replaced(trials: Sequence[Any]) -> set[int]:
    """The numbers of the trials in whose place another one runs."""
    return {trial.user_attrs[AGAIN_FOR] for trial in trials if AGAIN_FOR in trial.user_attrs}


def counted(trials: Sequence[Any]) -> int:
    """How many trials count: those that run or have ended, except where another one runs in their place."""
    others = replaced(trials)
    return sum(trial.state.name != "WAITING" and trial.number not in others for trial in trials)


def _is_default(trial: Any) -> bool:
    return bool(trial.user_attrs.get(DEFAULT)) and trial.state.name != "FAIL"


def _sampler(number: int) -> Any:
    from optuna.samplers import TPESampler

    return TPESampler(seed=_SEED + number, n_startup_trials=_STARTUP_TRIALS)


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]
