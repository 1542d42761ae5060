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
    command.add_argument(
        "--modality", type=str.upper, default="CT", help="of the series to choose (default: CT)"
    )
    command.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    from medseg.quality.inspection import inspect

    report = inspect(Path(options.path), options.modality)
    print(strict_json(report.record()) if options.json else report)
    return {"pass": EXIT_DONE, "warn": EXIT_WARNED, "reject": EXIT_ALL_REJECTED}[report.verdict]
