"""medseg propagate"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from medseg.cli.exits import EXIT_DONE
from medseg.cli.options import add_method
from medseg.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from medseg.io.film import Film
    from medseg.outputs import SegmentationResult
    from medseg.propagation import Track

HELP = "carry an object that is drawn on one slice through a volume, or from one frame through a film"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "input",
        metavar="INPUT",
        help="a volume (DICOM folder, zip or file, NIfTI, NRRD, MetaImage), or a film: an ultrasound DICOM "
        "file, a folder with its frames as pictures, a TIFF or GIF of several pages",
    )
    command.add_argument(
        "--mask",
        metavar="FILE",
        help="the object as it is drawn: of a volume a NIfTI, NRRD or MetaImage file on its grid, of a film "
        "a picture of one frame's size",
    )
    command.add_argument("-o", "--output", required=True, metavar="OUT", help="folder for the result")
    command.add_argument(
        "--axis",
        metavar="NAME",
        help="volumes: the slices on which it is drawn, axial, coronal or sagittal (default: where "
        "it fills the fewest)",
    )
    command.add_argument(
        "--frame", type=int, metavar="N", help="films: the number of the frame on which it is drawn, from 1"
    )
    command.add_argument(
        "--task",
        metavar="TASK",
        help="films: find the object on that frame by a task, such as breast_ultrasound, instead of --mask",
    )
    add_method(command)
    command.add_argument(
        "--reach",
        type=float,
        metavar="R",
        help="how far it is carried at most: mm in a volume, frames in a film (default: until it vanishes)",
    )
    command.add_argument(
        "--pixel-spacing-mm",
        type=float,
        metavar="MM",
        help="films: size of a pixel, where the file does not tell it; without it lengths are in px",
    )
    command.add_argument(
        "--no-refine",
        action="store_true",
        help="move the outline by the flow alone, not to where the values change",
    )


def run(options: argparse.Namespace) -> int:
    from medseg.io.atomic import require_folder
    from medseg.io.film import is_film

    require_folder(options.output)
    film = is_film(options.input)
    _check(options, film)
    result = _of_film(options) if film else _of_volume(options)
    result.save(options.output)
    for warning in result.warnings:
        print(f"{options.input}: warning: {warning}", file=sys.stderr)
    print(options.output)
    return EXIT_DONE


def _check(options: argparse.Namespace, film: bool) -> None:
    """Refuse options that do not belong together, before anything is read."""
    foreign = (
        {"axis": options.axis}
        if film
        else {
            "frame": options.frame,
            "task": options.task,
            "pixel-spacing-mm": options.pixel_spacing_mm,
        }
    )
    given = [f"--{name}" for name, value in foreign.items() if value is not None]
    if given:
        raise UsageError(
            f"options of a {'film' if film else 'volume'}",
            got=f"{', '.join(given)} for a {'film' if film else 'volume'}",
            advice="Leave them out.",
        )
    if (options.mask is None) == (options.task is None):
        raise UsageError(
            "--mask FILE" + (" or --task TASK" if film else ""),
            got="both" if options.mask else "none",
            advice="Name the mask of the object.",
        )
    if options.method and not options.task:
        raise UsageError("--method with --task", got="--method alone", advice="Leave it out.")
    if film and options.frame is None:
        raise UsageError("--frame N", got="none", advice="Name the frame on which the object is drawn.")
    if options.pixel_spacing_mm is not None and not 0 < options.pixel_spacing_mm < float("inf"):
        raise UsageError(
            "a positive number of mm",
            got=f"{options.pixel_spacing_mm:g}",
            advice="Correct --pixel-spacing-mm.",
        )


def _of_volume(options: argparse.Namespace) -> SegmentationResult:
    from medseg.propagation import propagate

    return propagate(options.input, options.mask, options.axis, options.reach, not options.no_refine)


def _of_film(options: argparse.Namespace) -> Track:
    from medseg.io.film import read_film
    from medseg.propagation import track

    film = read_film(options.input)
    spacing = (options.pixel_spacing_mm,) * 2 if options.pixel_spacing_mm else None
    mask = options.mask if options.mask is not None else _found(film, options)
    return track(film, mask, options.frame, options.reach, spacing, not options.no_refine)


def _found(film: Film, options: argparse.Namespace) -> np.ndarray:
    """The largest object that a task finds on the frame."""
    from medseg.errors import UnsuitableError
    from medseg.instances import numbered
    from medseg.pipeline import segment
    from medseg.propagation import frame_index
    from medseg.volume import Volume

    frame = film.frames[frame_index(film, options.frame)]
    picture = Volume(frame[None], source=film.source, pixel_spacing_mm=film.pixel_spacing_mm)
    result = segment(picture, options.task, method=options.method)
    numbers = numbered(result.mask.array > 0)
    if not numbers.any():
        raise UnsuitableError(
            f"an object that {options.task} finds on frame {options.frame}",
            got="none",
            advice="Name another frame, or draw the object and name its mask.",
        )
    if (others := int(numbers.max()) - 1) > 0:
        print(
            f"{options.input}: warning: the largest object is tracked, {others} more are not", file=sys.stderr
        )
    return numbers == 1
