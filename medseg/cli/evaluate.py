"""medseg evaluate"""

from __future__ import annotations

import argparse
from typing import Any

from medseg.cli.exits import EXIT_DONE, EXIT_WORSE
from medseg.cli.options import (
    add_data,
    add_manifest,
    add_method,
    add_output_dir,
    add_set,
    add_task,
    add_weights,
    given,
    overrides_of,
    use_data,
)

HELP = "score the masks of a method against the reference masks of a data set"
FILES = ("train.yaml", "evaluate.yaml")


def add(command: argparse.ArgumentParser) -> None:
    add_task(command)
    add_manifest(command)
    add_data(command)
    command.add_argument(
        "--split",
        metavar="NAME",
        help="training, validation or test (default: the one that the bundle's evaluate.yaml names)",
    )
    add_weights(command, action="append", more="; given several times, each is compared with the first")
    add_output_dir(command, "out/evaluation/TASK/METHOD/MANIFEST_SPLIT")
    add_method(command)
    add_set(command)


def run(options: argparse.Namespace) -> int:
    from medseg.bundle import inference_files, inference_keys, open_bundle, run_workflow

    use_data(options)
    overrides = overrides_of(options.set)
    overrides |= given(options, "split", "output_dir", "method", manifests="manifest", weights_fold="fold")
    bundle = open_bundle(options.task)
    method_files = inference_files(bundle, options.method)  # unknown ones are told before data is looked at
    overrides = inference_keys(bundle, FILES, method_files, overrides)
    weights = options.weights or []
    if len(weights) > 1:
        return _compare(bundle, weights, overrides)
    run_workflow(bundle, *FILES, overrides=overrides | ({"weights": weights[0]} if weights else {}))
    return EXIT_DONE


def _compare(bundle: Any, weights: list[str], overrides: dict[str, Any]) -> int:
    """Score several weights in folders of their own, and compare each with the first.

    Returns EXIT_WORSE if any is worse than the first.
    """
    from pathlib import Path

    from medseg.bundle import parse, run_workflow
    from medseg.evaluation.comparison import compare_runs

    output = Path(parse(bundle, *FILES, overrides=overrides).get_parsed_content("output_dir"))
    folders = [output / f"weights_{number}" for number in range(1, len(weights) + 1)]
    for file, folder in zip(weights, folders, strict=True):
        run_workflow(bundle, *FILES, overrides=overrides | {"weights": file, "output_dir": str(folder)})
    code = EXIT_DONE
    for number, folder in enumerate(folders[1:], start=2):
        comparison = compare_runs(str(folders[0]), str(folder), output / f"1_against_{number}")
        print(comparison)
        code = EXIT_WORSE if comparison.verdict == "worse" else code
    return code
