"""medseg compare"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

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

HELP = "compare methods of a task, or losses of a training, on the same images: scores, tests, a page"


def add(command: argparse.ArgumentParser) -> None:
    add_task(command)
    compared = command.add_mutually_exclusive_group(required=True)
    compared.add_argument(
        "--methods",
        metavar="A,B,...",
        help="the methods, from the simplest to the best; `medseg methods` lists them",
    )
    compared.add_argument(
        "--losses",
        metavar="A,B,...",
        help="train one network with each of these losses, such as dice_ce,tversky, and compare them",
    )
    add_manifest(command)
    add_data(command)
    command.add_argument(
        "--split",
        metavar="NAME",
        help="training, validation or test (default: the one that the bundle's evaluate.yaml names; with "
        "--losses validation). With --set fold=[K,N] instead: the subjects that fold K (from 0) of a "
        "cross-validation with N folds holds out",
    )
    command.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="use these weights instead of the method's own: a file, or the output folder of a "
        "cross-validation (the mean of its networks); may be repeated",
    )
    command.add_argument(
        "--method", metavar="NAME", help="with --losses: the method to train (default: as train.yaml says)"
    )
    command.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="with --losses: the epochs of each training (default: as train.yaml says)",
    )
    command.add_argument(
        "--resume",
        action="store_true",
        default=None,
        help="with --losses: continue an interrupted comparison in its --output_dir",
    )
    add_output_dir(command, "out/compare/TASK/MANIFEST_SPLIT, or out/losses/TASK/METHOD/MANIFEST_SPLIT")
    add_set(command)


def run(options: argparse.Namespace) -> int:
    use_data(options)
    overrides = overrides_of(options.set) | given(options, manifests="manifest")
    return _of_methods(options, overrides) if options.methods is not None else _of_losses(options, overrides)


def _of_methods(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    from medseg.evaluation.ladder import MethodFailed, compare_methods
    from medseg.evaluation.ladder_plan import plan

    if foreign := given(options, "method", "epochs", "resume"):
        raise UsageError(
            "options that apply to --methods",
            got=", ".join(f"--{name}" for name in foreign),
            advice="Leave them out, or compare --losses.",
        )
    overrides |= given(options, "split")
    names = _names(options.methods)
    checked = plan(options.task, names, _weights(options.weights), overrides, options.output_dir)
    try:
        print(compare_methods(checked))
    except MethodFailed as error:
        if error.found:
            print(error.found)
        raise
    return EXIT_DONE


def _of_losses(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    from medseg.training.loss_comparison import LossFailed, compare_losses
    from medseg.training.loss_plan import plan_losses

    if options.weights:
        raise UsageError(
            "options that apply to --losses",
            got="--weights",
            advice="Leave it out: each loss trains a network. --set start_from=FILE begins with weights.",
        )
    overrides |= given(options, "epochs")
    checked = plan_losses(
        options.task, _names(options.losses), options.method, overrides, options.split, options.output_dir
    )
    try:
        print(compare_losses(checked, bool(options.resume)))
    except LossFailed as error:
        if error.found:
            print(error.found)
        raise
    return EXIT_DONE


def _names(text: str) -> list[str]:
    """A,B,... to a list."""
    return [name.strip() for name in text.split(",") if name.strip()]


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
