"""medseg similar"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from medseg.cli.exits import EXIT_DONE
from medseg.cli.options import add_data, add_weights, use_data

if TYPE_CHECKING:
    from medseg.similarity.search import SimilarCases

HELP = "the cases of an index that are most like an image"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "image", metavar="IMAGE", help="image or volume file; a DICOM study as a folder or zip"
    )
    command.add_argument("--index", required=True, metavar="INDEX", help="folder that `medseg index` wrote")
    command.add_argument("-k", type=int, default=10, metavar="N", help="how many cases (default: 10)")
    command.add_argument(
        "--exact",
        action="store_true",
        help="compare with every case, instead of with the candidates of locality-sensitive hashing",
    )
    command.add_argument(
        "-o", "--output", metavar="OUT", help="folder for report.html, with pictures, and similar.json"
    )
    command.add_argument("--json", action="store_true", help="print the answer as JSON")
    command.add_argument(
        "--task", metavar="BUNDLE", help="the bundle, by its path, where it is not one of `medseg info`"
    )
    add_weights(command)
    add_data(command)


def run(options: argparse.Namespace) -> int:
    use_data(options)

    from medseg.cli.terminal import strict_json
    from medseg.io import find_inputs
    from medseg.similarity.results import record_of, save_similar
    from medseg.similarity.search import Finder, require_count, require_one

    require_count(options.k)
    source = require_one(find_inputs([options.image]))
    finder = Finder(options.index, task=options.task, weights=options.weights, weights_fold=options.fold)
    found = finder(source, options.k, exact=options.exact)
    if options.output:
        about = finder.describer
        folder = save_similar(found, source, options.output, about.window, about.modality)
    print(strict_json(record_of(found)) if options.json else _table(found))
    if options.output and not options.json:
        print(folder)
    return EXIT_DONE


def _table(found: SimilarCases) -> str:
    from medseg.console import table, terminal_width

    rows = [
        (
            *(str(each.rank), f"{each.distance:.3f}", each.case.name, each.case.data_set),
            ", ".join(each.case.groups.values()),
        )
        for each in found.neighbours
    ]
    header = ("rank", "distance", "case", "data set", "groups")
    lines = table(rows, header, ("rank", "distance"), terminal_width()) if rows else "no other case"
    return "\n".join([lines, *found.notes])
