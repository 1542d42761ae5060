"""medseg review"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from glob import has_magic

from medseg.cli.exits import EXIT_DONE
from medseg.errors import UnreadableError, UsageError

HELP = "a page on which the masks of a folder are accepted, mended or rejected; and the decisions applied"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("out", metavar="OUT", help="folder of results: the -o of `medseg segment`")
    command.add_argument(
        "--images",
        nargs="+",
        default=[],
        metavar="PATH",
        help="where the images are, if they have moved: files, folders (without subfolders) or patterns",
    )
    command.add_argument(
        "-o",
        "--output",
        metavar="PAGEDIR",
        help="folder of the page (default: OUT/review, or OUT/review-page if a case is called review)",
    )
    command.add_argument(
        "--apply",
        action="append",
        default=[],
        metavar="FILE",
        help="write no page, but apply the decisions that the page has saved; may be repeated",
    )
    command.add_argument(
        "--collect",
        metavar="MANIFEST",
        help="write no page, but a data manifest of the accepted and edited cases, to train on",
    )


def run(options: argparse.Namespace) -> int:
    if options.output is not None and (options.apply or options.collect):
        raise UsageError(
            "-o for the page alone",
            got="-o with " + ("--apply" if options.apply else "--collect"),
            advice="Leave out -o, and write the page by another call.",
        )
    _require_images(options.images)
    if options.apply:
        _apply(options)
    if options.collect:
        _collect(options)
    if not options.apply and not options.collect:
        _write_page(options)
    return EXIT_DONE


def _require_images(images: Sequence[str]) -> None:
    """A path that is not there would only make a list of images that were not found."""
    missing = [path for path in images if not os.path.exists(path) and not has_magic(path)]
    if missing:
        raise UnreadableError(
            "images that exist", got=f"no {', no '.join(missing)}", advice="Check the paths after --images."
        )


def _write_page(options: argparse.Namespace) -> None:
    from medseg.review.page import write_review

    print(write_review(options.out, options.images, options.output))


def _apply(options: argparse.Namespace) -> None:
    from medseg.console import table, terminal_width
    from medseg.review.apply import apply_decisions

    applied = apply_decisions(options.apply, options.out, options.images)
    rows = [(each.case, each.verdict, each.text) for each in applied]
    print(table(rows, ("case", "decision", ""), (), terminal_width()) if rows else "no decision to apply")


def _collect(options: argparse.Namespace) -> None:
    from medseg.review.collect import collect_corrected

    manifest = collect_corrected(options.out, options.collect, options.images)
    print(f"{options.collect}: {len(manifest['training'])} cases")
