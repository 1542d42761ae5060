"""medseg fingerprint"""

from __future__ import annotations

import argparse

from medseg.cli.exits import EXIT_DONE
from medseg.cli.options import add_data, use_data

HELP = "measure a data set, and propose grid, network and training for it, each with the reason"


def add(command: argparse.ArgumentParser) -> None:
    add_data(command)
    command.add_argument("manifest", help="data manifest: a path, or the name of a shipped one")
    command.add_argument("--json", action="store_true", help="print it as JSON")


def run(options: argparse.Namespace) -> int:
    from medseg.cli.terminal import strict_json
    from medseg.console import terminal_width
    from medseg.planning.fingerprint import take_fingerprint
    from medseg.planning.rules import propose
    from medseg.planning.text import describe

    use_data(options)
    fingerprint = take_fingerprint(options.manifest)
    plan = propose(fingerprint)
    if options.json:
        print(strict_json({"fingerprint": fingerprint.record(), "proposal": plan.record()}))
    else:
        print(describe(fingerprint, plan, terminal_width()))
    return EXIT_DONE
