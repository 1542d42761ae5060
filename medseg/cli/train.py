"""medseg train"""

from __future__ import annotations

import argparse

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

HELP = "train the network of a task, as the bundle's train.yaml says"


def add(command: argparse.ArgumentParser) -> None:
    add_task(command)
    add_manifest(command)
    add_data(command)
    command.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="how often to go through the data (default: as train.yaml says)",
    )
    add_output_dir(command, "out/TASK_training")
    command.add_argument(
        "--resume",
        action="store_true",
        default=None,
        help="continue an interrupted training in its --output_dir",
    )
    command.add_argument(
        "--folds",
        type=int,
        nargs="?",
        const=5,
        metavar="N",
        help="cross-validate: split the subjects into N parts (default: 5) and train once without each",
    )
    command.add_argument(
        "--method",
        metavar="NAME",
        help="the method to train; `medseg methods` says which ones are learned",
    )
    add_set(command)


def run(options: argparse.Namespace) -> int:
    from medseg.bundle import open_bundle, run_workflow, training_files

    use_data(options)
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
