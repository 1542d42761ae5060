"""Pictures: PNG, JPEG, TIFF and what else Pillow decodes, 8 and 16 bit."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.errors import LabelError, UnreadableError
from medseg.io.atomic import atomic_path
from medseg.volume import Mask, Volume

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".tif", ".tiff", ".bmp", ".dib", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".webp", ".jp2", ".j2k", ".jpx"),
)

_EXIF_ORIENTATION = 274
_TURNED = "the picture's EXIF rotation was applied: the mask lies on the upright picture"
_ALPHA = "the picture's alpha channel was ignored"
_BLACK_IS_ZERO, _RGB, _PLANAR = 1, 2, 2  # TIFF 6.0: two photometric interpretations, one planar configuration
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
    # A copy: what Pillow hands out is read-only.
    array = np.array(np.moveaxis(pixels, -1, 0), order="C")
    return Volume(array, source=str(path), warnings=tuple(notes))


def read_mask(path: Path, labels: dict[int, str]) -> Mask:
    """Read a label picture, turned as its image is; see medseg.io.read_mask."""
    if _is_deep_png(path):
        raise LabelError(
            "a label picture with one channel",
            got=f"{path.name} with several of 16 bits",
            advice="Save the label as a grey picture whose pixel value is the label.",
        )
    # A palette's index is the label; its colours are for the eye.
    values = _read_tiff(path)[0] if _is_deep_tiff(path) else np.asarray(_decode(path)[0])
    if values.ndim == 3 and (values[..., 1:] == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim != 2:
        raise LabelError(
            "a label picture with one channel",
            got=f"{path.name} with {values.shape[-1]} different channels",
            advice="Save the label as a grey picture whose pixel value is the label.",
        )
    return Mask(check_labels(values, labels, path.name), labels, source=str(path))


def check_labels(values: np.ndarray, labels: dict[int, str], name: str) -> np.ndarray:
    """The label array as uint8 or uint16, once every value is known to `labels`.

    Raises:
        LabelError: a value that `labels` does not name, such as a fraction.
    """
    found = set(np.unique(values).tolist())
    if set(labels) == {0, 1} and found <= {0, 255}:
        values, found = values // 255, {0, 1}
    unknown = sorted(found - set(labels))
    if unknown:
        raise LabelError(
            f"label values {sorted(labels)}",
            got=f"{name} with {unknown[:5]}{' and more' if len(unknown) > 5 else ''}",
            advice="Correct the label file or the label map of the manifest.",
        )
    return values.astype(np.uint8 if max(labels) < 256 else np.uint16)


def compact(labels: np.ndarray) -> np.ndarray:
    """The labels as uint8, or as uint16 where they need it, as the writers store them.

    Raises:
        LabelError: a value that is in neither, which would turn into another label.
    """
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise LabelError(
            "labels from 0 to 65535", got=f"labels from {low} to {high}", advice="Number the labels anew."
        )
    return labels.astype(np.uint8 if high < 256 else np.uint16)


def write_mask(mask: Mask, path: Path) -> Path:
    """Write (row, column) labels as a grey PNG whose pixel value is the label."""
    from PIL import Image

    array = compact(mask.array)
    with atomic_path(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG")
    return path


def write_picture(pixels: np.ndarray, path: Path) -> Path:
    """Write (row, column, 3) uint8 colours as PNG."""
    from PIL import Image

    with atomic_path(path) as temporary:
        # Pillow's usual 6 takes two to four times as long for a tenth of the size.
        Image.fromarray(pixels).save(temporary, format="PNG", compress_level=3)
    return path


def encode_jpeg(pixels: np.ndarray, long_side: int) -> bytes:
    """(row, column, 3) uint8 colours as JPEG, made smaller until the long side is `long_side` px."""
    from PIL import Image

    small = Image.fromarray(pixels)
    small.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=90, subsampling=0)  # halved colour would smear thin contours
    return buffer.getvalue()


def _decode(path: Path) -> tuple[Image, bool]:
    """The whole picture, upright, and whether its EXIF entry turned it."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        # By file, not by path: Pillow maps a grey TIFF's path into memory and then turns it wrongly.
        with path.open("rb") as file:
            Image.open(file).verify()  # the checksums of a PNG, which decoding passes over
            file.seek(0)
            picture = Image.open(file)
            # A phone's MPO is a JPEG with previews behind it; the first picture is the photograph.
            pages = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
            turned = picture.getexif().get(_EXIF_ORIENTATION) in range(2, 9)
            upright = ImageOps.exif_transpose(picture)
    except UnidentifiedImageError as error:
        raise UnreadableError(
            "a picture (PNG, JPEG, TIFF) or a volume (DICOM, NIfTI, NRRD, MetaImage)",
            got=f"{path.name}, which is in no known format",
            advice="Export it in one of these formats.",
        ) from error
    except Exception as error:  # Pillow lets struct and type errors of damaged headers through
        raise _damaged(path, error) from error
    _require_one_page(path, pages)
    return upright, turned


def _require_one_page(path: Path, pages: int) -> None:
    if pages > 1:
        raise UnreadableError(
            "one picture", got=f"{path.name} with {pages} pages", advice="Save the page as a file of its own."
        )


def _damaged(path: Path, error: Exception) -> UnreadableError:
    return UnreadableError(
        "a whole picture in grey or RGB",
        got=f"{path.name}, which can't be decoded ({error})",
        advice="Copy it again from its source, or export it as PNG or as TIFF without compression.",
    )


def _read_with_pillow(path: Path) -> tuple[np.ndarray, list[str]]:
    picture, turned = _decode(path)
    notes = [_TURNED] if turned else []
    if _is_deep_png(path):
        notes.append("a 16-bit colour PNG was read at 8 bits a channel")
    if picture.has_transparency_data:
        notes.append(_ALPHA)
    try:
        return _pixels(picture), notes
    except ValueError as error:  # a colour space that Pillow decodes but can't convert
        raise _damaged(path, error) from error


def _pixels(picture: Image) -> np.ndarray:
    """(row, column, channel) with one or three channels."""
    if picture.mode in _DEEP_MODES:
        return np.asarray(picture)[..., None]
    if picture.mode in ("1", "L", "LA"):
        return np.asarray(picture.convert("L"))[..., None]
    return np.asarray(picture.convert("RGB"))


def _is_deep_png(path: Path) -> bool:
    """Whether it is a PNG of several channels of 16 bits, which Pillow reduces to 8 without a word."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 26 and head[24] == 16 and head[25] in (2, 4, 6)


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
    """(row, column, channel), upright and without alpha, and what the user should know of it."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            count, page = len(tiff.pages), tiff.pages.first
            pixels = _decode_page(page)
            orientation: Any = page.tags.get("Orientation")
    except Exception as error:  # tifffile lets struct, zlib and codec errors through
        raise _damaged(path, error) from error
    _require_one_page(path, count)
    notes = []
    if pixels.shape[-1] == (4 if page.photometric == _RGB else 2):
        pixels = pixels[..., :-1]
        notes.append(_ALPHA)
    if orientation and orientation.value in range(2, 9):
        pixels = _turned(pixels, orientation.value)
        notes.append(_TURNED)
    return pixels, notes


def _decode_page(page: Any) -> np.ndarray:
    """(row, column, channel) of a TIFF page; raises ValueError for what these axes and colours can't say."""
    from PIL import Image

    if page.photometric not in (_BLACK_IS_ZERO, _RGB) or page.imagedepth != 1 or page.dtype.kind not in "uif":
        raise ValueError("the pixels are neither grey values from black to white nor RGB")
    # Pillow's own limit: a damaged size must not fill the memory.
    if page.imagelength * page.imagewidth > 2 * (Image.MAX_IMAGE_PIXELS or np.inf):
        raise ValueError(f"{page.imagelength} x {page.imagewidth} pixels are too many")
    pixels = page.asarray()
    if pixels.ndim == 2:
        return pixels[..., None]
    return np.moveaxis(pixels, 0, -1) if page.planarconfig == _PLANAR else pixels


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels upright, by TIFF 6.0's tag 274."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
