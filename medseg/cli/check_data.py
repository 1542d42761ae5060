"""medseg check-data"""

from __future__ import annotations

import argparse

from medseg.cli.exits import EXIT_DONE, EXIT_OTHER

NAME = "check-data"
HELP = "report what is wrong with a data set"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("manifest", help="path, or name of a shipped manifest")


def run(options: argparse.Namespace) -> int:
    from medseg.data.manifests import check_manifest

    problems = check_manifest(options.manifest)
    for problem in problems:
        print(problem)
    print(f"{options.manifest}: {len(problems)} findings" if problems else f"{options.manifest}: sound")
    return EXIT_OTHER if problems else EXIT_DONE
