"""Which cases are compared: of a period, of one kind, each person once; and their values as columns."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np

from medseg.drift.records import CaseRecord, Kind, parse_day
from medseg.errors import DataError, UnsuitableError

Event = tuple[str, str]  # a group, such as "warning", and what was said
MISSING = "not measured"  # the group of events that a measure has no value


@dataclass(frozen=True)
class Sample:
    """Cases as columns.

    Attributes:
        numbers: measure to (n,) values, NaN where there is none.
        events: event to (n,) 1 where it is true of the case, 0 where not, NaN where nobody looked.
        asked: group of events to (n,) 0 where events of this group were looked for, else NaN.
        units: measure to unit.
        persons: how many.
    """

    numbers: Mapping[str, np.ndarray]
    events: Mapping[Event, np.ndarray] = field(default_factory=dict)
    asked: Mapping[str, np.ndarray] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    persons: int = 0


def sample_of(cases: Sequence[CaseRecord]) -> Sample:
    """The columns of some cases: their numbers, their events, and which numbers are missing."""
    names = dict.fromkeys(name for case in cases for name in case.numbers)
    groups = dict.fromkeys(group for case in cases for group in sorted(case.asked))
    events = sorted({event for case in cases for event in case.events})
    asked = {g: np.array([0.0 if g in case.asked else np.nan for case in cases]) for g in groups}
    happened = {e: asked[e[0]] + np.array([float(e in case.events) for case in cases]) for e in events}
    return Sample(
        {name: np.array([_number(case, name) for case in cases]) for name in names},
        happened | {(MISSING, name): np.array([_is_missing(case, name) for case in cases]) for name in names},
        asked,
        {name: unit for case in cases for name, unit in case.units.items()},
        len(cases),
    )


def _number(case: CaseRecord, name: str) -> float:
    value = case.numbers.get(name)
    return np.nan if value is None else value


def _is_missing(case: CaseRecord, name: str) -> float:
    """1 where the measure has no value, NaN where the record does not know it."""
    return float(case.numbers[name] is None) if name in case.numbers else np.nan


def only_kind(cases: Sequence[CaseRecord], task: str | None, method: str | None) -> list[CaseRecord]:
    """The cases, if all were made in the same way.

    Raises:
        UnsuitableError: they are of several tasks, methods, modes or weights.
    """
    chosen = [c for c in cases if task in (None, c.kind.task) and method in (None, c.kind.method)]
    kinds = Counter(case.kind for case in chosen)
    if len(kinds) > 1:
        raise UnsuitableError(
            "results of one task, method, mode and weights",
            got=_listed(kinds),
            advice="Choose by --task and --method, or the time of one of them by --since and --until.",
        )
    if cases and not chosen:
        raise UnsuitableError(
            f"results of {' by '.join(filter(None, [task, method]))}",
            got=_listed(Counter(case.kind for case in cases)),
            advice="Choose another --task or --method.",
        )
    return chosen


def of_same_kind(cases: Sequence[CaseRecord], kind: Kind) -> tuple[list[CaseRecord], list[str]]:
    """The reference's cases of a kind, and a sentence on the others.

    Raises:
        UnsuitableError: there is none, so that nothing can be compared.
    """
    same = [case for case in cases if case.kind == kind]
    if not same:
        raise UnsuitableError(
            f"reference results of {kind}, as those of now",
            got=_listed(Counter(case.kind for case in cases)) if cases else "none",
            advice="Numbers of other weights or methods are not compared: segment the reference anew.",
        )
    others = len(cases) - len(same)
    left = (
        f"{others} results of the reference were made by another method or other weights; they were left out"
    )
    return same, [left] if others else []


def _listed(kinds: Mapping[Kind, int]) -> str:
    return "; ".join(f"{count} of {kind}" for kind, count in sorted(kinds.items()))


def in_period(
    cases: Sequence[CaseRecord], since: date | None, until: date | None
) -> tuple[list[CaseRecord], list[str]]:
    """The cases from one day to another, both included, and a sentence on cases without a date.

    Raises:
        UnsuitableError: there is none.
    """
    if since is None and until is None:
        return list(cases), []
    dated = [case for case in cases if case.day]
    found = [c for c in dated if c.day and (since or date.min) <= c.day <= (until or date.max)]
    if not found:
        days = sorted(case.day for case in dated if case.day)
        got = f"none of {len(cases)}; their days are {days[0]} to {days[-1]}" if days else "none with a date"
        raise UnsuitableError(
            f"results {_period(since, until)}", got=got, advice="Choose another --since and --until."
        )
    undated = len(cases) - len(dated)
    return found, [f"{undated} results without a date were left out"] if undated else []


def _period(since: date | None, until: date | None) -> str:
    return " ".join([*([f"since {since}"] if since else []), *([f"until {until}"] if until else [])])


def one_each(cases: Sequence[CaseRecord]) -> tuple[list[CaseRecord], list[str]]:
    """One case of each image and of each person, and sentences on what was left out.

    Of an image the last result counts. Of a person one image is drawn, by its name alone and always the same:
    a mean over images would have another distribution than a single one, and the first may be of a kind.
    """
    notes = []
    by_image: dict[str, CaseRecord] = {}
    for number, case in enumerate(cases):
        key = case.digest or f"case {number}"
        if key not in by_image or (case.day or date.min) >= (by_image[key].day or date.min):
            by_image[key] = case
    if repeated := len(cases) - len(by_image):
        notes.append(f"{repeated} results are of images that were segmented again; the last one counts")
    by_person: dict[str, CaseRecord] = {}
    for number, case in enumerate(sorted(by_image.values(), key=_lot)):
        by_person.setdefault(f"= {case.subject}" if case.subject else str(number), case)
    if more := len(by_image) - len(by_person):
        notes.append(f"{more} results are further images of the same persons; one of each person counts")
    if unknown := sum(case.subject is None for case in by_image.values()):
        notes.append(
            f"whose images they are is unknown for {unknown} of {len(by_image)} results; each counts as a "
            "person, and if some are of the same person, p is too small: see --subjects"
        )
    return sorted(by_person.values(), key=lambda case: case.name), notes


def _lot(case: CaseRecord) -> bytes:
    return hashlib.sha256((case.digest or case.name).encode("utf-8", "surrogateescape")).digest()


def without_those_of(
    reference: Sequence[CaseRecord], now: Iterable[CaseRecord]
) -> tuple[list[CaseRecord], list[str]]:
    """The reference without images and persons of now, and a sentence on how many were taken out."""
    now = list(now)
    images, persons = {c.digest for c in now} - {""}, {c.subject for c in now} - {None}
    kept = [c for c in reference if c.digest not in images and c.subject not in persons]
    gone = len(reference) - len(kept)
    text = f"{gone} results of the reference are of images or persons of now; they were left out of it"
    return kept, [text] if gone else []


def with_subjects(
    cases: Sequence[CaseRecord], table: Mapping[str, tuple[str, date | None]]
) -> list[CaseRecord]:
    """The cases with the persons and study dates of a table, see read_subjects."""
    found = []
    for case in cases:
        subject, day = table.get(case.name) or table.get(case.short) or ("", None)
        found.append(
            dataclasses.replace(
                case,
                subject=subject or case.subject,
                day=day or case.day,
                is_study_day=bool(day) or case.is_study_day,
            )
        )
    return found


def require_clear(cases: Iterable[CaseRecord], table: Mapping[str, tuple[str, date | None]]) -> None:
    """Check that no line of a table is about cases of the same name in two folders, who may be two persons.

    Raises:
        DataError: one is.
    """
    folders: dict[str, set[str]] = {}
    for case in cases:
        if case.name not in table and case.short in table:
            folders.setdefault(case.short, set()).add(case.name)
    if twice := [sorted(names) for names in folders.values() if len(names) > 1]:
        raise DataError(
            "a table of --subjects whose lines are each about one case",
            got=" and ".join(twice[0][:2]),
            advice="Write the name of the folder before that of the case, as here.",
        )


def read_subjects(file: str | Path) -> dict[str, tuple[str, date | None]]:
    """Read a CSV table with the columns case and subject, and perhaps date.

    Returns:
        Name of the case, perhaps after that of its folder (november/photo), to the subject, "" if there is
        none, and the day of the study, None likewise.

    Raises:
        DataError: a column or a cell is missing, a case occurs twice, or a date is none.
    """
    path = Path(file)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            header, lines = reader.fieldnames or [], list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise _bad_table("comma-separated text in UTF-8", path, "something else") from error
    if not {"case", "subject"} <= set(header):
        # A table without a header begins with a case and a person, so its first line is not quoted.
        raise _bad_table("the columns case and subject", path, f"{len(header)} other columns")
    table: dict[str, tuple[str, date | None]] = {}
    for number, line in enumerate(lines, 2):
        if None in line or None in line.values():
            raise _bad_table("a cell for each column", path, f"more or fewer in line {number}")
        name, text = line["case"], line.get("date", "").strip()
        day = parse_day(text) if text else None
        if name in table:
            raise _bad_table("each case once", path, f"the case of line {number} again")
        if text and day is None:
            raise _bad_table("dates such as 2026-11-30", path, f"another text in line {number}")
        table[name] = line["subject"].strip(), day
    return table


def _bad_table(expected: str, path: Path, got: str) -> DataError:
    return DataError(f"{expected} in {path.name}", got=got, advice="Repair the table of --subjects.")
