"""All cases of a folder of results verified."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.errors import UnreadableError
from medseg.formats import FORMATS
from medseg.io.stamps import read_stamp
from medseg.sources import noted_cases
from medseg.verification.case_files import RECORD, check_files
from medseg.verification.images import Answer, image_checker
from medseg.verification.installed import compare_installed
from medseg.verification.verdict import Checked

_NAMES = tuple(file for each in FORMATS.values() for file in each.files if "{label}" not in file)
_MASK = "segmentation."


def find_folders(out: str | Path) -> list[Path]:
    """The folders of cases: `out` itself, those in it, or those one level deeper.

    A folder is one if it holds measurements.json, a mask, or another file with a stamp.

    Raises:
        UnreadableError: `out` is no folder, or holds no result.
    """
    out = Path(out)
    if not out.is_dir():
        got = f"{out.name}, which is {'no folder' if out.exists() else 'missing'}"
        raise UnreadableError("a folder of results", got=got, advice="Name the -o of `medseg segment`.")
    if _is_case(out):
        return [out]
    found: list[Path] = []
    for folder in _below(out):
        found += [folder] if _is_case(folder) else filter(_is_case, _below(folder))
    if not found:
        raise UnreadableError(
            "a folder of results", got=f"none in {out.name}", advice="Name the -o of `medseg segment`."
        )
    return found


def verify(
    out: str | Path, images: Sequence[str | Path] = (), done: Callable[[], None] = lambda: None
) -> list[Checked]:
    """Verify the cases in a folder, in the order of their names.

    Args:
        out: the folder of one case, or of many.
        images: files, folders or patterns among which the image of each case is looked for; empty for not.
        done: called after each case.

    Raises:
        UnreadableError: there are no results.
        InputError: there are no images.
    """
    out = Path(out)
    check_image = image_checker(images) if images else None
    found = []
    for folder in find_folders(out):
        name = folder.name if folder == out else folder.relative_to(out).as_posix()
        found.append(_checked(folder, name or str(out.resolve().name), check_image))
        done()
    return _with_twins(found)


def missing_cases(out: str | Path) -> list[str]:
    """The cases that sources.jsonl names and that have no folder; none if `out` is that of one case."""
    out = Path(out)
    return [] if _is_case(out) else [name for name in noted_cases(out) if not (out / name).is_dir()]


def _checked(folder: Path, name: str, check_image: Callable[[Mapping[str, Any]], Answer] | None) -> Checked:
    try:
        checked, record = check_files(folder, name)
    except OSError as error:
        return Checked(name, (f"its files can't be read ({error.strerror})",))
    if checked.stamp is not None:
        checked = dataclasses.replace(checked, installed=compare_installed(checked.stamp))
    about = record.get("provenance")
    if check_image is None or not isinstance(about, dict):
        return checked
    text, is_other = check_image(about)
    if is_other:
        return dataclasses.replace(checked, faults=(*checked.faults, text))
    return dataclasses.replace(checked, doubts=(*checked.doubts, *([text] if text else [])))


def _with_twins(found: Sequence[Checked]) -> list[Checked]:
    """The cases with a note where several folders hold one result."""
    numbers = Counter(each.stamp.result for each in found if each.stamp)
    note = "another folder holds the same result"
    return [
        dataclasses.replace(each, notes=(*each.notes, note))
        if each.stamp and numbers[each.stamp.result] > 1
        else each
        for each in found
    ]


def _is_case(folder: Path) -> bool:
    """Whether a folder holds the record of a result, or a file that tells of one; a follow-up is none."""
    if (folder / RECORD).is_file():
        return True
    found = [folder / name for name in _NAMES if (folder / name).is_file()]
    return any(path.name.startswith(_MASK) or read_stamp(path) for path in found)


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
