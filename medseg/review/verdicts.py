"""A person's verdict on a mask that stays as it is: the record and the page tell it, and no archive gets a
rejected mask.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from medseg.formats import ARCHIVED, FORMATS
from medseg.io.atomic import atomic_files
from medseg.reports.record import VERDICTS, plain
from medseg.reports.seal import FILES, file_sha256, record_text, resealed
from medseg.review.cases import RECORD

PAGE = "report.html"
AWAY = ".rejected"  # behind the whole name, so that what sends *.dcm does not take it
_BEGIN, _END = "<!-- review -->", "<!-- end of review -->"
_COLOURS = {  # as the banners of the page have them
    VERDICTS["reject"]: ("#fdecea", "#b3261e"),
    VERDICTS["accept"]: ("#edf7ee", "#1f7a34"),
}
_ADVICE = {
    VERDICTS["reject"]: "Do not rely on this mask.",
    VERDICTS["accept"]: "What follows is what the software found.",
}


def write_verdict(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """Write measurements.json with a review, and let the folder's other files follow: all of them or none.

    report.html begins with the verdict. DICOM files of a rejected mask get the suffix .rejected, and their
    own name again if the mask is accepted later. Their content stays: it would need another identifier.

    Args:
        folder: of the case.
        record: the new content of measurements.json, with `review`.

    Returns:
        Sentences about what became of the files; empty if there was nothing to do.

    Raises:
        OSError: the files can't be written; the folder is as it was.
    """
    review = record["review"]
    moves = list(_moves(folder, is_rejected=review["verdict"] == VERDICTS["reject"]))
    texts = [f"{old} is now {new}" for old, new in moves]
    with atomic_files(folder, [folder / old for old, _ in moves], last=RECORD) as stage:
        for old, new in moves:
            shutil.copyfile(folder / old, stage / new)
        if (folder / PAGE).is_file():
            page = _told((folder / PAGE).read_bytes(), review)
            if page:
                (stage / PAGE).write_bytes(page)
            else:
                texts.append(f"{PAGE} is not as medseg writes it, and doesn't tell it")
        content = _resealed(plain(record), folder, stage, dict(moves))
        (stage / RECORD).write_text(record_text(content), encoding="utf-8")
    return texts


def _resealed(
    record: Mapping[str, Any], folder: Path, stage: Path, moves: Mapping[str, str]
) -> Mapping[str, Any]:
    """The record with what became of the files; a change that nobody has told of stays visible."""
    files = record.get(FILES)
    if not isinstance(files, dict):
        return record
    earlier = json.loads((folder / RECORD).read_text("utf-8"))
    told = {moves.get(name, name): digest for name, digest in files.items()}
    if (stage / PAGE).is_file() and told.get(PAGE) == file_sha256(folder / PAGE):
        told[PAGE] = file_sha256(stage / PAGE)
    return resealed({**record, FILES: told}, earlier)


def put_away(folder: Path) -> list[str]:
    """The formats whose files were put away because the mask was rejected."""
    return [name for name, file in _archived() if (folder / f"{file}{AWAY}").is_file()]


def replace_put_away(folder: Path) -> None:
    """Remove files of a rejected mask where those of a corrected one now stand."""
    for _, file in _archived():
        if (folder / file).is_file():
            (folder / f"{file}{AWAY}").unlink(missing_ok=True)


def _moves(folder: Path, is_rejected: bool) -> Iterator[tuple[str, str]]:
    """The names that files have and get."""
    for _, file in _archived():
        old, new = (file, f"{file}{AWAY}") if is_rejected else (f"{file}{AWAY}", file)
        if (folder / old).is_file() and (is_rejected or not (folder / new).exists()):
            yield old, new


def _archived() -> Iterator[tuple[str, str]]:
    """Each format that goes to an archive, with its files."""
    return ((name, file) for name, each in FORMATS.items() if each.needs in ARCHIVED for file in each.files)


def _told(page: bytes, review: Mapping[str, Any]) -> bytes:
    """The page with the verdict in front of all else, in place of an earlier one; empty if it is another."""
    head, begin, rest = page.partition(b"<main>")
    if not begin:
        return b""
    if rest.lstrip().startswith(_BEGIN.encode()):
        rest = rest.partition(_END.encode())[2]
    return head + begin + b"\n" + _banner(review).encode("utf-8") + rest


def _banner(review: Mapping[str, Any]) -> str:
    told = plain(dict(review))
    ground, border = _COLOURS[told["verdict"]]
    comment = f": {escape(told['comment'])}" if told["comment"] else ""
    return (
        f'{_BEGIN}<div role="note" style="margin: 0 0 1rem; padding: .8rem 1rem; overflow-wrap: anywhere; '
        f"border: 1px solid {border}; border-left-width: .5rem; border-radius: 4px; background: {ground}; "
        f'print-color-adjust: exact"><strong>{told["verdict"].capitalize()} by {escape(told["reviewer"])}'
        f"</strong>, {escape(told['date'][:10])}{comment}<br>{_ADVICE[told['verdict']]}</div>{_END}"
    )
