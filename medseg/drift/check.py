"""Folders of results against a reference: read, chosen, compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medseg.drift.comparison import DISTRIBUTION, Comparison, compare_samples
from medseg.drift.months import Month, months_of
from medseg.drift.records import CaseRecord, Kind, Reading, read_cases
from medseg.drift.sample import (
    Sample,
    in_period,
    of_same_kind,
    one_each,
    only_kind,
    read_subjects,
    require_clear,
    sample_of,
    with_subjects,
    without_those_of,
)
from medseg.errors import BundleError, UnsuitableError, UsageError

if TYPE_CHECKING:
    from medseg.bundle import Bundle

_RENAMED = {"feature_distance": "novelty.distance"}  # of the bundle's reference

Subjects = Mapping[str, tuple[str, date | None]]


@dataclass(frozen=True)
class Drift:
    """What `medseg drift` has found.

    Attributes:
        kind: of all results that were compared.
        comparison: the findings.
        reference, now: the samples that were compared.
        source: of the reference, in words.
        days: the first and the last day of now; None without dates.
        by_study: how many results of now are dated by their study; the others by their segmentation.
        months: of the reference and of now.
        notes: sentences on what was left out, and on what is not known.
        broken: sentences on records that can't be read.
    """

    kind: Kind
    comparison: Comparison
    reference: Sample
    now: Sample
    source: str
    days: tuple[date, date] | None
    by_study: int
    months: tuple[Month, ...]
    notes: tuple[str, ...]
    broken: tuple[str, ...]


def check_drift(
    folders: Sequence[str | Path],
    reference: str | Path | None = None,
    *,
    since: date | None = None,
    until: date | None = None,
    alpha: float = 0.05,
    task: str | None = None,
    method: str | None = None,
    subjects: str | Path | None = None,
) -> Drift:
    """Whether the results in some folders have another distribution than a reference.

    Args:
        folders: of results, see medseg.drift.records.read_cases.
        reference: a folder of earlier results; None for what the bundle knows of its training.
        since, until: the first and the last day of the results in `folders`; None for no limit.
        alpha: how often equal samples may be called different, all tests together.
        task, method: choose among results of several.
        subjects: a CSV table with the columns case, subject and perhaps date (of the study).

    Raises:
        UsageError: alpha is no share, or `until` is before `since`.
        InputError: there are no results, too few, or of several kinds; or nothing to compare them with.
        DataError: a table is damaged.
    """
    _check(alpha, since, until)
    table = read_subjects(subjects) if subjects else {}
    read, other = read_cases(folders), None if reference is None else read_cases([reference])
    require_clear([*read.cases, *(other.cases if other else ())], table)
    now, notes = in_period(_known(read, table), since, until)
    now = only_kind(now, task, method)
    kind = now[0].kind
    now, left = one_each(now)
    notes = [*read.notes, *notes, *_of("now", left)]
    earlier: list[CaseRecord] = []
    broken = read.broken
    if other is None:
        sample, source = _of_training(kind), "the bundle's training images"
    else:
        earlier, left = _reference_cases(other, table, now, kind)
        notes += [*other.notes, *left]
        broken = (*broken, *(text for text in other.broken if text not in broken))
        sample, source = sample_of(earlier), "earlier results"
    comparison = compare_samples(sample, sample_of(now), alpha)
    measures = [finding.name for finding in comparison.findings if finding.sort == DISTRIBUTION]
    days = sorted(case.day for case in now if case.day)
    return Drift(
        kind=kind,
        comparison=comparison,
        reference=sample,
        now=sample_of(now),
        source=source,
        days=(days[0], days[-1]) if days else None,
        by_study=sum(case.is_study_day for case in now),
        months=(*months_of(earlier, False, measures), *months_of(now, True, measures)),
        notes=(*notes, *_of_dates(now), *_of_edits(now)),
        broken=broken,
    )


def _check(alpha: float, since: date | None, until: date | None) -> None:
    if not 0 < alpha < 1:
        raise UsageError("a share between 0 and 1 for --alpha", got=f"{alpha:g}", advice="The usual is 0.05.")
    if since and until and until < since:
        raise UsageError(
            "--until not before --since", got=f"{since} to {until}", advice="Exchange the two dates."
        )


def _known(read: Reading, table: Subjects) -> list[CaseRecord]:
    """The cases, with what the table knows of them.

    Raises:
        UnsuitableError: none could be read.
    """
    if not read.cases:
        raise UnsuitableError(
            "results that can be read",
            got=f"{len(read.broken)} that can't: {read.broken[0]}" if read.broken else "none",
            advice="Segment the images again.",
        )
    return with_subjects(read.cases, table)


def _reference_cases(
    read: Reading, table: Subjects, now: Sequence[CaseRecord], kind: Kind
) -> tuple[list[CaseRecord], list[str]]:
    same, others = of_same_kind(_known(read, table), kind)
    same, shared = without_those_of(same, now)
    if not same:
        raise UnsuitableError(
            "a reference with other images than those of now",
            got="the same images alone",
            advice="Choose the time of now by --since and --until, or another reference.",
        )
    earlier, left = one_each(same)
    return earlier, [*others, *shared, *_of("the reference", left)]


def _of(side: str, notes: Sequence[str]) -> list[str]:
    return [f"{side}: {note}" for note in notes]


def _of_dates(now: Sequence[CaseRecord]) -> list[str]:
    undated = sum(case.day is None for case in now)
    return [f"{undated} of {len(now)} results have no date and are in no month"] if undated else []


def _of_edits(now: Sequence[CaseRecord]) -> list[str]:
    edited = sum(("review", "edited") in case.events for case in now)
    text = f"{edited} of {len(now)} results were edited by a reviewer; their numbers are of the edited mask"
    return [text] if edited else []


def _of_training(kind: Kind) -> Sample:
    """What the bundle knows of the images that trained the method.

    Raises:
        UnsuitableError: it knows nothing, or of other weights.
    """
    from medseg.bundle import open_bundle
    from medseg.quality.prediction import reference

    try:
        bundle = open_bundle(kind.task)
        arrays = reference(bundle, kind.method or None)
    except (UsageError, BundleError) as error:  # an unknown task or method, or a file that is missing
        raise _no_reference(error.got) from error
    if not arrays:
        raise _no_reference(f"{kind.task} without one for {kind.method}")
    own = _digests(bundle, kind.method)
    if kind.weights != own:
        raise _no_reference(f"results of {kind}, which are not its own weights")
    numbers = {_RENAMED.get(name, name): np.asarray(values, float) for name, values in arrays.items()}
    return Sample(numbers, persons=max(map(len, numbers.values())))


def _digests(bundle: Bundle, method: str) -> tuple[str, ...]:
    from medseg.bundle import read_method, sha256, weights_files

    return tuple(sha256(file) for file in weights_files(read_method(bundle, method or None).weights))


def _no_reference(got: str) -> UnsuitableError:
    return UnsuitableError(
        "a bundle that knows what its training images measure",
        got=got,
        advice="Name a folder of earlier results by --reference.",
    )
