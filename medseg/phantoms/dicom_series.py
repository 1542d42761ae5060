"""Write volumes as DICOM: a CT series in any orientation.

A series is a list of pydicom data sets, one per slice. `make_series` and `data_sets` make it from a volume,
`save` writes it, and `write_series` does both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    generate_uid,
)

# Name to the directions of i (along a row), j (down a column) and k, and the patient position. The direction
# of k is the cross product of those of i and j, so that the slices ascend along their normal.
ORIENTATIONS = {
    "axial": ("LPS", "HFS"),
    "prone": ("RAS", "HFP"),
    "feet_first": ("RPI", "FFS"),
    "right_side_down": ("PRS", "HFDR"),
    "left_side_down": ("ALS", "HFDL"),
    "sagittal": ("PIR", "HFS"),
    "coronal": ("LIP", "HFS"),
}
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
INTERCEPT = -1024  # stored values are HU less this


class HasGrid(Protocol):
    """A Volume (medseg.volume) or a ChestPhantom."""

    @property
    def array(self) -> np.ndarray: ...

    @property
    def affine(self) -> Any: ...


def write_series(
    volume: HasGrid,
    folder: str | Path,
    *,
    orientation: str | None = None,
    patient: Mapping[str, Any] | None = None,
    transfer_syntax: str = ExplicitVRLittleEndian,
    names: str = "numbered",
    seed: int = 0,
) -> list[Path]:
    """Write a volume as a CT series.

    Args:
        volume, orientation, patient: see make_series.
        folder: created when it does not exist.
        transfer_syntax: uncompressed, or one that pydicom can encode here.
        names: of the files: numbered, reversed or random.
        seed: for random names and the UIDs.

    Returns:
        The files, in the order of the data sets.
    """
    series = make_series(volume, orientation=orientation, patient=patient, seed=seed)
    return save(series, folder, transfer_syntax=transfer_syntax, names=names, seed=seed)


def make_series(
    volume: HasGrid,
    *,
    orientation: str | None = None,
    patient: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> list[FileDataset]:
    """A volume as the data sets of a CT series.

    Args:
        volume: (i, j, k) or (1, i, j, k) in HU; its affine leads to RAS+ mm and may be sheared.
        orientation: a name of ORIENTATIONS to which the array is reoriented; unchanged by default.
        patient: DICOM keyword to value, set in each file, such as names and dates.
        seed: for the UIDs.
    """
    array, affine = _grid(volume)
    position = "HFS"
    if orientation is not None:
        code, position = ORIENTATIONS[orientation]
        array, affine = reorient(array, affine, code)
    return data_sets(array, affine, patient_position=position, patient=patient, seed=seed)


def data_sets(
    array: np.ndarray,
    affine: np.ndarray,
    *,
    patient_position: str = "HFS",
    patient: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> list[FileDataset]:
    """A CT Image Storage data set for each slice along k.

    Args:
        array: (i, j, k) whole numbers in HU; i runs along a row.
        affine: 4x4, voxel index to RAS+ mm.
        patient_position: the value of PatientPosition (0018,5100) alone.
        patient: DICOM keyword to value, set in each data set.
        seed: for the UIDs.
    """
    headers = _common(patient_position, patient, seed)
    geometry = TO_LPS @ affine
    stored = array.astype(np.int32) - INTERCEPT
    signed = int(stored.min() < 0)
    found = []
    for k in range(array.shape[2]):
        uid = generate_uid(entropy_srcs=[f"slice {seed} {k}"])
        header = _empty_file(CTImageStorage, uid)
        header.update(headers)
        header.InstanceNumber = k + 1
        header.AcquisitionNumber = 1
        header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        _set_geometry(header, geometry, k)
        _set_pixels(header, array.shape[:2], signed)
        header.PixelData = stored[:, :, k].T.astype(np.int16 if signed else np.uint16).tobytes()
        found.append(header)
    return found


def save(
    series: Sequence[FileDataset],
    folder: str | Path,
    *,
    transfer_syntax: str | None = None,
    names: str = "numbered",
    seed: int = 0,
) -> list[Path]:
    """Write data sets into a folder.

    A data set without TransferSyntaxUID is written as explicit little endian, still without that attribute.

    Args:
        series: the data sets.
        folder: created when it does not exist.
        transfer_syntax: uncompressed, or one that pydicom can encode here; None keeps that of each data set.
        names: of the files: numbered, reversed or random.
        seed: for random names.

    Returns:
        The files, in the order of the data sets.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in _file_names(len(series), names, seed)]
    for header, path in zip(series, paths, strict=True):
        _save_one(header, path, transfer_syntax)
    return paths


def _save_one(header: FileDataset, path: Path, transfer_syntax: str | None) -> None:
    has_syntax = "TransferSyntaxUID" in header.file_meta
    wanted = transfer_syntax if has_syntax else None
    bytes_kept = header.__dict__.get("medseg_bytes_kept", 1.0)
    if wanted and wanted != header.file_meta.TransferSyntaxUID:
        header = _encoded(header, pydicom.uid.UID(wanted))
    if has_syntax:
        header.save_as(path, enforce_file_format=True)
    else:
        header.save_as(path, implicit_vr=False, little_endian=True, enforce_file_format=False)
    if bytes_kept < 1:
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * bytes_kept)])


def _encoded(header: FileDataset, syntax: pydicom.uid.UID) -> FileDataset:
    from copy import deepcopy

    header = deepcopy(header)
    if header.file_meta.TransferSyntaxUID.is_compressed:
        header.decompress(generate_instance_uid=False)
    if syntax.is_encapsulated:
        header.compress(syntax, generate_instance_uid=False)
        return header
    if syntax == ExplicitVRBigEndian:
        header.PixelData = np.frombuffer(header.PixelData, "<u2").byteswap().tobytes()
    header.file_meta.TransferSyntaxUID = syntax
    # pydicom remembers the original encoding and refuses to write another byte order from the same data set.
    return FileDataset(
        "",
        dict(header),
        preamble=b"\0" * 128,
        file_meta=header.file_meta,
        is_implicit_VR=syntax.is_implicit_VR,
        is_little_endian=syntax.is_little_endian,
    )


def reorient(array: np.ndarray, affine: np.ndarray, code: str) -> tuple[np.ndarray, np.ndarray]:
    """Permute and flip axes into the directions of a code; each voxel keeps its position.

    Args:
        array: (i, j, k).
        affine: 4x4, voxel index to RAS+ mm; an oblique one is assigned to the nearest axes.
        code: the directions of i, j and k, of L, R, A, P, S and I: "LPS" for axial slices as usually shown.

    Returns:
        The reoriented array and its affine.
    """
    letters = ("LR", "PA", "IS")
    wanted = [(n, letters[n].index(c)) for c in code for n in range(3) if c in letters[n]]
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    order, flips = [], []
    for world, upwards in wanted:
        axis = int(np.argmax(np.abs(directions[world])))
        order.append(axis)
        flips.append((directions[world, axis] > 0) != bool(upwards))
    matrix = np.eye(4)
    matrix[:, 3] = affine[:, 3]
    matrix[:, :3] = affine[:, order]
    array = array.transpose(order)
    for axis, flip in enumerate(flips):
        if flip:
            array = np.flip(array, axis)
            matrix[:3, 3] += matrix[:3, axis] * (array.shape[axis] - 1)
            matrix[:3, axis] *= -1
    return array, matrix


def _grid(volume: HasGrid) -> tuple[np.ndarray, np.ndarray]:
    array = volume.array[0] if volume.array.ndim == 4 else volume.array
    return array, np.asarray(volume.affine, float)


def _file_names(count: int, names: str, seed: int) -> list[str]:
    numbered = [f"{n:03d}.dcm" for n in range(1, count + 1)]
    if names == "reversed":
        return numbered[::-1]
    if names == "random":
        random = np.random.default_rng(seed)
        return [random.bytes(8).hex() for _ in range(count)]
    return numbered


def _empty_file(kind: str, uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.UID(kind)
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset("", {}, preamble=b"\0" * 128, file_meta=meta)
    header.SOPClassUID, header.SOPInstanceUID = kind, uid
    return header


def _common(patient_position: str, patient: Mapping[str, Any] | None, seed: int) -> Dataset:
    """The attributes that all slices of a series share: patient, study, series, equipment."""
    header = Dataset()
    for keyword in (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "AccessionNumber",
        "StudyID",
    ):
        setattr(header, keyword, "")
    header.ReferringPhysicianName = ""
    header.StudyDate = header.SeriesDate = header.AcquisitionDate = header.ContentDate = "20200102"
    header.StudyTime = header.SeriesTime = header.AcquisitionTime = header.ContentTime = "030405"
    header.StudyInstanceUID = generate_uid(entropy_srcs=[f"study {seed}"])
    header.SeriesInstanceUID = generate_uid(entropy_srcs=[f"series {seed}"])
    header.FrameOfReferenceUID = generate_uid(entropy_srcs=[f"frame {seed}"])
    header.PositionReferenceIndicator = ""
    header.SeriesNumber, header.SeriesDescription = 2, "phantom"
    header.Modality, header.Manufacturer, header.BodyPartExamined = "CT", "medseg", "CHEST"
    header.PatientPosition = patient_position
    header.KVP, header.ConvolutionKernel = "120", "phantom"
    for keyword, value in (patient or {}).items():
        setattr(header, keyword, value)
    return header


def _set_geometry(header: Dataset, geometry: np.ndarray, k: int) -> None:
    row, column = _directions(geometry)
    spacing = np.linalg.norm(geometry[:3, :3], axis=0)
    normal = np.cross(row, column)
    step = float(geometry[:3, 2] @ normal)
    header.ImageOrientationPatient = _numbers((*row, *column))
    header.ImagePositionPatient = _numbers(geometry[:3, 3] + k * geometry[:3, 2])
    header.PixelSpacing = _numbers((spacing[1], spacing[0]))
    header.SliceThickness = header.SpacingBetweenSlices = _numbers((step,))[0]
    header.SliceLocation = _numbers((float(geometry[2, 3] + k * geometry[2, 2]),))[0]
    lean = float(np.degrees(np.arccos(np.clip(step / spacing[2], -1, 1))))
    header.GantryDetectorTilt = f"{lean if lean > 1e-3 else 0:.4f}"


def _directions(geometry: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    row, column = (geometry[:3, n] / np.linalg.norm(geometry[:3, n]) for n in (0, 1))
    return row, column


def _numbers(values: Iterable[float]) -> list[str]:
    """Decimal strings of at most 16 characters."""
    return [pydicom.valuerep.format_number_as_ds(float(round(v, 10)) + 0.0) for v in values]


def _set_pixels(header: Dataset, shape: tuple[int, ...], signed: int) -> None:
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Columns, header.Rows = shape
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    header.PixelRepresentation = signed
    header.RescaleIntercept, header.RescaleSlope, header.RescaleType = str(INTERCEPT), "1", "HU"
    header.WindowCenter, header.WindowWidth = "40", "400"
