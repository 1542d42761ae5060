"""medseg serve"""

from __future__ import annotations

import argparse
import sys

from medseg.cli.exits import EXIT_DONE

HELP = "a node that stays up: segments what comes by DICOM or REST, and sends the results to archives"


def add(command: argparse.ArgumentParser) -> None:
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", metavar="FILE", help="the node.yaml; see the how-to")
    what.add_argument(
        "--new-token",
        metavar="NAME",
        help="make a token for a user of REST: its line for the file of tokens goes to standard output; "
        "the token is shown this once, on standard error",
    )
    command.add_argument(
        "--check", action="store_true", help="check the file, and the files of tokens that it names, and end"
    )


def run(options: argparse.Namespace) -> int:
    if options.new_token is not None:
        return _new_token(options.new_token)
    from medseg.server.config_file import check_secrets, missing_extra, read_config

    config = read_config(options.config)
    if options.check:
        check_secrets(config)
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


def _new_token(name: str) -> int:
    from medseg.server.rest.tokens import new_token

    token, line = new_token(name)
    print(line)
    print(f"medseg: the token of {name}: {token}", file=sys.stderr)
    return EXIT_DONE
