"""Write a picture as an ultrasound DICOM file: a still or a clip, with calibrated regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    ExplicitVRLittleEndian,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

from medseg.phantoms.dicom_series import _common, _empty_file

Box = tuple[int, int, int, int]


def write_ultrasound(
    picture: np.ndarray,
    path: str | Path,
    *,
    spacing_mm: tuple[float, float] | None = (0.1, 0.1),
    boxes: Sequence[Box] | None = None,
    photometric: str | None = None,
    frames: int = 1,
    transfer_syntax: str = ExplicitVRLittleEndian,
    tags: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """Write a picture as one ultrasound file.

    Args:
        picture: (row, column) grey or (row, column, 3) RGB, uint8.
        path: of the file.
        spacing_mm: (row, column) size of a pixel; None writes no regions.
        boxes: (top, left, height, width) in px of each region; the whole picture by default.
        photometric: PhotometricInterpretation: RGB, YBR_FULL or YBR_FULL_422 for a colour picture; PALETTE
            COLOR, with a grey palette, or MONOCHROME1 for a grey one.
        frames: more than one makes a clip that becomes darker and whose first frame is the picture.
        transfer_syntax: uncompressed, or one that pydicom can encode here.
        tags: DICOM keyword to value, set last.
        seed: for the UIDs.
    """
    kind = UltrasoundMultiFrameImageStorage if frames > 1 else UltrasoundImageStorage
    header = _empty_file(kind, generate_uid(entropy_srcs=[f"ultrasound {seed}"]))
    header.update(_common("", None, seed))
    header.Modality, header.BodyPartExamined = "US", "BREAST"
    header.ImageType, header.InstanceNumber = ["ORIGINAL", "PRIMARY", "BREAST", "0001"], 1
    for keyword in ("KVP", "ConvolutionKernel", "PatientPosition", "FrameOfReferenceUID"):
        delattr(header, keyword)
    if spacing_mm is not None:
        whole = [(0, 0, *picture.shape[:2])]
        header.SequenceOfUltrasoundRegions = Items([_region(box, spacing_mm) for box in boxes or whole])
    _set_pixels(header, picture, photometric, frames)
    for keyword, value in (tags or {}).items():
        setattr(header, keyword, value)
    if transfer_syntax != ExplicitVRLittleEndian:
        header.compress(transfer_syntax, generate_instance_uid=False)
    path = Path(path)
    header.save_as(path, enforce_file_format=True)
    return path


def _region(box: Box, spacing_mm: tuple[float, float]) -> Dataset:
    top, left, height, width = box
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = left, top
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = left + width - 1, top + height - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaY, region.PhysicalDeltaX = (step / 10 for step in spacing_mm)
    return region


def _set_pixels(header: FileDataset, picture: np.ndarray, photometric: str | None, frames: int) -> None:
    from pydicom.pixels import convert_color_space

    colour = picture.ndim == 3
    kind = photometric or ("RGB" if colour else "MONOCHROME2")
    header.SamplesPerPixel, header.PhotometricInterpretation = 3 if colour else 1, kind
    header.Rows, header.Columns = picture.shape[:2]
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 8, 8, 7, 0
    stored = picture
    if colour:
        header.PlanarConfiguration = 0
    if kind.startswith("YBR"):
        stored = convert_color_space(picture, "RGB", "YBR_FULL")
    if kind == "MONOCHROME1":
        stored = 255 - picture
    if kind == "PALETTE COLOR":
        for name in ("Red", "Green", "Blue"):
            setattr(header, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
            setattr(
                header, f"{name}PaletteColorLookupTableData", (np.arange(256, dtype="<u2") * 257).tobytes()
            )
    clip = [(stored // (number + 1)).astype(np.uint8) for number in range(frames)]
    if frames > 1:
        header.NumberOfFrames = frames
    if kind == "YBR_FULL_422":
        clip = [_subsampled(frame) for frame in clip]
    content = b"".join(frame.tobytes() for frame in clip)
    header.PixelData = content + b"\0" * (len(content) % 2)


def _subsampled(ybr: np.ndarray) -> np.ndarray:
    """YBR_FULL_422 of YBR_FULL: for each pair of pixels two luminances, then the first's colours.

    See PS3.3 C.7.6.3.1.2.
    """
    even, odd = ybr[:, 0::2], ybr[:, 1::2]
    return np.stack([even[..., 0], odd[..., 0], even[..., 1], even[..., 2]], axis=-1)
