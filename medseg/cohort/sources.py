"""The cases that manifests, CSV files, folders and patterns stand for, each with a name of its own."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.cohort.ledger import NAME, CaseRow
from medseg.data.manifests import SPLITS, load_items, read_manifest, shipped_manifests
from medseg.errors import UsageError, did_you_mean
from medseg.io import Input, case_names, search_inputs
from medseg.sources import SOURCES

COLUMNS = ("path", "case", "subject", "pixel_spacing_mm")
# What stands beside the cases' folders, so that no case can have the name.
_RESERVED = {SOURCES, NAME, f"{NAME}-journal", "cohort.csv", "cohort.parquet", "cohort.html"}


@dataclass(frozen=True)
class Found:
    """An image, and what the source tells of it; `where` names the line of a table."""

    source: Input
    case: str = ""
    subject: str = ""
    pixel_spacing_mm: float | None = None
    where: str = ""


def find_cases(sources: Sequence[str]) -> list[CaseRow]:
    """The cases of a cohort in the order of their names.

    A source is the name or the path of a data manifest (all its splits), a CSV file, or what `medseg segment`
    takes as INPUT: files, folders and patterns, which are read as there. A source that stands for no image is
    a case as well: it will be refused, and not forgotten.

    A CSV file has the columns `path` (a file, a folder or an archive, from the CSV file's folder) and perhaps
    `case`, `subject` and `pixel_spacing_mm`.

    Raises:
        UsageError: a source does not exist, a CSV file has another form, or two cases have one name.
        DataError: a manifest has another form.
    """
    found = _unique(_found_in(sources))
    if not found:
        raise UsageError("a cohort of one case or more", got="none", advice="Name images, or their folder.")
    given = case_names(item.source for item in found if not item.case)
    rows = [
        CaseRow(
            item.case or given[str(item.source)],
            _paths(item.source),
            item.subject,
            item.pixel_spacing_mm,
        )
        for item in found
    ]
    _require_names_of_their_own(rows)
    return sorted(rows, key=lambda row: row.case)


def part_of(rows: Sequence[CaseRow], part: tuple[int, int] | None) -> list[CaseRow]:
    """Every n-th case from the i-th, for a part (i, n): the n parts share no case, and leave none out."""
    return list(rows if part is None else rows[part[0] - 1 :: part[1]])


def _found_in(sources: Sequence[str]) -> Iterator[Found]:
    others = []
    for source in sources:
        if source.lower().endswith(".csv") and os.path.isfile(source):
            yield from _rows_of(Path(source))
        elif _is_manifest(source):
            yield from _items_of(source)
        else:
            others.append(source)
    if others:
        for source in others:
            _require_existing(source)
        images = search_inputs(others)
        yield from (Found(source) for source in (*images.inputs, *map(Path, images.empty)))


def _is_manifest(source: str) -> bool:
    if os.path.isfile(source):
        return source.lower().endswith(".json")
    return not os.path.exists(source) and source in _shipped()


def _shipped() -> list[str]:
    return sorted(file.stem for file in shipped_manifests().glob("*.json"))


def _items_of(manifest: str) -> Iterator[Found]:
    content = read_manifest(manifest)
    for split in SPLITS:
        if content[split]:
            for item in load_items(manifest, split, ("image", "subject")):
                yield Found(Path(item["image"]), subject=item.get("subject", ""))


def _require_existing(source: str) -> None:
    """Refuse a misspelt path at once; a pattern may match nothing."""
    if os.path.lexists(source) or any(sign in source for sign in "*?["):
        return
    advice = "Check the path." if os.sep in source else did_you_mean(source, _shipped())
    raise UsageError(
        "an image, a folder, a pattern, a CSV file or a data manifest", got=source, advice=advice
    )


def _rows_of(table: Path) -> Iterator[Found]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _require_columns(table, reader.fieldnames or [])
            for row in reader:
                where = f"{table.name}, line {reader.line_num}"
                if any(value for value in row.values()):
                    yield _found_of(row, table.parent, where)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            "a CSV file in UTF-8", got=f"{table.name} ({error})", advice="Save it again as CSV UTF-8."
        ) from error


def _require_columns(table: Path, names: Sequence[str]) -> None:
    for name in names:
        if name not in COLUMNS:
            raise UsageError(
                f"columns of the names {', '.join(COLUMNS)} in {table.name}",
                got=repr(name),
                advice="Separate the columns by commas."
                if ";" in name or "\t" in name
                else did_you_mean(name, COLUMNS),
            )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if "path" not in names or twice:
        got = f"{' and '.join(twice)} twice" if twice else "none"
        raise UsageError(f"one column path in {table.name}", got=got, advice="Correct its first line.")


def _found_of(row: dict[str | None, str | None], home: Path, where: str) -> Found:
    values = {name: (row.get(name) or "").strip() for name in COLUMNS}
    if None in row or not values["path"]:
        got = "more values than columns" if None in row else "none"
        raise UsageError(f"a path and what belongs to it ({where})", got=got, advice="Correct the line.")
    spacing = _spacing(values["pixel_spacing_mm"], where)
    if values["case"]:
        _require_file_name(values["case"], where)
    return Found(home / values["path"], values["case"], values["subject"], spacing, where)


def _spacing(text: str, where: str) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        value = float("nan")
    if value is not None and not 0 < value < float("inf"):
        raise UsageError(f"a positive number of mm ({where})", got=text, advice="Correct the line.")
    return value


def _require_file_name(case: str, where: str) -> None:
    """A case's name is that of its folder in OUT, and must lead nowhere else."""
    is_strange = any(sign in '/\\"\x7f' or sign < " " for sign in case)
    if case[0] == "." or is_strange or len(case.encode()) > 200:
        raise UsageError(
            f"a case whose name can be a folder's ({where})",
            got=repr(case),
            advice="Leave out slashes, quotes, control characters and a dot at its start.",
        )


def _unique(found: Iterable[Found]) -> list[Found]:
    """Each image once, as it was found first; a table that names one twice is refused."""
    by_source: dict[tuple[str, ...], Found] = {}
    for item in found:
        earlier = by_source.setdefault(_paths(item.source), item)
        if earlier is not item and item.where and earlier.where:
            raise UsageError(
                "each image once", got=f"one twice: {earlier.where}, and {item.where}", advice="Drop a line."
            )
    return list(by_source.values())


def _require_names_of_their_own(rows: Sequence[CaseRow]) -> None:
    reserved = next((row for row in rows if row.case.casefold() in _RESERVED), None)
    if reserved:
        raise UsageError(
            "cases with other names than the cohort's own files",
            got=f"{reserved.case} for {reserved.source[0]}",
            advice="Rename the image, or give another name in a CSV file.",
        )
    counts = Counter(row.case.casefold() for row in rows)
    twice = [row.case for row in rows if counts[row.case.casefold()] > 1]
    if twice:
        raise UsageError(
            "a name for each case", got=f"{twice[0]} for two", advice="Change it in the CSV file."
        )


def _paths(source: Input) -> tuple[str, ...]:
    return tuple(os.path.abspath(path) for path in (source if isinstance(source, tuple) else (source,)))
