"""medseg methods"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from medseg.cli.exits import EXIT_DONE
from medseg.cli.options import add_task

if TYPE_CHECKING:
    from medseg.bundle import Method

HELP = "list the methods of each task: what they are, and whether they have to be trained"


def add(command: argparse.ArgumentParser) -> None:
    add_task(command, nargs="?")


def run(options: argparse.Namespace) -> int:
    from medseg import console
    from medseg.bundle import method_names, open_bundle, read_method, tasks

    rows = []
    for task in [options.task] if options.task else tasks():
        bundle = open_bundle(task)
        methods = [read_method(bundle, name) for name in method_names(bundle)]
        rows += [(bundle.task, method.name, f"{_about(method)}: {method.summary}") for method in methods]
    print(console.table(rows, width=console.terminal_width()))
    return EXIT_DONE


def _about(method: Method) -> str:
    trained = ("trained" if method.is_trained else "not trained") if method.weights else "no weights"
    default = ["the default"] if method.is_default else []
    return ", ".join([method.kind, f"{method.dimensions}D", trained, *default])
