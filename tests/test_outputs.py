"""A result as files: each format, its refusal, and nothing half-written."""

import dataclasses
import json

import dicom_phantom
import numpy as np
import pydicom
import pytest
from dicom_writer import ct_slices

from medseg.case import Case
from medseg.errors import UnsuitableError, UsageError
from medseg.formats import FORMATS, check_formats, usual_formats
from medseg.io import read_mask
from medseg.modes import ModeRules
from medseg.outputs import SegmentationResult
from medseg.volume import Mask

LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}
AFFINE = np.array([[-0.9, 0, 0, 40], [0, -0.9, 0, 30], [0, 0, 2.0, -100], [0, 0, 0, 1.0]])


@pytest.fixture
def result():
    image = np.full((1, 60, 50, 30), -1000, np.int16)
    image[:, 5:-5, 8:-8] = 40
    labels = np.zeros(image.shape[1:], np.uint8)
    labels[10:28, 15:35, 5:25] = 2
    labels[34:50, 15:35, 5:25] = 1
    labels[30:32, 24:27, 2:28] = 3
    image[0][labels > 0] = -850
    mask = Mask(labels, LABELS, affine=AFFINE, source="scan.nii.gz")
    measurements = {"left_lung_volume_ml": {"value": 10.4, "unit": "ml"}}
    provenance = {"task": "lung_ct", "input": "scan", "bundle_version": "0.1.0", "weights_sha256": None}
    quality = {"verdict": "pass", "reasons": []}
    return SegmentationResult(mask, measurements, quality, [], provenance, image)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.seconds
def test_usual_formats_of_a_volume(result, tmp_path):
    folder = result.save(tmp_path / "out")
    assert files(folder) == ["measurements.json", "overlay.png", "report.html", "segmentation.nii.gz"]
    again = read_mask(folder / "segmentation.nii.gz", LABELS)
    assert np.array_equal(again.array, result.mask.array)
    assert np.allclose(again.affine, AFFINE)
    assert json.loads((folder / "measurements.json").read_text())["task"] == "lung_ct"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nifti", ["segmentation.nii.gz"]),
        ("nrrd", ["segmentation.nrrd"]),
        ("mesh", ["airway.stl", "left_lung.stl", "right_lung.stl"]),
        ("png", ["overlay.png"]),
        ("html", ["report.html"]),
    ],
)
def test_one_format(result, tmp_path, name, expected):
    assert files(result.save(tmp_path, [name])) == sorted([*expected, "measurements.json"])


def by_instance(result):
    """The result with a second instance of the left lung, which has 18 voxels."""
    result.mask.array[40:43, 40:43, 28:] = 1
    rules = ModeRules(LABELS, {"min_ml": 0.02, "split_touching": False})
    mask = rules.apply(Case(result.mask, result.image), "instance").segmented
    return dataclasses.replace(result, mask=mask)


def test_instances_have_meshes_of_their_own(result, tmp_path):
    meshes = ["airway_1.stl", "left_lung_1.stl", "left_lung_2.stl", "right_lung_1.stl"]
    assert files(by_instance(result).save(tmp_path, ["mesh"])) == sorted([*meshes, "measurements.json"])


@pytest.mark.seconds
def test_many_instances_as_dicom_seg(tmp_path):
    """Each is a segment with the codes of its category."""
    name = next(iter(dicom_phantom.GEOMETRIES))
    array = np.zeros_like(dicom_phantom.labels())
    array[::2, ::2, ::2] = 1
    headers, affine = tuple(dicom_phantom.headers(name)), dicom_phantom.ras_affine(name)
    mask = Mask(array, {0: "background", 1: "left_lung"}, affine=affine, headers=headers)
    case = Case(mask, np.zeros((1, *array.shape), np.int16))
    found = ModeRules(mask.labels, {"min_ml": 0}).apply(case, "instance").segmented
    about = {"task": "lung_ct", "method": "classical", "algorithm_family": "morphological_operations"}
    quality = {"verdict": "pass", "reasons": []}
    result = SegmentationResult(found, {}, quality, [], about, case.image, codes=dicom_phantom.CODES)
    result.save(tmp_path, ["dicom-seg"])
    segments = pydicom.dcmread(tmp_path / "segmentation.dcm").SegmentSequence
    count = np.count_nonzero(array)
    assert count > 256
    assert [str(segment.SegmentLabel) for segment in segments] == [f"left_lung_{n + 1}" for n in range(count)]
    assert {segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for segment in segments} == {"Lung"}


class TestPanoptic:
    def test_usual_in_its_mode_alone(self, result, tmp_path):
        found = by_instance(result)
        named = dataclasses.replace(found, provenance={**found.provenance, "mode": "panoptic"})
        assert "panoptic.json" in files(named.save(tmp_path))
        assert "panoptic.json" not in files(found.save(tmp_path))

    def test_labels_alone_are_no_segments(self, result, tmp_path):
        with pytest.raises(UnsuitableError, match="objects have numbers"):
            result.save(tmp_path / "out", ["coco-panoptic"])
        assert not (tmp_path / "out").exists()


@pytest.mark.seconds
def test_nothing_stays_of_an_earlier_result(result, tmp_path):
    """Not in another format, and not of labels that are no more; what is nobody's stays."""
    by_instance(result).save(tmp_path, ["nifti", "nrrd", "mesh", "png", "html", "coco-panoptic"])
    (tmp_path / "notes.txt").write_text("mine")
    result.save(tmp_path, ["mesh"])
    meshes = ["airway.stl", "left_lung.stl", "right_lung.stl"]
    assert files(tmp_path) == sorted([*meshes, "measurements.json", "notes.txt"])
    result.save(tmp_path, ["nifti", "png"])
    assert files(tmp_path) == ["measurements.json", "notes.txt", "overlay.png", "segmentation.nii.gz"]


@pytest.mark.parametrize("name", ["dicom-seg", "rtstruct"])
def test_what_needs_source_slices(result, tmp_path, name):
    with pytest.raises(UnsuitableError, match="which refers to its slices"):
        result.save(tmp_path / "out", ["nifti", name])
    assert not (tmp_path / "out").exists()


class TestWithoutFrameOfReference:
    """A sound series for a mask, but nothing can refer to it."""

    @pytest.fixture
    def unplaced(self, result):
        headers = ct_slices(FrameOfReferenceUID="")
        mask = dataclasses.replace(result.mask, headers=tuple(headers))
        return dataclasses.replace(result, mask=mask)

    @pytest.mark.parametrize("name", ["dicom-seg", "rtstruct"])
    def test_the_other_formats_are_written_with_a_warning(self, unplaced, tmp_path, name, caplog):
        unplaced.save(tmp_path, ["nifti", name])
        assert files(tmp_path) == ["measurements.json", "segmentation.nii.gz"]
        record = json.loads((tmp_path / "measurements.json").read_text())
        warning = f"{name} not written: they refer to FrameOfReferenceUID, which the source images lack"
        assert record["warnings"] == [warning]
        assert record["quality"] == {"verdict": "warn", "reasons": [warning]}
        assert warning in caplog.text

    def test_nothing_else_asked_for(self, unplaced, tmp_path):
        with pytest.raises(UnsuitableError, match="FrameOfReferenceUID"):
            unplaced.save(tmp_path / "out", ["dicom-seg", "rtstruct"])
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"png", "html", "coco-panoptic", "dicom-sr"}))
def test_a_picture_is_no_volume(tmp_path, name):
    labels = np.zeros((8, 9), np.uint8)
    picture = np.zeros((3, 8, 9), np.uint8)
    mask = Mask(labels, {0: "background", 1: "vessel"}, source="photo.png")
    quality = {"verdict": "pass", "reasons": []}
    result = SegmentationResult(mask, {}, quality, [], {"task": "t", "input": "photo"}, picture)
    with pytest.raises(UnsuitableError, match="a volume"):
        result.save(tmp_path / "out", [name])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["nifty", "", "dicom_seg"])
def test_unknown_formats(name):
    with pytest.raises(UsageError, match=r"Did you mean|Known names"):
        check_formats(["nifti", name])


@pytest.mark.parametrize(
    ("shift_mm", "formats", "words"),
    [
        (0.02, ("nifti", "html"), "show the NIfTI file up to"),
        (0.6, ("nifti",), "refuse the NIfTI file"),
        (0.6, ("nrrd",), None),
        (0.0, ("nifti",), None),
    ],
)
def test_a_leaning_grid_is_told_with_the_format_to_ask_for(
    result, tmp_path, caplog, shift_mm, formats, words
):
    affine = AFFINE.copy()
    affine[1, 2] = shift_mm
    leaning = dataclasses.replace(result, mask=dataclasses.replace(result.mask, affine=affine))
    record = json.loads((leaning.save(tmp_path / "out", formats) / "measurements.json").read_text())
    if words is None:
        assert record["warnings"] == []
        assert record["quality"]["verdict"] == "pass"
        return
    (warning,) = record["warnings"]
    assert words in warning
    assert "choose the format nrrd" in warning
    assert record["quality"] == {"verdict": "warn", "reasons": [warning]}
    assert warning in caplog.text
    if "html" in formats:
        assert words in (tmp_path / "out" / "report.html").read_text()


class TestFormats:
    @pytest.mark.parametrize("record", FORMATS.values(), ids=list(FORMATS))
    def test_a_record_is_complete(self, record):
        assert callable(record.writer())
        assert record.summary
        assert record.files

    @pytest.mark.parametrize("name", FORMATS)
    def test_nothing_of_an_earlier_result_stays(self, name, tmp_path):
        """Whatever a format may have written is gone with the next result."""
        folder = tmp_path / "case"
        folder.mkdir()
        old = [file.format(label="vessel") for file in FORMATS[name].files]
        for file in old:
            (folder / file).write_text("old")
        (folder / "measurements.json").write_text('{"labels": {"0": "background", "1": "vessel"}}')
        picture = np.zeros((3, 8, 9), np.uint8)
        mask = Mask(np.zeros((8, 9), np.uint8), {0: "background", 1: "vessel"}, source="photo.png")
        about = {"task": "t", "input": "photo"}
        result = SegmentationResult(mask, {}, {"verdict": "pass", "reasons": []}, [], about, picture)
        result.save(folder, ["html"])
        assert {file.name for file in folder.iterdir()} == {"report.html", "measurements.json"}
        assert not any((folder / file).exists() for file in old if file != "report.html")

    def test_usual_formats(self):
        assert usual_formats(is_volume=False) == ["png", "html"]
        assert usual_formats(is_volume=True) == ["nifti", "png", "html"]
        assert usual_formats(is_volume=False, is_panoptic=True) == ["png", "coco-panoptic", "html"]


def halves(result):
    """What a task says about its labels: here the upper and lower half of the left lung."""
    array = (result.mask.array == 1) * np.uint8(1)
    array[..., 15:] *= 2
    tissues = dataclasses.replace(result.mask, array=array, labels={0: "background", 1: "low", 2: "high"})
    return tissues, {"low_volume_ml": {"value": 3.5, "unit": "ml"}}


@pytest.mark.seconds
def test_tissues_are_written_where_they_are_asked_for(result, tmp_path):
    asked = []

    def find_tissues():
        asked.append(True)
        return halves(result)

    result = dataclasses.replace(result, find_tissues=find_tissues)
    folder = result.save(tmp_path / "out")
    assert not asked
    assert "tissues" not in json.loads((folder / "measurements.json").read_text())
    result.save(folder, ["html", "tissue", "nifti"])
    assert files(folder) == [
        *("measurements.json", "report.html", "segmentation.nii.gz", "tissue.nii.gz", "tissue.png"),
    ]
    assert len(asked) == 1
    again = read_mask(folder / "tissue.nii.gz", {0: "background", 1: "low", 2: "high"})
    assert np.array_equal(again.array, halves(result)[0].array)
    record = json.loads((folder / "measurements.json").read_text())
    assert record["tissues"] == {"0": "background", "1": "low", "2": "high"}
    assert record["measurements"].keys() == {"left_lung_volume_ml", "low_volume_ml"}
    page = (folder / "report.html").read_text()
    assert "<h2>Tissues</h2>" in page
    assert "Low volume" in page
    result.save(folder)
    assert files(folder) == ["measurements.json", "overlay.png", "report.html", "segmentation.nii.gz"]
    assert "<h2>Tissues</h2>" not in (folder / "report.html").read_text()


def test_tissues_need_a_task_that_tells_them_apart(result, tmp_path):
    with pytest.raises(UnsuitableError, match="a task that tells tissues apart, to write tissue"):
        result.save(tmp_path / "out", ["tissue"])
    assert not (tmp_path / "out").exists()


def test_tissues_of_a_picture_are_refused(result, tmp_path):
    mask = Mask(np.ones((20, 20), np.uint8), {0: "background", 1: "lesion"})
    picture = dataclasses.replace(result, mask=mask, image=np.ones((1, 20, 20), np.uint8))
    with pytest.raises(UnsuitableError, match="a volume, to write tissue"):
        picture.save(tmp_path / "out", ["tissue"])
