"""An object that is drawn on one slice or frame, carried through a volume or tracked through a film."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg import __version__
from medseg.case import Case
from medseg.errors import UnsuitableError, UsageError, did_you_mean
from medseg.io import case_name, read_volume
from medseg.io.atomic import atomic_files, atomic_path
from medseg.io.film import Film, read_film
from medseg.io.raster import write_pages, write_picture
from medseg.measurements.motion import measure_motion, path_of
from medseg.measurements.volumes import measure_volumes
from medseg.outputs import SegmentationResult
from medseg.provenance import input_sha256
from medseg.quality.drawing import mask_of, require_contrast, require_finite, require_one_object
from medseg.quality.ranges import judge
from medseg.reports import write_record
from medseg.reports.film import film_strip, write_film_page
from medseg.reports.seal import digests_of_files
from medseg.stamp import new_stamp
from medseg.volume import Mask, Volume, nearest_axes

if TYPE_CHECKING:
    from medseg.methods.optical_flow import Drawn

LABELS = {0: "background", 1: "object"}
# In the order of nearest_axes: the patient's axis along which the slices follow each other.
AXES = ("sagittal", "coronal", "axial")
METHOD = "optical_flow"
_RECORD = "measurements.json"
_INDISTINCT = (
    "the values of the object hardly differ from those of its surroundings: it was moved by the flow alone, "
    "and may be carried further than it reaches"
)


@dataclass(frozen=True, eq=False)
class Track:
    """An object that was tracked through a film.

    Attributes:
        film: the film.
        masks: (frame, row, column) uint8, 1 for the object; 0 where it is not.
        drawn: index of the frame on which it was drawn.
        path: one row for each frame; see medseg.measurements.motion.path_of.
        measurements: name to {"value", "unit"}, and "reason" if the value is None.
        warnings: sentences; empty if there are none.
        provenance: method, versions, input.
    """

    film: Film
    masks: np.ndarray
    drawn: int
    path: list[dict[str, Any]]
    measurements: dict[str, dict[str, Any]]
    warnings: list[str]
    provenance: dict[str, Any]

    def save(self, directory: str | Path) -> Path:
        """Write segmentation.tif, path.csv, overlay.png, report.html and measurements.json.

        segmentation.tif has a page for each frame, 1 for the object.

        If anything fails, the directory stays as it was.

        Args:
            directory: created if it is missing; an earlier track in it is replaced.

        Returns:
            The directory.

        Raises:
            OSError: the files can't be written; nothing was written.
        """
        directory = Path(directory)
        shared: dict[str, Any] = {
            "measurements": self.measurements,
            "quality": judge(self.warnings),
            "warnings": self.warnings,
            "provenance": self.provenance,
        }
        stamp = new_stamp(self.provenance)
        with atomic_files(directory, [], last=_RECORD) as stage:
            write_pages(self.masks, stage / "segmentation.tif", stamp)
            _write_path(self.path, stage / "path.csv")
            write_picture(film_strip(self.film, self.masks, self.drawn), stage / "overlay.png", stamp)
            write_film_page(
                stage / "report.html",
                film=self.film,
                masks=self.masks,
                drawn=self.drawn,
                path_rows=self.path,
                stamp=stamp,
                **shared,
            )
            about = {
                "task": self.provenance["task"],
                "stamp": stamp,
                "files": digests_of_files(stage.iterdir()),
            }
            write_record(stage / _RECORD, labels=LABELS, **about, **shared)
        return directory


def propagate(
    source: str | Path | Volume,
    mask: str | Path | Mask | np.ndarray,
    axis: str | None = None,
    reach_mm: float | None = None,
    refine: bool = True,
) -> SegmentationResult:
    """Carry an object that is drawn on one slice of a volume, or on several, through the neighbouring slices.

    It is carried slice by slice in both directions, until it has vanished: its area is under a twentieth of
    the drawn one, or most of the values inside are nearer to those of its surroundings. Between two drawn
    slices it is the mean of both directions, and never ends.

    Args:
        source: a volume file; for DICOM also a folder or a zip archive. Or a Volume.
        mask: on the volume's grid, with one object on one slice or several, one value above 0. A file, a
            Mask, or an array (i, j, k).
        axis: axial, coronal or sagittal: the slices on which it is drawn. None takes the axis on which it
            fills the fewest slices.
        reach_mm: how far from a drawn slice it is carried at most; None for no limit.
        refine: whether the outline moves to where the values change, after each step.

    Returns:
        The mask on the volume's grid, 1 for the object, with its volume and how far it reaches.

    Raises:
        UsageError: an unknown axis, a reach that is no positive number, or an axis that can't be told.
        UnsuitableError: an empty mask, several objects, or another grid.
        InputError: the volume can't be read, has values that are not finite, or is constant where it is
            drawn.
    """
    volume = source if isinstance(source, Volume) else read_volume(source)
    if volume.array.ndim != 4 or len(volume.array) != 1 or volume.affine is None:
        raise UnsuitableError(
            "a volume with one channel",
            got=f"shape {volume.array.shape}",
            advice="Track a film with `medseg.track`, or choose one channel.",
        )
    require_finite(volume.array)
    own = mask_of(mask, volume)
    along = _axis(axis, own, volume.affine)
    spacing = np.linalg.norm(volume.affine[:3, :3], axis=0)
    across = tuple(float(spacing[n]) for n in range(3) if n != along)
    slices, drawn_mask = np.moveaxis(volume.array[0], along, 0), np.moveaxis(own, along, 0)
    found, ends, is_distinct = _carried_through(
        slices, drawn_mask, (across[0], across[1]), _steps(reach_mm, float(spacing[along])), refine
    )
    array = np.ascontiguousarray(np.moveaxis(found, 0, along))
    result = Mask(array, LABELS, affine=volume.affine, source=volume.source, headers=volume.headers)
    there = np.flatnonzero(found.any(axis=(1, 2)))
    drawn_slices = [int(n) + 1 for n in np.flatnonzero(drawn_mask.any(axis=(1, 2)))]
    measurements = {
        **measure_volumes(Case(result, volume.array)),
        "object_slices": {"value": len(there), "unit": "count"},
        "object_extent_mm": {
            "value": float((there[-1] - there[0] + 1) * spacing[along]),
            "unit": "mm",
        },
        "drawn_slices": {"value": drawn_slices, "unit": "1"},
        **_ends(ends, there, len(slices)),
    }
    warnings = [*volume.warnings, *([] if is_distinct else [_INDISTINCT])]
    about = _provenance("propagation", volume.source, volume.array, refine)
    return SegmentationResult(result, measurements, judge(warnings), warnings, about, volume.array)


def track(
    source: str | Path | Film,
    mask: str | Path | Mask | np.ndarray,
    frame: int,
    reach: int | None = None,
    pixel_spacing_mm: tuple[float, float] | None = None,
    refine: bool = True,
) -> Track:
    """Track an object that is drawn on one frame through the other frames of a film.

    Args:
        source: an ultrasound DICOM file, a folder with pictures in the order of their names, a TIFF or GIF of
            several pages; or a Film.
        mask: one object on that frame, one value above 0. A picture file, a Mask, or an array (row, column).
        frame: the number of the frame, from 1.
        reach: how many frames it is tracked at most in either direction; None for no limit.
        pixel_spacing_mm: (row, column) size of a pixel; None takes the file's, where it has one.
        refine: as for propagate.

    Raises:
        UsageError: a frame that the film does not have, or a reach that is no positive number.
        UnsuitableError: an empty mask, several objects, or another size.
        InputError: the film can't be read, or is a still picture, or the frame is constant.
    """
    film = source if isinstance(source, Film) else read_film(source)
    number = frame_index(film, frame)
    require_finite(film.frames)
    own = mask_of(mask, Volume(film.frames[number][None]))
    drawn_mask = np.zeros(film.frames.shape, bool)
    drawn_mask[number] = own
    spacing_mm = pixel_spacing_mm or film.pixel_spacing_mm
    masks, ends, is_distinct = _carried_through(
        film.frames, drawn_mask, spacing_mm or (1.0, 1.0), _steps(reach, 1.0), refine
    )
    path = path_of(masks > 0, number, spacing_mm, film.frame_ms)
    there = np.flatnonzero(masks.any(axis=(1, 2)))
    measurements = {**measure_motion(path, number), **_ends(ends, there, len(masks), "frame")}
    warnings = [*film.warnings, *([] if is_distinct else [_INDISTINCT])]
    about = _provenance("tracking", film.source, film.frames, refine)
    return Track(film, masks, number, path, measurements, warnings, about)


def frame_index(film: Film, frame: int) -> int:
    """The index of a frame by its number from 1.

    Raises:
        UsageError: the film has no such frame.
    """
    if not 1 <= frame <= len(film.frames):
        raise UsageError(
            f"a frame from 1 to {len(film.frames)}",
            got=str(frame),
            advice="Name the frame on which the object is drawn.",
        )
    return frame - 1


def _carried_through(
    slices: np.ndarray, drawn_mask: np.ndarray, pixel: tuple[float, float], steps: int | None, refine: bool
) -> tuple[np.ndarray, tuple[str, str], bool]:
    """The object on all slices, why it ended before and after, and whether its values are distinct.

    Args:
        slices: (slice, row, column).
        drawn_mask: the same shape, bool.
        pixel: (row, column) size of a pixel.
        steps: the most slices from a drawn one; None for all.
    """
    from medseg.methods.optical_flow import drawn, follow

    if len(slices) < 2:
        raise UnsuitableError(
            "at least two slices along the axis",
            got=f"{len(slices)}",
            advice="Name the axis across which there are more.",
        )
    numbers = np.flatnonzero(drawn_mask.any(axis=(1, 2))).tolist()
    starts: dict[int, Drawn] = {}
    for number in numbers:
        require_one_object(drawn_mask[number], number)
        require_contrast(slices[number], number)
        starts[number] = drawn(slices[number], drawn_mask[number], pixel)
    found = drawn_mask.astype(np.uint8)
    first, last = numbers[0], numbers[-1]
    ends = []
    for start, way in ((first, range(first - 1, -1, -1)), (last, range(last + 1, len(slices)))):
        within = list(way)[:steps]
        levels, reason = follow(starts[start], (slices[n] for n in within), refine=refine)
        for n, level in zip(within, levels, strict=False):
            found[n] = level > 0
        ends.append(reason)
    for low, high in itertools.pairwise(numbers):
        _fill_between(slices, found, (low, high), starts, refine)
    return found, (ends[0], ends[1]), all(start.is_distinct for start in starts.values())


def _fill_between(
    slices: np.ndarray,
    found: np.ndarray,
    ends: tuple[int, int],
    starts: dict[int, Drawn],
    refine: bool,
) -> None:
    """The slices between two drawn ones: both are carried, and the nearer one weighs more."""
    from medseg.methods.optical_flow import follow

    low, high = ends
    between = list(range(low + 1, high))
    upwards, _ = follow(starts[low], (slices[n] for n in between), refine=refine, stop=False)
    downwards, _ = follow(starts[high], (slices[n] for n in reversed(between)), refine=refine, stop=False)
    for n, up, down in zip(between, upwards, reversed(downwards), strict=True):
        share = (n - low) / (high - low)
        found[n] = (1 - share) * up + share * down > 0


def _axis(name: str | None, mask: np.ndarray, affine: np.ndarray) -> int:
    """The array axis along which the slices with the drawing follow each other."""
    axes, _ = nearest_axes(affine)
    if name is not None:
        if name not in AXES:
            raise UsageError(
                f"one of the axes {', '.join(AXES)}", got=name or "nothing", advice=did_you_mean(name, AXES)
            )
        return axes[AXES.index(name)]
    counts = [int(mask.any(axis=tuple({0, 1, 2} - {n})).sum()) for n in range(3)]
    fewest = [n for n in range(3) if counts[n] == min(counts)]
    if len(fewest) > 1:
        names = " or ".join(AXES[axes.index(n)] for n in fewest)
        raise UsageError(
            "the axis of the drawn slices",
            got=f"a mask that could be drawn on {names} slices",
            advice="Name it with --axis.",
        )
    return fewest[0]


def _steps(reach: float | None, step: float) -> int | None:
    if reach is None:
        return None
    if not 0 < reach < float("inf"):
        raise UsageError("a reach above 0", got=f"{reach:g}", advice="Leave it out for no limit.")
    return int(reach / step + 1e-6)


def _ends(
    reasons: tuple[str, str], there: np.ndarray, count: int, kind: str = "slice"
) -> dict[str, dict[str, Any]]:
    """Why the object ends, towards the first and towards the last slice or frame."""
    found = {}
    for name, reason, number, border in (
        ("first", reasons[0], int(there[0]), 0),
        ("last", reasons[1], int(there[-1]), count - 1),
    ):
        why = reason or (f"the {name} {kind}" if number == border else "the reach that was asked for")
        found[f"end_towards_{name}_{kind}"] = {"value": f"{kind} {number + 1}: {why}", "unit": "1"}
    return found


def _provenance(task: str, source: str, array: np.ndarray, refine: bool) -> dict[str, Any]:
    return {
        "task": task,
        "method": METHOD,
        "refined": refine,
        "algorithm_family": "deformable_models",
        "input": case_name(source) if source else "",
        "input_sha256": input_sha256(source, array),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"medseg": __version__},
    }


def _write_path(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """A line for each frame; cells of what is not known are empty."""
    with atomic_path(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()})
