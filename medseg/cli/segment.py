"""medseg segment"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.cli.exits import EXIT_ALL_REJECTED, EXIT_DONE, EXIT_SOME_REJECTED
from medseg.cli.options import add_method, add_set, overrides_of
from medseg.errors import error_text

if TYPE_CHECKING:
    from medseg.io import Input
    from medseg.pipeline import Segmenter

NAME = "segment"
HELP = "segment images: OUT/<case>/ gets mask, overlay, report, numbers"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("task", help="for example retinal_vessel; `medseg info` lists all")
    command.add_argument(
        "input", nargs="+", help="files, folders or patterns; a DICOM study as folder, zip archive or files"
    )
    command.add_argument("-o", "--output", required=True, metavar="OUT", help="folder for the results")
    command.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    command.add_argument(
        "--pixel-spacing-mm",
        type=_positive,
        metavar="MM",
        help="size of a pixel; without it lengths are in px",
    )
    add_method(command)
    _add_weights(command)
    command.add_argument("--mode", default="semantic", help="semantic, or instance: a number a piece")
    command.add_argument(
        "--formats",
        type=lambda text: text.split(","),
        default=(),
        metavar="A,B",
        help="nifti, nrrd, dicom-seg, rtstruct, mesh, png, html (default: nifti for volumes, png, html)",
    )
    add_set(command)


def run(options: argparse.Namespace) -> int:
    from medseg.deferred import import_monai
    from medseg.formats import check_formats
    from medseg.io import case_names, search_inputs
    from medseg.io.atomic import require_folder

    check_formats(options.formats)
    found = search_inputs(options.input)
    inputs = found.inputs
    overrides = overrides_of(options.set)
    names = case_names(inputs).values()
    for name in names:
        require_folder(Path(options.output, name))
    if import_monai():
        gc.freeze()  # what was imported is no garbage: it isn't searched for any again
    from tqdm import tqdm

    from medseg.pipeline import Segmenter

    segmenter = Segmenter(
        options.task, options.device, overrides, options.method, options.mode, options.weights, options.fold
    )
    rejected, asked_for = len(found.empty), len(found.empty) + len(inputs)
    for source, name in tqdm(zip(inputs, names, strict=True), unit="case", disable=len(inputs) == 1 or None):
        rejected += not _segment_one(segmenter, source, Path(options.output, name), options)
    if rejected:
        print(f"medseg: {rejected} of {asked_for} rejected", file=sys.stderr)
        return EXIT_ALL_REJECTED if rejected == asked_for else EXIT_SOME_REJECTED
    return EXIT_DONE


def _segment_one(segmenter: Segmenter, source: Input, directory: Path, options: argparse.Namespace) -> bool:
    """Segment and save one case, and say how it went; whether there is a result."""
    from tqdm import tqdm

    from medseg.pipeline import shown

    spacing = (options.pixel_spacing_mm,) * 2 if options.pixel_spacing_mm else None
    try:
        result = segmenter(source, spacing)
        result.save(directory, options.formats)
    except OSError:
        raise  # a full or broken disk: the next case would fail too
    except Exception as error:
        is_whole = (directory / "measurements.json").exists()
        earlier = " An earlier result in its folder was left as it was." if is_whole else ""
        tqdm.write(f"{shown(source)}: {error_text(error)}{earlier}", file=sys.stderr)
        return False
    for warning in result.warnings:
        tqdm.write(f"{shown(source)}: warning: {warning}", file=sys.stderr)
    tqdm.write(str(directory))
    return True


def _add_weights(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--weights", metavar="FILE", help="other than the method's own, or the folder of a cross-validation"
    )
    command.add_argument(
        "--fold", type=int, metavar="K", help="one network of it, from 0 (default: their mean)"
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number of mm; got {text}")
    return value
