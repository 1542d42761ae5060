"""medseg merge-cohorts"""

from __future__ import annotations

import argparse

HELP = "unite the parts of a cohort (`medseg cohort --part`): one folder, one table, one page"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("folders", nargs="+", metavar="PART", help="the -o of each part")
    command.add_argument("-o", "--output", required=True, metavar="OUT", help="a new folder for all of it")


def run(options: argparse.Namespace) -> int:
    from pathlib import Path

    from medseg.cli.cohort import exit_code, summary
    from medseg.cohort.merge import merge_cohorts

    counts = merge_cohorts(options.folders, options.output)
    print(summary(counts))
    print(Path(options.output) / "cohort.html")
    return exit_code(counts)
