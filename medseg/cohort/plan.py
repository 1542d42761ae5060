"""How the cases of a cohort are segmented, and whether a ledger belongs to it."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from medseg import __version__
from medseg.bundle import inference_files, open_bundle, read_method, require_trained, sha256, weights_files
from medseg.cohort.ledger import SET_ASIDE, CaseRow, Ledger
from medseg.errors import UsageError, WeightsError
from medseg.formats import check_formats
from medseg.modes import check_mode
from medseg.sources import RECORD
from medseg.workers import Job, Settings
from medseg.workers.job import DONE, FAILED, REFUSED


@dataclass(frozen=True)
class Plan:
    """What is the same for all cases.

    Attributes:
        out: the folder for the results.
        settings, formats, pixel_spacing_mm, even_rejected: see medseg.workers.
        part: (i, n), this is the i-th (from 1) of n parts; None for the whole cohort.
    """

    out: Path
    settings: Settings
    formats: tuple[str, ...] = ()
    pixel_spacing_mm: float | None = None
    even_rejected: bool = False
    part: tuple[int, int] | None = None

    def job(self, row: CaseRow) -> Job:
        """One case as the workers take it."""
        return Job(
            row.case,
            row.source,
            str(self.out / row.case),
            self.settings,
            self.formats,
            row.pixel_spacing_mm or self.pixel_spacing_mm,
            self.even_rejected,
        )


def describe(plan: Plan, rows: Sequence[CaseRow]) -> dict[str, Any]:
    """What decides about masks and files, by name, as the ledger keeps it: values that JSON holds.

    Workers, engine and time limit are not among it: they change no mask. `rows` are the cases of all parts.

    Raises:
        UsageError: the task, method, mode or a format is unknown.
        WeightsError: weights are missing.
    """
    how = plan.settings
    check_mode(how.mode)
    check_formats(plan.formats)
    bundle = open_bundle(how.task)
    method = read_method(bundle, how.method)
    if how.weights is None:
        require_trained(method, bundle.task)
    weights = weights_files(how.weights or method.weights, how.fold if how.weights else None)
    for file in weights:
        if not file.is_file():
            raise WeightsError("a file of weights", got=f"no file {file}", advice="Check --weights.")
    configuration = hashlib.sha256(
        b"".join(bundle.config(file).read_bytes() for file in inference_files(bundle, how.method))
    )
    return {
        "task": bundle.task,
        "bundle_version": bundle.metadata["version"],
        "configuration_sha256": configuration.hexdigest(),
        "method": method.name,
        "weights_sha256": [sha256(file) for file in weights],
        "set": dict(how.overrides),
        "device": how.device,
        "mode": how.mode,
        "formats": sorted(plan.formats),
        "pixel_spacing_mm": plan.pixel_spacing_mm,
        "even_rejected": plan.even_rejected,
        "part": None if plan.part is None else f"{plan.part[0]}/{plan.part[1]}",
        # Of a part alone: with other cases in the list, the parts would no longer fit together.
        "all_cases_sha256": None if plan.part is None else _digest_of(rows),
        "versions": {"medseg": __version__, "monai": version("monai"), "torch": version("torch")},
    }


def open_ledger(
    ledger: Ledger,
    about: dict[str, Any],
    rows: Sequence[CaseRow],
    resume: bool,
    retry: bool,
    tell: Callable[[str], None],
) -> None:
    """Start a ledger, or make one that exists ready to go on.

    - A case that ran when its process was killed is pending again, even if its result is whole: it is made
      again, and replaced as a whole.
    - A case that is done and whose files are gone is made again. One whose record has changed since, by a
      review for example, is left alone.
    - Images that the ledger does not have are added.

    Args:
        ledger: a new one, or one of an earlier run.
        about: what `describe` gives.
        rows: the cases of this run.
        resume: whether the ledger may be of an earlier run.
        retry: make cases pending that were refused, failed or set aside.
        tell: gets a sentence for each thing that a user should know.

    Raises:
        UsageError: the ledger is of an earlier run and resume is false, or that run had other settings.
    """
    earlier = ledger.settings()
    if not earlier:
        ledger.start(about, rows)
        return
    if not resume:
        raise UsageError(
            "a folder without the ledger of a cohort",
            got=str(ledger.path),
            advice="Go on with --resume, or name another folder.",
        )
    _require_same(earlier, about)
    known = {row.source: row for row in ledger.cases()}
    _require_same_sizes(known, rows)
    new = _renamed([row for row in rows if row.source not in known], [row.case for row in known.values()])
    ledger.add(new)
    _tell_count(tell, len(new), "case is new", "cases are new")
    broken_off = ledger.release()
    _tell_count(tell, len(broken_off), "case was broken off", "cases were broken off")
    _release_lost(ledger, tell)
    if retry:
        again = ledger.release(states=(REFUSED, FAILED, SET_ASIDE), forgive=True)
        _tell_count(tell, len(again), "case is tried again", "cases are tried again")


def _require_same(earlier: dict[str, Any], now: dict[str, Any]) -> None:
    for name in now:
        if earlier.get(name) != now[name]:
            raise UsageError(
                f"the settings that the cohort was started with ({name} {json.dumps(earlier.get(name))})",
                got=f"{name} {json.dumps(now[name])}",
                advice="Go on with the same ones, or name another folder.",
            )


def _require_same_sizes(known: dict[tuple[str, ...], CaseRow], rows: Iterable[CaseRow]) -> None:
    for row in rows:
        before = known.get(row.source, row)
        if (before.pixel_spacing_mm, before.subject) != (row.pixel_spacing_mm, row.subject):
            raise UsageError(
                f"the pixel spacing and subject that the cohort was started with for {before.case}",
                got="others",
                advice="Go on with the same table, or name another folder.",
            )


def _renamed(rows: Sequence[CaseRow], taken: Iterable[str]) -> list[CaseRow]:
    """The rows, with -2, -3, ... behind the names that are taken: names in a ledger stay what they were."""
    names = {name.casefold() for name in taken}
    found = []
    for row in rows:
        choices = itertools.chain([row.case], (f"{row.case}-{number}" for number in itertools.count(2)))
        name = next(choice for choice in choices if choice.casefold() not in names)
        names.add(name.casefold())
        found.append(replace(row, case=name))
    return found


def _release_lost(ledger: Ledger, tell: Callable[[str], None]) -> None:
    lost, changed = [], 0
    for row in ledger.cases(DONE):
        folder = ledger.path.parent / row.case
        record = folder / RECORD
        is_changed = record.is_file() and sha256(record) != row.outputs.get(RECORD)
        changed += is_changed
        if not is_changed and not all((folder / name).is_file() for name in row.outputs):
            lost.append(row.case)
    if lost:
        ledger.release(*lost, states=(DONE,))
    _tell_count(
        tell, len(lost), "case has lost files and is made again", "cases have lost files and are made again"
    )
    _tell_count(tell, changed, "case has changed since and is left", "cases have changed since and are left")


def _tell_count(tell: Callable[[str], None], count: int, one: str, many: str) -> None:
    if count:
        tell(f"{count} {one if count == 1 else many}")


def _digest_of(rows: Sequence[CaseRow]) -> str:
    text = json.dumps([(row.case, row.source) for row in rows])
    return hashlib.sha256(text.encode()).hexdigest()
