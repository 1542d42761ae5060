"""Faults that chest CT series come with, done to a list of pydicom data sets.

Each fault takes the slices in their order and a generator, and returns slices: new data sets, the given ones
stay as they are. They need uncompressed pixels of 16 bits, or a decoder for those they change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

from medseg.phantoms import dicom_series

Series = list[FileDataset]
Fault = Callable[[Series, np.random.Generator], Series]


def damage(series: Sequence[FileDataset], fault: str, random: np.random.Generator | int = 0) -> Series:
    """Do a fault of FAULTS to a copy of a series."""
    return FAULTS[fault](deepcopy(list(series)), np.random.default_rng(random))


def write_faulty_series(
    volume: dicom_series.HasGrid,
    folder: str | Path,
    faults: Iterable[str],
    patient: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write a volume as a CT series with faults of FAULTS, done in this order."""
    series: Series = dicom_series.make_series(volume, patient=patient)
    random = np.random.default_rng(0)
    for fault in faults:
        series = damage(series, fault, random)
    return dicom_series.save(series, folder, transfer_syntax=ExplicitVRLittleEndian)


def pixels(header: FileDataset) -> np.ndarray:
    """(row, column) stored values."""
    return header.pixel_array


def set_pixels(header: FileDataset, stored: np.ndarray) -> None:
    """Put (row, column) stored values in, without compression, in the header's sign."""
    kind = "<i2" if header.PixelRepresentation else "<u2"
    limits = np.iinfo(kind)
    header.PixelData = np.clip(np.rint(stored), limits.min, limits.max).astype(kind).tobytes()
    header["PixelData"].VR = "OW"
    if "TransferSyntaxUID" in header.file_meta and header.file_meta.TransferSyntaxUID.is_compressed:
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header["PixelData"].is_undefined_length = False
    header._pixel_id = {}


def _middle(series: Series) -> int:
    return len(series) // 2


def _renew(header: FileDataset, text: str) -> None:
    """Another SOP instance with the same content."""
    uid = generate_uid(entropy_srcs=[str(header.SOPInstanceUID), text])
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = uid


def _move(header: FileDataset, shift_mm: np.ndarray) -> None:
    position = np.array(header.ImagePositionPatient, float) + shift_mm
    header.ImagePositionPatient = [format_number_as_ds(float(round(p, 8))) for p in position]
    if "SliceLocation" in header:
        header.SliceLocation = format_number_as_ds(float(round(float(header.SliceLocation) + shift_mm[2], 8)))


def _step(series: Series) -> np.ndarray:
    """(3,) mm in LPS from the middle slice to the next one given."""
    at = _middle(series)
    here, there = (np.array(series[n].ImagePositionPatient, float) for n in (at - 1, at))
    return there - here


def missing_slice(series: Series, random: np.random.Generator) -> Series:
    del series[_middle(series)]
    return series


def missing_slices(series: Series, random: np.random.Generator) -> Series:
    """Three inner slices that don't touch."""
    for at in sorted({len(series) // 4, len(series) // 2, 3 * len(series) // 4}, reverse=True):
        del series[at]
    return series


def duplicate_slice(series: Series, random: np.random.Generator) -> Series:
    """The same slice twice, the copy with a SOP instance UID of its own."""
    copy = deepcopy(series[_middle(series)])
    _renew(copy, "copy")
    return [*series, copy]


def duplicate_position(series: Series, random: np.random.Generator) -> Series:
    """Two slices at one place with different pixels."""
    series = duplicate_slice(series, random)
    set_pixels(series[-1], pixels(series[-1]).astype(int) + 40)
    return series


def same_instance_twice(series: Series, random: np.random.Generator) -> Series:
    """One file copied under another name."""
    return [*series, deepcopy(series[_middle(series)])]


def moved_slice(series: Series, random: np.random.Generator) -> Series:
    """One slice 0.4 steps off its place."""
    _move(series[_middle(series)], 0.4 * _step(series))
    return series


def slid_slice(series: Series, random: np.random.Generator) -> Series:
    """One slice 9 mm off in its own plane."""
    header = series[_middle(series)]
    _move(header, 9 * np.array(header.ImageOrientationPatient[:3], float))
    return series


def rotated_slice(series: Series, random: np.random.Generator) -> Series:
    """One slice turned by 10 degrees about its row direction."""
    header = series[_middle(series)]
    row, column = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    turned = np.cos(np.radians(10)) * column + np.sin(np.radians(10)) * np.cross(row, column)
    header.ImageOrientationPatient = [format_number_as_ds(float(round(v, 10))) for v in (*row, *turned)]
    return series


def unequal_steps(series: Series, random: np.random.Generator) -> Series:
    """Every second slice is missing in the upper half."""
    at = _middle(series)
    return series[:at] + series[at::2]


def two_acquisitions(series: Series, random: np.random.Generator) -> Series:
    """A second pass over the same places in the same series, as with and without contrast."""
    second = deepcopy(series)
    for number, header in enumerate(second):
        _renew(header, "second")
        header.AcquisitionNumber = 2
        header.AcquisitionTime = "040506"
        header.InstanceNumber = len(series) + number + 1
        set_pixels(header, pixels(header).astype(int) + 15)
    return series + second


def interleaved_acquisitions(series: Series, random: np.random.Generator) -> Series:
    """A second pass in the same series, 0.3 steps further on and shorter."""
    step, second = _step(series), two_acquisitions(series, random)[len(series) :]
    for header in second:
        _move(header, 0.3 * step)
    return series + second[: max(len(second) * 2 // 3, 2)]


def mixed_series(series: Series, random: np.random.Generator) -> Series:
    """Another, shorter series of the same study in the folder."""
    second = deepcopy(series[: max(len(series) // 2, 2)])
    uid = generate_uid(entropy_srcs=[str(series[0].SeriesInstanceUID), "other"])
    for header in second:
        _renew(header, "other")
        header.SeriesInstanceUID = uid
        header.SeriesNumber = 9
        header.SeriesDescription = "other series"
    return series + second


def two_studies(series: Series, random: np.random.Generator) -> Series:
    """Another study of someone else in the folder."""
    second = mixed_series(series, random)[len(series) :]
    uid = generate_uid(entropy_srcs=[str(series[0].StudyInstanceUID), "other"])
    for header in second:
        header.StudyInstanceUID = uid
        header.PatientID = "other"
    return series + second


def shuffled_instance_numbers(series: Series, random: np.random.Generator) -> Series:
    """Numbers and order of the files follow nothing."""
    numbers = random.permutation(len(series)) + 1
    for header, number in zip(series, numbers, strict=True):
        header.InstanceNumber = int(number)
    return [series[n] for n in random.permutation(len(series))]


def no_transfer_syntax(series: Series, random: np.random.Generator) -> Series:
    for header in series:
        del header.file_meta.TransferSyntaxUID
    return series


def monochrome1(series: Series, random: np.random.Generator) -> Series:
    """To be shown inverted; the Hounsfield units are the same."""
    for header in series:
        header.PhotometricInterpretation = "MONOCHROME1"
    return series


def padding(series: Series, random: np.random.Generator) -> Series:
    """-2000 outside a circle, as PixelPaddingValue says."""
    for header in series:
        stored = pixels(header).astype(int)
        row, column = (np.arange(n) - (n - 1) / 2 for n in stored.shape)
        outside = np.hypot(row[:, None], column[None]) > min(stored.shape) / 2
        header.PixelRepresentation = 1
        stored[outside] = -2000
        set_pixels(header, stored)
        header.add_new("PixelPaddingValue", "SS", -2000)
    return series


def slope_per_slice(series: Series, random: np.random.Generator) -> Series:
    """Slope and intercept change from slice to slice (as in PET and some CT); HU stay, but for rounding."""
    for number, header in enumerate(series):
        slope, intercept = 0.5 + 0.25 * (number % 4), -1024 + 8 * (number % 5)
        hu = pixels(header) * float(header.RescaleSlope) + float(header.RescaleIntercept)
        header.RescaleSlope, header.RescaleIntercept = str(slope), str(intercept)
        header.PixelRepresentation = 1
        set_pixels(header, (hu - intercept) / slope)
    return series


def wrong_modality(series: Series, random: np.random.Generator) -> Series:
    for header in series:
        header.Modality = "MR"
        header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = MRImageStorage
        for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
            if keyword in header:
                delattr(header, keyword)
    return series


def localizer(series: Series, random: np.random.Generator) -> Series:
    """A coronal survey view in the same series, in front."""
    view = deepcopy(series[0])
    _renew(view, "localizer")
    view.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    view.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]
    view.InstanceNumber = 0
    return [view, *series]


def truncated_pixels(series: Series, random: np.random.Generator) -> Series:
    """The middle slice has half of its pixels; the file itself is well formed."""
    header = series[_middle(series)]
    header.PixelData = header.PixelData[: len(header.PixelData) // 4 * 2]
    return series


def truncated_file(series: Series, random: np.random.Generator) -> Series:
    """The file of the middle slice ends after seven tenths of its bytes, as after a broken copy."""
    series[_middle(series)].__dict__["medseg_bytes_kept"] = 0.7
    return series


def values_0_255(series: Series, random: np.random.Generator) -> Series:
    """Windowed pictures instead of HU, as after an export through a screenshot; no rescale is left."""
    for header in series:
        hu = pixels(header) * float(header.RescaleSlope) + float(header.RescaleIntercept)
        header.RescaleSlope, header.RescaleIntercept = "1", "0"
        header.PixelRepresentation = 0
        set_pixels(header, np.clip((hu + 1350) / 1500 * 255, 0, 255))
    return series


def without(*keywords: str) -> Fault:
    """A fault that takes attributes away from all slices."""

    def take(series: Series, random: np.random.Generator) -> Series:
        for header in series:
            for keyword in keywords:
                if keyword in header:
                    delattr(header, keyword)
        return series

    return take


def other_size(series: Series, random: np.random.Generator) -> Series:
    """The last slice has fewer rows."""
    stored = pixels(series[-1])[:-8]
    series[-1].Rows = len(stored)
    set_pixels(series[-1], stored)
    return series


def other_pixel_spacing(series: Series, random: np.random.Generator) -> Series:
    """The upper half was reconstructed with pixels a tenth larger."""
    for header in series[_middle(series) :]:
        header.PixelSpacing = [format_number_as_ds(round(1.1 * float(s), 6)) for s in header.PixelSpacing]
    return series


def single_slice(series: Series, random: np.random.Generator) -> Series:
    return series[_middle(series) :][:1]


def derived(series: Series, random: np.random.Generator) -> Series:
    """Secondary images: a reformat somebody made."""
    for header in series:
        header.ImageType = ["DERIVED", "SECONDARY", "REFORMATTED"]
        header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = CTImageStorage
    return series


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        missing_slice, missing_slices, duplicate_slice, duplicate_position, same_instance_twice, moved_slice,
        slid_slice, rotated_slice, unequal_steps, two_acquisitions, interleaved_acquisitions, mixed_series,
        two_studies, shuffled_instance_numbers, no_transfer_syntax, monochrome1, padding, slope_per_slice,
        wrong_modality, localizer, truncated_pixels, truncated_file, values_0_255, other_size,
        other_pixel_spacing, single_slice, derived,
    )
} | {
    "no_position": without("ImagePositionPatient", "SliceLocation"),
    "no_orientation": without("ImageOrientationPatient"),
    "no_pixel_spacing": without("PixelSpacing"),
    "no_instance_numbers": without("InstanceNumber"),
    "no_rescale": without("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "no_pixels": without("PixelData"),
    "no_modality": without("Modality"),
}  # fmt: skip
