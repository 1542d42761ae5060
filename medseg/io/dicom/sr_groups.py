"""Measurement groups of a structured report (TID 1411, 1410 and 1501): numbers, and what was not measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.instances import numbered
from medseg.io.dicom.rtstruct import outline
from medseg.io.dicom.seg import Codes
from medseg.io.dicom.sr_codes import NO_UNITS, PERCENT, Group, concept, own, unit_of
from medseg.volume import Mask

ANATOMY = "91723000"  # SNOMED CT: such a label is the site itself


@dataclass(frozen=True, eq=False)
class Scene:
    """What all groups of one report share.

    Attributes:
        mask: that was measured.
        codes: of the labels, dicom_codes of the bundle.
        algorithm: highdicom's AlgorithmIdentification.
        seg: the SEG of the mask, its pixels left out; None without one.
        image: the data set of the picture; None for a volume.
        dice: label to its predicted Dice, {"value", "interval"}.
        novelty: {"distance", "percentile"} of the image among the training images; empty if unknown.
    """

    mask: Mask
    codes: Codes
    algorithm: Any
    seg: Any
    image: Any
    dice: Mapping[str, Mapping[str, Any]]
    novelty: Mapping[str, float]


def measurement_group(group: Group, scene: Scene) -> Any:
    """One group of measurements as highdicom's template, with the region or the segment that it is about;
    None where there is nothing to tell."""
    import highdicom as hd

    numbers, texts = _numbers(group, scene), _texts(group)
    if not numbers and not texts:
        return None

    segment = _segment(group, scene)
    region = None if scene.image is None else _region(group, scene)
    shared = {
        "tracking_identifier": _tracking(group, segment),
        "algorithm_id": scene.algorithm,
        "measurements": numbers,
        **_findings(group, scene.codes),
    }
    made: Any
    if segment is not None:
        made = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=_referenced(segment, scene), **shared
        )
    elif region is not None:
        made = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **shared)
    else:
        made = hd.sr.MeasurementsAndQualitativeEvaluations(source_images=_whole(scene), **shared)
    made[0].ContentSequence.extend(texts)
    return made


def segments_alone(scene: Scene, groups: Sequence[Group], measures: Mapping[str, Any]) -> list[Group]:
    """A group with its volume for each segment that no other group is about: objects in a volume."""
    if scene.seg is None or "volume_ml" not in measures:
        return []
    told = {
        str(_segment(group, scene).SegmentLabel) for group in groups if _segment(group, scene) is not None
    }
    values = {name: value for value, name in scene.mask.labels.items()}
    segments = scene.mask.segments
    made = []
    for name in (str(segment.SegmentLabel) for segment in scene.seg.SegmentSequence):
        if name not in told:
            label = name if segments is None else segments.category[values[name]]
            volume = {"value": _volume_ml(scene.mask, values[name]), "unit": "ml"}
            key = f"{name}_volume_ml"
            made.append(Group(name, label, {}, {key: volume}, {key: measures["volume_ml"]}, 0, name))
    return made


def _volume_ml(mask: Mask, value: int) -> float:
    return float((mask.array == value).sum() * abs(np.linalg.det(np.asarray(mask.affine)[:3, :3])) / 1000)


def text(value: str, sentence: str) -> Any:
    """A sentence under a code of medseg's own scheme."""
    return _text(own(value), sentence)


def number(code: Any, value: float, unit: Sequence[str], derivation: Any = None) -> Any:
    """A number with its unit."""
    import highdicom as hd

    return hd.sr.Measurement(
        name=code, value=float(value), unit=concept(unit_of(unit)), derivation=derivation
    )


def _text(code: Any, sentence: str) -> Any:
    import highdicom as hd

    return hd.sr.TextContentItem(code, sentence, relationship_type=hd.sr.RelationshipTypeValues.CONTAINS)


def _numbers(group: Group, scene: Scene) -> list[Any]:
    found = [
        number(
            concept(measure["code"]),
            group.measurements[name]["value"],
            measure["unit"],
            concept(measure["derivation"]) if "derivation" in measure else None,
        )
        for name, measure in group.measures.items()
        if "unit" in measure and group.measurements[name]["value"] is not None
    ]
    if not group.number and not group.segment:
        found += _predicted(scene.dice.get(group.label, {}))
    return found + (_novelty(scene.novelty) if not group.name and scene.novelty else [])


def _predicted(dice: Mapping[str, Any]) -> list[Any]:
    """The predicted Dice and the ends of its interval, where it was predicted."""
    if not isinstance(dice.get("value"), int | float):
        return []
    values = {"DICE": dice["value"]}
    if dice.get("interval"):
        values |= dict(zip(("DICE-LOW", "DICE-HIGH"), dice["interval"], strict=True))
    return [number(own(code), value, NO_UNITS) for code, value in values.items()]


def _novelty(novelty: Mapping[str, float]) -> list[Any]:
    """How far the image is from the training images."""
    return [
        number(own("NOVELTY"), novelty["distance"], NO_UNITS),
        number(own("NOVELTY-RANK"), novelty["percentile"], PERCENT),
    ]


def _texts(group: Group) -> list[Any]:
    """What is said in words, and what was not measured, with the reason."""
    found = []
    for name, measure in group.measures.items():
        entry = group.measurements[name]
        if entry["value"] is None:
            reason = entry.get("reason") or "no reason was given"
            found.append(text("NOT-MEASURED", f"{measure['code'][2]} ({name}): {reason}"))
        elif "unit" not in measure:
            value = entry["value"]
            words = ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
            found.append(_text(concept(measure["code"]), words))
    return found


def _findings(group: Group, codes: Codes) -> dict[str, Any]:
    """Finding, its category, and the site with its side."""
    import highdicom as hd

    label = codes.get(group.label, {})
    kind = label.get("type") or group.about.get("finding")
    if kind is None:
        return {}
    category = label.get("category")
    is_site = category is None or category[0] == ANATOMY
    site = label.get("anatomic_region") or (kind if is_site else None)
    side = label.get("type_modifier") or group.about.get("laterality")
    sites = None
    if site is not None:
        laterality = concept(side) if side and is_site else None
        sites = [hd.sr.FindingSite(anatomic_location=concept(site), laterality=laterality)]
    return {
        "finding_type": concept(kind),
        "finding_category": None if category is None else concept(category),
        "finding_sites": sites,
    }


def _tracking(group: Group, segment: Any) -> Any:
    """The identity of what is measured: that of its segment, where it has one."""
    import highdicom as hd

    uid = hd.UID() if segment is None else segment.TrackingUID
    return hd.sr.TrackingIdentifier(uid=uid, identifier=group.name or "image")


def _segment(group: Group, scene: Scene) -> Any:
    """The segment that a group is about; None where there is none, or where several objects share a label."""
    if scene.seg is None or not group.label:
        return None
    segments = scene.mask.segments
    categories = scene.mask.labels if segments is None else segments.category
    names = {scene.mask.labels[value] for value, name in categories.items() if name == group.label}
    if group.segment:
        names = {group.segment}
    found = [segment for segment in scene.seg.SegmentSequence if segment.SegmentLabel in names]
    return found[0] if len(found) == 1 else None


def _referenced(segment: Any, scene: Scene) -> Any:
    import highdicom as hd

    return hd.sr.ReferencedSegment(
        sop_class_uid=scene.seg.SOPClassUID,
        sop_instance_uid=scene.seg.SOPInstanceUID,
        segment_number=int(segment.SegmentNumber),
        source_series=hd.sr.SourceSeriesForSegmentation(scene.mask.headers[0].SeriesInstanceUID),
    )


def _region(group: Group, scene: Scene) -> Any:
    """The outline of an object in a picture; None where it can't be told which one it is."""
    import highdicom as hd

    where = _object(group, scene.mask)
    if where is None:
        return None
    # (column, row) from the upper left corner of the first pixel, whose centre is at 0.5 (PS3.3 C.18.6.1.2).
    points = outline(where)[:, ::-1] + 0.5
    source = hd.sr.SourceImageForRegion(*_reference(scene.image))
    closed = np.concatenate([points, points[:1]])
    return hd.sr.ImageRegion(hd.sr.GraphicTypeValues.POLYLINE, closed, source)


def _whole(scene: Scene) -> list[Any] | None:
    """The picture as the source of measurements; None for a volume: its slices are the report's evidence."""
    import highdicom as hd

    if scene.image is None:
        return None
    return [hd.sr.SourceImageForMeasurementGroup(*_reference(scene.image))]


def _reference(image: Any) -> tuple[str, str, list[int] | None]:
    """SOP class, SOP instance and, of a clip, the number of the frame."""
    frame = image.get("ReferencedFrameNumber")
    return image.SOPClassUID, image.SOPInstanceUID, None if frame is None else [int(frame)]


def _object(group: Group, mask: Mask) -> np.ndarray | None:
    """The pixels of an object, (row, column) bool: of the component, or instance, with the object's rank and
    area."""
    if not group.number:
        return None
    if mask.segments is None:
        value = next((value for value, name in mask.labels.items() if name == group.label), 0)
        where = numbered(mask.array == value) == group.number
    else:
        values = [value for value, name in sorted(mask.segments.category.items()) if name == group.label]
        where = mask.array == (values[group.number - 1] if group.number <= len(values) else -1)
    area_px = group.measurements.get("area_px", {}).get("value")
    return where if where.any() and area_px == int(where.sum()) else None
