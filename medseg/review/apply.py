"""Decisions of reviewers applied to a folder of results.

What a person decided stands in measurements.json: the last decision as `review`, all of them in
provenance.review. `quality` stays that of the automatic mask. What else a verdict without an edit changes is
told in medseg.review.verdicts. The mask that was corrected is kept beside the
new one, as segmentation.automatic, later ones as segmentation.review-1 and so on.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import UnsuitableError, error_text
from medseg.formats import ARCHIVED, FORMATS
from medseg.io import Input
from medseg.io.atomic import atomic_path
from medseg.outputs import formats_in
from medseg.reports.record import VERDICTS, review_of
from medseg.review.cases import ReviewCase, find_cases
from medseg.review.changes import change_of, odd_change
from medseg.review.decisions import ACCEPT, EDIT, Decision, agreed, date_of, is_future, reviews_of
from medseg.review.leftovers import alone_in, clear_leftovers
from medseg.review.measuring import measured, read_labels, require_measurable, require_same_grid
from medseg.review.verdicts import put_away, replace_put_away, write_verdict
from medseg.sources import formats_asked_for, source_finder
from medseg.volume import Mask

logger = logging.getLogger(__name__)

_SHOWN = 5  # errors in one message


@dataclass(frozen=True)
class Applied:
    """What became of one decision.

    Attributes:
        case: the name of the case.
        verdict: edited, accepted or rejected.
        text: a sentence about it; empty where the verdict says all.
    """

    case: str
    verdict: str
    text: str = ""


@dataclass(frozen=True)
class _Step:
    """A decision that was checked; without a case it was applied before."""

    decision: Decision
    case: ReviewCase | None = None
    source: Input | None = None


def apply_decisions(
    files: Sequence[str | Path], out: str | Path, images: Sequence[str | Path] = ()
) -> list[Applied]:
    """Apply files of decisions to a folder of results. All of them are checked before the first is written.

    An edited mask is written on the image's grid, and all formats that the case's folder holds are written
    anew, whole or not at all. Accepting and rejecting change measurements.json and report.html, and rejecting
    renames what would go to an archive (see medseg.review.verdicts). What was applied before is passed over,
    so that a run that was stopped can be started again.

    Args:
        files: as the review page saves them.
        out: the folder that was reviewed.
        images: files, folders or patterns where the images are looked for first.

    Returns:
        What became of each decision, in the order of the cases' names.

    Raises:
        UnreadableError, UnsuitableError: a file or a decision can't be applied, or reviewers differ. Nothing
            was written; or, where the message says so, the other cases were.
        OSError: a result can't be written; the case is as it was.
    """
    source_of = source_finder(images)
    out = Path(out)
    if not out.is_dir():
        find_cases(out)  # says what is expected
    with alone_in(out):
        clear_leftovers(out)
        return _apply(files, find_cases(out), source_of)


def _apply(
    files: Sequence[str | Path], found: Sequence[ReviewCase], source_of: Callable[[Path], Input]
) -> list[Applied]:
    cases = {case.name: case for case in found}
    decisions = agreed(files, lambda one, other: _where_they_differ(cases.get(one.case), one, other))
    ordered = [decisions[name] for name in sorted(decisions)]
    checked, faults = _each(ordered, lambda decision: _checked(decision, cases, source_of))
    if faults:
        raise _refused("decisions that can all be applied", faults, len(ordered), "Nothing was written.")
    written, faults = _each(checked, _write)
    if faults:
        rest = "The other cases were written. Apply the same files again afterwards."
        raise _refused("cases that can all be written", faults, len(ordered), rest)
    return written


def _each(items: Sequence[Any], act: Callable[[Any], Any]) -> tuple[list[Any], list[str]]:
    """The results for all items, and a text for each that failed."""
    done, faults = [], []
    for item in items:
        decision = item if isinstance(item, Decision) else item.decision
        try:
            done.append(act(item))
        except OSError:
            raise
        except Exception as error:
            faults.append(f"{decision.case} ({', '.join(decision.files)}): {error_text(error)}")
    return done, faults


def _refused(expected: str, faults: Sequence[str], total: int, advice: str) -> UnsuitableError:
    more = f" And {len(faults) - _SHOWN} more." if len(faults) > _SHOWN else ""
    got = f"{len(faults)} of {total} that can't be: {' '.join(faults[:_SHOWN])}{more}"
    return UnsuitableError(expected, got=got.removesuffix("."), advice=advice)


def _checked(
    decision: Decision, cases: Mapping[str, ReviewCase], source_of: Callable[[Path], Input]
) -> _Step:
    case = cases.get(decision.case)
    if case is None:
        raise UnsuitableError(
            "a case of the folder", got="a name that no case has", advice="Name the folder that was reviewed."
        )
    if case.problem:
        raise UnsuitableError("a whole case", got=case.problem.removesuffix("."), advice="Decide anew then.")
    reviews = reviews_of(case.record)
    known = {digest for review in reviews for digest in review.get("decision_sha256", [])}
    if set(decision.digests) <= known:
        return _Step(decision)
    _require_of_this_mask(decision, case, reviews)
    if decision.decision != EDIT:
        return _Step(decision, case)
    require_measurable(case.record)
    _edited_mask(decision, case)
    return _Step(decision, case, source_of(case.folder))


def _require_of_this_mask(decision: Decision, case: ReviewCase, reviews: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a decision about a mask that is no longer there, and one that is older than another."""
    if decision.mask_sha256 != case.mask_sha256:
        edits = [review["reviewer"] for review in reviews if review.get("decision") == EDIT]
        since = f"was edited by {edits[-1]} since" if edits else "was segmented anew since"
        raise UnsuitableError(
            "a decision about the mask in the folder",
            got=f"one about another mask, because the case {since}",
            advice="Make the review page again, and look at the new mask.",
        )
    # A date in the future tells no order: a clock was wrong.
    dated = [review for review in reviews if not is_future(date_of(review))]
    later = [review for review in dated if date_of(review) > decision.made]
    if later:
        raise UnsuitableError(
            "a decision made after those in the folder",
            got=f"one from {decision.made.isoformat()}, before {later[-1]['decision']} "
            f"by {later[-1]['reviewer']} ({later[-1]['date']})",
            advice="Make the review page again, and decide anew.",
        )


def _edited_mask(decision: Decision, case: ReviewCase) -> Mask:
    """The edited mask, checked against the one in the folder."""
    earlier = _earlier_mask(case)
    name = Path(str(case.mask)).name
    if decision.mask_name != name:
        raise UnsuitableError(
            f"an edited {name}", got=decision.mask_name, advice="Save the decisions on the review page again."
        )
    edited = _decoded(decision, case.record)
    require_same_grid(edited, earlier, f"{decision.mask_name} ({', '.join(decision.files)})")
    return dataclasses.replace(edited, affine=earlier.affine)


def _earlier_mask(case: ReviewCase) -> Mask:
    return read_labels(Path(str(case.mask)), case.record)


def _decoded(decision: Decision, record: Mapping[str, Any]) -> Mask:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, decision.mask_name)
        path.write_bytes(decision.mask_bytes)
        return read_labels(path, record)


def _where_they_differ(case: ReviewCase | None, one: Decision, other: Decision) -> str:
    """Where two edited masks differ, as a text; empty if they do not."""
    if one.mask_bytes == other.mask_bytes:
        return ""
    if case is None or case.problem:
        return "the edited masks differ"
    first, second = (_decoded(decision, case.record).array for decision in (one, other))
    if first.shape != second.shape:
        return f"the edited masks have {first.shape} and {second.shape} voxels"
    places = np.argwhere(first != second)
    if not len(places):
        return ""
    low, high = places.min(axis=0).tolist(), places.max(axis=0).tolist()
    unit = "voxels" if first.ndim == 3 else "pixels"
    return f"the edited masks differ in {len(places)} {unit} from {low} to {high}"


def _write(step: _Step) -> Applied:
    decision = step.decision
    verdict = VERDICTS[decision.decision]
    if step.case is None:
        return Applied(decision.case, verdict, "applied before")
    reviews = reviews_of(step.case.record)
    if decision.decision == EDIT:
        text = _write_edit(decision, step.case, step.source, reviews)
    else:
        text = _write_review(decision, step.case, [*reviews, _entry(decision)])
    earlier = f"after {reviews[-1]['decision']} by {reviews[-1]['reviewer']}" if reviews else ""
    return Applied(decision.case, verdict, ", ".join(filter(None, [text, earlier])))


def _entry(decision: Decision, **facts: Any) -> dict[str, Any]:
    """A review as provenance.review holds it."""
    return {
        "decision": decision.decision,
        "reviewer": decision.reviewer,
        "date": decision.made.isoformat(),
        "comment": decision.comment,
        "seconds": decision.seconds,
        "mask_sha256": decision.mask_sha256,
        **facts,
        "applied": datetime.now(UTC).isoformat(timespec="seconds"),
        "decision_sha256": list(decision.digests),
    }


def _write_review(decision: Decision, case: ReviewCase, reviews: Sequence[Mapping[str, Any]]) -> str:
    """Write the verdict; all else in measurements.json stays. A text about the other files."""
    record = {key: value for key, value in case.record.items() if key not in ("review", "provenance")}
    about = {**case.provenance, "review": list(reviews)}
    texts = write_verdict(case.folder, {**record, **review_of(about), "provenance": about})
    held_back = [name for name in _held_back(case) if name not in formats_in(case.folder)]
    if decision.decision == ACCEPT and held_back:
        names = " and ".join(held_back)
        texts.append(f"{names} held back before: segment into another folder with --even-rejected for it")
    return "; ".join(texts)


def _write_edit(
    decision: Decision, case: ReviewCase, source: Any, reviews: Sequence[Mapping[str, Any]]
) -> str:
    """Write a corrected mask and all that follows from it; a text about how much changed."""
    mask, before = _edited_mask(decision, case), _earlier_mask(case)
    result = measured(case.record, source, mask)
    odd = odd_change(mask, before)
    kept = _name_of_the_kept(case, reviews)
    facts = {
        "earlier_mask": kept.name,
        "voxels_changed": change_of(mask, before),
        **({"warning": odd} if odd else {}),
        "measured_by": version("medseg"),
    }
    about = {**result.provenance, "review": [*reviews, _entry(decision, **facts)]}
    warnings = [*result.warnings, *([odd] if odd else [])]
    with _kept(Path(str(case.mask)), kept):
        dataclasses.replace(result, provenance=about, warnings=warnings).save(case.folder, _formats(case))
    replace_put_away(case.folder)
    if odd:
        logger.warning("%s: warning: %s", case.name, odd)
    total = int((mask.array != before.array).sum())
    texts = [f"{total} {'voxels' if before.array.ndim == 3 else 'pixels'} changed"]
    is_dicom = any(FORMATS[name].needs in ARCHIVED for name in formats_in(case.folder))
    was_empty = not before.array.any()
    if was_empty and result.mask.headers and not is_dicom and formats_asked_for(case.folder) is None:
        texts.append("no DICOM file, because there was none, and what was asked for isn't known")
    return ", ".join(texts)


def _formats(case: ReviewCase) -> list[str]:
    """The formats that the folder holds or held, and those that were asked for and not written."""
    found = [*formats_in(case.folder), *put_away(case.folder)]
    found += [*_held_back(case), *(formats_asked_for(case.folder) or [])]
    return [name for name in dict.fromkeys(found) if name in FORMATS]


def _held_back(case: ReviewCase) -> list[str]:
    """The formats that were not written because the automatic mask was rejected."""
    texts = [text.partition(" not written")[0] for text in case.warnings if "--even-rejected" in text]
    return [name for text in texts for name in text.split(" and ") if name in FORMATS]


def _name_of_the_kept(case: ReviewCase, reviews: Sequence[Mapping[str, Any]]) -> Path:
    """Where the mask that is corrected is kept: the automatic one, and then each correction."""
    edits = sum(review.get("decision") == EDIT for review in reviews)
    stem, _, suffix = Path(str(case.mask)).name.partition(".")
    name = f"{stem}.review-{edits}.{suffix}" if edits else f"{stem}.automatic.{suffix}"
    return case.folder / name


@contextmanager
def _kept(path: Path, copy: Path) -> Iterator[None]:
    """A copy of a file that stays if the block ends without an error."""
    with atomic_path(copy) as temporary:
        shutil.copyfile(path, temporary)
    try:
        yield
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
