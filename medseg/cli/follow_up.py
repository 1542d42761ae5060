"""medseg follow-up"""

from __future__ import annotations

import argparse
from datetime import date
from typing import TYPE_CHECKING

from medseg.cli.exits import EXIT_DONE
from medseg.cli.options import add_method
from medseg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medseg.follow_up.change import Change
    from medseg.follow_up.record import Comparison, FollowUp
    from medseg.follow_up.times import Segment
    from medseg.io import Input
    from medseg.outputs import SegmentationResult

HELP = "one patient through time: what changed, and whether it is more than noise"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "times",
        nargs="+",
        metavar="TIME",
        help="the earlier result folder (OUT/<case> of `medseg segment`), then the later one, and more; or "
        "images and DICOM studies, which are segmented first (with --task)",
    )
    command.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="folder for follow_up.json, report.html and maps"
    )
    command.add_argument(
        "--images",
        nargs="+",
        default=[],
        metavar="PATH",
        help="files or folders where the images of the results are, if they have moved",
    )
    command.add_argument(
        "--dates",
        metavar="A,B",
        help="dates of the studies in the order of the times, such as 2025-01-31,2025-07-02 "
        "(default: those in the DICOM headers)",
    )
    command.add_argument("--task", metavar="TASK", help="segment images by this task, such as lung_ct")
    add_method(command)
    command.add_argument("--json", action="store_true", help="print follow_up.json instead of a table")


def run(options: argparse.Namespace) -> int:
    import sys

    from medseg.cli.terminal import strict_json
    from medseg.io.atomic import require_folder

    require_folder(options.output)
    if options.method and not options.task:
        raise UsageError("--task beside --method", got="--method alone", advice="Add --task.")

    from medseg.follow_up.comparison import follow
    from medseg.follow_up.identity import require_own_folder
    from medseg.follow_up.results import record_of, save
    from medseg.follow_up.times import times_of

    times = times_of(
        options.times,
        options.images,
        _dates(options.dates),
        options.task,
        _segment(options),
        lambda images: require_own_folder(options.output, images),
    )
    made = times.visits[0].provenance
    found = follow(times, made["task"], made["method"])
    folder = save(found, options.output)
    for warning in [*found.warnings, *(text for each in found.comparisons for text in each.warnings)]:
        print(f"warning: {warning}", file=sys.stderr)
    print(strict_json(record_of(found)) if options.json else _text(found))
    print(folder, file=sys.stderr if options.json else sys.stdout)
    return EXIT_DONE


def _segment(options: argparse.Namespace) -> Segment | None:
    """What segments an image and saves the result beside the follow-up; None without --task."""
    if not options.task:
        return None
    from medseg.pipeline import Segmenter

    segmenter = Segmenter(options.task, method=options.method)

    def segment(case: str, source: Input) -> SegmentationResult:
        from pathlib import Path

        from medseg.outputs import require_unreviewed
        from medseg.sources import remember

        directory = Path(options.output, case)
        require_unreviewed(directory)  # saving refuses it too, but only after minutes of work
        result = segmenter(source)
        result.save(directory)
        remember(directory.parent, case, source)
        return result

    return segment


def _text(found: FollowUp) -> str:
    from medseg.console import table, terminal_width
    from medseg.follow_up.change import NOT_ASSESSED

    parts = []
    for each in found.comparisons:
        dates = [found.visits[time].date.isoformat() for time in (each.earlier, each.later)]
        judged = [change for change in each.changes if change.limit and change.verdict != NOT_ASSESSED]
        rows = [*_object_rows(each), *_change_rows(judged)]
        heads = ("what", "earlier", "later", "change", "judged")
        lines = table(rows, heads, ("earlier", "later", "change"), terminal_width()) if rows else "nothing"
        left = len(each.changes) - len(judged)
        more = f"\n{left} other measures could not be judged: see report.html" if left else ""
        parts.append(f"{dates[0]} to {dates[1]}\n{lines}{more}")
    return "\n\n".join([*parts, *found.notes])


def _object_rows(each: Comparison) -> Sequence[tuple[str, ...]]:
    return [
        (
            f"{found.name.replace('_', ' ')} {'+'.join(map(str, found.earlier or found.later))}",
            *(_number(size, found.unit) for size in (found.earlier_size, found.later_size)),
            _percent(found.change.relative if found.change else None),
            found.kind + (f": {found.reason}" if found.reason else ""),
        )
        for found in each.objects
    ]


def _change_rows(changes: Sequence[Change]) -> Sequence[tuple[str, ...]]:
    return [
        (
            found.measure.replace("_", " "),
            *(_number(value, found.unit) for value in (found.earlier, found.later)),
            _percent(found.relative) if found.unit != "HU" else _number(found.difference, "HU"),
            found.verdict + (f": {found.reason}" if found.reason else ""),
        )
        for found in changes
    ]


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.3g} {unit.split(' ')[0] if unit.startswith('%') else unit}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:+.0f}%"


def _dates(text: str | None) -> list[date]:
    if text is None:
        return []
    try:
        return [date.fromisoformat(part.strip()) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(
            "dates such as 2025-01-31,2025-07-02 in --dates",
            got=text or "nothing",
            advice="Give year, month and day of each study, in the order of the times.",
        ) from error
