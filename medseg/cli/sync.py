"""medseg sync"""

from __future__ import annotations

import argparse
import sys

from medseg.cli.exits import EXIT_DONE, EXIT_OTHER

HELP = "send the records of a training that the MLflow server missed while it could not be reached"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", help="the output_dir of the training")


def run(options: argparse.Namespace) -> int:
    from pathlib import Path

    from medseg.tracking.tracker import deliver, mark_killed_runs

    mark_killed_runs()
    if deliver(Path(options.folder)):
        print(f"{options.folder}: the MLflow server has all records")
        return EXIT_DONE
    print(
        f"medseg: {options.folder}: the MLflow server can't be reached; nothing is lost. Try again later.",
        file=sys.stderr,
    )
    return EXIT_OTHER
