"""medseg fit-quality"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from medseg.cli.exits import EXIT_DONE
from medseg.cli.options import add_data, add_method, add_output_dir, add_task, use_data

if TYPE_CHECKING:
    from medseg.training.quality.run import Done

HELP = "fit the prediction of a mask's Dice, on real images that the network did not learn from"


def add(command: argparse.ArgumentParser) -> None:
    add_task(command)
    add_method(command)
    command.add_argument(
        "--weights",
        metavar="PATH",
        help="output_dir of a cross-validation by --folds, whose networks judge what they never saw; "
        "or a file of weights (default: the bundle's own)",
    )
    add_data(command)
    add_output_dir(command, "out/quality_TASK")


def run(options: argparse.Namespace) -> int:
    from pathlib import Path

    from medseg.bundle import open_bundle, read_method
    from medseg.console import table as lines
    from medseg.training.quality.figures import COLUMNS, table
    from medseg.training.quality.run import fit_quality

    use_data(options)
    bundle = open_bundle(options.task)
    method = read_method(bundle, options.method).name
    folder = Path(options.output_dir or f"out/quality_{bundle.task}_{method}")
    found: Done = fit_quality(bundle, method, options.weights, folder)
    print(lines(table(found.figures), COLUMNS, right=COLUMNS[1:]))
    print(found.file)
    print(f"sha256: {found.sha256}")
    print(
        f"Copy it to the bundle's models/{method}.quality.npz, and pin the digest as result::quality::sha256."
    )
    return EXIT_DONE
