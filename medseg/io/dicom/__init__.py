"""DICOM in: a study is found, its series are checked, and one is read as a volume.

    volume = read("study", "CT")
    print(to_table(inspect("study", "CT")))

The way: `files` finds DICOM by content, `slices` takes from a header what concerns a slice, `geometry` and
`steps` order slices and check their places, `stacks` and `series` group and choose, `decoding` and `pixels`
give values, `report` lists. `ultrasound` reads single pictures, when they are asked for. Masks go out by
`seg` and `rtstruct`.

What can't be read truly is refused with the slice, the tag and the step in mm. No message holds a name, an
identifier or any other text that a person typed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from medseg.errors import InputError
from medseg.io.dicom import ultrasound
from medseg.io.dicom.files import holds_dicom, is_dicom, opened, study_uid
from medseg.io.dicom.geometry import Grid
from medseg.io.dicom.pixels import read_pixels
from medseg.io.dicom.report import Series, describe_stacks, to_json, to_table
from medseg.io.dicom.series import choose
from medseg.io.dicom.stacks import Stack, stacks_of
from medseg.io.dicom.ultrasound import is_picture, pictures_in
from medseg.volume import Volume

__all__ = [
    "Series",
    "holds_dicom",
    "inspect",
    "is_dicom",
    "is_picture",
    "pictures_in",
    "read",
    "study_uid",
    "to_json",
    "to_table",
]

StudySource = str | Path | Sequence[str | Path]


def read(source: StudySource, modality: str | None = None) -> Volume:
    """Read the series of a study that suits segmentation best; medseg.io.dicom.series has the rule.

    Args:
        source: a folder (with folders in it), a zip archive, a file, or several files. Files are judged by
            what they hold; what is no DICOM or is damaged is passed over.
        modality: such as CT; None takes any of CT, MR and PT. US takes the one ultrasound picture, which
            medseg.io.dicom.ultrasound returns without affine.

    Returns:
        A Volume (1, i, j, k): i = column, j = row, k = slice, ascending along cross(row direction, column
        direction). CT is in Hounsfield units, at least -1024. int16 where slopes and intercepts are whole
        numbers, else float32. Its affine is sheared when the gantry was tilted.

    Raises:
        UnreadableError: nothing there, no DICOM, or pixel data that is truncated or can't be decoded.
        UnsuitableError: no series can be read truly; the message says why.
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
    """All series of a study, each with what it is, whether it can be read and, if not, why.

    Pixels are not looked at, so a series that is usable here may still turn out to be damaged.

    Args:
        source: as for `read`.
        modality: as for `read`.

    Raises:
        UnreadableError: nothing there, or no DICOM.
    """
    with opened(source) as found:
        if modality == ultrasound.MODALITY and ultrasound.pictures(found):
            return ultrasound.describe(found)
        stacks = stacks_of(found.files, modality)
        chosen: Stack | None = None
        with contextlib.suppress(InputError):  # each series has its own reason
            chosen = choose(stacks, found)
        return describe_stacks(stacks, chosen)


def _path(source: StudySource) -> str:
    """The path of the study; for several files the folder that they share."""
    if isinstance(source, (str, Path)):
        return str(source)
    return os.path.commonpath([Path(path).absolute().parent for path in source])
