"""Codes of the structured report: those of a bundle's dicom_measurements, and medseg's own.

dicom_measurements in metadata.json says how measurements are called in DICOM:

- `procedure`: code of the imaging procedure.
- `groups`: beginning of a measurement's name to what it is about: `label`, which has the finding, the site
  and the segment of that label in dicom_codes, or `finding` and `laterality`. A measurement belongs to the
  group with the longest beginning; without one to the whole image.
- `lists`: measurement that is a list of objects, to the `label` of each.
- `repeated`: beginnings of names whose measurements stand in a list, too.
- `measures`: the rest of a measurement's name to its `code` and its `unit`, or to its `code` alone where the
  value is a text; with a `derivation`, such as Mean.

A code is (value, scheme, meaning); a unit is one of UCUM, with percent for its %: a text that begins with %
is a macro to MONAI, which reads metadata.json as part of the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medseg.errors import BundleError

SCHEME = "99MEDSEG"  # private, declared in CodingSchemeIdentificationSequence (0008,0110)
NO_UNITS = ("1", "UCUM", "no units")
PERCENT = ("%", "UCUM", "percent")
# Of SCHEME: value to meaning.
MEANINGS = {
    "VERDICT": "Verdict of the automatic check of the mask",
    "PASS": "Pass",
    "WARN": "Warning",
    "REJECT": "Reject",
    "REASON": "Reason of the verdict",
    "NO-PREDICTION": "Why no quality was predicted",
    "DICE": "Predicted Dice coefficient",
    "DICE-LOW": "Predicted Dice coefficient, low end of 90% interval",
    "DICE-HIGH": "Predicted Dice coefficient, high end of 90% interval",
    "NOVELTY": "Distance from the training images",
    "NOVELTY-RANK": "Percentile of the distance among training images",
    "NOT-MEASURED": "Not measured",
    "NO-CODE": "Measurements without a code",
    "NOT-ASSESSED": "Not assessed by the algorithm",
    "REVIEW": "Review by a person",
    "SETTINGS": "Changed settings",
    "IMAGE": "Whole image",
}


@dataclass(frozen=True, eq=False)
class Group:
    """Measurements of one thing.

    Attributes:
        name: of a label, of several labels together, or of an object; empty for the whole image.
        label: the label that it is measured from; empty where it is several, or the whole image.
        about: its entry in `groups` or `lists`.
        measurements: full name to {"value", "unit"}, with "reason" where the value is None.
        measures: full name to its entry in `measures`.
        number: of an object in a list, from 1; 0 for what is no object.
        segment: the label of the segment that it is about, where that is not `label`.
    """

    name: str
    label: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    measurements: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    measures: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    number: int = 0
    segment: str = ""


def own(value: str) -> Any:
    """The code of medseg's own scheme."""
    return concept((value, SCHEME, MEANINGS[value]))


def concept(code: Sequence[str]) -> Any:
    """A highdicom CodedConcept.

    Raises:
        BundleError: it is not (value, scheme, meaning).
    """
    from highdicom.sr import CodedConcept

    if len(code) != 3 or not all(isinstance(part, str) and part for part in code):
        raise BundleError(
            "a code as [value, scheme, meaning]",
            got=f"{code}",
            advice="Correct it in the bundle's metadata.json.",
        )
    return CodedConcept(*code)


def unit_of(code: Sequence[str]) -> Sequence[str]:
    """A unit as UCUM writes it."""
    return PERCENT if code[0] == PERCENT[2] else code


def groups_of(
    measurements: Mapping[str, Mapping[str, Any]], codes: Mapping[str, Any]
) -> tuple[list[Group], list[str]]:
    """The measurements by what they are about, in the bundle's order, and the names that have no code.

    Args:
        measurements: as in measurements.json.
        codes: dicom_measurements of the bundle.

    Raises:
        BundleError: the bundle has none, or they lack what is needed.
    """
    if not codes.get("measures"):
        raise BundleError(
            "DICOM codes for the bundle's measurements",
            got="none",
            advice="Add them under dicom_measurements in the bundle's metadata.json.",
        )
    about = codes.get("groups", {})
    groups = {name: Group(name, entry.get("label", ""), entry) for name, entry in about.items()}
    groups[""] = Group("")
    objects: list[Group] = []
    without: list[str] = []
    for name, entry in measurements.items():
        if any(name.startswith(f"{begin}_") for begin in codes.get("repeated", ())):
            continue
        if name in codes.get("lists", {}):
            objects += _objects(entry["value"] or [], codes["lists"][name], measurements, codes)
            continue
        if not _add(groups[_begin(name, about)], name, entry, codes["measures"]):
            without.append(name)
    return [*groups.values(), *objects], without


def _objects(
    objects: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
    measurements: Mapping[str, Mapping[str, Any]],
    codes: Mapping[str, Any],
) -> list[Group]:
    """A group for each object of a list. Why a value is missing stands in the repeated measurements."""
    reasons = {
        name.removeprefix(f"{begin}_"): entry.get("reason", "")
        for begin in codes.get("repeated", ())
        for name, entry in measurements.items()
        if name.startswith(f"{begin}_")
    }
    made = []
    for number, values in enumerate(objects, start=1):
        group = Group(f"{about['label']} {number}", about["label"], about, number=number)
        for key, value in values.items():
            entry = {"value": value, "unit": "", "reason": reasons.get(key, "")}
            _add(group, key, entry, codes["measures"])
        made.append(group)
    return made


def _begin(name: str, about: Mapping[str, Any]) -> str:
    """The longest beginning of a measurement's name that has a group."""
    return max((begin for begin in about if name.startswith(f"{begin}_")), key=len, default="")


def _add(group: Group, name: str, entry: Mapping[str, Any], measures: Mapping[str, Any]) -> bool:
    """Put a measurement into a group; whether it has a code."""
    rest = name.removeprefix(f"{group.name}_") if group.name and not group.number else name
    if rest not in measures:
        return False
    group.measurements[name], group.measures[name] = entry, measures[rest]
    return True
