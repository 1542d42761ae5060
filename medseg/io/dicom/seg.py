"""Write masks as binary DICOM SEG with highdicom, on the slices of the source images, and read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medseg import __version__
from medseg.colours import colour_rgb
from medseg.errors import BundleError
from medseg.io.atomic import atomic_path
from medseg.io.dicom.equipment import stamp_dataset
from medseg.io.dicom.patient import copy_patient, date_series, nameless
from medseg.io.dicom.planes import planes, present_labels
from medseg.stamp import Stamp
from medseg.volume import Mask

# Far from the series numbers of scanners.
SERIES_NUMBER = 9100
# Algorithm families (CID 7162), by the names that methods declare.
FAMILIES = {
    meaning.lower().replace(" ", "_"): (value, "DCM", meaning)
    for value, meaning in (
        *(
            ("123101", "Neighborhood Analysis"),
            ("123102", "Adaptive Filtering"),
            ("123103", "Edge Detection"),
        ),
        *(("123104", "Morphological Operations"), ("123105", "Histogram Analysis")),
        *(("123107", "Cluster Analysis"), ("123108", "Multispectral Processing")),
        *(("123110", "Artificial Intelligence"), ("123111", "Deformable Models")),
    )
}

# Label name to attribute to code, (value, scheme, meaning).
Codes = Mapping[str, Mapping[str, Sequence[Any]]]


def write_seg(
    mask: Mask,
    path: Path,
    codes: Codes,
    algorithm: str = "medseg",
    family: Sequence[str] = FAMILIES["artificial_intelligence"],
    is_edited: bool = False,
    description: str = "medseg segmentation",
    stamp: Stamp | None = None,
) -> Path:
    """Write the labels of a mask as segments of one DICOM SEG that refers to the source slices.

    Each label that has a voxel becomes a segment with the label's name, numbered from 1 in the order of the
    label values. Frames without a voxel are left out. Patient and study are those of the source.

    Args:
        mask: (i, j, k) = (column, row, slice) labels, with the headers of the source slices.
        path: the file to write.
        codes: for each label name `category` and `type`, and optionally `type_modifier` and
            `anatomic_region`.
        algorithm: the name of the algorithm; its version is that of medseg.
        family: the code of the algorithm's family, from CID 7162.
        is_edited: whether a person has corrected the mask: SEMIAUTOMATIC instead of AUTOMATIC.
        description: of the series, such as "medseg lung_ct 0.6.0 segmentation".
        stamp: what made the result.

    Raises:
        UnsuitableError: the mask is empty, or does not lie on the slices of a DICOM series.
        BundleError: a label without codes.
        OSError: the file can't be written in full.
    """
    from pydicom import config

    # Patient attributes are copied unchanged. pydicom's warnings about invalid values would quote them.
    with config.disable_value_validation():
        seg = _segmentation(mask, codes, algorithm, family, is_edited)
        copy_patient(seg, mask.headers[0])
        date_series(seg, description)
        stamp_dataset(seg, stamp)
        with atomic_path(path) as temporary:
            seg.save_as(temporary)
    return path


def _segmentation(mask: Mask, codes: Codes, algorithm: str, family: Sequence[str], is_edited: bool) -> Any:
    import highdicom as hd

    source = planes(mask)
    present = present_labels(mask)
    made_by = hd.AlgorithmIdentificationSequence(
        name=algorithm, version=__version__, family=hd.sr.CodedConcept(*family)
    )
    segments = [
        _segment(number, mask.labels[value], colour_rgb(value), codes, made_by, is_edited)
        for number, value in enumerate(present, start=1)
    ]
    images, frames = _frames(mask, source, present)
    described = "Automatic segmentation" + (", corrected by a person" if is_edited else "")
    return hd.seg.Segmentation(
        source_images=images,
        pixel_array=frames,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=hd.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="medseg",
        manufacturer_model_name=algorithm,
        software_versions=__version__,
        device_serial_number="none",
        content_label="SEGMENTATION",
        content_description=described,
    )


def _frames(mask: Mask, source: list[Any], present: list[int]) -> tuple[list[Any], np.ndarray]:
    """The source data sets as highdicom needs them, and (frame, row, column) segment numbers."""
    numbers = np.zeros(max(present) + 1, dtype=np.uint8 if len(present) < 256 else np.uint16)
    numbers[present] = np.arange(1, len(present) + 1)
    slices = numbers[mask.array].transpose(2, 1, 0)
    if source[0].frame is None:
        return [nameless(plane.header) for plane in source], slices
    header = nameless(source[0].header)
    frames = np.zeros((int(header.NumberOfFrames), *slices.shape[1:]), dtype=slices.dtype)
    frames[[plane.frame - 1 for plane in source]] = slices
    return [header], frames


def _segment(
    number: int, name: str, colour: tuple[int, int, int], codes: Codes, made_by: Any, is_edited: bool
) -> Any:
    import highdicom as hd

    types = hd.seg.SegmentAlgorithmTypeValues

    def code(key: str) -> Any:
        return hd.sr.CodedConcept(*codes[name][key]) if key in codes[name] else None

    if name not in codes or not {"category", "type"} <= set(codes[name]):
        raise BundleError(
            "DICOM codes (category and type) for every label",
            got=f"none for {name}",
            advice="Add them under dicom_codes in the bundle's metadata.json.",
        )
    region = code("anatomic_region")
    segment = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=code("category"),
        segmented_property_type=code("type"),
        algorithm_type=types.SEMIAUTOMATIC if is_edited else types.AUTOMATIC,
        algorithm_identification=made_by,
        tracking_uid=hd.UID(),
        tracking_id=name,
        anatomic_regions=None if region is None else [region],
        display_color=hd.color.CIELabColor.from_rgb(*colour),
    )
    modifier = code("type_modifier")
    if modifier is not None:
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
    return segment
