"""Files of decisions: what a reviewer decided about each case, as the review page saves it.

One JSON file for each session of a reviewer:

    {"format": "medseg-review", "version": 1, "reviewer": "...", "made": ISO time, "cases": {name: {
        "mask_sha256": of the bytes of the label map that was reviewed, "decision": accept, reject or edit,
        "comment": "...", "seconds": 41,
        "edited": {"name": segmentation.nii.gz or segmentation.png, "data": base64 of such a file}}}}

`edited` comes with the decision edit alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

from medseg.errors import UnreadableError, UnsuitableError

FORMAT, VERSION = "medseg-review", 1
ACCEPT, REJECT, EDIT = DECISIONS = ("accept", "reject", "edit")
MASKS = ("segmentation.nii.gz", "segmentation.png")
_LEAD = timedelta(minutes=10)  # by which two clocks may differ
_MOST_LETTERS = 200  # of a reviewer's name: what the page takes
_AGAIN = "Save the decisions on the review page again, and give that file."


@dataclass(frozen=True)
class Decision:
    """What one reviewer, or several who agree, decided about one case.

    Attributes:
        case: the case's name, as the review page has it.
        mask_sha256: of the label map that was reviewed.
        decision: one of DECISIONS.
        reviewer: as the reviewer wrote it.
        made: when the file was saved.
        comment: of the reviewer; may be empty.
        seconds: that the case was open; None if that is not known.
        mask_name: the name of the edited mask's file; empty without an edit.
        mask_bytes: the content of that file.
        files: the files of decisions that say so.
        digests: of the decision in each of them, by which one that was applied before is known again.
    """

    case: str
    mask_sha256: str
    decision: str
    reviewer: str
    made: datetime
    comment: str = ""
    seconds: float | None = None
    mask_name: str = ""
    mask_bytes: bytes = b""
    files: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.decision} by {self.reviewer} ({', '.join(self.files)})"


Differ = Callable[[Decision, Decision], str]


def read_decisions(file: str | Path) -> list[Decision]:
    """Read one file of decisions.

    Raises:
        UnreadableError: it is missing, not JSON, or damaged.
        UnsuitableError: it is JSON of another kind, version or form, or was made in the future.
    """
    path = Path(file)
    content = _parse(path)
    form = {"format": FORMAT, "version": VERSION}
    if not isinstance(content, dict) or {key: content.get(key) for key in form} != form:
        raise UnsuitableError(
            f"decisions of the review page ({FORMAT}, version {VERSION})",
            got=f"{path.name}, which holds something else",
            advice="Give the file that the review page saved.",
        )
    reviewer, cases = _reviewer(path, content.get("reviewer")), content.get("cases")
    if not isinstance(cases, dict):
        raise _damaged(path, "it has no cases", _AGAIN)
    made = _time(path, content.get("made"))
    return [_decision(path, reviewer, made, name, entry) for name, entry in cases.items()]


def _reviewer(path: Path, text: Any) -> str:
    """A name in one line, as it may stand in a terminal's table."""
    name = " ".join(text.split()) if isinstance(text, str) else ""
    if not name or len(name) > _MOST_LETTERS or {"Cc", "Cs"} & set(map(unicodedata.category, name)):
        what = f"it has no reviewer with a name of at most {_MOST_LETTERS} letters"
        raise _damaged(path, what, "Write a name on the review page. " + _AGAIN)
    return name


def _parse(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"), object_pairs_hook=_without_doubles)
    except OSError as error:
        got = f"{path}, which can't be read ({error.strerror or 'no reason given'})"
        raise UnreadableError("a file of decisions", got=got, advice="Check the path.") from error
    except (ValueError, RecursionError) as error:
        got = f"{path.name}, which is not whole JSON ({str(error)[:80]})"
        raise UnreadableError("a file of decisions in JSON", got=got, advice=_AGAIN) from error


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; of a name that occurs twice, Python would silently take the last value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice in one object")
    return found


def _time(path: Path, text: Any) -> datetime:
    try:
        made = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise _damaged(path, "it has no time at which it was made", _AGAIN) from error
    made = made if made.tzinfo else made.replace(tzinfo=UTC)
    if is_future(made):
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        raise UnsuitableError(
            "decisions that were made before now",
            got=f"{path.name} from {made.isoformat()}, while the clock here says {now}",
            advice="Set the clock that is wrong, load the file on the review page, and save it again.",
        )
    return made


def is_future(made: datetime) -> bool:
    """Whether a time lies so far ahead that a clock was wrong."""
    return made - datetime.now(UTC) > _LEAD


def _decision(path: Path, reviewer: str, made: datetime, name: str, entry: Any) -> Decision:
    where = f"the case {name}"
    if not isinstance(entry, dict) or entry.get("decision") not in DECISIONS:
        raise _damaged(path, f"{where} has no decision of {', '.join(DECISIONS)}", _AGAIN)
    digest, comment, seconds = entry.get("mask_sha256"), entry.get("comment"), entry.get("seconds")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise _damaged(path, f"{where} does not say which mask was reviewed (mask_sha256)", _AGAIN)
    if not isinstance(comment or "", str):
        raise _damaged(path, f"{where} has a comment that is no text", _AGAIN)
    if not _is_duration(seconds):
        raise _damaged(path, f"{where} has seconds that are no number from 0", _AGAIN)
    edited = entry.get("edited")
    if (entry["decision"] == EDIT) != (edited is not None):
        raise _damaged(
            path, f"{where} has an edited mask without the decision {EDIT}, or none with it", _AGAIN
        )
    mask_name, mask_bytes = _edited(path, where, edited) if edited is not None else ("", b"")
    told = json.dumps([reviewer, made.isoformat(), name, entry], sort_keys=True)
    known_by = hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()
    return Decision(
        name, digest, entry["decision"], reviewer, made, comment or "", seconds, mask_name, mask_bytes,
        (path.name,), (known_by,),
    )  # fmt: skip


def _is_duration(seconds: Any) -> bool:
    """Whether it is a finite number from 0, or not known; True is no number."""
    return seconds is None or (type(seconds) in (int, float) and 0 <= seconds <= sys.float_info.max)


def _edited(path: Path, where: str, edited: Any) -> tuple[str, bytes]:
    named = edited.get("name") if isinstance(edited, dict) else None
    if named not in MASKS or not isinstance(edited.get("data"), str):
        raise _damaged(path, f"the edited mask of {where} is not {' or '.join(MASKS)} with its data", _AGAIN)
    try:
        content = base64.b64decode(edited["data"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise _damaged(path, f"the edited mask of {where} is damaged (base64)", _AGAIN) from error
    return named, content


def _damaged(path: Path, what: str, advice: str) -> UnreadableError:
    return UnreadableError("a whole file of decisions", got=f"{path.name}: {what}", advice=advice)


def agreed(files: Sequence[str | Path], differ: Differ) -> dict[str, Decision]:
    """The decisions of several files, one for each case.

    Of one reviewer's files the one made last counts. What several reviewers decided alike becomes one
    decision of all of them.

    Args:
        files: of decisions.
        differ: a function from two decisions to edit to a text that says where the masks differ; empty where
            they do not.

    Raises:
        UnreadableError, UnsuitableError: see read_decisions.
        UnsuitableError: reviewers differ about a case, or one of them with what the same one decided at the
            same time; the message names each such case and where.
    """
    by_case: dict[str, list[Decision]] = {}
    for decision in sorted((d for file in files for d in read_decisions(file)), key=lambda d: d.made):
        others = by_case.get(decision.case, [])
        by_case[decision.case] = [*(other for other in others if not _replaces(decision, other)), decision]
    conflicts = [text for latest in by_case.values() if (text := _conflict(latest, differ))]
    if conflicts:
        raise UnsuitableError(
            "reviewers who decided alike about a case",
            got="; ".join(conflicts[:5]) + ("; and more" if len(conflicts) > 5 else ""),
            advice="Let them agree, and apply the file of one of them. Nothing was written.",
        )
    return {case: _joined(latest) for case, latest in by_case.items()}


def _replaces(later: Decision, earlier: Decision) -> bool:
    """Whether a decision takes the place of the same reviewer's; the same one again does, too."""
    is_newer = later.made > earlier.made or later.digests == earlier.digests
    return later.reviewer == earlier.reviewer and is_newer


def _conflict(decisions: Sequence[Decision], differ: Differ) -> str:
    """Where the decisions about one case differ; empty if they do not."""
    for first, other in combinations(decisions, 2):
        if (first.decision, first.mask_sha256) != (other.decision, other.mask_sha256):
            return f"{first.case}: {first}, {other}"
        if first.decision == EDIT and (where := differ(first, other)):
            return f"{first.case}: {first}, {other}: {where}"
        if first.reviewer == other.reviewer:
            return f"{first.case}: {first}, {other}: the comments or the seconds differ"
    return ""


def _joined(decisions: Sequence[Decision]) -> Decision:
    first = decisions[0]
    if len(decisions) == 1:
        return first
    return Decision(
        first.case,
        first.mask_sha256,
        first.decision,
        " and ".join(decision.reviewer for decision in decisions),
        decisions[-1].made,
        "; ".join(f"{decision.reviewer}: {decision.comment}" for decision in decisions if decision.comment),
        sum(decision.seconds or 0 for decision in decisions) or None,
        first.mask_name,
        first.mask_bytes,
        tuple(dict.fromkeys(name for decision in decisions for name in decision.files)),
        tuple(digest for decision in decisions for digest in decision.digests),
    )


def reviews_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The reviews that a measurements.json holds, the last one last.

    Raises:
        UnreadableError: they are not as medseg writes them.
    """
    about = record.get("provenance")
    found = about.get("review") if isinstance(about, dict) else None
    if found is None:
        return []
    if not isinstance(found, list) or not all(map(_is_review, found)):
        raise UnreadableError(
            "a whole measurements.json",
            got="one whose provenance.review is damaged",
            advice="Segment the image again into another folder.",
        )
    return list(found)


def _is_review(review: Any) -> bool:
    try:
        date_of(review)
        return review["decision"] in DECISIONS and isinstance(review.get("decision_sha256", []), list)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def date_of(review: Mapping[str, Any]) -> datetime:
    """When a review was made; without a time zone it counts as UTC."""
    made = datetime.fromisoformat(review["date"])
    return made if made.tzinfo else made.replace(tzinfo=UTC)
