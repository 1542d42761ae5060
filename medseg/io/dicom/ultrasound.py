"""Read an ultrasound picture, a still or a frame of a clip, with the pixel size that the scanner declares.

A picture has no affine, because the position of the probe is unknown. The pixel size comes only from
SequenceOfUltrasoundRegions (0018,6011), PS3.3 C.8.5.5; PixelSpacing (0028,0030) of ultrasound files is often
a placeholder of 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import UnreadableError, UnsuitableError
from medseg.io.dicom.files import DicomFile, Found, dicom_files
from medseg.io.dicom.guarded import guarded
from medseg.io.dicom.quiet import quiet_pydicom
from medseg.io.dicom.report import Series, describe_stacks
from medseg.io.dicom.slices import MOST_FRAMES, MOST_ROWS, unsuitable
from medseg.io.dicom.stacks import Stack, class_name, shown, text_of
from medseg.volume import Volume

MODALITY = "US"
# Ultrasound Image and Ultrasound Multi-frame Image Storage, each with its retired predecessor.
CLASSES = {f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("6", "6.1", "3", "3.1")}
# Secondary Capture, single-frame and multi-frame: an ultrasound picture where the modality is US.
CAPTURES = {f"1.2.840.10008.5.1.4.1.1.7{end}" for end in ("", ".1", ".2", ".3", ".4")}
# CT, MR and PET, single-slice and multi-frame.
VOLUMES = {f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "2.1", "4", "4.1", "128", "130")}
_LOSSLESS_JPEG = {"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"}
_COLOURS = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR"}
_GREYS = {"MONOCHROME1", "MONOCHROME2"}
_TWO_D, _TISSUE, _CENTIMETRES = 1, 1, 3
_PIXEL_MM = (0.005, 2.0)  # range of the pixel size; other values are damaged
# A frame is not blank where its 0.5th and 99.5th percentiles differ by more than this share of its range.
_LEAST_SPAN = 0.05
_SIZE_TOLERANCE = 0.01  # relative difference of two pixel sizes that count as equal

REGIONS = "SequenceOfUltrasoundRegions (0018,6011)"


def read(found: Found, path: str) -> Volume:
    """Read the only ultrasound picture of a study.

    Args:
        found: the DICOM files; those without an ultrasound picture are ignored.
        path: the source that the user named.

    Returns:
        A Volume (1, row, column) of grey values or (3, row, column) of RGB, uint8 or uint16, without affine.
        Its pixel_spacing_mm is that of the calibrated 2D tissue regions; its region_box is that region where
        there is only one.

    Raises:
        UnreadableError: pixel data that is truncated or can't be decoded.
        UnsuitableError: there is no picture or more than one, or its colours are in an unknown format.
    """
    files = pictures(found)
    if len(files) != 1:
        raise UnsuitableError(
            "one ultrasound picture",
            got=f"{len(files) or 'none'} among {len(found.files)} DICOM files"
            + ("" if files else f" ({_held(found)})"),
            advice="Name the file of one picture." if files else "Choose the task that fits the images.",
        )
    file = files[0]
    warnings = []
    frames = require_readable(file)
    number, array = _first_not_blank(file, frames)
    if frames > 1:
        which = f"frame {number + 1}, the first that is not blank," if number else "the first"
        warnings.append(
            f"the file is a clip of {frames} frames and only {which} was read; to segment another frame, "
            "export it as a still"
        )
    if is_inverted(file):
        array = inverted(array, file)
        warnings.append("PhotometricInterpretation (0028,0004) is MONOCHROME1; the grey values were inverted")
    spacing_mm, box, notes = calibration(file, array.shape[1:])
    return Volume(
        array,
        source=str(path),
        headers=(_of_frame(file.header, number) if frames > 1 else file.header,),
        warnings=(*warnings, *notes),
        pixel_spacing_mm=spacing_mm,
        region_box=box,
    )


def _of_frame(header: Any, number: int) -> Any:
    """A copy of a clip's header whose ReferencedFrameNumber (0008,1160) says which frame was read."""
    copy = deepcopy(header)
    copy.ReferencedFrameNumber = number + 1
    return copy


def pictures(found: Found) -> list[DicomFile]:
    """The ultrasound files of a study."""
    return [file for file in found.files if _is_ultrasound(file.header)]


def is_picture(path: Path) -> bool:
    """Whether a DICOM file is an ultrasound picture, by its SOP class, for a capture also by its modality."""
    header = _header_of(path)
    return header is not None and _is_ultrasound(header)


def pictures_in(folder: Path) -> list[Path]:
    """The ultrasound files of a folder and its subfolders; none where slices of a volume are among them.

    Damaged files are included, so that reading them raises the error. DICOMDIR files and reports are not.
    """
    return pictures_among(sorted(dicom_files(folder)))


def pictures_among(paths: Sequence[Path]) -> list[Path]:
    """As pictures_in, of some files."""
    headers = {}
    for path in paths:
        headers[path] = _header_of(path)
        if text_of(headers[path], "SOPClassUID") in VOLUMES:
            return []
    if not any(header is not None and _is_ultrasound(header) for header in headers.values()):
        return []
    return [path for path, header in headers.items() if header is None or _is_ultrasound(header)]


def _is_ultrasound(header: Any) -> bool:
    kind = text_of(header, "SOPClassUID")
    return kind in CLASSES or (kind in CAPTURES and text_of(header, "Modality") == MODALITY)


def _header_of(path: Path) -> Any:
    """SOPClassUID and Modality of a DICOM file; None for a file that can't be read."""
    from pydicom import dcmread

    try:
        with quiet_pydicom(), guarded(path) as stream:
            header = dcmread(stream, stop_before_pixels=True, specific_tags=["SOPClassUID", "Modality"])
    except Exception:  # pydicom raises whatever a damaged byte leads to
        return None
    return header if text_of(header, "SOPClassUID") else None


def _held(found: Found) -> str:
    """The SOP classes and modalities of a study without ultrasound pictures, in words."""
    kinds = {(text_of(f.header, "SOPClassUID"), shown(text_of(f.header, "Modality"))) for f in found.files}
    named = sorted(f"{class_name(kind)}{', modality ' + word if word else ''}" for kind, word in kinds)
    return "; ".join(named[:3]) + ("; ..." if len(named) > 3 else "")


def describe(found: Found) -> list[Series]:
    """One Series per ultrasound file, for medseg.io.dicom.inspect."""
    files = pictures(found)
    series = describe_stacks([Stack([file]) for file in files], None)
    single = len(files) == 1
    reason = "" if single else "one of several pictures: name its file"
    return [replace(one, usable=True, chosen=single, reason=reason) for one in series]


def require_readable(file: DicomFile) -> int:
    """Check that the header is that of a picture that can be decoded; the number of frames."""
    header, where = file.header, f"in file {file.name}"
    sizes = {k: _whole(text_of(header, k) or "1") for k in ("Rows", "Columns", "NumberOfFrames")}
    for keyword, most in (("Rows", MOST_ROWS), ("Columns", MOST_ROWS), ("NumberOfFrames", MOST_FRAMES)):
        if not 0 < sizes[keyword] <= most:
            raise unsuitable(f"{keyword} from 1 to {most}", f"another number {where}")
    kind, samples = text_of(header, "PhotometricInterpretation"), text_of(header, "SamplesPerPixel") or "1"
    if (samples, kind in _GREYS or kind == "PALETTE COLOR") not in (("1", True), ("3", False)) or (
        kind not in _COLOURS | _GREYS
    ):
        raise unsuitable(
            "grey values, RGB, YBR_FULL, YBR_FULL_422 or a palette in PhotometricInterpretation (0028,0004)",
            f"another colour format with {_whole(samples)} samples per pixel {where}",
        )
    if text_of(header, "BitsAllocated") not in ("8", "16"):
        raise unsuitable("8 or 16 bits per pixel (0028,0100)", f"another number {where}")
    if file.pixel_tag is None:
        raise _damaged(file)
    return sizes["NumberOfFrames"]


def _first_not_blank(file: DicomFile, frames: int) -> tuple[int, np.ndarray]:
    """The first frame that is not blank, with its number from 0; the first frame where all are blank."""
    content = file.load()
    first = decode(file, content, 0)
    frame = first
    for number in range(frames):
        frame = decode(file, content, number) if number else first
        low, high = np.percentile(frame, [0.5, 99.5])
        if frames == 1 or high - low > _LEAST_SPAN * max(float(frame.max()), np.iinfo(np.uint8).max):
            return number, frame
    return 0, first


def decode(file: DicomFile, content: bytes, frame: int) -> np.ndarray:
    """Decode a frame, numbered from 0: (1, row, column) grey or (3, row, column) RGB."""
    import pydicom
    from pydicom.pixels import apply_color_lut, pixel_array

    try:
        data_set = pydicom.dcmread(BytesIO(content), force=True)
        if data_set.file_meta.TransferSyntaxUID in _LOSSLESS_JPEG:
            pixels = _decode_lossless(data_set, frame)
        else:
            pixels = pixel_array(data_set, index=frame)  # turns YBR into RGB
        if data_set.PhotometricInterpretation == "PALETTE COLOR":
            pixels = _as_bytes(apply_color_lut(pixels, data_set), data_set)
        size = (int(data_set.Rows), int(data_set.Columns))
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:  # pydicom and its decoders raise whatever a damaged byte leads to
        raise _damaged(file) from error
    if pixels.shape not in (size, (*size, 3)) or pixels.dtype.kind not in "ui":
        raise _damaged(file)
    planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return np.array(planes, order="C")


def _decode_lossless(data_set: Any, frame: int) -> np.ndarray:
    """Decode lossless JPEG, for which pydicom would need a further plug-in."""
    import imagecodecs
    from pydicom.encaps import get_frame
    from pydicom.pixels import convert_color_space

    frames = int(data_set.get("NumberOfFrames") or 1)
    encoded = get_frame(data_set.PixelData, frame, number_of_frames=frames)
    pixels: np.ndarray = imagecodecs.jpeg8_decode(encoded)
    if str(data_set.PhotometricInterpretation).startswith("YBR"):
        pixels = convert_color_space(pixels, data_set.PhotometricInterpretation, "RGB")
    return pixels


def is_inverted(file: DicomFile) -> bool:
    """Whether the lowest value is shown white."""
    return text_of(file.header, "PhotometricInterpretation") == "MONOCHROME1"


def inverted(values: np.ndarray, file: DicomFile) -> np.ndarray:
    return (2 ** int(file.header.BitsStored) - 1 - values).astype(values.dtype)


def _as_bytes(colours: np.ndarray, data_set: Any) -> np.ndarray:
    """The colours of a palette of 16 bits as uint8.

    Most such palettes hold 8 significant bits: the upper ones or, in non-standard files, the lower.
    """
    from pydicom.pixels import apply_color_lut

    if colours.dtype != np.uint16:
        return colours
    count, first, _ = data_set.RedPaletteColorLookupTableDescriptor
    whole = apply_color_lut(np.arange(first, first + (count or 2**16)).clip(0, 2**16 - 1), data_set)
    return (colours if whole.max() < 2**8 else colours >> 8).astype(np.uint8)


def calibration(
    file: DicomFile, shape: tuple[int, ...]
) -> tuple[tuple[float, float] | None, tuple[int, int, int, int] | None, list[str]]:
    """The pixel size (row, column) in mm, the box of the only region, and warnings."""
    try:
        regions = [
            (_spacing_mm(region), _box(region, shape))
            for region in file.header.get("SequenceOfUltrasoundRegions") or []
            if (region.get("RegionSpatialFormat"), region.get("RegionDataType")) == (_TWO_D, _TISSUE)
        ]
    except Exception:  # as in decode
        regions = [(None, None)]
    if not regions:
        return None, None, []
    sizes = [size for size, _ in regions if size is not None]
    if len(sizes) != len(regions):
        return None, None, [f"{REGIONS} gives no plausible size of a pixel in cm; sizes are given in pixels"]
    if not all(
        math.isclose(a, b, rel_tol=_SIZE_TOLERANCE)
        for size in sizes
        for a, b in zip(size, sizes[0], strict=True)
    ):
        return (
            None,
            None,
            [f"the regions of {REGIONS} differ in the size of a pixel; sizes are given in pixels"],
        )
    return sizes[0], regions[0][1] if len(regions) == 1 else None, []


def _spacing_mm(region: Any) -> tuple[float, float] | None:
    units = (region.get("PhysicalUnitsYDirection"), region.get("PhysicalUnitsXDirection"))
    if units != (_CENTIMETRES, _CENTIMETRES):
        return None
    # The sign of a step only depends on where the region's origin lies.
    row, column = (10 * abs(float(region.get(f"PhysicalDelta{axis}") or 0)) for axis in "YX")
    return (row, column) if all(_PIXEL_MM[0] <= step <= _PIXEL_MM[1] for step in (row, column)) else None


def _box(region: Any, shape: Sequence[int]) -> tuple[int, int, int, int] | None:
    """(top, left, height, width) in px, clipped to the picture; None when the region lies outside."""
    left, top, right, bottom = (
        int(region.get(f"RegionLocation{end}")) for end in ("MinX0", "MinY0", "MaxX1", "MaxY1")
    )
    top, left, bottom, right = max(0, top), max(0, left), min(shape[0], bottom + 1), min(shape[1], right + 1)
    return (top, left, bottom - top, right - left) if top < bottom and left < right else None


def _whole(text: str) -> int:
    return int(text) if text.isdigit() else -1


def _damaged(file: DicomFile) -> UnreadableError:
    return UnreadableError(
        "an ultrasound picture that can be decoded to its end",
        got=f"file {file.name}, whose pixel data (7FE0,0010) is missing, truncated or can't be decoded",
        advice="Copy it again from its source, or export it uncompressed.",
    )
