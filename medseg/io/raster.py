"""Pictures: PNG, JPEG, TIFF and what else Pillow decodes, 8 and 16 bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.errors import LabelError, UnreadableError
from medseg.io.atomic import atomic_path
from medseg.volume import Mask, Volume

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".webp", ".jp2")

_EXIF_ORIENTATION = 274
_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I", "F")


def read(path: Path) -> Volume:
    """Read a picture upright, as a viewer shows it.

    Palettes become colours, an alpha channel is dropped and an EXIF rotation is applied; the last
    two leave a warning, because the mask then lies on the upright, opaque picture.

    Returns:
        A Volume of (1, row, column) or (3, row, column), uint8, uint16 or wider as in the file.

    Raises:
        UnreadableError: no picture, a truncated one, or one of several pages.
    """
    if _is_deep_tiff(path):
        pixels, notes = _read_tiff(path)
    else:
        pixels, notes = _read_with_pillow(path)
    return Volume(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)), source=str(path), warnings=tuple(notes))


def read_mask(path: Path, labels: dict[int, str]) -> Mask:
    """Read a label picture; see medseg.io.read_mask."""
    with _opened(path) as picture:
        _decode(picture, path)
        # A palette's index is the label; its colours are for the eye.
        values = np.asarray(picture)
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim != 2:
        raise LabelError(
            "a label picture with one channel",
            came=f"{path.name} with {values.shape[-1]} different channels",
            do="Save the label as a grey picture whose pixel value is the label.",
        )
    return Mask(check_labels(values.astype(np.int64), labels, path.name), labels, source=str(path))


def check_labels(values: np.ndarray, labels: dict[int, str], name: str) -> np.ndarray:
    """The label array as uint8 or uint16, once every value is known to `labels`.

    Raises:
        LabelError: a value that `labels` does not name.
    """
    found = {int(v) for v in np.unique(values)}
    if set(labels) == {0, 1} and found <= {0, 255} and found != {0}:
        values, found = values // 255, {0, 1}
    unknown = sorted(found - set(labels))
    if unknown:
        raise LabelError(
            f"label values {sorted(labels)}",
            came=f"{name} with {unknown[:5]}{' and more' if len(unknown) > 5 else ''}",
            do="Correct the label file or the label map of the manifest.",
        )
    return values.astype(np.uint8 if max(labels) < 256 else np.uint16)


def write_mask(mask: Mask, path: Path) -> Path:
    """Write (row, column) labels as a grey PNG whose pixel value is the label."""
    from PIL import Image

    array = mask.array.astype(np.uint8 if mask.array.max(initial=0) < 256 else np.uint16)
    with atomic_path(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG")
    return path


def write_picture(pixels: np.ndarray, path: Path) -> Path:
    """Write (row, column, 3) uint8 colours as PNG."""
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
    return path


def _opened(path: Path) -> Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(path)
    except UnidentifiedImageError as error:
        raise UnreadableError(
            "a picture (PNG, JPEG, TIFF)",
            came=f"{path.name}, which is in no known picture format",
            do="Export it as PNG, JPEG or TIFF.",
        ) from error
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise _damaged(path, error) from error


def _decode(picture: Image, path: Path) -> None:
    """Decode the pixels now, so that a damaged file fails here and with a name."""
    if getattr(picture, "n_frames", 1) > 1:
        raise UnreadableError(
            "one picture",
            came=f"{path.name} with {picture.n_frames} pages",
            do="Save the page as a file of its own.",
        )
    try:
        picture.load()
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UnreadableError:
    return UnreadableError(
        "a whole picture",
        came=f"{path.name}, which can't be decoded ({error})",
        do="Copy it again from its source.",
    )


def _read_with_pillow(path: Path) -> tuple[np.ndarray, list[str]]:
    from PIL import ImageOps

    notes: list[str] = []
    with _opened(path) as picture:
        _decode(picture, path)
        if picture.getexif().get(_EXIF_ORIENTATION, 1) != 1:
            notes.append("the picture's EXIF rotation was applied: the mask lies on the upright picture")
        if _is_deep_png(path):
            notes.append("a 16-bit colour PNG was read at 8 bits a channel")
        upright = ImageOps.exif_transpose(picture)
        if upright.has_transparency_data:
            notes.append("the picture's alpha channel was ignored")
        return _pixels(upright), notes


def _pixels(picture: Image) -> np.ndarray:
    """(row, column, channel) with one or three channels."""
    if picture.mode in _DEEP_MODES:
        return np.asarray(picture)[..., None]
    if picture.mode in ("1", "L", "LA", "La"):
        return np.asarray(picture.convert("L"))[..., None]
    return np.asarray(picture.convert("RGB"))


def _is_deep_png(path: Path) -> bool:
    """Whether it is a colour PNG of 16 bits, which Pillow reduces to 8 without a word."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 26 and head[24] == 16 and head[25] in (2, 6)


def _is_deep_tiff(path: Path) -> bool:
    """Whether it is a TIFF of more than 8 bits, whose colours Pillow can't read."""
    import tifffile

    with path.open("rb") as file:
        if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return False
    try:
        with tifffile.TiffFile(path) as tiff:
            return bool(tiff.pages.first.bitspersample > 8)
    except Exception as error:
        raise _damaged(path, error) from error


def _read_tiff(path: Path) -> tuple[np.ndarray, list[str]]:
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            count, page = len(tiff.pages), tiff.pages.first
            pixels = page.asarray()
            planar = page.planarconfig == 2
            orientation: Any = page.tags.get("Orientation")
    except Exception as error:  # tifffile lets struct, zlib and codec errors through
        raise _damaged(path, error) from error
    if count > 1:
        raise UnreadableError(
            "one picture", came=f"{path.name} with {count} pages", do="Save the page as a file of its own."
        )
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    elif planar:
        pixels = np.moveaxis(pixels, 0, -1)
    return _upright_tiff(pixels, int(orientation.value) if orientation else 1)


def _upright_tiff(pixels: np.ndarray, orientation: int) -> tuple[np.ndarray, list[str]]:
    """Apply TIFF 6.0's tag 274 and drop an alpha channel."""
    notes = []
    if pixels.shape[-1] in (2, 4):
        pixels = pixels[..., :-1]
        notes.append("the picture's alpha channel was ignored")
    if orientation in range(2, 9):
        if orientation >= 5:
            pixels = pixels.transpose(1, 0, 2)
        if orientation in (3, 4, 7, 8):
            pixels = pixels[::-1]
        if orientation in (2, 3, 6, 7):
            pixels = pixels[:, ::-1]
        notes.append("the picture's EXIF rotation was applied: the mask lies on the upright picture")
    return pixels, notes
