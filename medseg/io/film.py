"""Films: ultrasound DICOM of several frames, a folder of pictures, and TIFF or GIF of several pages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import UnreadableError, UnsuitableError
from medseg.io import dicom, itk_image, nifti, raster
from medseg.io.dicom import ultrasound
from medseg.io.dicom.files import opened

VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".wmv", ".m4v", ".mpg", ".mpeg")
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue, ITU-R BT.601


@dataclass(frozen=True, eq=False)
class Film:
    """Frames of one size, one after the other in time.

    Attributes:
        frames: (frame, row, column) grey values, in the data type of the file.
        source: the path of the file or the folder.
        pixel_spacing_mm: (row, column) size of a pixel in mm; None when unknown.
        frame_ms: the time from one frame to the next in ms; None when unknown.
        warnings: what the reader noticed and the user should know.
    """

    frames: np.ndarray
    source: str = ""
    pixel_spacing_mm: tuple[float, float] | None = None
    frame_ms: float | None = None
    warnings: tuple[str, ...] = ()


def is_film(source: str | Path) -> bool:
    """Whether a path is read as a film: pictures or ultrasound, not a volume. It may be a still."""
    path = Path(source)
    if os.path.isdir(path):
        return bool(dicom.pictures_in(path)) or not dicom.holds_dicom(path)
    if os.path.isfile(path) and dicom.is_dicom(path):
        return dicom.is_picture(path)
    return not path.name.lower().endswith((*nifti.SUFFIXES, *itk_image.SUFFIXES, ".zip"))


def read_film(source: str | Path) -> Film:
    """Read a film; colours become grey.

    Args:
        source: an ultrasound DICOM file; a folder with one, or with pictures, whose order is that of their
            names, numbers in them by their value; a TIFF, GIF or other file of several pages.

    Raises:
        UnreadableError: there is nothing to read, a frame is damaged, or the file is a video.
        UnsuitableError: there are fewer than two frames, or their sizes differ.
    """
    path = Path(source)
    if os.path.isdir(path) and not dicom.holds_dicom(path):
        film = Film(_stacked(_pictures_in(path), path.name), str(path))
    elif os.path.isdir(path) or dicom.is_dicom(path):
        film = _read_ultrasound(path)
    elif path.name.lower().endswith(VIDEOS):
        raise UnreadableError(
            "frames as pictures or DICOM",
            got=f"the video {path.name}",
            advice="Save its frames into an empty folder and name that: ffmpeg -i VIDEO FOLDER/%05d.png",
        )
    else:
        film = Film(_stacked(raster.read_pages(_existing(path)), path.name), str(path))
    if len(film.frames) < 2:
        raise UnsuitableError(
            "a film of at least two frames",
            got=f"the still picture {path.name}",
            advice="Name the clip, or use `medseg segment` for a still.",
        )
    return film


def _existing(path: Path) -> Path:
    from medseg.io import require_file

    return require_file(path)


def _pictures_in(folder: Path) -> Iterable[np.ndarray]:
    files = sorted(
        (
            file
            for file in folder.iterdir()
            if file.is_file()
            and not file.name.startswith(".")
            and file.name.lower().endswith(raster.SUFFIXES)
        ),
        key=_order,
    )
    if not files:
        raise UnreadableError(
            f"the pictures of a film ({', '.join(raster.SUFFIXES[:2])}, ...)",
            got=f"none in {folder.name}",
            advice="Name the folder with the frames.",
        )
    return (raster.read(file).array for file in files)


def _order(file: Path) -> list[tuple[int, int | str]]:
    """By the parts of the name, numbers by their value: frame 2 comes before frame 10."""
    parts = re.split(r"(\d+)", file.name.casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _stacked(frames: Iterable[np.ndarray], name: str) -> np.ndarray:
    """(frame, row, column) grey of (1 or 3, row, column) each."""
    found: list[np.ndarray] = []
    for frame in frames:
        if found and (frame.shape[1:] != found[0].shape or frame.dtype != found[0].dtype):
            raise UnsuitableError(
                "frames of one size and one data type",
                got=f"{_said(frame[0])} in frame {len(found) + 1} and {_said(found[0])} before it in {name}",
                advice="Keep only the frames of one film in it.",
            )
        found.append(_grey(frame))
        nifti.require_size((len(found), *found[0].shape), name)
    return np.stack(found)


def _said(frame: np.ndarray) -> str:
    return f"{frame.shape[0]} x {frame.shape[1]} {frame.dtype}"


def _grey(frame: np.ndarray) -> np.ndarray:
    if len(frame) < 3:  # a second channel is transparency
        return frame[0]
    grey = np.tensordot(_LUMINANCE, frame.astype(np.float32), axes=1)
    return (grey.round() if frame.dtype.kind in "ui" else grey).astype(frame.dtype)


def _read_ultrasound(path: Path) -> Film:
    with opened(path) as found:
        files = ultrasound.pictures(found)
        if len(files) != 1:
            raise UnsuitableError(
                "one ultrasound film",
                got=f"{len(files) or 'none'} among {len(found.files)} DICOM files",
                advice="Name the file of one film.",
            )
        (file,) = files
        count, content = ultrasound.require_readable(file), file.load()
        frames = _stacked((ultrasound.decode(file, content, n) for n in range(count)), file.name)
    if ultrasound.is_inverted(file):
        frames = ultrasound.inverted(frames, file)
    spacing_mm, _, notes = ultrasound.calibration(file, frames.shape[1:])
    return Film(frames, str(path), spacing_mm, _frame_ms(file.header), tuple(notes))


def _frame_ms(header: Any) -> float | None:
    """From FrameTime (0018,1063) in ms, else from CineRate (0018,0040) in frames per second."""
    for keyword, scale in (("FrameTime", None), ("CineRate", 1000.0)):
        try:
            value = float(header.get(keyword) or 0)
        except (TypeError, ValueError):
            continue
        if value > 0:
            return value if scale is None else scale / value
    return None
