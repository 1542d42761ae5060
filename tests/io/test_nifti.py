"""Where a NIfTI volume lies: as its header says, or refused where it says nothing or two things."""

import contextlib
import gzip
import resource

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat

from medseg.errors import UnreadableError
from medseg.io import read_mask, read_volume, write_mask
from medseg.io.nifti_affine import RIGID_TOLERANCE_MM, furthest_mm, lean_warnings, nearest_rigid
from medseg.volume import Mask

LABELS = {0: "background", 1: "left_lung", 2: "right_lung"}
SHAPE = (8, 9, 10)
OBLIQUE = from_matvec(euler2mat(0.3, -0.2, 0.4) @ np.diag([-0.7, -0.8, 2.5]), [100, -50.5, 20.25])


def save(path, sform=None, qform=None, sform_code=1, qform_code=1, array=None, unit="mm"):
    """A volume whose two forms and codes are as given."""
    array = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) if array is None else array
    image = nib.Nifti1Image(array, None)
    image.header.set_zooms(np.linalg.norm((qform if sform is None else sform)[:3, :3], axis=0))
    image.set_sform(sform, code=sform_code if sform is not None else 0)
    image.set_qform(qform, code=qform_code if qform is not None else 0)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


def leaning(degrees, flip=1):
    """An oblique grid whose slices lean to the side from slice to slice."""
    steps = np.diag([-0.86, -0.86 * flip, 2.5])
    steps[0, 2] = 2.5 * np.tan(np.radians(degrees))
    return from_matvec(euler2mat(0.3, -0.2, 0.4) @ steps, [100, -50.5, 20.25])


def read_by_itk(path):
    """The affine in RAS+ mm that ITK takes from a file."""
    import itk

    image = itk.imread(str(path))
    affine = np.eye(4)
    affine[:3, :3] = itk.array_from_matrix(image.GetDirection()) * np.asarray(image.GetSpacing())
    affine[:3, 3] = np.asarray(image.GetOrigin())
    return np.diag([-1, -1, 1, 1]) @ affine


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

    @pytest.mark.parametrize(("unit", "scale"), [("meter", 1e3), ("micron", 1e-3)])
    def test_other_units_become_mm(self, tmp_path, unit, scale):
        affine = np.diag([1 / scale] * 3 + [1]) @ OBLIQUE
        volume = read_volume(save(tmp_path / "a.nii", affine, affine, unit=unit))
        np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-4)
        (warning,) = volume.warnings
        assert "metres; the voxels are 0.7 x 0.8 x 2.5 mm" in warning

    @pytest.mark.parametrize("unit", ["meter", "micron"])
    def test_a_unit_that_does_not_fit_the_numbers(self, tmp_path, unit):
        with pytest.raises(
            UnreadableError, match=r"unit of length that fits .* (micro)?metres, with voxels of"
        ):
            read_volume(save(tmp_path / "a.nii", OBLIQUE, unit=unit))


def patch(path, **fields):
    """Write header fields as they are, past nibabel's checks; NIfTI-1."""
    header = np.frombuffer(path.read_bytes()[:348], nib.Nifti1Header.template_dtype).copy()
    for field, value in fields.items():
        header[field] = value
    path.write_bytes(header.tobytes() + path.read_bytes()[348:])
    return path


NAN = float("nan")


class TestOddHeaders:
    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"quatern_b": 0, "quatern_c": 0, "quatern_d": 1.0000005}, "slightly longer than 1"),
            ({"quatern_b": NAN}, "the qform holds NaN or infinity: the sform was used"),
            ({"qoffset_y": np.inf}, "the qform holds NaN or infinity: the sform was used"),
            ({"quatern_b": 2.0}, "the qform has a quaternion of the length 2.236, which is no rotation"),
            ({"pixdim": [1, 0, 0.8, 2.5, 1, 1, 1, 1]}, "the qform has the voxel size 0 x 0.8 x 2.5"),
            ({"pixdim": [1, -0.7, 0.8, 2.5, 1, 1, 1, 1]}, "the qform has the voxel size -0.7 x 0.8 x 2.5"),
            ({"pixdim": [1, NAN, 0.8, 2.5, 1, 1, 1, 1]}, "the qform has the voxel size nan x 0.8 x 2.5"),
            ({"pixdim": [-3, 0.7, 0.8, 2.5, 1, 1, 1, 1]}, "the qform has the qfac -3"),
            ({"xyzt_units": 7}, "unknown code 7; mm were assumed"),
            ({"sform_code": 9}, "the sform's code 9 is not in the standard"),
            ({"qform_code": 7}, "the qform's code 7 is not in the standard"),
            ({"qform_code": 0, "pixdim": [1, 0.7, 0.8, 5, 0, 0, 0, 0]}, "0.7 x 0.8 x 5 mm by pixdim"),
        ],
    )
    def test_a_good_sform_is_used_with_a_warning(self, tmp_path, caplog, fields, words):
        form = np.diag([-0.7, -0.8, 2.5, 1.0])
        volume = read_volume(patch(save(tmp_path / "a.nii", form, form), **fields))
        np.testing.assert_allclose(volume.affine, form, atol=1e-4)
        assert any(words in warning for warning in volume.warnings), volume.warnings
        assert caplog.text == ""

    @pytest.mark.parametrize(
        ("srow", "words"),
        [([NAN] * 4, "the sform holds NaN"), ([0] * 4, "the sform has linearly dependent axes")],
    )
    def test_a_good_qform_is_used_where_the_sform_is_none(self, tmp_path, srow, words):
        volume = read_volume(patch(save(tmp_path / "a.nii", OBLIQUE, OBLIQUE), srow_x=srow))
        np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-4)
        (warning,) = volume.warnings
        assert warning.startswith(words)
        assert warning.endswith("the qform was used")

    def test_two_bad_forms(self, tmp_path):
        path = patch(save(tmp_path / "a.nii", OBLIQUE, OBLIQUE), srow_x=[0] * 4, quatern_c=NAN)
        with pytest.raises(
            UnreadableError, match="sform has linearly dependent axes and whose qform holds NaN"
        ):
            read_volume(path)

    @pytest.mark.parametrize("codes", [(-1, 0), (-1, -2)])
    def test_negative_codes_say_nothing(self, tmp_path, codes):
        path = save(tmp_path / "a.nii", OBLIQUE, OBLIQUE)
        patch(path, sform_code=codes[0], qform_code=codes[1])
        with pytest.raises(UnreadableError, match=f"which side is left.*the codes {codes[0]} and {codes[1]}"):
            read_volume(path)

    @pytest.mark.parametrize(("qfac", "flip"), [(0, 1), (5, 1)])
    def test_a_qform_alone_whose_qfac_is_missing(self, tmp_path, qfac, flip):
        form = np.diag([0.7, 0.8, 2.5 * flip, 1.0])
        path = save(tmp_path / "a.nii", qform=form)
        patch(path, pixdim=[qfac, 0.7, 0.8, 2.5, 1, 1, 1, 1])
        volume = read_volume(path)
        np.testing.assert_allclose(volume.affine, form, atol=1e-4)
        assert f"qfac is {qfac} instead of 1 or -1" in volume.warnings[0]

    @pytest.mark.parametrize("size", [0, -0.7, NAN])
    def test_a_qform_alone_without_sizes_is_refused(self, tmp_path, size):
        path = patch(save(tmp_path / "a.nii", qform=OBLIQUE), pixdim=[1, size, 0.8, 2.5, 1, 1, 1, 1])
        with pytest.raises(UnreadableError, match="whose qform has the voxel size"):
            read_volume(path)

    def test_both_sizes_are_named(self, tmp_path):
        path = patch(save(tmp_path / "a.nii", OBLIQUE), pixdim=[1, 0.7, 0.8, 5, 1, 1, 1, 1])
        (warning,) = read_volume(path).warnings
        assert "0.7 x 0.8 x 2.5 mm by the sform, which was used, and 0.7 x 0.8 x 5 mm by pixdim" in warning

    @pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII", "A.Nii.Gz"])
    @pytest.mark.parametrize("packed", [True, False])
    @pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
    def test_compression_is_told_by_the_content(self, tmp_path, name, packed, image_class):
        array = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
        image = image_class(array, OBLIQUE)
        content = image.to_bytes()
        (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
        volume = read_volume(tmp_path / name)
        assert np.array_equal(volume.array[0], array)
        np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-4)
        assert volume.warnings == ()


def test_a_long_extension_before_the_voxels(tmp_path):
    array = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    image = nib.Nifti1Image(array, OBLIQUE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 5000))
    for name in ("a.nii", "a.nii.gz"):
        nib.save(image, tmp_path / name)
        assert np.array_equal(read_volume(tmp_path / name).array[0], array)


@pytest.mark.seconds
@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_damaged_header_raises_nothing_but_medseg_errors(tmp_path, image_class):
    content = image_class(np.zeros(SHAPE, np.int16), OBLIQUE).to_bytes()
    rng, was_read = np.random.default_rng(5), 0
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(0, 540, 3):
            damaged[place] = rng.integers(256)
        (tmp_path / "a.nii").write_bytes(damaged)
        with contextlib.suppress(UnreadableError):
            assert np.isfinite(read_volume(tmp_path / "a.nii").affine).all()
            was_read += 1
    assert 100 < was_read < 300


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders(tmp_path, order):
    array = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    image = nib.Nifti1Image(array, OBLIQUE, nib.Nifti1Header(endianness=order))
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    assert np.array_equal(volume.array[0], array)
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-4)


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

    @pytest.mark.seconds
    @pytest.mark.parametrize("degrees", [0.05, 0.1, 0.2, 0.4])
    @pytest.mark.parametrize("flip", [1, -1])
    def test_a_little_lean_is_opened_within_a_millimetre(self, tmp_path, labels, degrees, flip):
        affine = leaning(degrees, flip)
        shape = (512, 512, 132)
        write_mask(Mask(np.zeros(shape, np.uint8), LABELS, affine=affine), tmp_path / "a.nii.gz")
        image = nib.load(tmp_path / "a.nii.gz")
        assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
        np.testing.assert_allclose(image.affine, affine, atol=1e-4)
        by_itk = read_by_itk(tmp_path / "a.nii.gz")
        off_mm = furthest_mm(by_itk, affine, shape)
        assert off_mm < RIGID_TOLERANCE_MM
        assert off_mm == pytest.approx(furthest_mm(nearest_rigid(affine, shape), affine, shape), abs=0.02)
        (warning,) = lean_warnings(affine, shape)
        assert f"up to {off_mm:.1f} mm off" in warning
        assert "nrrd" in warning

    @pytest.mark.seconds
    @pytest.mark.parametrize("degrees", [1, 15, 25])
    def test_a_tilted_gantry_is_in_the_sform_alone(self, tmp_path, labels, degrees):
        affine, shape = leaning(degrees), (512, 512, 132)
        write_mask(Mask(np.zeros(shape, np.uint8), LABELS, affine=affine), tmp_path / "a.nii.gz")
        image = nib.load(tmp_path / "a.nii.gz")
        assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 0)
        np.testing.assert_allclose(
            image.header.get_zooms(), np.linalg.norm(affine[:3, :3], axis=0), rtol=1e-6
        )
        again = read_volume(tmp_path / "a.nii.gz")
        np.testing.assert_allclose(again.affine, affine, atol=1e-4)
        assert again.warnings == ()
        (warning,) = lean_warnings(affine, shape)
        assert "refuse" in warning
        assert "nrrd" in warning
        write_mask(Mask(labels, LABELS, affine=affine), tmp_path / "a.nrrd")
        np.testing.assert_allclose(read_by_itk(tmp_path / "a.nrrd"), affine, atol=1e-9)

    @pytest.mark.parametrize("affine", [OBLIQUE, OBLIQUE @ np.diag([-1, 1, 1, 1]), leaning(0.0005)])
    def test_right_angles_need_no_word(self, affine):
        assert lean_warnings(affine, (512, 512, 132)) == ()

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
