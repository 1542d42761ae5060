"""A structured report read back into plain tables, by highdicom and by pydicom alone."""

import highdicom as hd
import pydicom

GETTERS = (
    "get_volumetric_roi_measurement_groups",
    "get_planar_roi_measurement_groups",
    "get_image_measurement_groups",
)


def numbers_by_highdicom(path):
    """(tracking identifier, code value, derivation or None, unit) to value."""
    content = hd.sr.srread(path).content
    return {
        (group.tracking_identifier, m.name.value, m.derivation and m.derivation.value, m.unit.value): m.value
        for getter in GETTERS
        for group in getattr(content, getter)()
        for m in group.get_measurements()
    }


def groups(path):
    """Tracking identifier to the data set of its measurement group, by pydicom."""
    report = pydicom.dcmread(path)
    (measurements,) = [item for item in report.ContentSequence if _name(item) == "126010"]
    return {_text(group, "112039"): group for group in measurements.ContentSequence}


def numbers_by_pydicom(path):
    """As numbers_by_highdicom."""
    found = {}
    for name, group in groups(path).items():
        for item in group.ContentSequence:
            if item.ValueType == "NUM":
                (measured,) = item.MeasuredValueSequence
                derived = [i for i in item.get("ContentSequence", []) if _name(i) == "121401"]
                derivation = derived[0].ConceptCodeSequence[0].CodeValue if derived else None
                unit = measured.MeasurementUnitsCodeSequence[0].CodeValue
                found[name, _name(item), derivation, unit] = measured.FloatingPointValue
    return found


def texts(items, code):
    """The texts with a code among content items."""
    return [item.TextValue for item in items if item.ValueType == "TEXT" and _name(item) == code]


def evaluations(path):
    """The content items of the container Qualitative Evaluations."""
    report = pydicom.dcmread(path)
    (container,) = [item for item in report.ContentSequence if _name(item) == "C0034375"]
    return container.ContentSequence


def _name(item):
    code = item.ConceptNameCodeSequence[0]
    return code.get("CodeValue") or code.LongCodeValue


def _text(group, code):
    return texts(group.ContentSequence, code)[0]
