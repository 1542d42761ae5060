"""medseg similarity"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from medseg.cli.exits import EXIT_DONE

if TYPE_CHECKING:
    from medseg.similarity.comparison import Similarity

HELP = "how alike two images are: structural similarity, mutual information, histograms, texture"


def add(command: argparse.ArgumentParser) -> None:
    for name, more in (("a", ""), ("b", "; it is brought to the grid of the first")):
        command.add_argument(
            name, metavar=name.upper(), help=f"image or volume file; a DICOM study as a folder or zip{more}"
        )
    command.add_argument("--json", action="store_true", help="print the measures as JSON")


def run(options: argparse.Namespace) -> int:
    import sys

    from medseg.cli.terminal import strict_json
    from medseg.io import find_inputs
    from medseg.similarity.comparison import compare_images
    from medseg.similarity.search import require_one

    found = compare_images(*(require_one(find_inputs([name])) for name in (options.a, options.b)))
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(strict_json(_record(found)) if options.json else _text(found))
    return EXIT_DONE


def _record(found: Similarity) -> dict[str, object]:
    from medseg.similarity.measures import MEASURES

    return {
        **{"a": found.a, "b": found.b, "grid": found.grid, "overlap": found.overlap},
        "data_range": found.data_range,
        "measures": {
            name: {
                **entry,
                "range": MEASURES[name].span,
                "identical": MEASURES[name].identical,
                "definition": MEASURES[name].definition,
            }
            for name, entry in found.measures.items()
        },
        "warnings": list(found.warnings),
    }


def _text(found: Similarity) -> str:
    from medseg.console import table, terminal_width
    from medseg.similarity.measures import MEASURES

    rows = []
    for name, entry in found.measures.items():
        value, about = entry["value"], MEASURES[name]
        text = "none" if value is None else f"{value:.4g}"
        rows.append((about.title, text, entry.get("reason", f"{about.span}; identical: {about.identical}")))
    heads = table(rows, ("measure", "value", "range"), ("value",), terminal_width())
    return f"{heads}\n{found.grid}; data range {found.data_range:g}"
