"""medseg sync"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from medseg.cli.exits import EXIT_DONE, EXIT_OTHER

NAME = "sync"
HELP = "send what a training could not while the server was away"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", help="the training's output_dir")


def run(options: argparse.Namespace) -> int:
    from medseg.tracking.tracker import deliver, mark_killed_runs

    mark_killed_runs()
    if deliver(Path(options.folder)):
        print(f"{options.folder}: the tracking server has everything")
        return EXIT_DONE
    print(f"medseg: {options.folder}: the tracking server can't be reached; nothing is lost", file=sys.stderr)
    return EXIT_OTHER
