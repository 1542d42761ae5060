"""Small DICOM series for tests: what they hold is known, and each test changes what it is about."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

CT, ENHANCED_CT, SEG = (
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.66.4",
)
ROWS, COLUMNS, STEP_MM, FIRST_MM = 20, 24, 2.5, -100.0
SPACING_MM = (0.7, 0.8)  # between rows, between columns


def body_hu(count=8):
    """(slice, row, column) int16: a body in air, no two slices alike, different under every turn."""
    k, row, column = np.indices((count, ROWS, COLUMNS))
    body = 10 * k + 7 * row - 3 * column + 40
    inside = (row > 3) & (row < ROWS - 3) & (column > 3) & (column < COLUMNS - 5)
    return np.where(inside, body, -1000).astype(np.int16)


def ct_slices(hu=None, series=1, **tags):
    """Data sets of an axial CT series, ascending; `tags` are laid over every one.

    Values are stored as unsigned 16-bit numbers, 1024 above their Hounsfield units.
    """
    hu = body_hu() if hu is None else hu
    return [_ct_slice(k, image, series, tags) for k, image in enumerate(hu)]


def _ct_slice(k, image, series, tags):
    values = Dataset()
    values.SOPClassUID = CT
    values.SOPInstanceUID = f"1.2.3.{series}.{k + 1}"
    values.SeriesInstanceUID = f"1.2.3.{series}"
    values.StudyInstanceUID = "1.2.3"
    values.FrameOfReferenceUID = "1.2.3.99"
    values.PatientID, values.PatientName = "SECRET-ID", "Secret^Name"
    values.SeriesDescription = "Secret description"
    values.Modality, values.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    values.SeriesNumber, values.InstanceNumber, values.AcquisitionNumber = series, k + 1, 1
    values.ConvolutionKernel, values.SliceThickness = "STANDARD", STEP_MM
    values.ImagePositionPatient = [-9.2, -7.0, FIRST_MM + STEP_MM * k]
    values.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    values.PixelSpacing = list(SPACING_MM)
    values.SamplesPerPixel, values.PhotometricInterpretation = 1, "MONOCHROME2"
    values.Rows, values.Columns = image.shape
    values.BitsAllocated, values.BitsStored, values.HighBit, values.PixelRepresentation = 16, 16, 15, 0
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 1, -1024, "HU"
    for keyword, value in tags.items():
        setattr(values, keyword, value)
    values.PixelData = (image.astype(np.int32) + 1024).astype("<u2").tobytes()
    return values


def as_file(values, syntax=ExplicitVRLittleEndian):
    """A data set with the file meta information that its writing needs."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = values.SOPClassUID
    meta.MediaStorageSOPInstanceUID = values.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    encoding = {"is_implicit_VR": meta.TransferSyntaxUID.is_implicit_VR}
    encoding["is_little_endian"] = meta.TransferSyntaxUID.is_little_endian
    return FileDataset("", values, file_meta=meta, preamble=b"\0" * 128, **encoding)


def save(folder, slices, syntax=ExplicitVRLittleEndian, name="{:03}.dcm"):
    """Write data sets uncompressed as 001.dcm, 002.dcm, ...; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, values in enumerate(slices, start=1):
        as_file(values, syntax).save_as(folder / name.format(number), enforce_file_format=True)
    return folder


def save_compressed(folder, slices, syntax):
    """Write data sets compressed by GDCM, which must be able to."""
    import gdcm

    save(folder, slices)
    target = gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax)))
    for path in sorted(folder.iterdir()):
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(target)
        if not reader.Read() or change.SetInput(reader.GetImage()) is not None or not change.Change():
            raise RuntimeError(f"GDCM can't write {syntax}")
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        if not writer.Write():
            raise RuntimeError(f"GDCM can't write {syntax}")
    return folder


def enhanced_ct(hu=None, **tags):
    """One multi-frame data set with the same content and geometry as ct_slices()."""
    slices = ct_slices(hu)
    first = slices[0]
    values = Dataset()
    for keyword in (
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "SOPInstanceUID",
        "FrameOfReferenceUID",
        "PatientID",
        "Modality",
        "ImageType",
        "Rows",
        "Columns",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
    ):
        setattr(values, keyword, first[keyword].value)
    values.SOPClassUID = ENHANCED_CT
    values.NumberOfFrames = len(slices)
    shared = _group(
        PlaneOrientationSequence=["ImageOrientationPatient"],
        PixelMeasuresSequence=["PixelSpacing", "SliceThickness"],
        PixelValueTransformationSequence=["RescaleSlope", "RescaleIntercept", "RescaleType"],
    )
    values.SharedFunctionalGroupsSequence = [shared(first)]
    place = _group(PlanePositionSequence=["ImagePositionPatient"])
    values.PerFrameFunctionalGroupsSequence = [place(one) for one in slices]
    values.PixelData = b"".join(one.PixelData for one in slices)
    for keyword, value in tags.items():
        setattr(values, keyword, value)
    return values


def _group(**sequences):
    def build(source):
        item = Dataset()
        for name, keywords in sequences.items():
            inner = Dataset()
            for keyword in keywords:
                setattr(inner, keyword, source[keyword].value)
            setattr(item, name, [inner])
        return item

    return build
