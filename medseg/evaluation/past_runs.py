"""Read the scores of an earlier run from a folder or from MLflow."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from medseg.errors import DataError, MedsegError, UsageError, did_you_mean
from medseg.metrics.surface import MEAN

SCORES_CSV, SCORES_JSON, PARAMETERS_JSON, PICTURES = "scores.csv", "scores.json", "parameters.json", "cases"
ARTIFACT_FOLDER = "scores"
TRAINED = "trained"  # the group that tells whether the weights were trained on the case

_RUN_ID = re.compile("[0-9a-f]{32}")
_CONTEXT = "mlflow.data.context"
# Tags that name the code of a run; they are compared like parameters.
_CODE_TAGS = ("mlflow.source.git.commit", "version.", "medseg.version")


class CaseRow(NamedTuple):
    """One case of scores.csv.

    Attributes:
        case, subject: their names.
        by_label: label to score name to value, None if undefined. The label is "" if the task has only one;
            MEAN is the mean over several labels.
        groups: name of a group to the case's value, where it has one.
    """

    case: str
    subject: str
    by_label: dict[str, dict[str, float | None]]
    groups: Mapping[str, str] = MappingProxyType({})

    @property
    def scores(self) -> dict[str, float | None]:
        """All scores under flat names: dice for the case, dice_left_lung for a label."""
        return {
            name if label in ("", MEAN) else f"{name}_{label}": value
            for label, found in self.by_label.items()
            for name, value in found.items()
        }


@dataclass(frozen=True)
class RunScores:
    """The scores of one run and their source.

    Attributes:
        name: for the reader.
        source: "folder", or the id of the MLflow run.
        rows: one for each case.
        parameters: name to text, as MLflow stores them.
        dataset_digest: a digest of the scored data; None if unknown.
        pictures: the folder of the overlays <case>.jpg; None for a run of MLflow, which has run_id instead.
        run_id: MLflow's id of the run.
        warnings: sentences about this run.
    """

    name: str
    source: str
    rows: tuple[CaseRow, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)
    dataset_digest: str | None = None
    pictures: Path | None = None
    run_id: str | None = None
    warnings: tuple[str, ...] = ()


def load_run(reference: str) -> RunScores:
    """Read the scores of a run.

    An existing folder is read without MLflow. Anything else is the id or the name of a run in the MLflow
    store of `tracking_uri`.

    Args:
        reference: a folder with scores.csv and, optionally, parameters.json (flat; its "dataset_digest"
            identifies the scored data) and cases/<case>.jpg; or the id or name of an MLflow run.

    Raises:
        UsageError: no run or several runs have this name.
        DataError: the run has no scores, or they are damaged.
        MedsegError: MLflow is missing or doesn't respond.
    """
    if os.path.isdir(reference):  # as in `picture`, Path's own raises for a name that is too long
        return _from_folder(Path(reference))
    return _from_mlflow(str(reference))


def picture(run: RunScores, case: str, scratch: Path) -> Path | None:
    """The file of a case's overlay; None if the run has none.

    Args:
        run: the run.
        case: the name of the case in the run's scores.
        scratch: an existing folder for files that are downloaded.
    """
    name = f"{case}.jpg"
    if Path(name).name != name:  # a case name from a file must not lead to another folder
        return None
    if run.pictures:
        path = run.pictures / name
        return path if os.path.isfile(path) else None
    if run.run_id is None:
        return None
    from mlflow.exceptions import MlflowException

    target = scratch / run.run_id
    target.mkdir(exist_ok=True)
    try:
        return Path(_client().download_artifacts(run.run_id, f"{PICTURES}/{name}", str(target)))
    except MlflowException:
        return None


def _from_folder(folder: Path) -> RunScores:
    name = "/".join(folder.resolve().parts[-2:])  # the rest of the path might contain a person's name
    scores = folder / SCORES_CSV
    if not scores.is_file():
        raise DataError(
            f"a folder with {SCORES_CSV}",
            got=f"{name}, which has none",
            advice="Run `medseg evaluate` into this folder; for an MLflow run of this name, give its id.",
        )
    parameters = _read_parameters(folder / PARAMETERS_JSON)
    return RunScores(
        name=name,
        source="folder",
        rows=read_rows(scores),
        parameters=parameters,
        dataset_digest=parameters.get("dataset_digest"),
        pictures=folder / PICTURES if (folder / PICTURES).is_dir() else None,
    )


def _read_parameters(path: Path) -> dict[str, str]:
    """Parameters as text; empty if the file is missing."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise _unreadable(path, "JSON", error) from error
    if not isinstance(content, dict):
        raise _unreadable(path, "a JSON object of names and values", f"a {type(content).__name__}")
    # Text, as in MLflow, so that values from a folder and from MLflow compare equal.
    return {name: str(value) for name, value in content.items()}


def read_rows(path: Path) -> tuple[CaseRow, ...]:
    """The cases of scores.csv: one row each or, with a column `label`, one row for each label.

    scores.json beside it names the columns that hold groups. All other columns are scores, which must be
    numbers, so that a damaged score is not mistaken for a group.

    Raises:
        DataError: there is no case, a case or one of its labels occurs twice, a column is missing, or a score
            is neither empty nor a finite number.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header, lines = list(reader.fieldnames or []), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, "comma-separated text in UTF-8", error) from error
    groups = _groups_beside(path)
    scores = [name for name in header if name not in ("case", "subject", "label", *groups)]
    if not {"case", "subject"} <= set(header) or not scores or len(set(header)) < len(header):
        got = f"the columns {', '.join(header) or '(none)'}"
        raise _unreadable(path, "the columns case, subject and at least one score, each once", got)
    if not lines:
        raise _unreadable(path, "at least one case", "none")
    read = [_row(path, line, scores, groups) for line in lines]
    twice = [case for (case, _), n in Counter((r.case, *r.by_label) for r in read).items() if n > 1]
    if twice:
        raise _unreadable(path, "each case once", f"{', '.join(twice[:5])} more than once")
    rows: dict[str, CaseRow] = {}
    for row in read:
        earlier = rows.setdefault(row.case, row)
        if earlier.subject != row.subject:
            raise _unreadable(path, "a case of one subject", f"{row.case} of several")
        earlier.by_label.update(row.by_label)
    return tuple(rows.values())


def _groups_beside(path: Path) -> set[str]:
    """The group columns that scores.json names; before 0.2 it had only their summaries."""
    try:
        summary = json.loads(path.with_name(SCORES_JSON).read_text("utf-8"))
        return {TRAINED, *summary.get("groups", summary.get("by_group", ()))}
    except (OSError, ValueError, AttributeError, TypeError):
        return {TRAINED}


def _row(path: Path, line: Mapping[str | None, Any], scores: list[str], groups: set[str]) -> CaseRow:
    if None in line or None in line.values():
        raise _unreadable(path, "a cell for each column", f"more or fewer for case {line['case']}")
    if not line["case"] or not line["subject"]:
        raise _unreadable(path, "a case and a subject in each line", f"case {line['case']!r} without one")
    numbers = {name: _number(path, line["case"], name, line[name]) for name in scores}
    texts = {name: line[name] for name in sorted(groups) if line.get(name)}
    label = line.get("label") or ""
    if label == MEAN:  # distances are not averaged over labels, so their cells are empty
        numbers = {name: value for name, value in numbers.items() if value is not None}
    return CaseRow(line["case"], line["subject"], {label: numbers}, texts)


def _number(path: Path, case: str, name: str, text: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        expected = "finite numbers, or nothing where a score is undefined,"
        raise _unreadable(path, expected, f"{text!r} as {name} of {case}")
    return value


def _unreadable(path: Path, expected: str, got: object) -> DataError:
    return DataError(
        f"{expected} in {path.name}", got=str(got), advice="Score the run again, or repair the file."
    )


def _from_mlflow(reference: str) -> RunScores:
    client = _client()
    with _plain_errors():
        run = _find(client, reference)
        run_id, name = run.info.run_id, run.info.run_name or run.info.run_id
        artifact = f"{ARTIFACT_FOLDER}/{SCORES_CSV}"
        if artifact not in {entry.path for entry in client.list_artifacts(run_id, ARTIFACT_FOLDER)}:
            advice = "Choose a run that was evaluated."
            raise DataError(f"a run with the artifact {artifact}", got=f"{name} ({run_id})", advice=advice)
        with tempfile.TemporaryDirectory() as scratch:
            _fetch_summary(client, run_id, scratch)
            rows = read_rows(Path(client.download_artifacts(run_id, artifact, scratch)))
            parameters = _all_parameters(client, run, Path(scratch))
    tags = {key: value for key, value in run.data.tags.items() if key.startswith(_CODE_TAGS)}
    status = run.info.status
    return RunScores(
        name=name,
        source=f"MLflow run {run_id}",
        rows=rows,
        parameters={**parameters, **tags},
        dataset_digest=_digest(run),
        run_id=run_id,
        warnings=() if status == "FINISHED" else (f"its status in MLflow is {status}",),
    )


def _fetch_summary(client: Any, run_id: str, scratch: str) -> None:
    """Download scores.json to where read_rows expects it; runs of other programs have none."""
    artifact = f"{ARTIFACT_FOLDER}/{SCORES_JSON}"
    if artifact in {entry.path for entry in client.list_artifacts(run_id, ARTIFACT_FOLDER)}:
        client.download_artifacts(run_id, artifact, scratch)


def _all_parameters(client: Any, run: Any, scratch: Path) -> dict[str, str]:
    """A run's parameters, including those that only its artifact parameters.json has."""
    names = {entry.path for entry in client.list_artifacts(run.info.run_id)}
    if PARAMETERS_JSON not in names:
        return dict(run.data.params)
    file = client.download_artifacts(run.info.run_id, PARAMETERS_JSON, str(scratch))
    return {**_read_parameters(Path(file)), **run.data.params}


def _client() -> Any:
    """MLflow's client of the store; unlike MLflow itself it never creates a store."""
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        advice = "Check the path of the folder, or install MLflow with: pip install 'medseg[train]'"
        raise UsageError(
            "an existing folder, or an installed MLflow to look up a run", got="neither", advice=advice
        ) from error
    from medseg.tracking.tracker import tracking_uri

    uri = tracking_uri()
    database = uri.removeprefix("sqlite:///").partition("?")[0]
    if uri.startswith("sqlite:///") and not os.path.exists(database):
        advice = "Check the path of the folder, or set MLFLOW_TRACKING_URI to the store."
        raise UsageError(
            "a folder, or a run in an MLflow store",
            got=f"neither a folder nor the store {database}",
            advice=advice,
        )
    with _plain_errors():
        return MlflowClient(uri)


def _find(client: Any, reference: str) -> Any:
    """The run with this id, else the only run with this name."""
    from mlflow.exceptions import MlflowException

    if _RUN_ID.fullmatch(reference):
        try:
            return client.get_run(reference)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    experiments = {entry.experiment_id: entry.name for entry in _all(client.search_experiments)}
    quote = '"' if "'" in reference else "'"
    named = f"attributes.run_name = {quote}{reference}{quote}"
    runs = list(_all(client.search_runs, list(experiments), filter_string=named)) if experiments else []
    if len(runs) == 1:
        return runs[0]
    expected = "a folder with scores, or the id or name of one MLflow run"
    if not runs:
        latest = client.search_runs(list(experiments), max_results=20) if experiments else []
        known = {run.info.run_name or run.info.run_id for run in latest}
        advice = did_you_mean(reference, known) if known else "The MLflow store has no runs."
        raise UsageError(expected, got=reference, advice=advice)
    lines = [f"{run.info.run_id} ({experiments[run.info.experiment_id]}, {_started(run)})" for run in runs]
    more = f" and {len(lines) - 10} more" if len(lines) > 10 else ""
    advice = f"Give the id of one: {', '.join(lines[:10])}{more}."
    raise UsageError(expected, got=f"{reference}, the name of {len(runs)} runs", advice=advice)


def _all(search: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
    """The results on all pages of one of MLflow's searches."""
    token = None
    while True:
        page = search(*arguments, page_token=token, **options)
        yield from page
        token = page.token
        if not token:
            return


def _started(run: Any) -> str:
    start = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    return f"started {start:%Y-%m-%d %H:%M:%S} UTC"


def _digest(run: Any) -> str | None:
    """The digests of the scored data: all inputs except those logged as training data."""
    inputs = run.inputs.dataset_inputs if run.inputs else []
    contexts = [{tag.key: tag.value for tag in entry.tags}.get(_CONTEXT) for entry in inputs]
    pairs = list(zip(contexts, (entry.dataset.digest for entry in inputs), strict=True))
    scored = [digest for context, digest in pairs if context not in ("training", "train")]
    return ", ".join(sorted(set(scored or [digest for _, digest in pairs]))) or None


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn MLflow's errors into medseg's, without the password that an address may contain."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        got = re.sub(r"//[^/@\s]+@", "//", str(error).partition("\n")[0])
        advice = "Check MLFLOW_TRACKING_URI, and whether the server is running."
        raise MedsegError("an MLflow store that responds", got=got, advice=advice) from error
