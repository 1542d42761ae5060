"""Slices are ordered by place; the grid is exact, or refused with the slice, the tag and the step."""

import numpy as np
import pytest
from dicom_writer import COLUMNS, FIRST_MM, ROWS, SPACING_MM, STEP_MM, body_hu, ct_slices, enhanced_ct, save

from medseg.errors import UnsuitableError
from medseg.io.dicom import read

# LPS to RAS turns x and y round; column i is the x axis of this phantom, row j its y axis.
AFFINE = np.array(
    [
        [-SPACING_MM[1], 0, 0, 9.2],
        [0, -SPACING_MM[0], 0, 7.0],
        [0, 0, STEP_MM, FIRST_MM],
        [0, 0, 0, 1],
    ]
)


def refusal(folder, slices):
    with pytest.raises(UnsuitableError) as caught:
        read(save(folder, slices), "CT")
    return str(caught.value)


def test_array_and_affine(tmp_path):
    volume = read(save(tmp_path, ct_slices()), "CT")
    assert volume.array.shape == (1, COLUMNS, ROWS, 8)
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array[0], body_hu().transpose(2, 1, 0))
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert volume.warnings == ()


def test_order_is_by_place_and_not_by_name_or_number(tmp_path):
    slices = ct_slices()
    shuffled = [slices[k] for k in (3, 0, 7, 5, 1, 6, 2, 4)]
    for number, one in enumerate(shuffled, start=1):
        one.InstanceNumber = number
    volume = read(save(tmp_path, shuffled), "CT")
    np.testing.assert_array_equal(volume.array[0], body_hu().transpose(2, 1, 0))
    heights_mm = [float(header.ImagePositionPatient[2]) for header in volume.headers]
    assert heights_mm == sorted(heights_mm)
    assert "PixelData" not in volume.headers[0]


def test_oblique_orientation(tmp_path):
    """Each voxel lies where PS3.3 C.7.6.2.1.1 puts its pixel, whatever the orientation."""
    row, column = np.array([0.6, 0.8, 0.0]), np.array([0.0, 0.0, -1.0])
    normal = np.cross(row, column)
    slices = ct_slices()
    for k, one in enumerate(slices):
        one.ImageOrientationPatient = [*row, *column]
        one.ImagePositionPatient = list(np.round(np.array([5.0, -3.0, 2.0]) + 1.5 * k * normal, 6))
    volume = read(save(tmp_path, slices), "CT")
    for k in (0, 7):
        i, j = 5, 9
        position = np.array([5.0, -3.0, 2.0]) + 1.5 * k * normal
        lps = position + row * SPACING_MM[1] * i + column * SPACING_MM[0] * j
        np.testing.assert_allclose(volume.affine @ [i, j, k, 1], [-lps[0], -lps[1], lps[2], 1], atol=1e-5)


def test_slices_that_descend_along_the_normal_come_out_ascending(tmp_path):
    slices = ct_slices()
    for k, one in enumerate(slices):
        one.ImagePositionPatient = [-9.2, -7.0, -STEP_MM * k]
    volume = read(save(tmp_path, slices), "CT")
    np.testing.assert_array_equal(volume.array[0], body_hu()[::-1].transpose(2, 1, 0))
    assert volume.affine[2, 3] == -7 * STEP_MM


def test_tilted_gantry_gives_a_sheared_grid_and_the_angle(tmp_path):
    tilt = np.radians(14)
    slices = ct_slices()
    for one in slices:
        one.ImageOrientationPatient = [
            1,
            0,
            0,
            0,
            float(np.round(np.cos(tilt), 8)),
            float(np.round(-np.sin(tilt), 8)),
        ]
    volume = read(save(tmp_path, slices), "CT")
    np.testing.assert_allclose(volume.affine[:3, 2], [0, 0, STEP_MM], atol=1e-6)
    np.testing.assert_allclose(volume.affine[:3, 1], [0, -0.7 * np.cos(tilt), -0.7 * np.sin(tilt)], atol=1e-6)
    assert len(volume.warnings) == 1
    assert "14.00 degrees" in volume.warnings[0]


@pytest.mark.parametrize("digits", [1, 6])
def test_rounded_positions_are_accepted(tmp_path, digits):
    slices = ct_slices()
    for k, one in enumerate(slices):
        one.ImagePositionPatient = [-9.2, -7.0, round(FIRST_MM + 1.25 * k + 0.03, digits)]
    assert read(save(tmp_path, slices), "CT").affine[2, 2] == pytest.approx(1.25, abs=0.02)


@pytest.mark.parametrize(("gone", "count"), [([3], "1 slice is"), ([3, 4], "2 slices are")])
def test_missing_slices_are_named_by_their_neighbours(tmp_path, gone, count):
    slices = [one for k, one in enumerate(ct_slices()) if k not in gone]
    text = refusal(tmp_path, slices)
    assert f"{count} missing between slice 3 of {8 - len(gone)} (file 003.dcm, at z = -95.0 mm)" in text
    assert f"a step of {STEP_MM * (len(gone) + 1):.2f} mm instead of 2.50 mm" in text
    assert "(0020,0032)" in text


def test_every_second_slice_missing_in_one_half(tmp_path):
    text = refusal(tmp_path, [one for k, one in enumerate(ct_slices(body_hu(14))) if k < 4 or k % 2])
    assert "missing between slice 5" in text


@pytest.mark.parametrize("gone", [[0], [7], [0, 1, 7]])
def test_missing_end_slices_leave_a_shorter_volume(tmp_path, gone):
    volume = read(save(tmp_path, [one for k, one in enumerate(ct_slices()) if k not in gone]), "CT")
    assert volume.array.shape[3] == 8 - len(gone)


def test_slice_moved_along_the_normal(tmp_path):
    slices = ct_slices()
    slices[4].ImagePositionPatient[2] += 0.8
    text = refusal(tmp_path, slices)
    assert "slice 5 of 8 (file 005.dcm, at z = -89.2 mm) lies 0.80 mm off its place" in text


@pytest.mark.parametrize("k", [0, 4, 7])
def test_slice_moved_sideways(tmp_path, k):
    slices = ct_slices()
    slices[k].ImagePositionPatient[1] += 3
    text = refusal(tmp_path, slices)
    assert f"slice {k + 1} of 8" in text
    assert "3.00 mm sideways" in text


def test_unequal_steps(tmp_path):
    slices = ct_slices()
    for k, one in enumerate(slices):
        one.ImagePositionPatient[2] = FIRST_MM + (2.5 * k if k < 5 else 10 + 3.7 * (k - 4))
    text = refusal(tmp_path, slices)
    assert "3 steps unequal to the usual 2.50 mm" in text
    assert "3.70 mm between slice 5 of 8" in text


def test_drifting_steps(tmp_path):
    slices = ct_slices(body_hu(40))
    for k, one in enumerate(slices):
        one.ImagePositionPatient[2] = FIRST_MM + 2.5 * k + 0.002 * k**2
    assert "off a regular grid" in refusal(tmp_path, slices)


@pytest.mark.parametrize("degrees", [0.1, 5])
def test_rotated_slice(tmp_path, degrees):
    slices = ct_slices()
    turn = np.radians(degrees)
    slices[3].ImageOrientationPatient = [
        *(float(round(v, 8)) for v in (np.cos(turn), np.sin(turn), 0, -np.sin(turn), np.cos(turn), 0))
    ]
    text = refusal(tmp_path, slices)
    assert "slice 4 of 8 (file 004.dcm" in text
    assert f"{degrees:.2f} degrees" in text
    assert "(0020,0037)" in text


@pytest.mark.parametrize(
    ("keyword", "tag"),
    [
        ("ImagePositionPatient", "(0020,0032)"),
        ("ImageOrientationPatient", "(0020,0037)"),
        ("PixelSpacing", "(0028,0030)"),
    ],
)
def test_place_missing_in_one_slice(tmp_path, keyword, tag):
    slices = ct_slices()
    delattr(slices[2], keyword)
    text = refusal(tmp_path, slices)
    assert tag in text
    assert "none in file 003.dcm" in text


@pytest.mark.parametrize(
    ("keyword", "value", "named"),
    [
        ("PixelSpacing", [0, 0.8], "(0028,0030)"),
        ("PixelSpacing", [-0.7, 0.8], "(0028,0030)"),
        ("ImageOrientationPatient", [1, 0, 0, 0.1, 0.995, 0], "(0020,0037)"),
        ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0], "(0020,0037)"),
        ("Rows", 0, "Rows"),
        ("Rows", 60000, "Rows"),
    ],
)
def test_impossible_values(tmp_path, keyword, value, named):
    text = refusal(tmp_path, ct_slices(**{keyword: value}))
    assert named in text
    assert "001.dcm" in text


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PixelSpacing", [0.7, 0.81]),
        ("BitsStored", 12),
        ("PixelRepresentation", 1),
        ("PhotometricInterpretation", "MONOCHROME1"),
        ("FrameOfReferenceUID", "1.2.3.98"),
        ("PatientID", "OTHER"),
    ],
)
def test_one_slice_differs(tmp_path, keyword, value):
    slices = ct_slices()
    setattr(slices[5], keyword, value)
    if keyword == "BitsStored":
        slices[5].HighBit = 11
    text = refusal(tmp_path, slices)
    assert keyword in text
    assert "slice 6 of 8 (file 006.dcm, at z = -87.5 mm)" in text
    assert not {"OTHER", "SECRET", "1.2.3.98"} & set(text.replace(" ", ";").split(";"))


def test_slice_that_is_there_twice(tmp_path):
    slices = ct_slices()
    volume = read(save(tmp_path, [*slices, slices[2]]), "CT")
    np.testing.assert_array_equal(volume.array[0], body_hu().transpose(2, 1, 0))
    assert "duplicate slices" in volume.warnings[0]


def test_two_slices_at_one_place(tmp_path):
    slices = ct_slices()
    other = ct_slices(body_hu() + 1)[2]
    text = refusal(tmp_path, [*slices, other])
    assert "two different slices at one position" in text
    assert "file 003.dcm" in text


def test_equal_pixels_on_another_scale_are_not_the_same_slice(tmp_path):
    slices = ct_slices()
    other = ct_slices(RescaleIntercept=-1000)[2]
    assert "two different slices" in refusal(tmp_path, [*slices, other])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_too_few_slices(tmp_path, count):
    text = refusal(tmp_path, ct_slices(body_hu(count)))
    assert "at least 4 slices" in text
    assert f"got {count}: too few" in text


def test_four_slices_are_enough(tmp_path):
    assert read(save(tmp_path, ct_slices(body_hu(4))), "CT").array.shape[3] == 4


def test_gaps_between_thin_slices_are_told(tmp_path):
    volume = read(save(tmp_path, ct_slices(SliceThickness=1)), "CT")
    assert "1 mm lie 2.5 mm apart" in volume.warnings[0]


def test_multi_frame_file_is_the_same_volume(tmp_path):
    volume = read(save(tmp_path, [enhanced_ct()]), "CT")
    np.testing.assert_array_equal(volume.array[0], body_hu().transpose(2, 1, 0))
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert len(volume.headers) == 1


def test_multi_frame_frames_are_ordered_and_checked_like_slices(tmp_path):
    values = enhanced_ct(body_hu()[::-1])
    frames = values.PerFrameFunctionalGroupsSequence
    for k, frame in enumerate(frames):
        frame.PlanePositionSequence[0].ImagePositionPatient = [-9.2, -7.0, FIRST_MM - STEP_MM * k]
    volume = read(save(tmp_path / "descending", [values]), "CT")
    np.testing.assert_array_equal(volume.array[0], body_hu().transpose(2, 1, 0))
    frames[3].PlanePositionSequence[0].ImagePositionPatient[2] += 1
    text = refusal(tmp_path / "moved", [values])
    assert "frame 4" in text
    assert "1.00 mm off its place" in text


def test_multi_frame_file_with_another_number_of_frames(tmp_path):
    assert "NumberOfFrames" in refusal(tmp_path, [enhanced_ct(NumberOfFrames=9)])


@pytest.mark.data
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("notavolume/001", ["all 4 slices at one position", "4 acquisitions"]),
        ("slicecount/001", ["too few slices", "at least 4"]),
        ("sliceincrement/001", ["1 slice is missing between slice 3 of 4", "10.00 mm instead of 5.00 mm"]),
        ("sliceincrement/002", ["1 slice is missing between slice 3 of 4", "1.50 mm instead of 0.75 mm"]),
        ("sliceorientation/001", ["mixed orientation", "90.00 degrees"]),
    ],
)
def test_real_studies_that_are_no_volumes(data_root, case, words):
    with pytest.raises(UnsuitableError) as caught:
        read(data_root / "dicom_cases/failing" / case)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.data
def test_real_tilted_gantry(data_root):
    volume = read(data_root / "dicom_cases/failing/gantrytilting/001", "CT")
    assert "14.00 degrees" in volume.warnings[0]
    np.testing.assert_allclose(volume.affine[:3, 2], [0, 0, 5], atol=1e-3)


@pytest.mark.seconds
@pytest.mark.data
def test_real_chest_ct(data_root):
    volume = read(data_root / "lung_ct/lidc_1011.zip", "CT")
    assert volume.array.shape == (1, 512, 512, 133)
    np.testing.assert_allclose(np.diag(volume.affine), [-0.859375, -0.859375, 2.5, 1])
    assert volume.affine[2, 3] == -370.5
    assert (volume.array.min(), volume.array.max()) == (-1024, 3071)
