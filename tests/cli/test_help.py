"""`--help` and `--version` are instant: what they may import, and that each says what a command takes."""

import subprocess
import sys

import pytest

from medseg.cli import COMMANDS, command_module

pytestmark = pytest.mark.seconds

# What costs more than the help itself; some small ones are as slow as all the rest.
HEAVY = {
    *("numpy", "scipy", "torch", "monai", "ignite", "yaml", "mlflow", "rich", "shtab", "pydicom", "nibabel"),
    *("logging", "difflib", "traceback", "importlib.metadata", "subprocess", "asyncio"),
}

CALL = """
import sys
from medseg.cli import main
before = set(sys.modules)
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
commands = (name.removeprefix("medseg.cli.") for name in sys.modules if name.startswith("medseg.cli."))
print("COMMANDS", *commands)
print("MODULES", *(name for name in sys.modules if name.count(".") < 2))
"""


def called(*words):
    """What a command line prints, and which modules of medseg.cli and which others are imported then."""
    done = subprocess.run([sys.executable, "-c", CALL, *words], capture_output=True, text=True, check=True)
    said, _, modules = done.stdout.partition("COMMANDS")
    own, _, others = modules.partition("MODULES")
    return said, set(own.split()), set(others.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_imports_that_command_alone(command):
    said, own, others = called(command, "--help")
    assert said.startswith(f"usage: medseg {command} ")
    names = {name.replace("-", "_") for name in COMMANDS}
    assert own & names == {command.replace("-", "_")}
    assert others & HEAVY == set()


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_the_list_of_commands_imports_nothing_heavy(words):
    assert called(*words)[2] & HEAVY == set()


def test_the_list_of_commands():
    said = called("--help")[0]
    for command in COMMANDS:
        assert f"    {command}" in said
    assert " ".join(command_module("inspect").HELP.split()[:4]) in said


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command):
    from medseg.cli import parser

    (commands,) = (action for action in parser()._actions if action.dest not in ("help", "version"))
    for action in commands.choices[command]._actions:
        assert action.help, action.dest
