"""The DICOM series of phantoms say what they should, and each fault is the one that its name tells."""

from __future__ import annotations

import zipfile

import dicom_faults
import numpy as np
import pydicom
import pytest

from medseg.phantoms import dicom_series
from medseg.volume import Volume

pytestmark = pytest.mark.seconds

SHAPE = (44, 40, 12)


@pytest.fixture(scope="module")
def volume():
    array = np.random.default_rng(0).integers(-1024, 1500, SHAPE).astype(np.int16)
    affine = np.diag([-1.5, -1.25, 2.5, 1.0])
    affine[:3, 3] = (11.5, -7.25, 33)
    return Volume(array[None], affine)


@pytest.fixture
def series(volume):
    return dicom_series.data_sets(volume.array[0], volume.affine)


def read(paths):
    return [pydicom.dcmread(path, force=True) for path in paths]


def hu(header):
    return header.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)


def positions(headers):
    return np.array([header.ImagePositionPatient for header in headers], float)


def spoilt(series, fault):
    return dicom_faults.damage(series, fault, 0)


def test_an_axial_series_says_where_each_pixel_lies(volume, tmp_path):
    headers = read(dicom_series.write_series(volume, tmp_path, orientation="axial"))
    assert len(headers) == 12
    assert [float(v) for v in headers[0].ImageOrientationPatient] == [1, 0, 0, 0, 1, 0]
    # RAS+ (11.5, -7.25, 33) is LPS (-11.5, 7.25, 33).
    assert np.allclose(positions(headers), [(-11.5, 7.25, 33 + 2.5 * k) for k in range(12)])
    assert [float(v) for v in headers[0].PixelSpacing] == [1.25, 1.5]
    assert (headers[0].Rows, headers[0].Columns) == (40, 44)
    for k, header in enumerate(headers):
        assert np.array_equal(hu(header).T, volume.array[0, :, :, k])
    assert len({header.SOPInstanceUID for header in headers}) == 12
    assert len({header.SeriesInstanceUID for header in headers}) == 1


@pytest.mark.parametrize("orientation", dicom_series.ORIENTATIONS)
def test_in_every_orientation_each_voxel_stays_at_its_place(volume, tmp_path, orientation):
    headers = read(dicom_series.write_series(volume, tmp_path, orientation=orientation))
    to_index = np.linalg.inv(volume.affine)
    for header in (headers[0], headers[-1]):
        row, column = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        spacing = np.array(header.PixelSpacing, float)
        for r, c in ((0, 0), (3, 7), (header.Rows - 1, header.Columns - 1)):
            lps = (
                np.array(header.ImagePositionPatient, float) + r * spacing[0] * column + c * spacing[1] * row
            )
            at = tuple(np.rint(to_index[:3, :3] @ (lps * (-1, -1, 1)) + to_index[:3, 3]).astype(int))
            assert hu(header)[r, c] == volume.array[0][at]
    steps = np.diff(positions(headers), axis=0)
    assert np.all(steps @ np.cross(row, column) > 0)
    assert headers[0].PatientPosition == dicom_series.ORIENTATIONS[orientation][1]


def test_a_sheared_grid_becomes_a_tilted_gantry(volume, tmp_path):
    affine = volume.affine.copy()
    tilt = np.radians(15)
    affine[:3, 1] = 1.25 * np.array([0, -np.cos(tilt), np.sin(tilt)])
    headers = read(dicom_series.write_series(Volume(volume.array, affine), tmp_path))
    assert np.allclose(np.diff(positions(headers), axis=0), (0, 0, 2.5))
    normal = np.cross(*np.array(headers[0].ImageOrientationPatient, float).reshape(2, 3))
    assert np.degrees(np.arccos(normal[2])) == pytest.approx(15)
    assert float(headers[0].GantryDetectorTilt) == pytest.approx(15, abs=1e-3)


@pytest.mark.parametrize(
    "syntax",
    [
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.5",
    ],
)
def test_transfer_syntaxes_keep_the_pixels(volume, tmp_path, syntax):
    headers = read(dicom_series.write_series(volume, tmp_path, transfer_syntax=syntax))
    assert headers[5].file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(hu(headers[5]).T, volume.array[0, :, :, 5])


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"])
def test_lossless_compression_keeps_the_pixels(volume, tmp_path, syntax):
    pytest.importorskip("jpeg_ls" if syntax.endswith("80") else "openjpeg")
    headers = read(dicom_series.write_series(volume, tmp_path, transfer_syntax=syntax))
    assert headers[5].file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(hu(headers[5]).T, volume.array[0, :, :, 5])


def test_values_below_the_intercept_are_signed(volume, tmp_path):
    array = volume.array.copy()
    array[..., 0] = -2000
    headers = read(dicom_series.write_series(Volume(array, volume.affine), tmp_path))
    assert headers[0].PixelRepresentation == 1
    assert np.all(hu(headers[0]) == -2000)


def test_planted_patient_is_in_every_file(volume, tmp_path):
    planted = {"PatientName": "Planted^Name", "PatientID": "PLANTED-1", "PatientBirthDate": "19010203"}
    for header in read(dicom_series.write_series(volume, tmp_path, patient=planted)):
        assert {keyword: str(header[keyword].value) for keyword in planted} == planted


def test_file_names_may_hide_the_order(volume, tmp_path):
    numbered = dicom_series.write_series(volume, tmp_path / "numbered")
    assert [path.name for path in numbered[:2]] == ["001.dcm", "002.dcm"]
    reversed_names = dicom_series.write_series(volume, tmp_path / "reversed", names="reversed")
    assert reversed_names[0].name == "012.dcm"
    assert read(reversed_names)[0].InstanceNumber == 1
    hidden = dicom_series.write_series(volume, tmp_path / "random", names="random")
    assert [path.name for path in hidden] != sorted(path.name for path in hidden)


def test_every_fault_leaves_the_given_series_as_it_was(series):
    before = [header.to_json() for header in series]
    for fault in dicom_faults.FAULTS:
        spoilt(series, fault)
    assert [header.to_json() for header in series] == before


@pytest.mark.parametrize("fault", dicom_faults.FAULTS)
def test_every_fault_can_be_written_and_parsed(volume, tmp_path, fault):
    paths = dicom_faults.write_faulty_series(volume, tmp_path, faults=[fault])
    assert all(header.get("Columns") == 44 for header in read(paths))


@pytest.mark.parametrize(
    ("fault", "count"),
    [
        ("missing_slice", 11), ("missing_slices", 9), ("duplicate_slice", 13), ("duplicate_position", 13),
        ("same_instance_twice", 13), ("two_acquisitions", 24), ("interleaved_acquisitions", 20),
        ("mixed_series", 18), ("two_studies", 18), ("localizer", 13), ("single_slice", 1),
        ("unequal_steps", 9),
    ],
)  # fmt: skip
def test_faults_of_number(series, fault, count):
    assert len(spoilt(series, fault)) == count


def test_faults_of_place(series):
    z = positions(series)[:, 2]
    assert np.ptp(np.diff(positions(spoilt(series, "missing_slice"))[:, 2])) == 2.5
    assert positions(spoilt(series, "moved_slice"))[6, 2] == pytest.approx(z[6] + 1)
    slid = positions(spoilt(series, "slid_slice"))
    assert np.linalg.norm(slid[6] - positions(series)[6]) == pytest.approx(9)
    assert np.array_equal(slid[:, 2], z)
    assert list(np.unique(np.diff(positions(spoilt(series, "unequal_steps"))[:, 2]))) == [2.5, 5]
    turned = np.array(spoilt(series, "rotated_slice")[6].ImageOrientationPatient, float).reshape(2, 3)
    assert np.degrees(np.arccos(np.cross(*turned)[2])) == pytest.approx(10)
    assert np.allclose(turned @ turned.T, np.eye(2))
    second = positions(spoilt(series, "interleaved_acquisitions"))[12:, 2]
    assert np.allclose(second, z[:8] + 0.75)


def test_faults_of_identity(series):
    same, copy, other = (
        spoilt(series, name)[-1] for name in ("same_instance_twice", "duplicate_slice", "duplicate_position")
    )
    assert same.SOPInstanceUID == series[6].SOPInstanceUID
    assert copy.SOPInstanceUID != series[6].SOPInstanceUID
    assert copy.PixelData == series[6].PixelData
    assert np.all(hu(other) == hu(series[6]) + 40)
    assert len({h.SeriesInstanceUID for h in spoilt(series, "mixed_series")}) == 2
    assert len({h.StudyInstanceUID for h in spoilt(series, "two_studies")}) == 2
    passes = spoilt(series, "two_acquisitions")
    assert {h.AcquisitionNumber for h in passes} == {1, 2}
    assert len({h.SeriesInstanceUID for h in passes}) == 1
    assert len({h.SOPInstanceUID for h in passes}) == 24
    shuffled = spoilt(series, "shuffled_instance_numbers")
    assert sorted(h.InstanceNumber for h in shuffled) == list(range(1, 13))
    assert not np.all(np.diff(positions(shuffled)[:, 2]) > 0)
    assert spoilt(series, "localizer")[0].ImageType[2] == "LOCALIZER"


def test_faults_of_pixels(series, volume, tmp_path):
    padded = spoilt(series, "padding")
    assert padded[3].pixel_array[0, 0] == padded[3].PixelPaddingValue == -2000
    assert hu(padded[3])[20, 22] == hu(series[3])[20, 22]
    varied = spoilt(series, "slope_per_slice")
    assert len({float(h.RescaleSlope) for h in varied}) == 4
    assert all(np.abs(hu(a) - hu(b)).max() <= 0.7 for a, b in zip(varied, series, strict=True))
    windowed = spoilt(series, "values_0_255")[0]
    assert (windowed.pixel_array.min(), windowed.pixel_array.max()) == (pytest.approx(55, abs=3), 255)
    assert len(spoilt(series, "truncated_pixels")[6].PixelData) == 44 * 40
    paths = dicom_faults.write_faulty_series(volume, tmp_path, faults=["truncated_file"])
    sizes = [path.stat().st_size for path in paths]
    assert sizes[6] < 0.75 * sizes[5]


def test_faults_of_tags(series, volume, tmp_path):
    assert spoilt(series, "wrong_modality")[0].Modality == "MR"
    assert spoilt(series, "monochrome1")[0].PhotometricInterpretation == "MONOCHROME1"
    for fault, keyword in (
        ("no_position", "ImagePositionPatient"), ("no_orientation", "ImageOrientationPatient"),
        ("no_pixel_spacing", "PixelSpacing"), ("no_rescale", "RescaleSlope"), ("no_modality", "Modality"),
        ("no_instance_numbers", "InstanceNumber"), ("no_pixels", "PixelData"),
    ):  # fmt: skip
        assert keyword in series[0]
        assert not any(keyword in header for header in spoilt(series, fault))
    header = read(dicom_faults.write_faulty_series(volume, tmp_path, faults=["no_transfer_syntax"]))[0]
    assert "TransferSyntaxUID" not in header.file_meta
    assert float(spoilt(series, "other_pixel_spacing")[-1].PixelSpacing[0]) == pytest.approx(1.375)
    assert spoilt(series, "other_size")[-1].Rows == 32


@pytest.mark.data
def test_real_series_can_be_spoilt_and_saved(data_root, tmp_path):
    with zipfile.ZipFile(data_root / "lung_ct" / "lidc_1011.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".dcm"))[:9]
        archive.extractall(tmp_path / "real", names)
    real = sorted(read(tmp_path / "real" / name for name in names), key=lambda h: h.ImagePositionPatient[2])
    assert len({h.Rows for h in real}) == 1
    series = dicom_faults.damage(real, "missing_slice", 0)
    series = dicom_faults.damage(series, "slope_per_slice", 0)
    again = read(dicom_series.save(series, tmp_path / "spoilt"))
    assert len(again) == 8
    assert again[0].file_meta.TransferSyntaxUID == real[0].file_meta.TransferSyntaxUID
    assert np.abs(hu(again[0]) - hu(real[0])).max() <= 0.7
