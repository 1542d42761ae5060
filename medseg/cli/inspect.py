"""medseg inspect"""

from __future__ import annotations

import argparse
from pathlib import Path

from medseg.cli.exits import EXIT_ALL_REJECTED, EXIT_DONE, EXIT_WARNED
from medseg.cli.terminal import strict_json

NAME = "inspect"
HELP = "what a file or DICOM study holds, and if it can be used"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", help="file, folder or zip archive")
    command.add_argument("--task", help="whose checks decide (default: all tasks that take such an image)")
    command.add_argument(
        "--modality", type=str.upper, help="of the DICOM series to choose (default: that of the tasks)"
    )
    command.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    from medseg.deferred import import_monai
    from medseg.quality.inspection import inspect

    import_monai()
    report = inspect(Path(options.path), options.task, options.modality)
    print(strict_json(report.record()) if options.json else report)
    return {"pass": EXIT_DONE, "warn": EXIT_WARNED, "reject": EXIT_ALL_REJECTED}[report.verdict]
