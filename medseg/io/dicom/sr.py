"""Write measurements as a DICOM structured report: TID 1500 by highdicom, a Comprehensive SR.

The report refers to the segments of the SEG that was written with it, or to the outlines of objects in a
picture, and to the source images. What a mask's quality is predicted to be, what was not measured and what
the algorithm does not look for stand in it, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg import __version__
from medseg.io.atomic import atomic_path
from medseg.io.dicom.equipment import stamp_dataset
from medseg.io.dicom.patient import copy_patient, date_series, nameless
from medseg.io.dicom.sr_codes import SCHEME, concept, groups_of, own
from medseg.io.dicom.sr_groups import Scene, measurement_group, segments_alone, text
from medseg.stamp import Stamp
from medseg.volume import Mask

SERIES_NUMBER = 9102
LANGUAGE = ("en", "RFC5646", "English")
ANY_IMAGING = ("363679005", "SCT", "Imaging procedure")
QUALITATIVE = ("C0034375", "UMLS", "Qualitative Evaluations")  # of TID 1500, row 12
# What is read of a SEG.
_OF_A_SEG = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    "SegmentSequence",
)


@dataclass(frozen=True, eq=False)
class Content:
    """What a report tells.

    Attributes:
        mask: that was measured, with the headers of its source images.
        measurements, quality, provenance, not_assessed: as medseg.outputs.SegmentationResult has them.
        label_codes, measurement_codes: dicom_codes and dicom_measurements of the bundle.
        family: the code of the algorithm's family, from CID 7162.
    """

    mask: Mask
    measurements: Mapping[str, Mapping[str, Any]]
    quality: Mapping[str, Any]
    provenance: Mapping[str, Any]
    not_assessed: Sequence[str]
    label_codes: Mapping[str, Any]
    measurement_codes: Mapping[str, Any]
    family: Sequence[str]


def write_sr(
    content: Content, path: Path, seg: Path | None, description: str, stamp: Stamp | None = None
) -> Path:
    """Write a report of measurements.

    Its observer is a device, medseg; it is complete and unverified. Patient and study are those of the
    source.

    Args:
        content: what it tells.
        path: the file to write.
        seg: the SEG of the mask, to whose segments it refers; None for a picture or an empty mask.
        description: of the series.
        stamp: what made the result.

    Raises:
        BundleError: the bundle has no codes for its measurements, or damaged ones.
        OSError: the file can't be written in full.
    """
    from pydicom import config, dcmread

    # Patient attributes are copied unchanged. pydicom's warnings about invalid values would quote them.
    with config.disable_value_validation():
        segments = None if seg is None else dcmread(seg, specific_tags=list(_OF_A_SEG))
        report = _report(content, segments)
        copy_patient(report, content.mask.headers[0])
        date_series(report, description)
        stamp_dataset(report, stamp)
        with atomic_path(path) as temporary:
            report.save_as(temporary)
    return path


def _report(content: Content, seg: Any) -> Any:
    import highdicom as hd

    images = [nameless(header) for header in content.mask.headers]
    return hd.sr.ComprehensiveSR(
        evidence=images if seg is None else [*images, seg],
        content=_document(content, seg)[0],
        series_instance_uid=hd.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="medseg",
        manufacturer_model_name=_algorithm(content),
        software_versions=__version__,
        device_serial_number="none",
        is_complete=True,
        is_final=bool(content.provenance.get("review")),
        coding_schemes=[
            hd.coding_schemes.CodingSchemeIdentificationItem(
                SCHEME, name="Codes of medseg", version=__version__, responsible_organization="medseg"
            )
        ],
    )


def _document(content: Content, seg: Any) -> Any:
    """The content tree."""
    import highdicom as hd

    groups, without = groups_of(content.measurements, content.measurement_codes)
    mask = content.mask
    scene = Scene(
        mask,
        content.label_codes,
        hd.sr.AlgorithmIdentification(
            name=_algorithm(content), version=__version__, family=concept(content.family)
        ),
        seg,
        mask.headers[0] if mask.affine is None else None,
        content.quality.get("predicted_dice") or {},
        content.quality.get("novelty") or {},
    )
    groups += segments_alone(scene, groups, content.measurement_codes["measures"])
    made = [measurement_group(group, scene) for group in groups]
    document = hd.sr.MeasurementReport(
        observation_context=_observer(content),
        procedure_reported=concept(content.measurement_codes.get("procedure", ANY_IMAGING)),
        imaging_measurements=[group for group in made if group is not None],
        title=concept(("126000", "DCM", "Imaging Measurement Report")),
        language_of_content_item_and_descendants=hd.sr.LanguageOfContentItemAndDescendants(concept(LANGUAGE)),
    )
    document[0].ContentSequence.append(_evaluations(content, without))
    return document


def _observer(content: Content) -> Any:
    import highdicom as hd

    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=hd.UID(),
        name="medseg",
        manufacturer_name="medseg",
        model_name=f"{_algorithm(content)} {content.provenance.get('bundle_version', '')}".strip(),
        serial_number="none",
    )
    return hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=concept(("121007", "DCM", "Device")), observer_identifying_attributes=device
        )
    )


def _evaluations(content: Content, without: Sequence[str]) -> Any:
    """The verdict with its reasons, the reviews, and what the report or the algorithm leaves out."""
    import highdicom as hd

    inside = hd.sr.RelationshipTypeValues.CONTAINS
    box = hd.sr.ContainerContentItem(concept(QUALITATIVE), relationship_type=inside)
    verdict = own(str(content.quality.get("verdict", "pass")).upper())
    found = [hd.sr.CodeContentItem(own("VERDICT"), verdict, relationship_type=inside)]
    found += [text("REASON", reason) for reason in content.quality.get("reasons", ())]
    found += [
        text("NO-PREDICTION", content.quality[key])
        for key in ["predicted_dice_reason"]
        if key in content.quality
    ]
    found += [text("REVIEW", _review(review)) for review in content.provenance.get("review", ())]
    if content.provenance.get("settings"):
        found.append(text("SETTINGS", ", ".join(content.provenance["settings"])))
    if without:
        found.append(text("NO-CODE", f"in measurements.json alone: {', '.join(without)}"))
    found += [text("NOT-ASSESSED", thing) for thing in content.not_assessed]
    box.ContentSequence = hd.sr.ContentSequence(found)
    return box


def _review(review: Mapping[str, Any]) -> str:
    comment = f": {review['comment']}" if review.get("comment") else ""
    return f"{review.get('decision')} by {review.get('reviewer')}, {review.get('date')}{comment}"


def _algorithm(content: Content) -> str:
    return f"medseg {content.provenance['task']} {content.provenance['method']}"
