"""A result as DICOM files: they belong together, and none of them goes where it must not."""

import dataclasses
import json

import dicom_phantom
import numpy as np
import pydicom
import pytest
from dicom_phantom import LABELS
from sr_reader import evaluations, groups, numbers_by_highdicom, texts
from ultrasound_writer import write_ultrasound

from medseg.bundle import open_bundle
from medseg.case import Case
from medseg.errors import UnsuitableError
from medseg.io import read_volume
from medseg.io.dicom import read
from medseg.measurements import measure_lesions, measure_lungs
from medseg.modes import ModeRules
from medseg.outputs import SegmentationResult
from medseg.phantoms.dicom_series import write_series
from medseg.volume import Mask

ALL = ["dicom-sr", "rtstruct", "dicom-seg"]


def result_of(task, mask, image, measurements, **changes):
    metadata = open_bundle(task).metadata
    about = {"task": task, "method": "classical", "algorithm_family": "morphological_operations"}
    made = SegmentationResult(
        mask,
        measurements,
        {"verdict": "pass", "reasons": []},
        [],
        {**about, "bundle_version": "0.6.0", "input": "study"},
        image,
        codes=metadata["dicom_codes"],
        measurement_codes=metadata["dicom_measurements"],
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture
def chest():
    headers, affine = tuple(dicom_phantom.headers("axial")), dicom_phantom.ras_affine("axial")
    mask = Mask(dicom_phantom.labels(), LABELS, affine=affine, headers=headers)
    image = np.full((1, *mask.array.shape), -800, np.int16)
    return result_of("lung_ct", mask, image, measure_lungs(Case(mask, image)))


def picture(tmp_path, **tags):
    volume = read_volume(
        write_ultrasound(np.full((60, 70), 90, np.uint8), tmp_path / "us.dcm", tags=tags), "US"
    )
    array = np.zeros((60, 70), np.uint8)
    array[10:30, 15:50] = 1
    labels = {0: "background", 1: "lesion"}
    mask = Mask(array, labels, pixel_spacing_mm=volume.pixel_spacing_mm, headers=volume.headers)
    return result_of("breast_ultrasound", mask, volume.array, measure_lesions(Case(mask, volume.array)))


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def referenced(path):
    """The SOP instances of the segments that a report refers to."""
    items = [item for group in groups(path).values() for item in group.ContentSequence]
    return {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in items if item.ValueType == "IMAGE"
    }


def test_a_report_comes_with_the_seg_that_it_refers_to(chest, tmp_path):
    assert files(chest.save(tmp_path, ["dicom-sr"])) == [
        "measurements.json",
        "report.dcm",
        "segmentation.dcm",
    ]
    seg = pydicom.dcmread(tmp_path / "segmentation.dcm")
    assert referenced(tmp_path / "report.dcm") == {seg.SOPInstanceUID}


def test_whatever_the_order_of_the_formats(chest, tmp_path):
    chest.save(tmp_path, ALL)
    seg = pydicom.dcmread(tmp_path / "segmentation.dcm")
    assert referenced(tmp_path / "report.dcm") == {seg.SOPInstanceUID}


def test_numbers_are_those_of_measurements_json(chest, tmp_path):
    chest.save(tmp_path, ["dicom-sr"])
    record = json.loads((tmp_path / "measurements.json").read_text())["measurements"]
    numbers = numbers_by_highdicom(tmp_path / "report.dcm")
    known = [entry["value"] for entry in record.values() if isinstance(entry["value"], int | float)]
    assert sorted(numbers.values()) == sorted(known)


def test_series_of_one_result_are_told_apart(chest, tmp_path):
    chest.save(tmp_path, ALL)
    made = [pydicom.dcmread(tmp_path / f"{n}.dcm") for n in ("segmentation", "rtstruct", "report")]
    assert [data.SeriesDescription for data in made] == [
        f"medseg lung_ct 0.6.0 {what}" for what in ("segmentation", "contours", "measurements")
    ]
    assert len({data.SeriesNumber for data in made}) == len({data.SeriesInstanceUID for data in made}) == 3
    assert len({data.StudyInstanceUID for data in made}) == 1
    assert all(data.SeriesDate and data.SeriesTime for data in made)


def test_an_edited_mask_is_told(chest, tmp_path):
    review = {"decision": "edit", "reviewer": "R", "date": "2026-01-02", "comment": ""}
    about = {**chest.provenance, "review": [review]}
    dataclasses.replace(chest, provenance=about).save(tmp_path, ["dicom-sr"])
    report = pydicom.dcmread(tmp_path / "report.dcm")
    assert report.SeriesDescription == "medseg lung_ct 0.6.0 measurements edited"
    assert (report.PreliminaryFlag, report.VerificationFlag) == ("FINAL", "UNVERIFIED")
    assert texts(evaluations(tmp_path / "report.dcm"), "REVIEW") == ["edit by R, 2026-01-02"]


def test_an_empty_mask_has_a_report_alone(chest, tmp_path):
    mask = dataclasses.replace(chest.mask, array=np.zeros_like(chest.mask.array))
    empty = measure_lungs(Case(mask, chest.image))
    dataclasses.replace(chest, mask=mask, measurements=empty).save(tmp_path, ["dicom-sr"])
    assert files(tmp_path) == ["measurements.json", "report.dcm"]
    told = texts(groups(tmp_path / "report.dcm")["left_lung"].ContentSequence, "NOT-MEASURED")
    assert "Attenuation Coefficient (left_lung_mean_hu): no left lung was found" in told


def test_objects_in_a_volume_have_their_segment_and_volume(chest, tmp_path):
    chest.mask.array[0:2, 0:2, 0:2] = 1  # a second object
    rules = ModeRules(LABELS, {"min_ml": 0, "split_touching": False})
    mask = rules.apply(Case(chest.mask, chest.image), "instance").segmented
    dataclasses.replace(chest, mask=mask).save(tmp_path, ["dicom-sr"])
    numbers, found = (read_(tmp_path / "report.dcm") for read_ in (numbers_by_highdicom, groups))
    for value, name in mask.labels.items():
        if mask.segments.category.get(value) == "left_lung":
            volume_ml = float((mask.array == value).sum() * 0.8 * 0.7 * 3 / 1000)
            assert numbers[name, "118565006", None, "mL"] == pytest.approx(volume_ml)
            assert [item for item in found[name].ContentSequence if item.ValueType == "IMAGE"]


def test_a_picture_has_a_report_without_a_seg(tmp_path):
    assert files(picture(tmp_path).save(tmp_path / "out", ["dicom-sr"])) == [
        "measurements.json",
        "report.dcm",
    ]


def test_a_picture_needs_no_frame_of_reference_and_a_series_does(chest, tmp_path):
    picture(tmp_path).save(tmp_path / "out", ["dicom-sr"])
    for header in chest.mask.headers:
        del header.FrameOfReferenceUID
    chest.save(tmp_path / "ct", ["nifti", "dicom-sr"])
    assert files(tmp_path / "ct") == ["measurements.json", "segmentation.nii.gz"]


def test_an_image_that_is_no_dicom(chest, tmp_path):
    volume = dataclasses.replace(chest, mask=dataclasses.replace(chest.mask, headers=()))
    flat = picture(tmp_path)
    flat = dataclasses.replace(flat, mask=dataclasses.replace(flat.mask, headers=()))
    for result in (volume, flat):
        with pytest.raises(UnsuitableError, match="expected a DICOM image, to write dicom-sr"):
            result.save(tmp_path / "out", ["dicom-sr"])
    assert not (tmp_path / "out").exists()


def test_a_rejected_mask_has_no_report_unless_it_is_asked_for(chest, tmp_path):
    bad = dataclasses.replace(chest, quality={"verdict": "reject", "reasons": ["low"]})
    bad.save(tmp_path / "out", ["nifti", "dicom-sr"])
    assert files(tmp_path / "out") == ["measurements.json", "segmentation.nii.gz"]
    bad.save(tmp_path / "all", ["dicom-sr"], even_rejected=True)
    items = evaluations(tmp_path / "all" / "report.dcm")
    assert [i.ConceptCodeSequence[0].CodeValue for i in items if i.ValueType == "CODE"] == ["REJECT"]
    assert texts(items, "REASON") == ["low"]


@pytest.mark.seconds
def test_results_beside_a_series_do_not_hide_it(chest_phantom, tmp_path):
    study = tmp_path / "study"
    write_series(chest_phantom, study)
    before = read(study, "CT")
    labels = np.zeros(before.array.shape[1:], np.uint8)
    labels[10:20, 10:20, 2:5] = 1
    mask = Mask(labels, LABELS, affine=before.affine, headers=before.headers)
    made = result_of("lung_ct", mask, before.array, measure_lungs(Case(mask, before.array)))
    made.save(study / "results", ALL)
    after = read(study, "CT")
    assert np.array_equal(after.array, before.array)
    assert [str(h.SOPInstanceUID) for h in after.headers] == [str(h.SOPInstanceUID) for h in before.headers]
