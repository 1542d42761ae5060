"""A SEG holds each voxel at its place, refers to the slices it lies on, and says what each segment is."""

import json
import resource
import shutil
import subprocess

import dicom_phantom
import numpy as np
import pydicom
import pytest
from dicom_phantom import CODES, GEOMETRIES, LABELS
from seg_reader import read_seg

from medseg.errors import BundleError, UnsuitableError
from medseg.io.dicom.seg import write_seg
from medseg.volume import Mask


def phantom(name, order=None):
    made = dicom_phantom.headers(name) if order is None else (dicom_phantom.enhanced_header(name, order),)
    return Mask(dicom_phantom.labels(), LABELS, affine=dicom_phantom.ras_affine(name), headers=tuple(made))


def changed(mask, **changes):
    return Mask(
        **{"array": mask.array, "labels": LABELS, "affine": mask.affine, "headers": mask.headers} | changes
    )


def points_by_pydicom(path):
    """Segment label to the set of its voxels' places in LPS mm, read without medseg."""
    seg = pydicom.dcmread(path)
    shared = seg.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    spacing = [float(s) for s in shared.PixelMeasuresSequence[0].PixelSpacing]
    names = {item.SegmentNumber: item.SegmentLabel for item in seg.SegmentSequence}
    points = {name: set() for name in names.values()}
    for frame, pixels in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        start = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        rows, columns = np.nonzero(pixels)
        places = start + np.outer(columns, cosines[0] * spacing[1]) + np.outer(rows, cosines[1] * spacing[0])
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        points[names[number]] |= {tuple(place) for place in places.round(2)}
    return points


def expected_points(name):
    affine, array = dicom_phantom.lps_affine(name), dicom_phantom.labels()
    found = {}
    for value in (1, 2, 3):
        places = np.argwhere(array == value) @ affine[:3, :3].T + affine[:3, 3]
        found[LABELS[value]] = {tuple(place) for place in places.round(2)}
    return found


def nearly_equal(found, expected):
    """Whether two sets of points are the same but for rounding."""
    from scipy.spatial import cKDTree

    a, b = np.array(sorted(found)), np.array(sorted(expected))
    return len(a) == len(b) and max(cKDTree(a).query(b)[0].max(), cKDTree(b).query(a)[0].max()) < 0.03


@pytest.mark.seconds
@pytest.mark.parametrize("name", GEOMETRIES)
def test_each_voxel_comes_back_at_its_place(tmp_path, name):
    mask = phantom(name)
    write_seg(mask, tmp_path / "a.dcm", CODES)
    again = read_seg(tmp_path / "a.dcm", LABELS, mask)
    assert np.array_equal(again.array, mask.array)
    found, expected = points_by_pydicom(tmp_path / "a.dcm"), expected_points(name)
    assert found.keys() == expected.keys()
    assert all(nearly_equal(found[label], expected[label]) for label in expected)


@pytest.mark.parametrize("name", ["axial", "tilted"])
def test_multi_frame_source_whose_frames_are_shuffled(tmp_path, name):
    mask = phantom(name, order=(3, 0, 8, 1, 2, 7, 6, 5, 4))
    write_seg(mask, tmp_path / "a.dcm", CODES)
    assert np.array_equal(read_seg(tmp_path / "a.dcm", LABELS, mask).array, mask.array)
    found, expected = points_by_pydicom(tmp_path / "a.dcm"), expected_points(name)
    assert all(nearly_equal(found[label], expected[label]) for label in expected)


def test_frames_refer_to_the_slice_they_lie_on(tmp_path):
    mask = phantom("tilted")
    write_seg(mask, tmp_path / "a.dcm", CODES)
    seg = pydicom.dcmread(tmp_path / "a.dcm")
    position = {h.SOPInstanceUID: np.array(h.ImagePositionPatient, dtype=float) for h in mask.headers}
    assert seg.FrameOfReferenceUID == mask.headers[0].FrameOfReferenceUID
    for frame in seg.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        own = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        np.testing.assert_allclose(own, position[source], atol=1e-3)


def test_segments_say_what_they_are_and_leave_out_what_is_empty(tmp_path):
    mask = phantom("axial")
    array = np.where(mask.array == 2, 0, mask.array)
    write_seg(changed(mask, array=array), tmp_path / "a.dcm", CODES)
    seg = pydicom.dcmread(tmp_path / "a.dcm")
    left, airway = seg.SegmentSequence
    assert [(s.SegmentNumber, s.SegmentLabel) for s in (left, airway)] == [(1, "left_lung"), (2, "airway")]
    kind = left.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("39607008", "SCT")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert left.SegmentAlgorithmType == "AUTOMATIC"
    assert "RecommendedDisplayCIELabValue" in left
    assert int(seg.NumberOfFrames) == 6 + 4  # slices with a voxel, no others
    assert np.array_equal(read_seg(tmp_path / "a.dcm", LABELS, mask).array, array)


def test_patient_and_study_are_the_source_s_and_descriptions_hold_no_identifier(tmp_path):
    mask = phantom("axial")
    write_seg(mask, tmp_path / "a.dcm", CODES)
    seg, header = pydicom.dcmread(tmp_path / "a.dcm"), mask.headers[0]
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID"):
        assert seg[keyword].value == header[keyword].value
    assert seg.SeriesInstanceUID != header.SeriesInstanceUID
    described = ("medseg segmentation", "Automatic segmentation")
    assert (seg.SeriesDescription, seg.ContentDescription) == described
    for keyword in ("SeriesDate", "SeriesTime", "ContentDate", "ContentTime"):
        assert seg[keyword].value


def test_the_source_s_headers_stay_as_they_are(tmp_path):
    mask = phantom("axial")
    write_seg(mask, tmp_path / "a.dcm", CODES)
    assert mask.headers[0].StudyDate == "20200101"
    assert pydicom.dcmread(tmp_path / "a.dcm").StudyDate == "20200101"


def test_a_source_without_what_the_standard_wants_empty(tmp_path):
    mask = phantom("axial")
    for header in mask.headers:
        for keyword in ("PatientID", "PatientBirthDate", "AccessionNumber", "StudyID", "StudyTime"):
            del header[keyword]
    write_seg(mask, tmp_path / "a.dcm", CODES)
    assert "PatientID" not in mask.headers[0]
    assert np.array_equal(read_seg(tmp_path / "a.dcm", LABELS, mask).array, mask.array)


@pytest.mark.parametrize(
    "change",
    [
        {"array": np.zeros(dicom_phantom.SHAPE, np.uint8)},
        {"headers": ()},
        {"array": dicom_phantom.labels()[..., :-1]},
        {"array": dicom_phantom.labels()[:-2]},
        {"affine": dicom_phantom.ras_affine("axial") @ np.diag([1, -1, 1, 1])},
        {"affine": dicom_phantom.ras_affine("prone")},
        {"affine": dicom_phantom.ras_affine("tilted")},
    ],
    ids=["empty", "no_dicom", "slice_lost", "columns_lost", "flipped", "turned", "straightened"],
)
def test_a_mask_that_does_not_lie_on_its_slices_is_refused(tmp_path, change):
    mask = phantom("axial")
    with pytest.raises(UnsuitableError) as caught:
        write_seg(changed(mask, **change), tmp_path / "a.dcm", CODES)
    assert "PLANTED" not in str(caught.value).upper()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("codes", [{}, {**CODES, "airway": {"category": CODES["airway"]["category"]}}])
def test_labels_without_codes_are_refused(tmp_path, codes):
    with pytest.raises(BundleError, match="dicom_codes"):
        write_seg(phantom("axial"), tmp_path / "a.dcm", codes)


def test_odd_values_of_the_patient_are_copied_and_not_quoted(tmp_path, recwarn, caplog, capfd):
    made = dicom_phantom.headers("axial")
    with pydicom.config.disable_value_validation():
        for header in made:
            dicom_phantom.plant_odd_values(header)
        files = sorted(dicom_phantom.write(made, tmp_path / "ct").iterdir())
    mask = changed(phantom("axial"), headers=tuple(pydicom.dcmread(file) for file in files))
    for said in (recwarn, caplog):
        said.clear()
    capfd.readouterr()
    write_seg(mask, tmp_path / "a.dcm", CODES)
    said = "".join([*(str(warning.message) for warning in recwarn), caplog.text, *capfd.readouterr()])
    assert "PLANTED" not in said
    with pydicom.config.disable_value_validation():
        assert str(pydicom.dcmread(tmp_path / "a.dcm").PatientName) == "Müller^PLANTED=a=b=c=d"


def test_a_full_disk_leaves_the_earlier_file(tmp_path):
    mask, path = phantom("axial"), tmp_path / "a.dcm"
    path.write_bytes(b"earlier")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            write_seg(mask, path, CODES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("name", "order"), [("axial", None), ("tilted", None), ("axial", range(9))])
def test_dciodvfy_finds_no_error(tmp_path, name, order):
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy (apt: dicom3tools) is not installed")
    write_seg(phantom(name, order), tmp_path / "a.dcm", CODES)
    found = subprocess.run(
        ["dciodvfy", "-new", tmp_path / "a.dcm"], capture_output=True, text=True, check=False
    )
    assert "Segmentation" in found.stderr + found.stdout
    assert "Error" not in found.stderr + found.stdout


def test_codes_may_come_from_json(tmp_path):
    write_seg(phantom("axial"), tmp_path / "a.dcm", json.loads(json.dumps(CODES)))
    assert (tmp_path / "a.dcm").is_file()
