"""medseg check-data"""

from __future__ import annotations

import argparse

from medseg.cli.exits import EXIT_DONE, EXIT_OTHER
from medseg.cli.options import add_data, use_data

HELP = "check a data set: missing or unreadable files, labels that do not fit, subjects in two splits"


def add(command: argparse.ArgumentParser) -> None:
    add_data(command)
    command.add_argument("manifest", help="data manifest: a path, or the name of a shipped one")


def run(options: argparse.Namespace) -> int:
    from medseg.data.manifests import check_manifest

    use_data(options)
    problems = check_manifest(options.manifest)
    for problem in problems:
        print(problem)
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    print(f"{options.manifest}: {count if problems else 'no problems'} found")
    return EXIT_OTHER if problems else EXIT_DONE
