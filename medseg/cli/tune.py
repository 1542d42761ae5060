"""medseg tune"""

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
from medseg.errors import UsageError

HELP = "search for the parameters of a method that score best on the validation split"


def add(command: argparse.ArgumentParser) -> None:
    add_task(command)
    command.add_argument(
        "--trials",
        type=int,
        required=True,
        metavar="N",
        help="how many trials the study gets in all, of all processes and of earlier calls; "
        "0 to --export what there is",
    )
    command.add_argument(
        "--method",
        metavar="NAME",
        help="the method whose parameters are searched for (default: the one that train.yaml trains)",
    )
    add_manifest(command)
    add_data(command)
    command.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="how often a trial goes through the data (default: as train.yaml says)",
    )
    command.add_argument(
        "--storage",
        metavar="URL",
        help="the store of the study: sqlite:///FILE, or postgresql://USER@HOST/DATABASE, which several "
        "machines can share (default: study.db in --output_dir)",
    )
    command.add_argument(
        "--study", metavar="NAME", help="the study's name in the store (default: TASK/METHOD)"
    )
    command.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="K",
        help="how many processes of this machine run trials (default: 1)",
    )
    add_set(command)
    add_output_dir(command, "out/tuning/TASK/METHOD")
    command.add_argument(
        "--export",
        metavar="NAME",
        help="write the best trial as a method of the bundle, configs/methods/NAME.yaml",
    )


def run(options: argparse.Namespace) -> int:
    if options.trials < 0 or (options.trials == 0 and options.export is None):
        raise UsageError(
            "--trials of 1 or more, or of 0 with --export",
            got=str(options.trials),
            advice="Say how many trials the study gets.",
        )
    from medseg.tuning.plan import make_plan
    from medseg.tuning.search import search
    from medseg.tuning.store import require_optuna

    require_optuna()
    use_data(options)
    plan = make_plan(
        options.task,
        options.trials,
        method=options.method,
        storage=options.storage,
        study=options.study,
        output_dir=options.output_dir,
        given=overrides_of(options.set) | given(options, "epochs", manifests="manifest"),
    )
    print(search(plan, options.workers, options.export))
    return EXIT_DONE
