"""A search from its first trial to its results: files, MLflow, and the best trial as a method."""

from __future__ import annotations

import logging
from pathlib import Path

from medseg.bundle import parse
from medseg.errors import UsageError
from medseg.tracking.signals import undisturbed
from medseg.tracking.tracker import Tracker, mark_killed_runs, tracked
from medseg.tuning.export import export_method, require_new_method
from medseg.tuning.plan import SCORE, Plan
from medseg.tuning.plots import draw_all
from medseg.tuning.results import best, finished, summary_text, write_csv
from medseg.tuning.store import require_store
from medseg.tuning.study import RESULT, SECONDS, SharedStudy
from medseg.tuning.workers import require_workers, run_trials

_logger = logging.getLogger(__name__)


def search(plan: Plan, workers: int, export: str | None = None) -> str:
    """Run the trials that the study lacks, and write what came of all.

    output_dir gets a folder for each trial that this machine ran, trials.csv and plots; the study's MLflow
    run, which several processes fill, gets the same and the scores of all trials as metrics.

    Args:
        plan: the search.
        workers: how many processes of this machine run trials.
        export: the name of a new method with the parameters of the best trial.

    Returns:
        The summary, as text.

    Raises:
        UsageError: there is such a method already, no trial is complete, or see SharedStudy and run_trials.
        MedsegError: see run_trials.
    """
    require_workers(workers)
    if export is not None:
        require_new_method(plan.bundle, export)
    if not plan.trials:
        require_store(plan.url)
    study = SharedStudy(plan)
    if plan.trials:
        _run(plan, study, workers)
    else:
        _write(plan, study)
    text = summary_text(study.trials(), plan)
    if export is None:
        return text
    winner = best(study.trials())
    if winner is None:
        raise UsageError("a study with a complete trial", got="none", advice="Run more trials first.")
    files = export_method(plan, winner, export)
    return "\n".join([text, "", *(f"wrote {file}" for file in files)])


def _run(plan: Plan, study: SharedStudy, workers: int) -> None:
    mark_killed_runs()
    files = plan.files if plan.is_trained else ("train.yaml",)
    with study.store.turn():  # else two processes would each create the run
        tracker = Tracker(
            plan.output_dir / "tracking",
            experiment=parse(plan.bundle, *files)["experiment"],
            run_name=f"tune {plan.study}",
            key=study.run_key,
        )
    with tracked(tracker):
        tracker.parameters(plan.given)
        # A tag, because a later command may raise it, and MLflow keeps the first value of a parameter.
        tracker.tags({"medseg.study": plan.study, "medseg.trials": str(plan.trials)})
        tracker.commit()
        try:
            run_trials(plan, study, workers)
        except KeyboardInterrupt:
            _logger.warning("stopped\n%s", summary_text(study.trials(), plan))
            with undisturbed():
                _track(plan, study, tracker)
            raise
        finally:
            mark_killed_runs()
        _track(plan, study, tracker)


def _write(plan: Plan, study: SharedStudy) -> list[Path]:
    """Write the table and the plots of a study; they are returned."""
    table = plan.output_dir / "trials.csv"
    write_csv(study.trials(), plan, table)
    return [table, *draw_all(study.study, plan)]


def _track(plan: Plan, study: SharedStudy, tracker: Tracker) -> None:
    trials = study.trials()
    for file in _write(plan, study):
        tracker.artifact(file)
    own = [trial for trial in finished(trials) if (plan.folder(trial.number) / RESULT).is_file()]
    for trial in own:  # the processes of other machines note theirs
        tracker.metrics({SCORE: trial.value, SECONDS: trial.user_attrs[SECONDS]}, trial.number)
    winner = best(trials)
    if winner is not None:
        tracker.metrics({f"best/{SCORE}": winner.value}, 0)
        tracker.tags({"medseg.best_trial": str(winner.number)})
    tracker.commit()
