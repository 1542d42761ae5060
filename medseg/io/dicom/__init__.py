"""Read a DICOM study: find its files, check its series, and read one of them as a volume.

    volume = read("study", "CT")
    print(to_table(inspect("study", "CT")))

`files` finds DICOM by content. `slices` reads the header of each slice. `geometry` and `steps` order the
slices and check their positions. `stacks` groups files and `series` chooses a group. `decoding` and `pixels`
give the values, `report` lists the series. `ultrasound` reads single pictures, for the modality US alone.
`seg` and `rtstruct` write masks.

A series that can't be read exactly is refused with the slice, the tag and the step in mm. No message contains
a name, an identifier or other text that a person typed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from medseg.errors import InputError
from medseg.io.dicom import ultrasound
from medseg.io.dicom.dicomdir import dicomdir_in, is_dicomdir, studies_on
from medseg.io.dicom.files import dicom_files, holds_dicom, is_dicom, opened, study_uid
from medseg.io.dicom.geometry import Grid
from medseg.io.dicom.multipart import saved_body
from medseg.io.dicom.pixels import read_pixels
from medseg.io.dicom.report import Series, describe_stacks, to_json, to_table
from medseg.io.dicom.series import choose
from medseg.io.dicom.stacks import Stack, stacks_of
from medseg.io.dicom.ultrasound import is_picture, pictures_among, pictures_in
from medseg.volume import Volume

__all__ = [
    "Series",
    "dicom_files",
    "dicomdir_in",
    "holds_dicom",
    "inspect",
    "is_dicom",
    "is_dicomdir",
    "is_picture",
    "pictures_among",
    "pictures_in",
    "read",
    "saved_body",
    "studies_on",
    "study_uid",
    "to_json",
    "to_table",
]

StudySource = str | Path | Sequence[str | Path]


def read(source: StudySource, modality: str | None = None) -> Volume:
    """Read the series of a study that suits segmentation best, by the rule in medseg.io.dicom.series.

    Args:
        source: a folder and its subfolders, a zip archive, a file, or several files. The content of a file
            decides, not its name; files that are damaged or not DICOM are skipped.
        modality: such as CT; None takes any of CT, MR and PT. US takes the only ultrasound picture, which
            medseg.io.dicom.ultrasound returns without an affine.

    Returns:
        A Volume (1, i, j, k): i = column, j = row, k = slice, ascending along cross(row direction, column
        direction). CT is in Hounsfield units, at least -1024. int16 where slopes and intercepts are whole
        numbers, else float32. The affine maps to RAS+ mm; it is sheared when the gantry was tilted.

    Raises:
        UnreadableError: the path does not exist or holds no DICOM, or pixel data is truncated or can't be
            decoded.
        UnsuitableError: no series can be read exactly; the message says why.
    """
    with opened(source) as found:
        if modality == ultrasound.MODALITY:
            return ultrasound.read(found, _path(source))
        stack = choose(stacks_of(found.files, modality), found)
        grid = cast(Grid, stack.grid)
        array, warnings = read_pixels(grid.slices, stack.modality)
    files = dict.fromkeys(s.file for s in grid.slices)
    return Volume(
        array.transpose(2, 1, 0)[None],
        affine=grid.affine,
        source=_path(source),
        headers=tuple(file.header for file in files),
        warnings=(*stack.notes, *grid.warnings, *warnings),
    )


def inspect(source: StudySource, modality: str | None = None) -> list[Series]:
    """All series of a study: their properties, whether each can be read and, if not, why.

    Most pixels are not decoded, so that a series that is usable here may still turn out to be damaged.

    Args:
        source: as for `read`.
        modality: as for `read`.

    Raises:
        UnreadableError: the path does not exist or holds no DICOM.
    """
    with opened(source) as found:
        if modality == ultrasound.MODALITY and ultrasound.pictures(found):
            return ultrasound.describe(found)
        stacks = stacks_of(found.files, modality)
        chosen: Stack | None = None
        with contextlib.suppress(InputError):  # the list gives the reason for each series
            chosen = choose(stacks, found)
        return describe_stacks(stacks, chosen)


def _path(source: StudySource) -> str:
    """The path of the study; for several files their common folder."""
    if isinstance(source, (str, Path)):
        return str(source)
    return os.path.commonpath([Path(path).absolute().parent for path in source])
