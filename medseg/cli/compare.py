"""medseg compare"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from medseg.cli.exits import EXIT_DONE
from medseg.cli.options import (
    add_data,
    add_manifest,
    add_output_dir,
    add_set,
    add_task,
    given,
    overrides_of,
    use_data,
)
from medseg.errors import UsageError

HELP = "compare several methods of a task on the same images: scores, tests, time and memory"


def add(command: argparse.ArgumentParser) -> None:
    add_task(command)
    command.add_argument(
        "--methods",
        required=True,
        metavar="A,B,...",
        help="the methods, from the simplest to the best; `medseg methods` lists them",
    )
    add_manifest(command)
    add_data(command)
    command.add_argument(
        "--split",
        metavar="NAME",
        help="training, validation or test (default: the one that the bundle's evaluate.yaml names). With "
        "--set fold=[K,N] instead: the subjects that fold K (from 0) of a cross-validation with N folds "
        "holds out",
    )
    command.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="use these weights instead of the method's own: a file, or the output folder of a "
        "cross-validation (the mean of its networks); may be repeated",
    )
    add_output_dir(command, "out/compare/TASK/MANIFEST_SPLIT")
    add_set(command)


def run(options: argparse.Namespace) -> int:
    from medseg.evaluation.ladder import MethodFailed, compare_methods
    from medseg.evaluation.ladder_plan import plan

    use_data(options)
    overrides = overrides_of(options.set) | given(options, "split", manifests="manifest")
    names = [name.strip() for name in options.methods.split(",") if name.strip()]
    checked = plan(options.task, names, _weights(options.weights), overrides, options.output_dir)
    try:
        print(compare_methods(checked))
    except MethodFailed as error:
        if error.found:
            print(error.found)
        raise
    return EXIT_DONE


def _weights(pairs: Sequence[str]) -> dict[str, str]:
    """NAME=FILE strings to a dictionary."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, _, file = pair.partition("=")
        if not name or not file or name in found:
            raise UsageError(
                "--weights NAME=FILE, once for a method",
                got=f"{name} twice" if name in found else pair,
                advice="Name the method, an equals sign, and the file.",
            )
        found[name] = file
    return found
