"""medseg segment"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from medseg.cli.exits import EXIT_ALL_REJECTED, EXIT_DONE, EXIT_SOME_REJECTED
from medseg.cli.options import (
    add_device,
    add_formats,
    add_method,
    add_mode,
    add_pixel_spacing,
    add_set,
    add_task,
    add_weights,
    overrides_of,
)
from medseg.errors import UsageError, error_text

if TYPE_CHECKING:
    from pathlib import Path

    from medseg.io import Input
    from medseg.pipeline import Segmenter

HELP = "segment images; each gets a folder OUT/<case>/ with mask, overlay, measurements and report"


def add(command: argparse.ArgumentParser) -> None:
    add_task(command)
    command.add_argument(
        "input",
        nargs="+",
        metavar="INPUT",
        help="image or volume file, folder or pattern such as 'images/*.png'; "
        "a DICOM study as a folder, a zip archive or files",
    )
    command.add_argument("-o", "--output", required=True, metavar="OUT", help="folder for the results")
    add_device(command)
    add_pixel_spacing(command)
    add_method(command)
    add_weights(command)
    add_mode(command)
    command.add_argument(
        "--seed-px",
        nargs=2,
        type=float,
        metavar=("ROW", "COLUMN"),
        help="with --mode object: a place in the object, in pixels of a picture, from 0",
    )
    command.add_argument(
        "--seed-mm",
        nargs=3,
        type=float,
        metavar=("X", "Y", "Z"),
        help="with --mode object: a place in the object of a volume, in mm towards the patient's right, "
        "front and head (RAS+), as in NIfTI",
    )
    add_formats(command)
    add_set(command)


def run(options: argparse.Namespace) -> int:
    import gc
    from pathlib import Path

    from medseg.console import progress_bar
    from medseg.deferred import import_monai
    from medseg.formats import check_formats
    from medseg.io import case_names, search_inputs
    from medseg.io.atomic import require_folder
    from medseg.modes import check_mode, seed_of

    check_mode(options.mode)
    check_formats(options.formats)
    found = search_inputs(options.input)
    inputs = found.inputs
    if seed_of(options.mode, options.seed_px, options.seed_mm) and len(inputs) > 1:
        raise UsageError("one image with a seed", got=f"{len(inputs)}", advice="Segment one after the other.")
    overrides = overrides_of(options.set)
    names = case_names(inputs).values()
    for name in names:
        require_folder(Path(options.output, name))
    if import_monai():
        gc.freeze()  # what was imported is no garbage: it isn't searched for any again

    from medseg.pipeline import Segmenter

    segmenter = Segmenter(
        options.task, options.device, overrides, options.method, options.mode, options.weights, options.fold
    )
    rejected, asked_for = len(found.empty), len(found.empty) + len(inputs)
    with progress_bar("segmenting", "cases", len(inputs), disable=len(inputs) == 1) as advance:
        for source, name in zip(inputs, names, strict=True):
            rejected += not _segment_one(segmenter, source, Path(options.output, name), options)
            advance()
    if rejected:
        print(f"medseg: {rejected} of {asked_for} rejected", file=sys.stderr)
        return EXIT_ALL_REJECTED if rejected == asked_for else EXIT_SOME_REJECTED
    return EXIT_DONE


def _segment_one(segmenter: Segmenter, source: Input, directory: Path, options: argparse.Namespace) -> bool:
    """Segment and save one case, and say how it went; whether there is a result."""
    from medseg.io import shown
    from medseg.outputs import require_unreviewed
    from medseg.sources import remember

    spacing = (options.pixel_spacing_mm,) * 2 if options.pixel_spacing_mm else None
    try:
        require_unreviewed(directory)  # saving refuses it too, but only after minutes of work
        result = segmenter(source, spacing, options.seed_px, options.seed_mm)
        result.save(directory, options.formats, options.even_rejected)
        remember(directory.parent, directory.name, source, options.formats)
    except OSError:
        raise  # a full or broken disk: the next case would fail too
    except Exception as error:
        is_whole = (directory / "measurements.json").exists()
        earlier = " An earlier result in its folder was left as it was." if is_whole else ""
        print(f"{shown(source)}: {error_text(error)}{earlier}", file=sys.stderr)
        return False
    for warning in result.warnings:
        print(f"{shown(source)}: warning: {warning}", file=sys.stderr)
    print(directory)
    return True
