"""Saved results as cases: what was measured of each, of whom, when, and by which method."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from medseg.errors import MedsegError, UnreadableError
from medseg.evaluation.past_runs import SCORES_CSV, SCORES_JSON, CaseRow, read_rows

RECORD = "measurements.json"
_NUMBER = re.compile(r"(?<![A-Za-z\d])[-+]?\d+(?:[.,]\d+)*")


@dataclass(frozen=True, order=True)
class Kind:
    """What determines a result besides the image: results of two kinds can't be compared.

    Attributes:
        task, method, mode: their names, "" if unknown.
        version: of the bundle.
        weights: the SHA-256 of each file of weights; empty for a method without weights.
    """

    task: str = ""
    method: str = ""
    mode: str = ""
    version: str = ""
    weights: tuple[str, ...] = ()

    def __str__(self) -> str:
        weights = f"weights {', '.join(digest[:8] for digest in self.weights)}" if self.weights else ""
        parts = (self.method, self.mode, self.version and f"bundle {self.version}", weights)
        about = ", ".join(part for part in parts if part)
        return f"{self.task or 'scores of `medseg evaluate`'}{f' ({about})' if about else ''}"


@dataclass(frozen=True)
class CaseRecord:
    """One saved result.

    Attributes:
        name: of its folder, after the folder that this lies in: november/photo.
        kind: what made it.
        numbers: measure to value; None where it could not be known.
        units: measure to unit.
        events: what is true of the case, such as a warning; whatever is not named is false.
        asked: groups of events that were looked at, such as "warning"; in the others absence says nothing.
        day: of the study if it is known, else of the segmentation; None without a date.
        is_study_day: which of the two.
        digest: the SHA-256 of the image; "" if unknown.
        subject: the person; None if unknown.
    """

    name: str
    kind: Kind
    numbers: Mapping[str, float | None] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    events: frozenset[tuple[str, str]] = frozenset()
    asked: frozenset[str] = frozenset()
    day: date | None = None
    is_study_day: bool = False
    digest: str = ""
    subject: str | None = None

    @property
    def short(self) -> str:
        """The name of the case's own folder."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True)
class Reading:
    """The cases of some folders, and sentences on records that could not be read."""

    cases: tuple[CaseRecord, ...]
    broken: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_cases(folders: Sequence[str | Path]) -> Reading:
    """Read all results in some folders.

    Args:
        folders: each holds folders of cases (the -o of `medseg segment`), or is the folder of one case, or
            holds the scores.csv of `medseg evaluate`, whose scores and subjects are added to its cases.

    Raises:
        UnreadableError: a folder is missing, or holds neither results nor scores.
        DataError: a scores.csv is damaged.
    """
    places = list(dict.fromkeys(Path(folder).resolve() for folder in folders))
    parts = [_read_folder(place) for place in places]
    return Reading(
        tuple(case for part in parts for case in part.cases),
        tuple(text for part in parts for text in part.broken),
        tuple(text for part in parts for text in part.notes),
    )


def _read_folder(folder: Path) -> Reading:
    if not folder.is_dir():
        raise UnreadableError(
            "folders of results",
            got=f"{folder.name}, which is {'no folder' if folder.exists() else 'missing'}",
            advice="Name the -o of `medseg segment`.",
        )
    files = [folder / RECORD] if (folder / RECORD).is_file() else _below(folder)
    scores = folder / SCORES_CSV
    if not files and not scores.is_file():
        raise UnreadableError(
            f"a folder with */{RECORD} or {SCORES_CSV}",
            got=f"{folder.name}, which has neither",
            advice="Name the -o of `medseg segment`, or the --output_dir of `medseg evaluate`.",
        )
    cases, broken = [], []
    for file in files:
        try:
            cases.append(read_record(file))
        except MedsegError as error:
            broken.append(str(error))
    if not scores.is_file():
        return Reading(tuple(cases), tuple(broken))
    return _with_scores(Reading(tuple(cases), tuple(broken)), scores)


def _below(folder: Path) -> list[Path]:
    """The records of the cases in a folder, and of those in the folders directly in it."""
    return sorted(file for depth in ("*", "*/*") for file in folder.glob(f"{depth}/{RECORD}"))


def read_record(file: Path) -> CaseRecord:
    """Read the measurements.json of one case.

    Raises:
        UnreadableError: it is no such record, or can't be read.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
        return _case("/".join(file.parent.parts[-2:]), content)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
        raise UnreadableError(
            f"the record of a result in {file.parent.name}/{file.name}",
            got=_problem(error),
            advice="Segment the case again, or remove its folder.",
        ) from error


def _problem(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"one without {error.args[0]!r}"
    if isinstance(error, OSError):
        return error.strerror or "a file that can't be read"
    return "no valid JSON" if isinstance(error, ValueError) else "JSON of another form"


def _case(name: str, content: Mapping[str, Any]) -> CaseRecord:
    origin, quality = content["provenance"], content.get("quality") or {}
    numbers, units, texts = measured(content["measurements"])
    for label, found in (quality.get("predicted_dice") or {}).items():
        numbers[f"predicted_dice.{label}"] = _finite(found["value"])
    if novelty := quality.get("novelty"):
        numbers["novelty.distance"] = _finite(novelty["distance"])
    warnings = {("warning", kind_of(text)) for text in content["warnings"]}
    verdict = quality.get("verdict")
    verdicts = {("verdict", "not pass")} if verdict in ("warn", "reject") else set()
    verdicts |= {("verdict", "reject")} if verdict == "reject" else set()
    review = content.get("review") or {}
    reviews = {("review", str(review["verdict"]))} if review else set()
    judged = {"verdict": verdict, "review": review}
    day, is_study_day = _day(origin)
    return CaseRecord(
        name,
        _kind(content, origin),
        numbers,
        units,
        frozenset(warnings | verdicts | reviews | texts),
        frozenset({"warning", *(name for name, known in judged.items() if known), *(g for g, _ in texts)}),
        day,
        is_study_day,
        str(origin.get("input_sha256") or ""),
    )


def _settings(origin: Mapping[str, Any]) -> str:
    """What was changed by --set, as text."""
    found = origin.get("settings")
    return ", ".join(f"{key}={found[key]}" for key in sorted(found)) if isinstance(found, Mapping) else ""


def _kind(content: Mapping[str, Any], origin: Mapping[str, Any]) -> Kind:
    weights = origin.get("weights_sha256") or ()
    return Kind(
        str(content["task"]),
        " with ".join(filter(None, [str(origin.get("method") or ""), _settings(origin)])),
        str(origin.get("mode") or ""),
        str(origin.get("bundle_version") or ""),
        (weights,) if isinstance(weights, str) else tuple(map(str, weights)),
    )


def measured(
    measurements: Mapping[str, Any],
) -> tuple[dict[str, float | None], dict[str, str], set[tuple[str, str]]]:
    """Numbers, units and texts of all measurements; lists, such as one entry per object, are left out."""
    numbers: dict[str, float | None] = {}
    units: dict[str, str] = {}
    texts: set[tuple[str, str]] = set()
    for name, entry in measurements.items():
        for key, value in _leaves(name, entry["value"]):
            if isinstance(value, str):
                texts.add((key, value))
            elif value is None or isinstance(value, int | float):
                numbers[key], units[key] = _finite(value), str(entry.get("unit") or "")
    return numbers, units, texts


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{name}.{key}", item)
    else:
        yield name, value


def _finite(value: Any) -> float | None:
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) else None


def kind_of(warning: str) -> str:
    """A warning without its numbers, so that those of several cases are counted together."""
    return _NUMBER.sub("N", warning)


def _day(origin: Mapping[str, Any]) -> tuple[date | None, bool]:
    study = parse_day(origin.get("study_date"))
    return (study, True) if study else (parse_day(origin.get("date")), False)


def parse_day(text: Any) -> date | None:
    """The day of an ISO date or time, or of a DICOM date (20261130); None for anything else."""
    try:
        return date.fromisoformat(str(text)[:10] if "-" in str(text) else str(text)[:8])
    except ValueError:
        return None


def _with_scores(found: Reading, scores: Path) -> Reading:
    """The cases with the scores of scores.csv; without any case, its rows as cases."""
    rows = {row.case: row for row in read_rows(scores)}
    if not found.cases and not found.broken:
        kind = Kind(method=_method_beside(scores))
        return Reading(tuple(_scored(CaseRecord(name, kind), row) for name, row in rows.items()))
    cases = tuple(_scored(case, rows[case.short]) if case.short in rows else case for case in found.cases)
    strange = rows.keys() - {case.short for case in cases}
    notes = [f"{len(strange)} lines of {SCORES_CSV} belong to no result in their folder"] if strange else []
    return Reading(cases, found.broken, tuple(notes))


def _scored(case: CaseRecord, row: CaseRow) -> CaseRecord:
    scores = {f"score.{name}": value for name, value in row.scores.items()}
    return dataclasses.replace(case, numbers={**case.numbers, **scores}, subject=row.subject)


def _method_beside(scores: Path) -> str:
    try:
        return str(json.loads(scores.with_name(SCORES_JSON).read_text("utf-8")).get("method") or "")
    except (OSError, ValueError, AttributeError):
        return ""
