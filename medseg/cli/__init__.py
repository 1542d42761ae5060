"""The command `medseg`: a module for each command, imported when that command is asked for.

What `--help` imports is held by a test: heavy imports wait until a command runs.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from medseg import __version__
from medseg.cli import exits
from medseg.cli.terminal import survive_any_encoding
from medseg.errors import MedsegError, UsageError, did_you_mean, file_error_text

if TYPE_CHECKING:
    from types import ModuleType

# In the order of `medseg --help`. Each is a module of this package that has HELP, add (its options) and run
# (options to exit code); a hyphen in the command is an underscore in the module's name.
COMMANDS = (
    *("segment", "cohort", "merge-cohorts", "propagate", "inspect", "train", "tune"),
    *("evaluate", "compare", "compare-runs"),
    *("sync", "check-data", "fingerprint", "new-bundle", "audit", "methods", "info"),
    *("index", "similar", "similarity", "fit-quality", "drift", "review", "follow-up", "verify"),
    *("fetch", "send", "serve", "mercure"),
    *("ui", "completion"),
)
_DESCRIPTION = """\
Segment medical images: chest CT, breast ultrasound and fundus photographs.
A task (lung_ct, breast_ultrasound, retinal_vessel) says what is segmented, a method says how.
`medseg COMMAND --help` explains a command."""
_EXIT_CODES = """\
exit codes:
  0  done
  1  failed
  2  wrong usage
  3  every input was rejected
  4  some of several inputs were rejected
  5  the second of two compared runs is worse
  6  the inspected input or audited bundle can be used, but something about it is unusual; or results
     have drifted"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; see medseg.cli.exits."""
    survive_any_encoding()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _read(words)
        _log_to_stderr()
        return int(options.command(options))
    except MedsegError as error:
        print(f"medseg: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("medseg: stopped", file=sys.stderr)
        return exits.EXIT_OTHER
    except BrokenPipeError:  # whoever reads the output, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.EXIT_DONE
    except OSError as error:
        print(f"medseg: {file_error_text(error)}", file=sys.stderr)
        return exits.EXIT_OTHER


def parser(names: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of some commands, by default of all; only their modules are imported."""
    found = argparse.ArgumentParser(
        prog="medseg",
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    found.add_argument("--version", action="version", version=f"medseg {__version__}")
    commands = found.add_subparsers(
        title="commands", required=True, metavar="COMMAND", parser_class=_CommandParser
    )
    for name in names:
        module = command_module(name)
        command = commands.add_parser(name, help=module.HELP, description=_sentence(module.HELP))
        module.add(command)
        command.set_defaults(command=module.run)
    return found


def command_module(name: str) -> ModuleType:
    return importlib.import_module(f"medseg.cli.{name.replace('-', '_')}")


class _CommandParser(argparse.ArgumentParser):
    """The parser of one command: a misspelt option is told first, with the nearest ones.

    Options are written out: abbreviated, `medseg train --fold 1` would start a cross-validation (--folds).
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def parse_known_args(self, args=None, namespace=None):
        known = self._option_string_actions
        for word in args or ():
            if word == "--":
                break
            name = word.partition("=")[0]
            if name.startswith("--") and name not in known:
                options = [option for option in known if option.startswith("--")]
                raise UsageError(f"an option of `{self.prog}`", got=name, advice=did_you_mean(name, options))
        return super().parse_known_args(args, namespace)


def _read(words: Sequence[str]) -> argparse.Namespace:
    """The options of a command line.

    Raises:
        UsageError: an unknown command or option.
        SystemExit: whatever else argparse refuses, after the help, and after the version.
    """
    if not words or words[0] in ("-h", "--help", "--version"):
        return parser().parse_args(words)
    if words[0] not in COMMANDS:
        raise UsageError("a command of `medseg`", got=words[0], advice=did_you_mean(words[0], COMMANDS))
    return parser(words[:1]).parse_args(words)


def _log_to_stderr() -> None:
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("medseg").setLevel(logging.INFO)


def _sentence(text: str) -> str:
    """A line of the list of commands as the first sentence of the command's own help."""
    return text[0].upper() + text[1:] + ("" if text.endswith("?") else ".")
