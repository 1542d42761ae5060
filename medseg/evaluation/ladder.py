"""Compare several methods of a task on the same cases: run them, track them in MLflow, write the page."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.errors import MedsegError
from medseg.evaluation.comparison import COMPARISON_CSV, COMPARISON_HTML, COMPARISON_JSON
from medseg.evaluation.ladder_cases import same_cases, strips
from medseg.evaluation.ladder_plan import Entry, Plan
from medseg.evaluation.ladder_plot import draw_scores
from medseg.evaluation.ladder_run import Cost, Failure, run_alone
from medseg.evaluation.ladder_table import Ladder, ladder, methods_table, rung, tests_table
from medseg.evaluation.past_runs import (
    ARTIFACT_FOLDER,
    PARAMETERS_JSON,
    PICTURES,
    SCORES_CSV,
    SCORES_JSON,
    CaseRow,
    read_rows,
)
from medseg.evaluation.score_files import write_json
from medseg.evaluation.split import items_digest
from medseg.io.atomic import atomic_path
from medseg.reports.ladder import write_ladder_page
from medseg.reports.record import plain
from medseg.tracking import provenance
from medseg.tracking.run_list import note_of
from medseg.tracking.store import flatten
from medseg.tracking.tracker import Tracker, mark_killed_runs, tracked

logger = logging.getLogger(__name__)

PLOT = "score_and_time.png"
TRACKING = "tracking"


class MethodFailed(MedsegError):
    """One or several methods could not segment or score a case.

    Attributes:
        found: the comparison of the others; None if there are none.
    """

    found: Ladder | None = None


def compare_methods(plan: Plan) -> Ladder:
    """Score each method in a process of its own, then compare those that did not fail.

    The plan's folder gets a folder for each method with what medseg.evaluation.split.evaluate writes and
    masks/; comparison.json, comparison.csv (a row for each method and case) and comparison.html. MLflow gets
    a run for the comparison, and in it a run for each method, which has the method's name.

    Raises:
        MethodFailed: methods failed. The others are compared and written before.
    """
    mark_killed_runs()
    plan.folder.mkdir(parents=True, exist_ok=True)
    digest = items_digest(plan.items)
    tracker = Tracker(plan.folder / TRACKING, experiment=plan.experiment, run_name=f"compare {plan.title}")
    with tracked(tracker):
        methods = ", ".join(entry.method.name for entry in plan.entries)
        _describe(tracker, plan, digest, {"methods": methods, **plan.changed})
        costs, failures = _run_all(plan, digest, tracker.key)
        found = _compared(plan, tracker, costs, failures) if costs else None
        if failures or found is None:
            error = _failed(failures, plan.folder)
            error.found = found
            raise error
    return found


def _run_all(plan: Plan, digest: str, parent: str) -> tuple[dict[str, Cost], dict[str, str]]:
    """The costs of the methods that have scores now, and why the others failed."""
    costs: dict[str, Cost] = {}
    failures: dict[str, str] = {}
    for number, entry in enumerate(plan.entries, start=1):
        name = entry.method.name
        logger.info("%d of %d: %s", number, len(plan.entries), name)
        try:
            costs[name] = _run(plan, entry, digest, parent)
        except MethodFailed as failed:
            failures[name] = failed.got
            logger.warning("%s", failed.got)
    return costs, failures


def _compared(plan: Plan, tracker: Tracker, costs: Mapping[str, Cost], failures: Mapping[str, str]) -> Ladder:
    """The comparison of the methods that have scores, written and tracked."""
    rows = {name: read_rows(plan.folder / name / SCORES_CSV) for name in costs}
    methods = [entry.method for entry in plan.entries if entry.method.name in costs]
    rungs = [rung(m.name, m.kind, m.summary, rows[m.name], costs[m.name]) for m in methods]
    found = ladder(plan.title, rungs, rows, [*failures.values(), *plan.warnings])
    _write(plan, found, rows)
    _log(tracker, plan, found)
    return found


def _run(plan: Plan, entry: Entry, digest: str, parent: str) -> Cost:
    """Score one method in an MLflow run of its own."""
    name = entry.method.name
    folder = plan.folder / name
    tracker = Tracker(folder / TRACKING, experiment=plan.experiment, run_name=name, parent=parent)
    with tracked(tracker):
        _describe(tracker, plan, digest, {"method": name, "kind": entry.method.kind, **entry.changed})
        outcome = run_alone(plan, entry, folder)
        if isinstance(outcome, Failure):
            error = _failed({name: f"{name} {outcome}"}, plan.folder)
            tracker.tags({"mlflow.note.content": error.got})
            tracker.commit()
            raise error
        _log_method(tracker, plan, entry, folder, outcome)
    return outcome


def _failed(failures: Mapping[str, str], folder: Path) -> MethodFailed:
    return MethodFailed(
        "masks and scores of all cases by every method",
        got="; ".join(failures.values()),
        advice=f"{folder} has the others. Correct the cause, or leave out {', '.join(failures)}.",
    )


def _describe(tracker: Tracker, plan: Plan, digest: str, own: Mapping[str, Any]) -> None:
    """Track what is compared, and on what machine."""
    about = {"task": plan.bundle.task, "manifests": ", ".join(plan.manifests), "split": plan.split}
    tracker.parameters({**own, **about, "data.digest": digest})
    tracker.tags(provenance.tags())
    tracker.dataset(plan.data, digest, plan.split)
    tracker.commit()


def _log_method(tracker: Tracker, plan: Plan, entry: Entry, folder: Path, cost: Cost) -> None:
    """Track scores, costs, tables and pictures of one method."""
    summary = json.loads((folder / SCORES_JSON).read_text(encoding="utf-8"))
    means = {name: entry["mean"] for name, entry in summary["scores"].items() if entry["mean"] is not None}
    costs = {
        "seconds_per_case": cost.seconds_per_case,
        "peak_memory_mb": cost.peak_memory_mb,
        "parameters": float(cost.parameters),
    }
    tracker.metrics({**means, **costs}, 0)
    tracker.parameters({"weights_sha256": ", ".join(cost.weights_sha256) or "none"})
    tracker.tags({"mlflow.note.content": note_of(summary, {}, flatten(entry.changed))})
    for name in (SCORES_CSV, SCORES_JSON):
        tracker.artifact(folder / name, ARTIFACT_FOLDER)
    tracker.artifact(folder / PARAMETERS_JSON)
    tracker.artifact(folder / PICTURES)
    for number, case in enumerate(same_cases(plan), start=1):
        # MLflow shows pictures of two runs side by side only if they lie at the top under the same name.
        picture = folder / f"case_{number}.jpg"
        shutil.copyfile(folder / PICTURES / f"{case}.jpg", picture)
        tracker.artifact(picture)
        tracker.picture(picture, f"case_{number}", 0)


def _write(plan: Plan, found: Ladder, rows: Mapping[str, Sequence[CaseRow]]) -> None:
    write_json(plan.folder / COMPARISON_JSON, plain(dataclasses.asdict(found)))
    _write_csv(plan.folder / COMPARISON_CSV, rows)
    plot = plan.folder / PLOT
    with atomic_path(plot) as temporary:
        draw_scores(found.rungs, temporary)
    write_ladder_page(
        plan.folder / COMPARISON_HTML,
        title=found.title,
        counts=found.counts,
        table={**methods_table(found), "name": "Methods", "best": found.best},
        tests={**tests_table(found), "name": "Tests", "best": None},
        plot=plot.read_bytes(),
        strips=strips(plan, rows),
        warnings=found.warnings,
    )
    logger.info("%s", plan.folder / COMPARISON_HTML)


def _write_csv(path: Path, rows: Mapping[str, Sequence[CaseRow]]) -> None:
    names = list(dict.fromkeys(name for found in rows.values() for row in found for name in row.scores))
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["method", "case", "subject", *names])
        writer.writeheader()
        for method, found in rows.items():
            for row in found:
                writer.writerow({"method": method, "case": row.case, "subject": row.subject, **row.scores})


def _log(tracker: Tracker, plan: Plan, found: Ladder) -> None:
    # So that two comparisons side by side in MLflow show the methods of both.
    tracker.metrics({f"dice/{each.method}": each.mean for each in found.rungs if each.mean >= 0}, 0)
    tracker.tags({"mlflow.note.content": f"```\n{found}\n```"})
    for name in (COMPARISON_HTML, COMPARISON_JSON, COMPARISON_CSV, PLOT):
        tracker.artifact(plan.folder / name)
    tracker.commit()
