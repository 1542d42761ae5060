"""A structured report has each number of measurements.json once, with its unit and its segment."""

import dataclasses
import shutil
import subprocess

import dicom_phantom
import numpy as np
import pydicom
import pytest
from dicom_phantom import LABELS
from sr_reader import evaluations, groups, numbers_by_highdicom, numbers_by_pydicom, texts
from ultrasound_writer import write_ultrasound

from medseg.bundle import open_bundle
from medseg.case import Case
from medseg.errors import BundleError
from medseg.io import read_volume
from medseg.io.dicom.seg import FAMILIES, write_seg
from medseg.io.dicom.sr import Content, write_sr
from medseg.io.dicom.sr_codes import unit_of
from medseg.measurements import measure_lesions, measure_lungs
from medseg.volume import Mask

# What measurements.json calls a unit, and what UCUM does.
UNITS = {
    "ml": "mL",
    "HU": "[hnsf'U]",
    "% of the lung": "%",
    "g": "g",
    "ratio": "{ratio}",
    "px": "{pixels}",
    "mm": "mm",
    "mm²": "mm2",
    "count": "1",
    "probability, no diagnosis": "1",
}
QUALITY = {
    "verdict": "warn",
    "reasons": ["the scan is odd"],
    "predicted_dice": {"left_lung": {"value": 0.97, "interval": [0.91, 1.0]}},
    "novelty": {"distance": 4.5, "percentile": 61.0},
}


def content(task, mask, measurements, **changes):
    metadata = open_bundle(task).metadata
    about = {"task": task, "method": "classical", "bundle_version": "1.0"}
    made = Content(
        mask,
        measurements,
        QUALITY,
        about,
        ("nodules",),
        metadata["dicom_codes"],
        metadata["dicom_measurements"],
        FAMILIES["artificial_intelligence"],
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture
def chest(tmp_path):
    """Phantom labels with their measurements and SEG; lungs that the image does not cut, an airway."""
    mask = Mask(
        dicom_phantom.labels(),
        LABELS,
        affine=dicom_phantom.ras_affine("axial"),
        headers=tuple(dicom_phantom.headers("axial")),
    )
    image = np.where(mask.array == 1, -960, -700)[None].astype(np.int16)
    image[0, ::3] += 320
    measurements = measure_lungs(Case(mask, image))
    codes = open_bundle("lung_ct").metadata["dicom_codes"]
    return content("lung_ct", mask, measurements), write_seg(mask, tmp_path / "seg.dcm", codes)


def breast(tmp_path, lesions=((slice(10, 30), slice(15, 50)), (slice(40, 48), slice(60, 70))), **about):
    path = write_ultrasound(np.full((80, 90), 90, np.uint8), tmp_path / "us.dcm", **about)
    volume = read_volume(path, "US")
    array = np.zeros((80, 90), np.uint8)
    for rows, columns in lesions:
        array[rows, columns] = 1
    mask = Mask(
        array,
        {0: "background", 1: "lesion"},
        pixel_spacing_mm=volume.pixel_spacing_mm,
        headers=volume.headers,
    )
    extras = {"malignancy": np.array([0.25]), "lesion_probability": np.array([0.75])}
    return content("breast_ultrasound", mask, measure_lesions(Case(mask, volume.array, extras=extras)))


def written(made, tmp_path, seg=None):
    return write_sr(made, tmp_path / "report.dcm", seg, "medseg task 1.0 measurements")


def expected_numbers(made):
    """What a table of the report has to hold, from the measurements and the bundle's codes."""
    codes = made.measurement_codes
    found = {}

    def add(group, rest, value):
        measure = codes["measures"].get(rest, {})
        if value is not None and "unit" in measure:
            derivation = measure.get("derivation", [None])[0]
            found[group or "image", measure["code"][0], derivation, unit_of(measure["unit"])[0]] = value

    for name, entry in made.measurements.items():
        begins = [begin for begin in codes.get("groups", {}) if name.startswith(f"{begin}_")]
        group = max(begins, key=len, default="")
        if name in codes.get("lists", {}):
            for number, each in enumerate(entry["value"] or (), start=1):
                for key, value in each.items():
                    add(f"lesion {number}", key, value)
        elif not name.startswith("largest_lesion_"):
            add(group, name.removeprefix(f"{group}_") if group else name, entry["value"])
    return found


def without_quality(numbers):
    own = {"DICE", "DICE-LOW", "DICE-HIGH", "NOVELTY", "NOVELTY-RANK"}
    return {key: value for key, value in numbers.items() if key[1] not in own}


def test_each_number_of_the_lungs_is_read_back(chest, tmp_path):
    made, seg = chest
    path = written(made, tmp_path, seg)
    expected = expected_numbers(made)
    assert len(expected) == 3 * 12 + 2  # both lungs and each, the ratio, the airway
    assert without_quality(numbers_by_highdicom(path)) == expected
    assert numbers_by_pydicom(path) == numbers_by_highdicom(path)


def test_each_number_of_the_lesions_is_read_back(tmp_path):
    made = breast(tmp_path)
    path = written(made, tmp_path)
    expected = expected_numbers(made)
    assert {key[0] for key in expected} == {"lesion", "lesion 1", "lesion 2", "image"}
    assert without_quality(numbers_by_highdicom(path)) == expected
    assert numbers_by_pydicom(path) == numbers_by_highdicom(path)


@pytest.mark.parametrize("task", ["lung_ct", "breast_ultrasound"])
def test_measurements_have_a_code_and_the_unit_that_they_are_in(task, chest, tmp_path):
    made = chest[0] if task == "lung_ct" else breast(tmp_path)
    codes = made.measurement_codes
    for name, entry in made.measurements.items():
        begins = [name.removeprefix(f"{begin}_") for begin in codes["groups"] if name.startswith(f"{begin}_")]
        measure = codes["measures"].get(min([name, *begins], key=len))
        if measure and "unit" in measure:
            assert unit_of(measure["unit"])[0] == UNITS[entry["unit"]], name
    assert not texts(evaluations(written(made, tmp_path, None)), "NO-CODE")


def test_codes_are_unambiguous_and_fit_their_attributes():
    for task in ("lung_ct", "breast_ultrasound"):
        measures = open_bundle(task).metadata["dicom_measurements"]["measures"].values()
        keys = [
            (*m["code"][:2], *m.get("unit", ["text"])[:1], *m.get("derivation", [])[:1]) for m in measures
        ]
        assert len(set(keys)) == len(keys)
        for measure in measures:
            assert len(measure["code"][0]) <= 16
            assert len(measure["code"][2]) <= 64


def test_groups_refer_to_the_segments_of_the_seg(chest, tmp_path):
    made, seg = chest
    found, segmentation = groups(written(made, tmp_path, seg)), pydicom.dcmread(seg)
    for segment in segmentation.SegmentSequence:
        items = found[segment.SegmentLabel].ContentSequence
        (image,) = [item for item in items if item.ValueType == "IMAGE"]
        (reference,) = image.ReferencedSOPSequence
        assert reference.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID
        assert reference.ReferencedSegmentNumber == segment.SegmentNumber
        assert {i.UID for i in items if i.ValueType == "UIDREF"} >= {
            segment.TrackingUID,
            made.mask.headers[0].SeriesInstanceUID,
        }
    assert not [item for item in found["lungs"].ContentSequence if item.ValueType == "IMAGE"]


def test_the_seg_and_all_source_images_are_evidence(chest, tmp_path):
    made, seg = chest
    report = pydicom.dcmread(written(made, tmp_path, seg))
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    named = {
        item.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    sources = {header.SOPInstanceUID for header in made.mask.headers}
    assert named == sources | {pydicom.dcmread(seg).SOPInstanceUID}


def test_what_was_not_measured_has_a_reason_and_no_number(chest, tmp_path):
    made, seg = chest
    reason = "the image cuts the left lung: inferior end"
    cut = {"value": None, "unit": "ml", "reason": reason}
    made = dataclasses.replace(made, measurements={**made.measurements, "left_lung_volume_ml": cut})
    path = written(made, tmp_path, seg)
    told = texts(groups(path)["left_lung"].ContentSequence, "NOT-MEASURED")
    assert told == [f"Volume (left_lung_volume_ml): {reason}"]
    assert ("left_lung", "118565006", None, "mL") not in numbers_by_highdicom(path)


def test_sizes_without_a_size_of_a_pixel(tmp_path):
    path = written(breast(tmp_path, spacing_mm=None), tmp_path)
    told = texts(groups(path)["lesion 1"].ContentSequence, "NOT-MEASURED")
    assert "Area (area_mm2): the pixel size is not known: give it with --pixel-spacing-mm" in told
    assert not {key for key in numbers_by_highdicom(path) if key[3] in ("mm", "mm2")}


def test_an_empty_mask_is_told(tmp_path):
    path = written(breast(tmp_path, lesions=()), tmp_path)
    numbers = numbers_by_highdicom(path)
    assert numbers["lesion", "COUNT", None, "1"] == 0
    assert numbers["lesion", "P-LESION", None, "1"] == 0.75
    assert set(groups(path)) == {"lesion", "image"}
    assert texts(groups(path)["lesion"].ContentSequence, "NOT-MEASURED")


def test_an_outline_encloses_the_lesion_s_pixels(tmp_path):
    from skimage.draw import polygon2mask

    made = breast(tmp_path)
    for number, group in enumerate(list(groups(written(made, tmp_path)).values())[-2:], start=1):
        (region,) = [item for item in group.ContentSequence if item.ValueType == "SCOORD"]
        points = np.reshape(region.GraphicData, (-1, 2))
        assert np.array_equal(points[0], points[-1])
        # Corners to pixels' centres: (column, row) from the image's corner to (row, column) of pixels.
        inside = polygon2mask(made.mask.array.shape, points[:, ::-1] - 0.5)
        lesion = np.zeros(made.mask.array.shape, bool)
        lesion[(slice(10, 30), slice(15, 50)) if number == 1 else (slice(40, 48), slice(60, 70))] = True
        assert np.array_equal(inside, lesion)
        (image,) = region.ContentSequence
        assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == made.mask.headers[0].SOPInstanceUID


def test_of_a_clip_the_frame_is_named(tmp_path):
    group = groups(written(breast(tmp_path, frames=3), tmp_path))["lesion 1"]
    (region,) = [item for item in group.ContentSequence if item.ValueType == "SCOORD"]
    assert region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber == 1


def test_quality_review_and_what_is_not_assessed(chest, tmp_path):
    made, seg = chest
    review = {"decision": "edit", "reviewer": "R", "date": "2026-01-02", "comment": "apex"}
    made = dataclasses.replace(made, provenance={**made.provenance, "review": [review]})
    path = written(made, tmp_path, seg)
    items = evaluations(path)
    (verdict,) = [item for item in items if item.ValueType == "CODE"]
    assert verdict.ConceptCodeSequence[0].CodeMeaning == "Warning"
    assert texts(items, "REASON") == ["the scan is odd"]
    assert texts(items, "NOT-ASSESSED") == ["nodules"]
    assert texts(items, "REVIEW") == ["edit by R, 2026-01-02: apex"]
    numbers = numbers_by_highdicom(path)
    dice = [numbers["left_lung", code, None, "1"] for code in ("DICE", "DICE-LOW", "DICE-HIGH")]
    assert dice == [0.97, 0.91, 1.0]
    assert numbers["image", "NOVELTY-RANK", None, "%"] == 61.0


def test_the_report_says_who_made_it_and_that_nobody_has_verified_it(chest, tmp_path):
    made, seg = chest
    report, source = pydicom.dcmread(written(made, tmp_path, seg)), made.mask.headers[0]
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert report.PreliminaryFlag == "PRELIMINARY"
    assert (report.Manufacturer, report.ManufacturerModelName) == ("medseg", "medseg lung_ct classical")
    assert report.SeriesDescription == "medseg task 1.0 measurements"
    for keyword in ("SeriesDate", "SeriesTime", "ContentDate", "ContentTime"):
        assert report[keyword].value
    assert {report.SeriesNumber, pydicom.dcmread(seg).SeriesNumber} == {9102, 9100}
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate"):
        assert report[keyword].value == source[keyword].value
    scheme = report.CodingSchemeIdentificationSequence[0]
    assert scheme.CodingSchemeDesignator == "99MEDSEG"
    observers = [i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "121005"]
    assert [item.ConceptCodeSequence[0].CodeMeaning for item in observers] == ["Device"]


def test_odd_values_of_the_patient_are_copied_and_not_quoted(chest, tmp_path, recwarn, caplog, capfd):
    made, seg = chest
    with pydicom.config.disable_value_validation():
        for header in made.mask.headers:
            dicom_phantom.plant_odd_values(header)
    for said in (recwarn, caplog):
        said.clear()
    capfd.readouterr()
    path = written(made, tmp_path, seg)
    said = "".join([*(str(warning.message) for warning in recwarn), caplog.text, *capfd.readouterr()])
    assert "PLANTED" not in said
    with pydicom.config.disable_value_validation():
        assert str(pydicom.dcmread(path).PatientName) == "Müller^PLANTED=a=b=c=d"


@pytest.mark.parametrize(
    ("codes", "match"),
    [
        ({}, "dicom_measurements"),
        ({"measures": {"volume_ml": {"code": ["1", "SCT"], "unit": ["mL", "UCUM", "ml"]}}}, "value, scheme"),
    ],
    ids=["none", "damaged"],
)
def test_a_bundle_without_codes_is_refused(chest, tmp_path, codes, match):
    made, seg = chest
    made = dataclasses.replace(
        made, measurement_codes=codes, measurements={"volume_ml": {"value": 1.0, "unit": "ml"}}
    )
    with pytest.raises(BundleError, match=match):
        written(made, tmp_path, seg)
    assert not (tmp_path / "report.dcm").exists()


def test_measurements_without_a_code_are_named(chest, tmp_path):
    made, seg = chest
    more = {**made.measurements, "left_lung_novel_ml": {"value": 3.0, "unit": "ml"}}
    path = written(dataclasses.replace(made, measurements=more), tmp_path, seg)
    assert texts(evaluations(path), "NO-CODE") == ["in measurements.json alone: left_lung_novel_ml"]


@pytest.mark.parametrize("what", ["chest", "breast", "clip"])
def test_dciodvfy_finds_no_error(chest, tmp_path, what):
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy (apt: dicom3tools) is not installed")
    made = chest[0] if what == "chest" else breast(tmp_path, frames=3 if what == "clip" else 1)
    path = written(made, tmp_path, chest[1] if what == "chest" else None)
    found = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
    said = (found.stderr + found.stdout).splitlines()
    assert "ComprehensiveSR" in said
    assert not [line for line in said if "Error" in line]
    # It knows no private scheme, though the report declares it.
    others = [
        line for line in said if "Warning" in line and "Unrecognized defined term = <99MEDSEG>" not in line
    ]
    assert all("DICOMDIR" in line for line in others)
