"""Write masks as RTSTRUCT with pydicom: closed contours on the slices of the source images."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from medseg import __version__
from medseg.colours import colour_rgb
from medseg.io.atomic import atomic_path
from medseg.io.dicom.equipment import stamp_dataset
from medseg.io.dicom.patient import TYPE_2, date_series
from medseg.io.dicom.planes import LPS_TO_RAS, Plane, planes, present_labels
from medseg.io.dicom.text import in_utf_8
from medseg.stamp import Stamp
from medseg.volume import Mask

SERIES_NUMBER = 9101
# Attributes of the patient and the study, copied from the source images.
FROM_THE_SOURCE = (
    *("SpecificCharacterSet", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
    *("StudyDescription", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "StudyInstanceUID", "StudyID"),
)
DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"


def write_rtstruct(
    mask: Mask,
    path: Path,
    is_edited: bool = False,
    description: str = "medseg segmentation",
    stamp: Stamp | None = None,
) -> Path:
    """Write the labels of a mask as regions of interest of one RTSTRUCT that refers to the source slices.

    A contour runs half way between the centres of pixels inside and outside, so that it encloses exactly the
    centres of the mask's pixels. Pixels that share only a corner are not connected. A hole is joined to the
    outer contour by a channel of zero width (the keyhole of PS3.3 C.8.8.6.3), because every fill rule reads
    it alike, whereas only some programs read separate inner contours as holes.

    Args:
        mask: (i, j, k) = (column, row, slice) labels, with the headers of the source slices.
        path: the file to write.
        is_edited: whether a person has corrected the mask: SEMIAUTOMATIC instead of AUTOMATIC.
        description: of the series, such as "medseg lung_ct 0.6.0 segmentation".
        stamp: what made the result.

    Raises:
        UnsuitableError: the mask is empty, or does not lie on the slices of a DICOM series.
        OSError: the file can't be written in full.
    """
    from pydicom import config

    # Patient attributes are copied unchanged. pydicom's warnings about invalid values would quote them.
    with config.disable_value_validation():
        structure_set = _structure_set(mask, is_edited)
        date_series(structure_set, description)
        stamp_dataset(structure_set, stamp)
        with atomic_path(path) as temporary:
            structure_set.save_as(temporary, enforce_file_format=True)
    return path


def _structure_set(mask: Mask, is_edited: bool) -> Any:
    source = planes(mask)
    present = present_labels(mask)
    structure_set = _headers(source)
    structure_set.StructureSetROISequence = []
    structure_set.ROIContourSequence = []
    structure_set.RTROIObservationsSequence = []
    for number, value in enumerate(present, start=1):
        contours = _contours(mask, value, source)
        _add_region(structure_set, number, mask.labels[value], colour_rgb(value), contours)
    if is_edited:
        for region in structure_set.StructureSetROISequence:
            region.ROIGenerationAlgorithm = "SEMIAUTOMATIC"
    return structure_set


def _headers(source: list[Plane]) -> Any:
    """The data set without its regions of interest."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

    image, now = source[0].header, datetime.now()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    # An explicit VR would limit a contour to 64 KiB, which a ragged outline exceeds.
    meta.TransferSyntaxUID = ImplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    patient = in_utf_8(image)
    for name in FROM_THE_SOURCE:
        if name in patient:
            made[name] = patient[name]
        elif name in TYPE_2:
            setattr(made, name, None)
    made.SOPClassUID, made.SOPInstanceUID = RTStructureSetStorage, meta.MediaStorageSOPInstanceUID
    made.Modality, made.SeriesInstanceUID, made.SeriesNumber = "RTSTRUCT", generate_uid(), SERIES_NUMBER
    made.InstanceNumber, made.OperatorsName = 1, None
    made.Manufacturer, made.ManufacturerModelName, made.SoftwareVersions = "medseg", "medseg", __version__
    made.InstanceCreationDate = made.StructureSetDate = now.strftime("%Y%m%d")
    made.InstanceCreationTime = made.StructureSetTime = now.strftime("%H%M%S")
    made.StructureSetLabel, made.ApprovalStatus = "SEGMENTATION", "UNAPPROVED"
    made.FrameOfReferenceUID, made.PositionReferenceIndicator = image.FrameOfReferenceUID, None
    made.ReferencedFrameOfReferenceSequence = [_frame_of_reference(source)]
    return made


def _frame_of_reference(source: list[Plane]) -> Any:
    """The study, the series and all images that the contours may lie on."""
    image = source[0].header
    series = _item(
        SeriesInstanceUID=image.SeriesInstanceUID, ContourImageSequence=[_image(p) for p in source]
    )
    study = _item(
        ReferencedSOPClassUID=DETACHED_STUDY,
        ReferencedSOPInstanceUID=image.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _item(FrameOfReferenceUID=image.FrameOfReferenceUID, RTReferencedStudySequence=[study])


def _image(plane: Plane) -> Any:
    image = _item(
        ReferencedSOPClassUID=plane.header.SOPClassUID, ReferencedSOPInstanceUID=plane.header.SOPInstanceUID
    )
    if plane.frame is not None:
        image.ReferencedFrameNumber = plane.frame
    return image


def _item(**attributes: Any) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item


def _add_region(
    structure_set: Any, number: int, name: str, colour: tuple[int, int, int], contours: list[Any]
) -> None:
    structure_set.StructureSetROISequence.append(
        _item(
            ROINumber=number,
            ReferencedFrameOfReferenceUID=structure_set.FrameOfReferenceUID,
            ROIName=name,
            ROIGenerationAlgorithm="AUTOMATIC",
        )
    )
    structure_set.ROIContourSequence.append(
        _item(ROIDisplayColor=list(colour), ReferencedROINumber=number, ContourSequence=contours)
    )
    structure_set.RTROIObservationsSequence.append(
        _item(
            ObservationNumber=number,
            ReferencedROINumber=number,
            RTROIInterpretedType="ORGAN",
            ROIInterpreter=None,
        )
    )


def _contours(mask: Mask, value: int, source: list[Plane]) -> list[Any]:
    """The closed planar contours of a label, slice by slice."""
    lps = LPS_TO_RAS @ np.asarray(mask.affine)
    contours = []
    for k in np.flatnonzero((mask.array == value).any(axis=(0, 1))):
        for ring in rings(mask.array[:, :, k] == value):
            points = np.column_stack([ring, np.full(len(ring), k), np.ones(len(ring))]) @ lps[:3].T
            contour = _item(
                ContourImageSequence=[_image(source[k])],
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(points),
                # A text of at most 16 characters; a micrometre is enough.
                ContourData=[f"{coordinate:.3f}" for coordinate in points.ravel().tolist()],
            )
            contours.append(contour)
    return contours


def rings(region: np.ndarray) -> list[np.ndarray]:
    """The closed outlines of a region, one per connected component, with holes joined by keyholes.

    Args:
        region: (i, j) bool.

    Returns:
        Arrays (point, 2) of i and j in pixels; the first point is not repeated at the end.
    """
    from scipy import ndimage

    # 4-connected, as the contours of _outlines are.
    components, _ = ndimage.label(region)
    outlines = []
    for number, box in enumerate(ndimage.find_objects(components), start=1):
        component = np.pad(components[box] == number, 1)
        first = np.array([box[0].start - 1, box[1].start - 1])
        outlines.append(_keyhole(_outlines(component)) + first)
    return outlines


def outline(region: np.ndarray) -> np.ndarray:
    """One closed outline of a region, its components and holes joined by channels of zero width.

    Args:
        region: (i, j) bool, with a pixel at least.

    Returns:
        (point, 2) of i and j in pixels; the first point is not repeated at the end.
    """
    found = rings(region)
    return found[0] if len(found) == 1 else _keyhole(found)


def _outlines(component: np.ndarray) -> list[np.ndarray]:
    """The outline of a connected component, then those of its holes in the opposite direction."""
    from skimage.measure import find_contours

    found = [
        outline[:-1] for outline in find_contours(component.astype(np.float32), 0.5, fully_connected="low")
    ]
    return sorted((_without_straight(outline) for outline in found), key=lambda o: -np.ptp(o, axis=0).prod())


def _without_straight(outline: np.ndarray) -> np.ndarray:
    """The corners of an outline, without the points on straight lines."""
    before, after = outline - np.roll(outline, 1, axis=0), np.roll(outline, -1, axis=0) - outline
    return outline[np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-6]


def _keyhole(outlines: list[np.ndarray]) -> np.ndarray:
    """Join an outer outline and its holes to one outline, each hole where it is nearest to those joined."""
    from scipy.spatial import cKDTree

    points, ends = np.concatenate(outlines), np.cumsum([len(outline) for outline in outlines])
    owner = np.repeat(np.arange(len(outlines)), np.diff(ends, prepend=0))
    distance, nearest = np.full(len(points), np.inf), np.zeros(len(points), dtype=np.intp)
    joined, newest = np.arange(ends[0]), 0  # numbers of points
    waiting = np.arange(ends[0], len(points))
    while waiting.size:
        own = np.flatnonzero(owner == newest)
        to_newest, at = cKDTree(points[own]).query(points[waiting])
        closer = to_newest < distance[waiting]
        distance[waiting[closer]], nearest[waiting[closer]] = to_newest[closer], own[at[closer]]
        start = waiting[distance[waiting].argmin()]
        newest = owner[start]
        hole = np.flatnonzero(owner == newest)
        around = np.roll(hole, -int(start - hole[0]))
        end = int(np.flatnonzero(joined == nearest[start])[0])
        # To the hole, around it, and back along the same line.
        joined = np.concatenate([joined[: end + 1], around, around[:1], joined[end:]])
        waiting = waiting[owner[waiting] != newest]
    return points[joined]
