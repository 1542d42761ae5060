"""Where a NIfTI volume lies: as its header says, or refused where it says nothing or two things."""

import resource

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat

from medseg.errors import UnreadableError
from medseg.io import read_mask, read_volume, write_mask
from medseg.volume import Mask

LABELS = {0: "background", 1: "left_lung", 2: "right_lung"}
SHAPE = (8, 9, 10)
OBLIQUE = from_matvec(euler2mat(0.3, -0.2, 0.4) @ np.diag([-0.7, -0.8, 2.5]), [100, -50.5, 20.25])
SHEARED = np.array([[-0.7, 0, 0, 90], [0, -0.7, 0.6, 80], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])


def save(path, sform=None, qform=None, sform_code=1, qform_code=1, array=None, unit="mm"):
    """A volume whose two forms and codes are as given."""
    array = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) if array is None else array
    image = nib.Nifti1Image(array, None)
    image.set_sform(sform, code=sform_code if sform is not None else 0)
    image.set_qform(qform, code=qform_code if qform is not None else 0)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


def turned(degrees, axis=2):
    angles = [0.0, 0.0, 0.0]
    angles[2 - axis] = np.radians(degrees)  # euler2mat takes z, y, x
    return from_matvec(euler2mat(*angles), [0, 0, 0]) @ OBLIQUE


class TestForms:
    @pytest.mark.parametrize("form", ["sform", "qform"])
    def test_one_form_alone(self, tmp_path, form):
        volume = read_volume(save(tmp_path / "a.nii", **{form: OBLIQUE}))
        np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-4)
        assert volume.warnings == ()

    def test_two_equal_forms(self, tmp_path):
        assert read_volume(save(tmp_path / "a.nii", OBLIQUE, OBLIQUE)).warnings == ()

    def test_a_form_whose_code_is_0_says_nothing(self, tmp_path):
        mirrored = OBLIQUE @ np.diag([-1, 1, 1, 1])
        volume = read_volume(save(tmp_path / "a.nii", OBLIQUE, mirrored, qform_code=0))
        np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-4)
        assert volume.warnings == ()

    def test_no_form_says_which_side_is_left(self, tmp_path):
        with pytest.raises(UnreadableError, match=r"which side is left .* both codes 0"):
            read_volume(save(tmp_path / "a.nii", OBLIQUE, OBLIQUE, sform_code=0, qform_code=0))

    @pytest.mark.parametrize("shift_mm", [0.05, 7.3])
    def test_a_shift(self, tmp_path, shift_mm):
        shifted = OBLIQUE.copy()
        shifted[2, 3] += shift_mm
        volume = read_volume(save(tmp_path / "a.nii", OBLIQUE, shifted))
        np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-4)
        if shift_mm < 0.1:
            assert volume.warnings == ()
        else:
            (warning,) = volume.warnings
            assert "7.3 mm apart; the sform was used" in warning

    def test_a_small_turn_is_measured_at_the_corner_that_is_furthest(self, tmp_path):
        (warning,) = read_volume(save(tmp_path / "a.nii", OBLIQUE, turned(5))).warnings
        corners = np.array(np.meshgrid(*((0, n - 1) for n in SHAPE), (1,))).reshape(4, -1)
        apart = np.linalg.norm((OBLIQUE - turned(5)) @ corners, axis=0).max()
        assert f"{apart:.1f} mm apart" in warning

    @pytest.mark.parametrize(
        "other",
        [
            OBLIQUE @ np.diag([-1, 1, 1, 1]),
            OBLIQUE @ np.diag([1, -1, 1, 1]),
            OBLIQUE @ np.diag([1, 1, -1, 1]),
            np.diag([-1, 1, 1, 1]) @ OBLIQUE,
            turned(180),
            turned(180, axis=1),
            turned(60),
            OBLIQUE[:, [1, 0, 2, 3]],
        ],
        ids=["i", "j", "k", "world", "half_turn_z", "half_turn_y", "turn", "axes_swapped"],
    )
    def test_contradictions_are_refused(self, tmp_path, other):
        for forms in ((OBLIQUE, other), (other, OBLIQUE)):
            with pytest.raises(UnreadableError, match=r"agree on left and right.*sform says [A-Z]{3} "):
                read_volume(save(tmp_path / "a.nii", *forms))

    @pytest.mark.parametrize("unit", ["meter", "micron"])
    def test_other_units_are_refused(self, tmp_path, unit):
        with pytest.raises(UnreadableError, match=f"in the unit {unit}"):
            read_volume(save(tmp_path / "a.nii", OBLIQUE, unit=unit))


class TestWriting:
    @pytest.fixture
    def labels(self):
        return np.random.default_rng(3).integers(0, 3, SHAPE, dtype=np.uint8)

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    @pytest.mark.parametrize("affine", [OBLIQUE, OBLIQUE @ np.diag([-1, 1, 1, 1])])
    def test_both_forms_hold_an_oblique_grid(self, tmp_path, labels, affine, suffix):
        write_mask(Mask(labels, LABELS, affine=affine), tmp_path / f"a{suffix}")
        image = nib.load(tmp_path / f"a{suffix}")
        for form, code in (image.get_sform(coded=True), image.get_qform(coded=True)):
            assert code == 1
            np.testing.assert_allclose(form, affine, atol=1e-3)
        assert image.header.get_xyzt_units()[0] == "mm"
        assert np.array_equal(read_mask(tmp_path / f"a{suffix}", LABELS).array, labels)

    def test_a_shear_is_in_the_sform_and_the_qform_is_not_to_be_used(self, tmp_path, labels):
        write_mask(Mask(labels, LABELS, affine=SHEARED), tmp_path / "a.nii.gz")
        image = nib.load(tmp_path / "a.nii.gz")
        assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 0)
        np.testing.assert_allclose(
            image.header.get_zooms(), np.linalg.norm(SHEARED[:3, :3], axis=0), rtol=1e-6
        )
        again = read_volume(tmp_path / "a.nii.gz")
        np.testing.assert_allclose(again.affine, SHEARED, atol=1e-4)
        assert again.warnings == ()

    def test_a_full_disk_leaves_the_earlier_file(self, tmp_path):
        labels = np.random.default_rng(3).integers(0, 3, (60, 60, 60), dtype=np.uint8)
        for path in (tmp_path / "a.nii", tmp_path / "a.nii.gz"):
            path.write_bytes(b"earlier")
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
            try:
                with pytest.raises(OSError, match="large"):
                    write_mask(Mask(labels, LABELS, affine=OBLIQUE), path)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            assert path.read_bytes() == b"earlier"
        assert len(list(tmp_path.iterdir())) == 2


def test_hounsfield_units_with_an_intercept_come_exactly_as_float32(tmp_path):
    stored = np.random.default_rng(3).integers(0, 4096, SHAPE, dtype=np.uint16)
    image = nib.Nifti1Image(stored, OBLIQUE)
    image.header.set_slope_inter(1, -1024)
    nib.save(image, tmp_path / "a.nii.gz")
    array = read_volume(tmp_path / "a.nii.gz").array
    assert array.dtype == np.float32
    assert np.array_equal(array[0], stored.astype(int) - 1024)


def test_a_volume_larger_than_any_scan_takes_no_memory(tmp_path):
    save(tmp_path / "a.nii", OBLIQUE, array=np.zeros((2, 2, 2), np.uint8))
    with (tmp_path / "a.nii").open("rb+") as file:
        file.seek(42)
        file.write(np.array([1300, 1300, 1300], dtype="<i2").tobytes())
        file.truncate(352 + 1300**3)  # a hole: the disk holds none of it
    with pytest.raises(UnreadableError, match="at most 2147483648 voxels"):
        read_volume(tmp_path / "a.nii")


def test_real_chest_ct_has_no_warning(data_root):
    for name in ("thorax_1.nii.gz", "thorax_2.nii.gz", "abdomen.nii.gz"):
        volume = read_volume(data_root / "lung_ct/totalseg_crops" / name)
        assert volume.warnings == ()
        assert volume.array.ndim == 4
