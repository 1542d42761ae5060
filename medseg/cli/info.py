"""medseg info"""

from __future__ import annotations

import argparse
import sys

from medseg import __version__
from medseg.cli.exits import EXIT_DONE
from medseg.cli.options import add_method, add_task

HELP = "list the tasks and versions; with TASK, show every processing step of a method"


def add(command: argparse.ArgumentParser) -> None:
    add_task(command, nargs="?")
    add_method(command)


def run(options: argparse.Namespace) -> int:
    from medseg import console
    from medseg.bundle import describe_steps, open_bundle, tasks

    if options.task:
        print(describe_steps(open_bundle(options.task), options.method, console.terminal_width()))
        return EXIT_DONE
    print(f"medseg {__version__}, Python {sys.version.split()[0]}")
    for task in tasks():
        bundle = open_bundle(task)
        print(f"{task} {bundle.metadata['version']}: {bundle.metadata['task']}\n  {bundle.root}")
    return EXIT_DONE
