"""medseg mercure"""

from __future__ import annotations

import argparse
import sys

from medseg.cli.exits import EXIT_ALL_REJECTED, EXIT_DONE
from medseg.errors import UsageError

HELP = "run as a module of mercure: the images of one folder, DICOM results and result.json to another"


def add(command: argparse.ArgumentParser) -> None:
    for name, what in (("in", "with DICOM files and task.json"), ("out", "for the results")):
        command.add_argument(
            f"--{name}",
            dest=f"{name}_dir",
            metavar="DIR",
            help=f"folder {what} (default: the environment variable MERCURE_{name.upper()}_DIR)",
        )


def run(options: argparse.Namespace) -> int:
    from pathlib import Path

    folders = [Path(_folder(getattr(options, f"{name}_dir"), name)) for name in ("in", "out")]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError("a folder that exists", got=str(folder), advice="Start it by mercure.")
    from medseg.mercure import run_module

    done, count = run_module(*folders)
    print(f"{done} of {count} series segmented", file=sys.stderr)
    return EXIT_DONE if done else EXIT_ALL_REJECTED


def _folder(given: str | None, name: str) -> str:
    import os

    variable = f"MERCURE_{name.upper()}_DIR"
    if found := given or os.environ.get(variable):
        return found
    raise UsageError(f"--{name} DIR, or the environment variable {variable}", got="neither", advice="Set it.")
