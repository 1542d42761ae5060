"""medseg completion"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from shlex import quote
from typing import Any

from medseg.cli.exits import EXIT_DONE

HELP = "print a script that lets the shell complete commands, options and values"
_SHELLS = ("bash", "zsh", "fish")
_INSTALL = """\
bash: medseg completion bash > ~/.local/share/bash-completion/completions/medseg
      (without the package bash-completion: add the line  eval "$(medseg completion bash)"  to ~/.bashrc)
zsh:  medseg completion zsh > DIR/_medseg, where DIR is a folder of $fpath
fish: medseg completion fish > ~/.config/fish/completions/medseg.fish

The script knows the tasks, methods and data sets that there are now; print it anew after adding one."""


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("shell", choices=_SHELLS, help="the shell to print the script for")
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = _INSTALL


def run(options: argparse.Namespace) -> int:
    import shtab

    from medseg.cli import parser

    found = parser()
    _complete(found, _values())
    print(shtab.complete(found, options.shell))
    return EXIT_DONE


def _values() -> dict[str, Any]:
    """What completes an argument, by its name in the options: a list of words, or shtab's rule for files."""
    import shtab

    from medseg.bundle import method_names, open_bundle, tasks
    from medseg.data.manifests import SPLITS, shipped_manifests
    from medseg.formats import FORMATS
    from medseg.modes import MODES

    methods = {name for task in tasks() for name in method_names(open_bundle(task))}
    return {
        **dict.fromkeys(("input", "path", "first", "second", "weights"), shtab.FILE),
        **dict.fromkeys(("output", "output_dir", "folder", "data"), shtab.DIRECTORY),
        "task": tasks(),
        "method": sorted(methods),
        "manifest": _words_or_files(sorted(path.stem for path in shipped_manifests().glob("*.json"))),
        "split": SPLITS,
        "mode": MODES,
        "formats": _listed_words(FORMATS),
        "device": ("auto", "cpu", "cuda"),
        "modality": ("CT", "US"),
    }


def _complete(found: argparse.ArgumentParser, values: Mapping[str, Any]) -> None:
    """Hang the values on the arguments of all commands, as shtab reads them."""
    for action in found._actions:  # argparse has no public list; shtab reads this one as well
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete(command, values)
        elif isinstance(value := values.get(action.dest), dict):
            action.complete = value  # type: ignore[attr-defined]
        elif value is not None:
            action.choices = list(value)


def _words_or_files(words: Iterable[str]) -> dict[str, Any]:
    text = " ".join(words)
    bash = f"""_medseg_manifest() {{
  compgen -W {quote(text)} -- "$1"
  compgen -f -- "$1"
}}"""
    zsh = f"""_medseg_manifest() {{
  _alternative 'names:name:({text})' 'files:file:_files'
}}"""
    return {
        "bash": "_medseg_manifest",
        "zsh": "_medseg_manifest",
        "fish": f"(printf '%s\n' {text}; __fish_complete_path (commandline -ct))",
        "preamble": {"bash": bash, "zsh": zsh},
    }


def _listed_words(words: Iterable[str]) -> dict[str, Any]:
    """Several words separated by commas: the last one is completed."""
    text = " ".join(words)
    bash = f"""_medseg_formats() {{
  local before=""
  [[ "$1" == *,* ]] && before="${{1%,*}},"
  compgen -P "$before" -W {quote(text)} -- "${{1##*,}}"
}}"""
    return {
        "bash": "_medseg_formats",
        "zsh": f"_values -s , format {text}",
        "fish": f"(__fish_complete_list , 'printf %s\\\\n {text}')",
        "preamble": {"bash": bash},
    }
