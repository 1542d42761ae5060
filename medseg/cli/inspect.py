"""medseg inspect"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from medseg.cli.exits import EXIT_ALL_REJECTED, EXIT_DONE, EXIT_SOME_REJECTED, EXIT_WARNED
from medseg.cli.terminal import strict_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medseg.io import Input

HELP = "show what image files and DICOM studies hold, and whether they can be segmented"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "input",
        nargs="+",
        help="image files, folders, glob patterns, or DICOM studies (folder or zip archive)",
    )
    command.add_argument(
        "--task", help="the task whose checks decide (default: every task that takes such an image)"
    )
    command.add_argument(
        "--modality",
        type=str.upper,
        help="DICOM modality of the series to choose (default: that of the tasks)",
    )
    command.add_argument("--json", action="store_true", help="print JSON for programs")


def run(options: argparse.Namespace) -> int:
    from medseg.deferred import import_monai
    from medseg.quality.inspection import inspect

    import_monai()
    inputs = _inputs(options.input)
    reports = [inspect(source, options.task, options.modality) for source in inputs]
    from medseg.io import shown

    if options.json:
        pairs = zip(inputs, reports, strict=True)
        records = [{"input": shown(source), **report.record()} for source, report in pairs]
        print(strict_json(records[0] if len(records) == 1 else records))
    else:
        titles = [f"{shown(source)}\n" if len(inputs) > 1 else "" for source in inputs]
        print("\n\n".join(f"{title}{report}" for title, report in zip(titles, reports, strict=True)))
    return _exit_code([report.verdict for report in reports])


def _inputs(paths: Sequence[str]) -> Sequence[Input]:
    """The images that the paths stand for; the paths themselves where there are none, to say why."""
    from pathlib import Path

    from medseg.errors import InputError
    from medseg.io import search_inputs

    try:
        return search_inputs(paths).inputs
    except InputError:
        return [Path(path) for path in paths]


def _exit_code(verdicts: Sequence[str]) -> int:
    if "reject" in verdicts:
        return EXIT_ALL_REJECTED if set(verdicts) == {"reject"} else EXIT_SOME_REJECTED
    return EXIT_WARNED if "warn" in verdicts else EXIT_DONE
