"""medseg compare-runs"""

from __future__ import annotations

import argparse
import os

from medseg.cli.exits import EXIT_DONE, EXIT_WORSE

HELP = "compare the scores of two runs, case by case: is the second better than the first?"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("first", help="an MLflow run, by its id or name, or a folder with a scores.csv")
    command.add_argument("second", help="another run, of the same cases")
    command.add_argument(
        "-o",
        "--output",
        default="out/comparison",
        metavar="OUT",
        help="folder for tables and page (default: out/comparison)",
    )
    command.add_argument(
        "--score", default="dice", metavar="NAME", help="the score that decides (default: dice)"
    )


def run(options: argparse.Namespace) -> int:
    from pathlib import Path

    from medseg.evaluation.comparison import compare_runs

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    comparison = compare_runs(options.first, options.second, Path(options.output), options.score)
    print(comparison)
    return EXIT_WORSE if comparison.verdict == "worse" else EXIT_DONE
