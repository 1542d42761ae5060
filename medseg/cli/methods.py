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
    command.add_argument(
        "--features",
        action="store_true",
        help="list the features that a method can be built on; SCALE is in px, in volumes in mm",
    )


def run(options: argparse.Namespace) -> int:
    from medseg import console

    rows = _features(options.task) if options.features else _methods(options.task)
    print(console.table(rows, width=console.terminal_width()))
    return EXIT_DONE


def _methods(task: str | None) -> list[tuple[str, str, str]]:
    from medseg.bundle import method_names, open_bundle, read_method, tasks

    rows = []
    for name in [task] if task else tasks():
        bundle = open_bundle(name)
        methods = [read_method(bundle, method) for method in method_names(bundle)]
        rows += [(bundle.task, method.name, f"{_about(method)}: {method.summary}") for method in methods]
    return rows


def _features(task: str | None) -> list[tuple[str, str, str]]:
    """Name, dimensions and summary of each feature; of a task, those that fit the axes of its images."""
    from medseg.bundle import open_bundle, read_method
    from medseg.methods.features.catalogue import FEATURES

    wanted = {read_method(open_bundle(task)).dimensions} if task else {2, 3}
    return [
        (
            f"{feature.name}@SCALE" if feature.scaled else feature.name,
            ", ".join(f"{axes}D" for axes in feature.dimensions),
            feature.summary,
        )
        for feature in FEATURES.values()
        if wanted & set(feature.dimensions)
    ]


def _about(method: Method) -> str:
    trained = ("trained" if method.is_trained else "not trained") if method.weights else "no weights"
    default = ["the default"] if method.is_default else []
    return ", ".join([method.kind, f"{method.dimensions}D", trained, *default])
