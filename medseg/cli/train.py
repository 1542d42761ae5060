"""medseg train"""

from __future__ import annotations

import argparse

from medseg.cli.exits import EXIT_DONE
from medseg.cli.options import add_manifest, add_set, given, overrides_of

NAME = "train"
HELP = "train a method that learns, by the bundle's train.yaml"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("task")
    add_manifest(command)
    command.add_argument("--epochs", type=int)
    command.add_argument("--output_dir", metavar="DIR")
    command.add_argument(
        "--resume", action="store_true", default=None, help="go on where an interrupted training stopped"
    )
    command.add_argument(
        "--folds",
        type=int,
        nargs="?",
        const=5,
        metavar="N",
        help="cross-validate by subject (default: 5 folds)",
    )
    command.add_argument("--method", metavar="NAME", help="one that learns; `medseg methods` lists them")
    add_set(command)


def run(options: argparse.Namespace) -> int:
    from medseg.bundle import open_bundle, run_workflow, training_files

    overrides = overrides_of(options.set)
    overrides |= given(options, "epochs", "output_dir", "resume", manifests="manifest")
    bundle = open_bundle(options.task)
    files = training_files(bundle, options.method)
    if options.folds is None:
        run_workflow(bundle, *files, overrides=overrides)
        return EXIT_DONE

    from medseg.training.folds import cross_validate

    cross_validate(bundle, files, options.folds, overrides)
    return EXIT_DONE
