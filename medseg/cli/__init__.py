"""The command `medseg`: a module for each command. Heavy imports wait until one needs them."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from medseg import __version__
from medseg.cli import (
    check_data,
    compare_runs,
    evaluate,
    exits,
    info,
    inspect,
    methods,
    segment,
    sync,
    train,
    ui,
)
from medseg.cli.terminal import survive_any_encoding
from medseg.errors import MedsegError, file_error_text

# Each has NAME, HELP, add (its options) and run (options to exit code).
COMMANDS = (segment, inspect, train, evaluate, compare_runs, sync, check_data, methods, info, ui)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done, 1 other, 2 usage, 3 all and 4 some inputs rejected, 5 the second of two runs is worse,
    6 an inspected input can be used but is odd.
    """
    survive_any_encoding()
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("medseg").setLevel(logging.INFO)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except MedsegError as error:
        print(f"medseg: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("medseg: stopped", file=sys.stderr)
        return exits.EXIT_OTHER
    except OSError as error:
        print(f"medseg: {file_error_text(error)}", file=sys.stderr)
        return exits.EXIT_OTHER


def parser() -> argparse.ArgumentParser:
    """Of all commands."""
    found = argparse.ArgumentParser(prog="medseg", description="Clinical segmentation on MONAI.")
    found.add_argument("--version", action="version", version=f"medseg {__version__}")
    commands = found.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in COMMANDS:
        command = commands.add_parser(module.NAME, help=module.HELP, description=module.HELP)
        module.add(command)
        command.set_defaults(command=module.run)
    return found
