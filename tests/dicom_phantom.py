"""Small CT series with known geometry, for the tests of what is written about DICOM images."""

import copy

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}
ANATOMY = ("91723000", "SCT", "Anatomical Structure")
LUNG = {"category": ANATOMY, "type": ("39607008", "SCT", "Lung")}
CODES = {
    "left_lung": {**LUNG, "type_modifier": ("7771000", "SCT", "Left")},
    "right_lung": {**LUNG, "type_modifier": ("24028007", "SCT", "Right")},
    "airway": {"category": ANATOMY, "type": ("89187006", "SCT", "Airway structure")},
}
SHAPE = (22, 18, 9)  # columns, rows, slices
PIXEL_MM = (0.8, 0.7)  # along a row, down a column
PATIENT = "Testpatient^Planted"
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_COS, _SIN = np.cos(np.radians(20)), np.sin(np.radians(20))

# Row direction, column direction, step from slice to slice in mm (None: along the normal), LPS.
GEOMETRIES = {
    "axial": ((1, 0, 0), (0, 1, 0), None),
    "feet_first": ((-1, 0, 0), (0, 1, 0), None),
    "prone": ((-1, 0, 0), (0, -1, 0), None),
    "sagittal": ((0, 1, 0), (0, 0, -1), None),
    "oblique": ((_COS, _SIN, 0), (-_SIN * _COS, _COS * _COS, _SIN), None),
    "tilted": ((1, 0, 0), (0, _COS, _SIN), (0, 0, 3)),
}


def lps_affine(name, pixel_mm=PIXEL_MM):
    """Voxel index (column, row, slice) to LPS mm; pixel_mm along a row and down, 3 mm to the next slice."""
    row, column, step = (None if v is None else np.array(v, dtype=float) for v in GEOMETRIES[name])
    step = 3 * np.cross(row, column) if step is None else step
    affine = np.eye(4)
    affine[:3] = np.column_stack([pixel_mm[0] * row, pixel_mm[1] * column, step, [-31.25, 12.5, -100.125]])
    return affine


def ras_affine(name, pixel_mm=PIXEL_MM):
    return LPS_TO_RAS @ lps_affine(name, pixel_mm)


def labels():
    """(i, j, k): three labels that no flip or swap of axes maps onto themselves; two slices stay empty."""
    array = np.zeros(SHAPE, dtype=np.uint8)
    array[3:9, 2:15, 1:7] = 1
    array[4:6, 6:9, 2:5] = 0  # a hole
    array[12:20, 3:12, 2:8] = 2
    array[12, 3, 7] = 0
    array[10, 8:11, 1:5] = 3
    array[16:18, 5:7, 4] = 3  # inside the right lung
    return array


def headers(name, shape=SHAPE, pixel_mm=PIXEL_MM):
    """One data set without pixels per slice, in the order of k."""
    affine, common = lps_affine(name, pixel_mm), _common(CTImageStorage)
    common.Columns, common.Rows = shape[:2]
    made = []
    for k in range(shape[2]):
        header = copy.deepcopy(common)
        header.SOPInstanceUID, header.InstanceNumber = generate_uid(), k + 1
        header.ImagePositionPatient = _texts(affine[:3, 3] + k * affine[:3, 2])
        header.ImageOrientationPatient, header.PixelSpacing = _orientation(affine), list(pixel_mm[::-1])
        header.SliceThickness = 3
        made.append(header)
    return tuple(made)


def enhanced_header(name, order):
    """The one data set of a multi-frame CT whose frames stand in `order`."""
    affine, header = lps_affine(name), _common(EnhancedCTImageStorage)
    header.SOPInstanceUID, header.InstanceNumber, header.NumberOfFrames = generate_uid(), 1, len(order)
    orientation = _item(ImageOrientationPatient=_orientation(affine))
    measures = _item(PixelSpacing=list(PIXEL_MM[::-1]), SliceThickness=3)
    header.SharedFunctionalGroupsSequence = [
        _item(PlaneOrientationSequence=[orientation], PixelMeasuresSequence=[measures])
    ]
    header.PerFrameFunctionalGroupsSequence = [
        _item(
            PlanePositionSequence=[_item(ImagePositionPatient=_texts(affine[:3, 3] + k * affine[:3, 2]))],
            FrameContentSequence=[_item(DimensionIndexValues=[number])],
        )
        for number, k in enumerate(order, start=1)
    ]
    return header


def plant_odd_values(header):
    """Values that the standard forbids, as hospitals have them; pydicom quotes them when it complains."""
    odd = {
        "PatientBirthDate": "1901-PLANTED",
        "PatientID": "PLANTED" * 12,
        "PatientName": "Müller^PLANTED=a=b=c=d",
        "StudyDate": "PLANTED",
        "SpecificCharacterSet": "ISO_IR 192",
    }
    for name, value in odd.items():
        if name in header:
            del header[name]
        setattr(header, name, value)


def write(made, folder):
    """Write the data sets of `headers` as files with black pixels."""
    folder.mkdir(parents=True)
    for number, header in enumerate(made):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
            header.SOPClassUID,
            header.SOPInstanceUID,
        )
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        whole = FileDataset("", header, file_meta=meta, preamble=b"\0" * 128)
        whole.PixelData = bytes(2 * header.Columns * header.Rows)
        whole.save_as(folder / f"{number:03}.dcm", enforce_file_format=True)
    return folder


def _common(sop_class):
    header = Dataset()
    header.SOPClassUID, header.Modality = sop_class, "CT"
    header.StudyInstanceUID, header.SeriesInstanceUID = generate_uid(), generate_uid()
    header.FrameOfReferenceUID, header.PositionReferenceIndicator = generate_uid(), ""
    header.PatientName, header.PatientID, header.PatientBirthDate = PATIENT, "PLANTED-ID", "19010101"
    header.PatientSex, header.StudyDate, header.StudyTime = "O", "20200101", "120000"
    header.AccessionNumber, header.StudyID, header.ReferringPhysicianName = "1", "1", ""
    header.Manufacturer, header.SeriesNumber, header.ImageType = "none", 1, ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.Columns, header.Rows = SHAPE[:2]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 1
    header.RescaleSlope, header.RescaleIntercept = 1, 0
    return header


def _item(**attributes):
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item


def _texts(position):
    return [f"{coordinate:.6f}" for coordinate in position]


def _orientation(affine):
    steps = affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)
    return [f"{cosine:.8f}" for cosine in steps.T.ravel()]
