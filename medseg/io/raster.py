"""Pictures of 8 and 16 bits: PNG, JPEG, TIFF and other formats that Pillow decodes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.errors import LabelError, UnreadableError
from medseg.io.atomic import atomic_path
from medseg.stamp import KEY, Stamp
from medseg.volume import Mask, Volume

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.PngImagePlugin import PngInfo

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".tif", ".tiff", ".bmp", ".dib", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".webp", ".jp2", ".j2k", ".jpx"),
)

_EXIF_ORIENTATION = 274
_TURNED = "the picture's EXIF rotation was applied; the mask lies on the upright picture"
_ALPHA = "the picture's alpha channel was ignored"
_BLACK_IS_ZERO, _RGB, _PLANAR = 1, 2, 2  # TIFF 6.0: two photometric interpretations, one planar configuration
_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I", "F")


def read(path: Path) -> Volume:
    """Read a picture upright, as a viewer shows it.

    A palette is converted to colours, an alpha channel is dropped, and an EXIF rotation is applied. The last
    two add a warning, because the mask then lies on the upright, opaque picture.

    Returns:
        A Volume of (1, row, column) or (3, row, column), uint8, uint16 or wider as in the file.

    Raises:
        UnreadableError: the file is no picture, is truncated, or has several pages.
    """
    if _is_deep_tiff(path):
        pixels, notes = _read_tiff(path)
    else:
        pixels, notes = _read_with_pillow(path)
    # A copy: what Pillow hands out is read-only.
    array = np.array(np.moveaxis(pixels, -1, 0), order="C")
    return Volume(array, source=str(path), warnings=tuple(notes))


def read_mask(path: Path, labels: dict[int, str]) -> Mask:
    """Read a label picture, with its EXIF rotation applied as in `read`; see medseg.io.read_mask."""
    if _is_deep_png(path):
        raise LabelError(
            "a label picture with one channel",
            got=f"{path.name} with several channels of 16 bits",
            advice="Save the label as a grey picture whose pixel value is the label.",
        )
    # In a picture with a palette the index is the label.
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
    """Check that `labels` names every value, and convert the array to uint8 or uint16.

    Args:
        values: of any shape; 0 and 255 become 0 and 1 where `labels` has the keys 0 and 1 only.
        labels: value to name.
        name: of the file, for messages.

    Raises:
        LabelError: a value that `labels` does not name, such as a fraction.
    """
    found = set(np.unique(values.ravel("K")).tolist())  # in the order of the memory: quicker
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
    """The labels as uint8, or as uint16 where a value is above 255.

    Raises:
        LabelError: a value below 0 or above 65535, which would wrap around to another label.
    """
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise LabelError(
            "labels from 0 to 65535", got=f"labels from {low} to {high}", advice="Renumber the labels."
        )
    return labels.astype(np.uint8 if high < 256 else np.uint16)


def write_mask(mask: Mask, path: Path, stamp: Stamp | None = None) -> Path:
    """Write (row, column) labels as a grey PNG whose pixel value is the label."""
    from PIL import Image

    array = compact(mask.array)
    with atomic_path(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG", pnginfo=_texts(stamp))
    return path


def write_picture(pixels: np.ndarray, path: Path, stamp: Stamp | None = None) -> Path:
    """Write (row, column, 3) uint8 colours as PNG."""
    from PIL import Image

    with atomic_path(path) as temporary:
        # Pillow's default of 6 takes two to four times as long and saves a tenth of the size.
        picture = Image.fromarray(pixels)
        picture.save(temporary, format="PNG", compress_level=3, pnginfo=_texts(stamp))
    return path


def _texts(stamp: Stamp | None) -> PngInfo | None:
    """A stamp as a text chunk of a PNG."""
    from PIL.PngImagePlugin import PngInfo

    if stamp is None:
        return None
    texts = PngInfo()
    texts.add_text(KEY, stamp.text())
    return texts


def encode_jpeg(pixels: np.ndarray, long_side: int) -> bytes:
    """Encode (row, column, 3) uint8 colours as JPEG, its long side downscaled to at most `long_side` px."""
    from PIL import Image

    small = Image.fromarray(pixels)
    small.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=90, subsampling=0)  # chroma subsampling would blur thin contours
    return buffer.getvalue()


def small_jpeg(path: Path, long_side: int, quality: int = 90) -> bytes:
    """Read a picture of 8 bits and encode it as JPEG, its long side downscaled to at most `long_side` px.

    Args:
        path: the picture.
        long_side: in px.
        quality: of the JPEG; below 90 colours have half the resolution, which blurs thin contours.

    Raises:
        UnreadableError: the file is no picture, is truncated, or has several pages.
    """
    from PIL import Image

    small = _decode(path)[0].convert("RGB")
    small.thumbnail(
        (long_side, long_side), Image.Resampling.LANCZOS, reducing_gap=2.0
    )  # the gap is for speed
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=quality, subsampling=0 if quality >= 90 else 2)
    return buffer.getvalue()


def _decode(path: Path) -> tuple[Image, bool]:
    """The whole picture, upright, and whether its EXIF entry turned it."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        # Pillow memory-maps a grey TIFF that is opened by its path and then rotates it wrongly.
        with path.open("rb") as file:
            Image.open(file).verify()  # checks a PNG's checksums, which decoding ignores
            file.seek(0)
            picture = Image.open(file)
            # An MPO of a phone is a JPEG followed by previews; the first picture is the photograph.
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
            "one picture", got=f"{path.name} with {pages} pages", advice="Save one page per file."
        )


def _damaged(path: Path, error: Exception) -> UnreadableError:
    return UnreadableError(
        "a complete picture in grey or RGB",
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


def read_pages(path: Path) -> Iterator[np.ndarray]:
    """The pages of a TIFF, GIF or other file of several pictures, one after the other.

    Yields:
        (1, row, column) grey or (3, row, column) RGB; a page of 8 bits that is turned by EXIF stays as it is.

    Raises:
        UnreadableError: as read, but for the number of pages.
    """
    from PIL import Image, ImageSequence, UnidentifiedImageError

    try:
        if _is_deep_tiff(path):
            import tifffile

            with tifffile.TiffFile(path) as tiff:
                for page in tiff.pages:
                    yield np.moveaxis(_decode_page(page)[..., :3], -1, 0)
            return
        with Image.open(path) as pages:
            for picture in ImageSequence.Iterator(pages):
                yield np.moveaxis(_pixels(picture), -1, 0)
    except UnidentifiedImageError as error:
        raise UnreadableError(
            "a film: DICOM ultrasound, a folder of pictures, or a TIFF or GIF of several pages",
            got=f"{path.name}, which is in no known format",
            advice="Export it in one of these formats.",
        ) from error
    except UnreadableError:
        raise
    except Exception as error:  # as in _decode and _read_tiff
        raise _damaged(path, error) from error


def write_pages(pages: np.ndarray, path: Path, stamp: Stamp | None = None) -> Path:
    """Write (page, row, column) labels as a TIFF of several pages, compressed without loss."""
    import tifffile

    with atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary,
            compact(pages),
            photometric="minisblack",
            compression="zlib",
            description=None if stamp is None else stamp.text(),
        )
    return path


def _is_deep_png(path: Path) -> bool:
    """Whether it is a PNG with several channels of 16 bits, which Pillow silently reduces to 8 bits."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 26 and head[24] == 16 and head[25] in (2, 4, 6)


def _is_deep_tiff(path: Path) -> bool:
    """Whether it is a TIFF with more than 8 bits per channel, whose colours Pillow can't read."""
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
    """(row, column, channel), upright and without alpha, and warnings for the user."""
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
    """(row, column, channel) of a TIFF page; ValueError unless it is 2D, grey or RGB, and of bounded size."""
    from PIL import Image

    if page.photometric not in (_BLACK_IS_ZERO, _RGB) or page.imagedepth != 1 or page.dtype.kind not in "uif":
        raise ValueError("the pixels are neither grey values from black to white nor RGB")
    # Pillow's own limit, so that a damaged size can't exhaust the memory.
    if page.imagelength * page.imagewidth > 2 * (Image.MAX_IMAGE_PIXELS or np.inf):
        raise ValueError(f"{page.imagelength} x {page.imagewidth} pixels are too many")
    pixels = page.asarray()
    if pixels.ndim == 2:
        return pixels[..., None]
    return np.moveaxis(pixels, 0, -1) if page.planarconfig == _PLANAR else pixels


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate and flip (row, column, channel) pixels upright, by the Orientation tag 274 of TIFF 6.0."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
