"""medseg serve"""

from __future__ import annotations

import argparse

from medseg.cli.exits import EXIT_DONE

HELP = "a node that stays up: segments what comes by DICOM or REST, and sends the results to archives"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", required=True, metavar="FILE", help="the node.yaml; see the how-to")
    command.add_argument("--check", action="store_true", help="check the file and end")


def run(options: argparse.Namespace) -> int:
    from medseg.server.config_file import missing_extra, read_config

    config = read_config(options.config)
    if options.check:
        print(f"{options.config}: {len(config.rules)} rules, {len(config.archives)} archives, no fault found")
        return EXIT_DONE
    try:
        from medseg.server.run import run_node
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("medseg"):
            raise
        raise missing_extra() from error
    run_node(config, say=lambda text: print(f"medseg: {text}", flush=True))
    print("medseg: node stopped", flush=True)
    return EXIT_DONE
