"""medseg compare-runs"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from medseg.cli.exits import EXIT_DONE, EXIT_WORSE

NAME = "compare-runs"
HELP = "is the second run better than the first?"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("first", help="MLflow run (id or name), or a folder with scores.csv")
    command.add_argument("second")
    command.add_argument("-o", "--output", default="out/comparison", metavar="OUT")
    command.add_argument("--score", default="dice", help="what decides (default: dice)")


def run(options: argparse.Namespace) -> int:
    from medseg.evaluation.comparison import compare_runs

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    comparison = compare_runs(options.first, options.second, Path(options.output), options.score)
    print(comparison)
    return EXIT_WORSE if comparison.verdict == "worse" else EXIT_DONE
