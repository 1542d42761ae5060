"""The parts of a cohort as one: one ledger, one folder of results, one table, one page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medseg.cohort.ledger import NAME, PENDING, RUNNING, CaseRow, Ledger
from medseg.cohort.page import write_page
from medseg.cohort.runner import alone_in
from medseg.cohort.table import write_tables
from medseg.errors import InputError, UsageError
from medseg.io import read_volume
from medseg.io.atomic import atomic_files, require_folder
from medseg.review.cases import MASKS
from medseg.sources import SOURCES

_OF_A_PART = ("part", "all_cases_sha256")


@dataclass(frozen=True)
class _Part:
    """The folder of one part, the settings and the cases of its ledger; what was broken off is pending."""

    folder: Path
    settings: Mapping[str, Any]
    rows: Sequence[CaseRow]

    @property
    def place(self) -> tuple[int, int] | None:
        """(i, n), the i-th of n parts; None for a whole cohort."""
        told = self.settings.get("part")
        return tuple(map(int, told.split("/"))) if told else None  # type: ignore[return-value]


def merge_cohorts(folders: Sequence[str | Path], out: str | Path) -> dict[str, int]:
    """Unite the folders of `medseg cohort --part` into a new one.

    It holds the results of all, a ledger with which the whole cohort goes on by --resume, and table and page.
    Files are linked where the file system can, else copied: the folders of the parts stay as they are, and
    may be removed. Whole cohorts with the same settings are united, too.

    Args:
        folders: of all parts.
        out: a folder that is missing or empty.

    Returns:
        How many cases are in each state.

    Raises:
        UsageError: a folder holds no cohort; parts are missing, or of other cohorts; a case has two results
            that differ; `out` holds something.
        MedsegError: a part is being written, or a ledger can't be read.
        OSError: the files can't be written; nothing was.
    """
    out = Path(out)
    _require_new(out)
    parts = [_read(Path(folder)) for folder in dict.fromkeys(map(os.path.abspath, folders))]
    _require_one_cohort(parts)
    _require_all_parts(parts)
    chosen = _chosen(parts)
    if out.is_dir():
        out.rmdir()  # it is empty, and appears again with everything in it
    with atomic_files(out, (), last=NAME) as stage:
        for row, folder in chosen:
            if (folder / row.case).is_dir():
                shutil.copytree(folder / row.case, stage / row.case, copy_function=_link_or_copy)
        _unite_sources([part.folder for part in parts], stage)
        with closing(Ledger(stage / NAME)) as ledger:
            ledger.start({**parts[0].settings, **dict.fromkeys(_OF_A_PART)}, [row for row, _ in chosen])
            write_tables(stage, ledger)
            write_page(stage, ledger)
            return ledger.counts()


def _require_new(out: Path) -> None:
    require_folder(out)
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(
            "a new or empty folder for the merged cohort", got=f"{out} with files", advice="Name another -o."
        )


def _read(folder: Path) -> _Part:
    if not (folder / NAME).is_file():
        raise UsageError(
            f"folders of `medseg cohort`, with {NAME}",
            got=f"{folder} without one",
            advice="Name the -o of each part, and nothing else.",
        )
    with alone_in(folder), closing(Ledger(folder / NAME)) as ledger:
        rows = [replace(row, state=PENDING) if row.state == RUNNING else row for row in ledger.cases()]
        return _Part(folder, ledger.settings(), rows)


def _require_one_cohort(parts: Sequence[_Part]) -> None:
    """Refuse parts with other settings, or of other lists of cases, than the first one has."""
    first = parts[0]
    for part in parts[1:]:
        names = [name for name in {**first.settings, **part.settings} if name != "part"]
        other = [name for name in names if first.settings.get(name) != part.settings.get(name)]
        if other:
            raise UsageError(
                "parts of one cohort",
                got=f"{part.folder.name} with another {' and '.join(other)} than {first.folder.name}",
                advice="Run it again as the others, on the same list of cases.",
            )


def _require_all_parts(parts: Sequence[_Part]) -> None:
    places = [part.place for part in parts]
    known = [place for place in places if place is not None]
    if not known:
        return
    count = known[0][1]
    expected = {(number, count) for number in range(1, count + 1)}
    missing = [f"{i}/{n}" for i, n in sorted(expected - set(known))]
    if missing or len(places) != count or set(known) != expected:
        strange = [
            part.folder.name
            for n, part in enumerate(parts)
            if part.place not in expected or part.place in places[:n]
        ]
        got = [f"no part {', '.join(missing)}"] if missing else []
        got += [f"{', '.join(strange)} besides"] if strange else []
        raise UsageError(
            f"the {count} parts of the cohort, each once",
            got=" and ".join(got),
            advice="Run what is missing with --part, and name the folders of all parts.",
        )


def _chosen(parts: Sequence[_Part]) -> list[tuple[CaseRow, Path]]:
    """Each case once, in the order of their names, with the folder that holds its result."""
    found: dict[str, tuple[CaseRow, Path]] = {}
    for part in parts:
        for row in part.rows:
            earlier, folder = found.setdefault(row.case, (row, part.folder))
            if earlier is not row and not _agree(earlier, folder, row, part.folder):
                raise UsageError(
                    "one result for each case",
                    got=f"two for {row.case} that differ, in {folder.name} and {part.folder.name}",
                    advice="Remove the part that is wrong, and run it again.",
                )
    return [found[case] for case in sorted(found)]


def _agree(one: CaseRow, its_folder: Path, other: CaseRow, other_folder: Path) -> bool:
    """Whether two parts tell the same of a case; files of equal results differ by their stamps and dates."""
    if any(getattr(one, name) != getattr(other, name) for name in ("source", "state", "input_sha256")):
        return False
    differing = [name for name in MASKS if one.outputs.get(name) != other.outputs.get(name)]
    try:
        for name in differing:
            first, second = (read_volume(place / one.case / name) for place in (its_folder, other_folder))
            if not np.array_equal(first.array, second.array):
                return False
    except InputError:  # a mask that one of them lacks, or that is damaged
        return False
    return True


def _link_or_copy(source: str, target: str) -> None:
    """A second name for a file: medseg replaces files and never changes them, so none sees the other's."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _unite_sources(folders: Sequence[Path], stage: Path) -> None:
    lines = [(folder / SOURCES).read_bytes() for folder in folders if (folder / SOURCES).is_file()]
    if lines:
        (stage / SOURCES).write_bytes(
            b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines)
        )
