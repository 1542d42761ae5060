"""medseg index"""

from __future__ import annotations

import argparse

from medseg.cli.exits import EXIT_ALL_REJECTED, EXIT_DONE, EXIT_SOME_REJECTED
from medseg.cli.options import add_data, add_method, add_weights, use_data

HELP = "describe the images of data sets and keep the descriptions, for `medseg similar`"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "manifest",
        nargs="+",
        metavar="MANIFEST",
        help="data manifest (the list of a data set): a path, or the name of a shipped one",
    )
    command.add_argument(
        "--task",
        required=True,
        help="whose checks and preprocessing prepare the images, such as breast_ultrasound",
    )
    command.add_argument(
        "-o",
        "--index",
        required=True,
        metavar="INDEX",
        help="folder of the index; one that is there gets the images that it lacks",
    )
    command.add_argument(
        "--descriptor",
        default="encoder",
        metavar="NAME",
        help="encoder (default): the deepest features of the method's network; "
        "intensity: brightness and texture, without a network",
    )
    command.add_argument(
        "--split",
        action="append",
        default=[],
        metavar="NAME",
        help="training, validation or test (default: all); may be repeated",
    )
    add_method(command)
    add_weights(command)
    add_data(command)


def run(options: argparse.Namespace) -> int:
    use_data(options)

    from medseg.similarity.build import build_index

    built = build_index(
        options.manifest,
        options.task,
        options.index,
        descriptor=options.descriptor,
        method=options.method,
        splits=options.split,
        weights=options.weights,
        weights_fold=options.fold,
    )
    print(
        f"{options.index}: {built.added} added, {built.known} there already, {built.refused} refused; "
        f"{built.total} cases"
    )
    if not built.refused:
        return EXIT_DONE
    return EXIT_SOME_REJECTED if built.added or built.known else EXIT_ALL_REJECTED
