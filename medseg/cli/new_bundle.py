"""medseg new-bundle"""

from __future__ import annotations

import argparse
from pathlib import Path

from medseg.cli.exits import EXIT_DONE
from medseg.cli.options import add_data, use_data

HELP = "write the bundle of a new task for a data set, with what `fingerprint` proposes"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", help="of the new task, such as kidney_ct")
    command.add_argument(
        "--manifest", metavar="M", required=True, help="data manifest: a path, or the name of a shipped one"
    )
    add_data(command)
    command.add_argument(
        "--output_dir", metavar="DIR", default="bundles", help="folder of bundles (default: bundles)"
    )


def run(options: argparse.Namespace) -> int:
    from medseg.console import terminal_width
    from medseg.planning.bundle import check_name, write_bundle
    from medseg.planning.fingerprint import take_fingerprint
    from medseg.planning.rules import propose
    from medseg.planning.text import describe

    use_data(options)
    check_name(options.name, options.output_dir)
    fingerprint = take_fingerprint(options.manifest)
    plan = propose(fingerprint)
    folder = write_bundle(options.name, fingerprint, plan, options.manifest, options.output_dir)
    found = folder.resolve() == (Path.cwd() / "bundles" / options.name).resolve()
    print(f"{describe(fingerprint, plan, terminal_width())}\n")
    print(f"{folder}: next is `medseg train {options.name if found else folder}`")
    return EXIT_DONE
