"""medseg drift"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from medseg.cli.exits import EXIT_DONE, EXIT_SOME_REJECTED, EXIT_WARNED
from medseg.errors import UsageError

if TYPE_CHECKING:
    from datetime import date

    from medseg.drift.check import Drift

HELP = "are the results of now distributed like those of the training, or like earlier ones?"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "folders",
        nargs="+",
        metavar="OUT",
        help="the -o of `medseg segment`, a folder of one case in it, or the folder of a scores.csv",
    )
    command.add_argument(
        "--reference",
        metavar="FOLDER",
        help="a folder of earlier results; cases of now that lie in it are left out of it (default: what the "
        "bundle knows of its training images)",
    )
    command.add_argument(
        "--since", metavar="DATE", help="the first day of now, such as 2026-11-01 or 2026-11"
    )
    command.add_argument("--until", metavar="DATE", help="the last day of now, such as 2026-11-30 or 2026-11")
    command.add_argument(
        "--subjects",
        metavar="TABLE",
        help="a CSV file with the columns case, subject and perhaps date (of the study), so that several "
        "images of a person count once",
    )
    command.add_argument("--task", metavar="TASK", help="the results of this task, of several in a folder")
    command.add_argument(
        "--method", metavar="NAME", help="the results of this method, of several in a folder"
    )
    command.add_argument(
        "--alpha",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="how often equal samples may be called drift, all tests together (default: 0.05)",
    )
    command.add_argument("-o", "--output", metavar="FOLDER", help="folder for drift.html and drift.json")


def run(options: argparse.Namespace) -> int:
    from medseg.drift.check import check_drift

    if options.output and options.output.lower().endswith((".html", ".json")):
        raise UsageError(
            "a folder for -o",
            got=options.output,
            advice="drift.html and drift.json are written into it.",
        )
    drift = check_drift(
        options.folders,
        options.reference,
        since=_day(options.since, "--since", last=False),
        until=_day(options.until, "--until", last=True),
        alpha=options.alpha,
        task=options.task,
        method=options.method,
        subjects=options.subjects,
    )
    _show(drift)
    if options.output:
        from medseg.drift.results import save_drift

        print(save_drift(drift, options.output))
    if drift.comparison.called:
        return EXIT_WARNED
    return EXIT_SOME_REJECTED if drift.broken else EXIT_DONE


def _show(drift: Drift) -> None:
    import sys

    from medseg.console import table
    from medseg.drift.results import HEADER, RIGHT, compared, rows, summary

    for text in drift.broken:
        print(f"medseg: warning: {text}", file=sys.stderr)
    print(f"{drift.kind}: {compared(drift)}")
    print(table(rows(drift), HEADER, RIGHT))
    for note in drift.notes:
        print(f"note: {note}")
    print(summary(drift))


def _day(text: str | None, option: str, last: bool) -> date | None:
    """A day, or the first or last day of a month.

    Raises:
        UsageError: the text is neither.
    """
    from datetime import date, timedelta

    if text is None:
        return None
    try:
        if len(text) == len("2026-11"):
            first = date.fromisoformat(f"{text}-01")
            return (first + timedelta(days=31)).replace(day=1) - timedelta(days=1) if last else first
        return date.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"a day such as 2026-11-30, or a month such as 2026-11, for {option}",
            got=text,
            advice="Repair it.",
        ) from error
