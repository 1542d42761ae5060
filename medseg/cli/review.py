"""medseg review"""

from __future__ import annotations

import argparse

from medseg.cli.exits import EXIT_DONE
from medseg.errors import UsageError

HELP = "a page on which the masks of a folder are accepted, mended or rejected; and the decisions applied"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("out", metavar="OUT", help="folder of results: the -o of `medseg segment`")
    command.add_argument(
        "--images",
        nargs="+",
        default=[],
        metavar="PATH",
        help="where the images are now, if they have moved: files, folders or patterns",
    )
    command.add_argument("-o", "--output", metavar="PAGEDIR", help="folder of the page (default: OUT/review)")
    command.add_argument(
        "--apply",
        action="append",
        default=[],
        metavar="FILE",
        help="write no page, but apply decisions that the page has saved; may be repeated",
    )


def run(options: argparse.Namespace) -> int:
    if options.apply:
        _require_no_page(options)
        return _apply(options)
    return _write_page(options)


def _require_no_page(options: argparse.Namespace) -> None:
    if options.output is not None:
        raise UsageError(
            "-o without --apply", got="both", advice="Apply the decisions first, then write the page anew."
        )


def _write_page(options: argparse.Namespace) -> int:
    from medseg.review.page import write_review

    print(write_review(options.out, options.images, options.output))
    return EXIT_DONE


def _apply(options: argparse.Namespace) -> int:
    from medseg.console import table, terminal_width
    from medseg.review.apply import apply_decisions

    applied = apply_decisions(options.apply, options.out, options.images)
    rows = [(each.case, each.verdict, each.text) for each in applied]
    print(table(rows, ("case", "decision", ""), (), terminal_width()) if rows else "no decision to apply")
    return EXIT_DONE
