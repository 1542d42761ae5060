"""medseg verify"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from medseg.cli.exits import EXIT_ALL_REJECTED, EXIT_DONE, EXIT_SOME_REJECTED, EXIT_WARNED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medseg.verification.verdict import Checked

HELP = "are saved results as they were written, and do their files belong together?"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "output",
        metavar="OUT",
        help="the -o of `medseg segment`, or the folder of one case in it",
    )
    command.add_argument(
        "--images",
        nargs="+",
        default=[],
        metavar="PATH",
        help="files, folders or patterns among which the image of each case must be",
    )
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(options: argparse.Namespace) -> int:
    from medseg.cli.terminal import strict_json
    from medseg.console import progress_bar
    from medseg.verification.verify import find_folders, missing_cases, verify

    count = len(find_folders(options.output))
    with progress_bar("verifying", "cases", count, disable=count == 1) as advance:
        found = verify(options.output, options.images, advance)
    missing = missing_cases(options.output)
    if options.json:
        print(strict_json({"cases": [_entry(each) for each in found], "missing_cases": missing}))
    else:
        print(_text(found, missing))
    return _exit_code(found)


def _exit_code(found: Sequence[Checked]) -> int:
    changed = sum(bool(each.faults) for each in found)
    if changed:
        return EXIT_ALL_REJECTED if changed == len(found) else EXIT_SOME_REJECTED
    return EXIT_DONE if all(each.is_sure for each in found) else EXIT_WARNED


def _text(found: Sequence[Checked], missing: Sequence[str]) -> str:
    from collections import Counter

    from medseg.console import table, terminal_width

    rows = [
        (_printable(each.case), each.state, _printable("; ".join([*each.texts, *_installed(each)])))
        for each in found
    ]
    lines = [table(rows, ("case", "state", "what was found"), width=terminal_width())]
    lines += [f"note: {_printable(name)} is named in sources.jsonl and has no folder" for name in missing]
    counts = Counter(each.state for each in found)
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    return "\n".join([*lines, f"{len(found)} {'case' if len(found) == 1 else 'cases'}: {told}"])


def _printable(text: str) -> str:
    """Without what steers a terminal: names and stamps of files may come from anybody."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _installed(checked: Checked) -> list[str]:
    from medseg.verification.installed import OTHER

    return [
        f"made with {'other weights' if part == 'weights' else 'another version of the bundle'}"
        " than are installed now"
        for part, told in checked.installed.items()
        if told == OTHER
    ]


def _entry(checked: Checked) -> dict[str, Any]:
    return {
        "case": checked.case,
        "state": checked.state,
        "faults": list(checked.faults),
        "doubts": list(checked.doubts),
        "notes": list(checked.notes),
        "installed": checked.installed,
        "stamp": None if checked.stamp is None else checked.stamp.entry(),
    }
