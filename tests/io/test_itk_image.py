"""NRRD and MetaImage: voxels and places as in the file; what the header leaves open is refused."""

import resource
import shutil

import nibabel as nib
import numpy as np
import pytest

from medseg.errors import UnreadableError
from medseg.io import read_mask, read_volume, write_mask
from medseg.volume import Mask

LABELS = {0: "background", 1: "left_lung", 2: "right_lung"}
SHEARED = np.array([[-0.7, 0, 0, 90], [0, -0.7, 0.6, 80], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])
VOXELS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)  # (i, j, k)
CONTENT = VOXELS.tobytes("F")
NRRD = {
    "type": "uchar",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "2 3 4",
    "space directions": "(0.7,0,0) (0,0.8,0) (0,0,2.5)",
    "kinds": "domain domain domain",
    "encoding": "raw",
    "space origin": "(10,20,30)",
}
META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "10 20 30",
    "AnatomicalOrientation": "RAI",
    "ElementSpacing": "0.7 0.8 2.5",
    "DimSize": "2 3 4",
    "ElementType": "MET_UCHAR",
    "ElementDataFile": "LOCAL",
}


def changed(fields, changes):
    return {name: value for name, value in (fields | changes).items() if value is not None}


def save_nrrd(path, content=CONTENT, **changes):
    fields = changed(NRRD, {name.replace("_", " "): value for name, value in changes.items()})
    lines = ["NRRD0004", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    path.write_bytes("\n".join(lines).encode() + content)
    return path


def save_meta(path, content=CONTENT, **changes):
    fields = changed(META, changes)
    data_file = fields.pop("ElementDataFile")  # which ends the header
    lines = [*(f"{name} = {value}" for name, value in fields.items()), f"ElementDataFile = {data_file}", ""]
    path.write_bytes("\n".join(lines).encode() + content)
    return path


def refused(path, match):
    with pytest.raises(UnreadableError, match=match) as caught:
        read_volume(path)
    assert str(path.parent) not in str(caught.value)


class TestNrrd:
    @pytest.mark.seconds
    @pytest.mark.parametrize(
        ("space", "signs"),
        [
            ("left-posterior-superior", (-1, -1, 1)),
            ("LPS", (-1, -1, 1)),
            ("right-anterior-superior", (1, 1, 1)),
            ("RAS", (1, 1, 1)),
            ("left-anterior-superior", (-1, 1, 1)),
            ("LAS", (-1, 1, 1)),
        ],
    )
    def test_spaces(self, tmp_path, space, signs):
        volume = read_volume(save_nrrd(tmp_path / "a.nrrd", space=space))
        expected = np.array(signs) * [0.7, 0.8, 2.5]
        np.testing.assert_allclose(
            volume.affine,
            np.column_stack(
                [*np.vstack([np.diag(expected), np.zeros(3)]).T, [*(np.array(signs) * [10, 20, 30]), 1]]
            ),
        )
        assert np.array_equal(volume.array, VOXELS[None])
        assert (volume.array.dtype, volume.warnings) == (np.uint8, ())

    @pytest.mark.parametrize(
        "space", [None, "scanner-xyz", "3D-right-handed", "RPS", "left-posterior-superior-time"]
    )
    def test_spaces_that_do_not_say_which_side_is_left(self, tmp_path, space):
        refused(save_nrrd(tmp_path / "a.nrrd", space=space), "leaves open which side is left")

    def test_shear(self, tmp_path):
        path = save_nrrd(tmp_path / "a.nrrd", space_directions="(0.7,0,0) (0,0.8,0) (0,0.6,2.5)")
        np.testing.assert_allclose(read_volume(path).affine[:3, 2], [0, -0.6, 2.5])

    @pytest.mark.parametrize(
        ("type_name", "dtype"),
        [
            ("signed char", "<i1"),
            ("short", "<i2"),
            ("unsigned short", "<u2"),
            ("int", "<i4"),
            ("uint32", "<u4"),
            ("int64", "<i8"),
            ("float", "<f4"),
            ("double", "<f8"),
        ],
    )
    def test_types(self, tmp_path, type_name, dtype):
        voxels = (VOXELS.astype(int) - (0 if "u" in dtype else 5)).astype(dtype)
        path = save_nrrd(tmp_path / "a.nrrd", voxels.tobytes("F"), type=type_name, endian="little")
        assert np.array_equal(read_volume(path).array[0], voxels)

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"space_directions": None, "spacings": "1 1 1"}, "without a voxel size"),
            ({"space_directions": "(0.7,0,0) (0,0.8,0) (0.7,0.8,0)"}, "can't read|an invertible affine"),
            ({"space_units": '"m" "m" "m"'}, "lengths in mm"),
            ({"kinds": "domain domain time"}, "of the kinds domain domain time"),
            ({"kinds": "3-vector domain domain"}, "of the kinds"),
            ({"sizes": "2 3 4 1", "dimension": "4"}, "three axes"),
            ({"sizes": "6 4", "dimension": "2"}, "three axes"),
            ({"sizes": "2 3 0"}, "three axes"),
            ({"sizes": "2 3 -4"}, "three axes"),
            ({"sizes": "2 3 5"}, "with 24 of 30 bytes"),
            ({"sizes": "90000 90000 90000"}, "at most 2147483648 voxels"),
            ({"sizes": "1000 1000 2000", "encoding": "gzip"}, "bytes"),
            ({"type": "block"}, "with another type"),
            ({"data_file": "gone.raw"}, "the file of the voxels"),
            ({"data_file": "../a.raw"}, "the file of the voxels"),
        ],
    )
    def test_what_is_refused(self, tmp_path, changes, match):
        (tmp_path / "a.raw").write_bytes(CONTENT)
        (tmp_path / "study").mkdir()
        refused(save_nrrd(tmp_path / "study" / "a.nrrd", **changes), match)

    def test_detached_voxels(self, tmp_path):
        (tmp_path / "a.raw").write_bytes(CONTENT)
        path = save_nrrd(tmp_path / "a.nhdr", b"", data_file="a.raw")
        assert np.array_equal(read_volume(path).array[0], VOXELS)

    def test_a_missing_origin_is_said(self, tmp_path):
        volume = read_volume(save_nrrd(tmp_path / "a.nrrd", space_origin=None))
        assert volume.warnings == ("the header gives no origin: positions start at 0 mm",)


class TestMeta:
    def test_places(self, tmp_path):
        volume = read_volume(save_meta(tmp_path / "a.mha"))
        expected = [[-0.7, 0, 0, -10], [0, -0.8, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]]
        np.testing.assert_allclose(volume.affine, expected)
        assert np.array_equal(volume.array, VOXELS[None])

    def test_matrix_rows_are_array_axes(self, tmp_path):
        path = save_meta(
            tmp_path / "a.mha", TransformMatrix="0 1 0 0 0 -1 1 0 0", AnatomicalOrientation="???"
        )
        expected = [[0, 0, -2.5], [-0.7, 0, 0], [0, -0.8, 0]]
        np.testing.assert_allclose(read_volume(path).affine[:3, :3], expected, atol=1e-12)

    def test_shear(self, tmp_path):
        path = save_meta(tmp_path / "a.mha", TransformMatrix="1 0 0 0 1 0 0 0.6 0.8")
        np.testing.assert_allclose(read_volume(path).affine[:3, 2], [0, -1.5, 2])

    @pytest.mark.parametrize(
        ("matrix", "letters", "agree"),
        [
            ("1 0 0 0 1 0 0 0 1", "RAI", True),  # where the axes come from
            ("1 0 0 0 1 0 0 0 1", "LPS", True),  # where they go to
            ("1 0 0 0 1 0 0 0 1", "LAI", False),
            ("1 0 0 0 1 0 0 0 1", "RAS", False),
            ("1 0 0 0 1 0 0 0 1", "ARI", False),
            ("-1 0 0 0 1 0 0 0 1", "LAI", True),
            ("-1 0 0 0 1 0 0 0 1", "RAI", False),
            ("0.8 0.6 0 -0.6 0.8 0 0 0 1", "RAI", True),
        ],
    )
    def test_letters_that_contradict_the_matrix(self, tmp_path, matrix, letters, agree):
        path = save_meta(tmp_path / "a.mha", TransformMatrix=matrix, AnatomicalOrientation=letters)
        if agree:
            read_volume(path)
        else:
            refused(path, f"agree; .*the orientation {letters}")

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"TransformMatrix": None}, "leaves open which side is left"),
            ({"TransformMatrix": "1 0 0 0 1 0 0 0"}, "nine numbers"),
            ({"TransformMatrix": "2 0 0 0 1 0 0 0 1"}, "unit vectors"),
            (
                {"TransformMatrix": "1 0 0 1 0 0 0 0 1", "AnatomicalOrientation": "???"},
                "can't read|an invertible affine",
            ),
            ({"ElementSpacing": None}, "without a voxel size"),
            ({"ElementNumberOfChannels": "3"}, "one value per voxel"),
            ({"DimSize": "2 3 4 1", "NDims": "4"}, "three axes"),
            ({"DimSize": "2 3 5"}, "with 24 of 30 bytes"),
            ({"DimSize": "90000 90000 90000"}, "at most 2147483648 voxels"),
            ({"ElementType": "MET_OTHER"}, "with another type"),
            ({"ElementDataFile": "gone.raw"}, "the file of the voxels in the folder of the header"),
            ({"ElementDataFile": "gone.zraw", "CompressedData": "True"}, "the file of the voxels"),
            ({"ElementDataFile": "../a.raw"}, "the file of the voxels"),
        ],
    )
    def test_what_is_refused(self, tmp_path, changes, match):
        (tmp_path / "a.raw").write_bytes(CONTENT)
        (tmp_path / "study").mkdir()
        refused(save_meta(tmp_path / "study" / "a.mhd", **changes), match)

    def test_detached_voxels(self, tmp_path):
        (tmp_path / "a.raw").write_bytes(CONTENT)
        path = save_meta(tmp_path / "a.mhd", b"", ElementDataFile="a.raw")
        assert np.array_equal(read_volume(path).array[0], VOXELS)


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd"])
@pytest.mark.parametrize(
    "content", [b"", b"\0", b"name;age\nErika;44\n" * 20, b"NRRD0004\n", b"ObjectType = Image\n"]
)
def test_what_is_no_volume(tmp_path, content, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    refused(path, "header|with the space" if content else "0 bytes")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
class TestWritten:
    @pytest.fixture
    def labels(self):
        return np.random.default_rng(3).integers(0, 3, (30, 40, 50), dtype=np.uint8)

    def test_shear_and_labels_come_back(self, tmp_path, labels, suffix):
        path = write_mask(Mask(labels, LABELS, affine=SHEARED), tmp_path / f"a{suffix}")
        again = read_mask(path, LABELS)
        np.testing.assert_allclose(again.affine, SHEARED, atol=1e-9)
        assert np.array_equal(again.array, labels)
        assert (again.array.dtype, again.labels) == (np.uint8, LABELS)

    def test_many_labels(self, tmp_path, suffix):
        many = np.arange(24, dtype=np.int64).reshape(2, 3, 4) * 100
        path = write_mask(
            Mask(many, dict.fromkeys(many.ravel().tolist(), "x"), affine=SHEARED), tmp_path / f"a{suffix}"
        )
        assert read_volume(path).array.dtype == np.uint16
        assert np.array_equal(read_volume(path).array[0], many)

    def test_cut_short(self, tmp_path, labels, suffix):
        path = write_mask(Mask(labels, LABELS, affine=SHEARED), tmp_path / f"a{suffix}")
        whole = path.read_bytes()
        for length in [int(len(whole) * share) for share in (0.001, 0.01, 0.1, 0.5, 0.9, 0.99)]:
            path.write_bytes(whole[:length])
            refused(path, "header|complete volume")

    def test_random_damage_raises_nothing_but_medseg_errors(self, tmp_path, labels, suffix):
        path = write_mask(Mask(labels, LABELS, affine=SHEARED), tmp_path / f"a{suffix}")
        whole, random, silent = path.read_bytes(), np.random.default_rng(5), 0
        start = whole.index(b"\n\n" if suffix == ".nrrd" else b"LOCAL") + 10
        for round_ in range(60):
            content = bytearray(whole)
            reach = start if round_ % 2 else len(content)
            for place in random.integers(0, reach, 1 + round_ % 4):
                content[place] = random.integers(256)
            path.write_bytes(content)
            try:
                found = read_volume(path)
            except UnreadableError:
                continue
            silent += bytes(content[:start]) == whole[:start] and not np.array_equal(found.array[0], labels)
        assert silent == 0

    def test_a_full_disk_leaves_the_earlier_file(self, tmp_path, labels, suffix):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(b"earlier")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
        try:
            with pytest.raises(OSError, match="can't be written in full"):
                write_mask(Mask(labels, LABELS, affine=SHEARED), path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == b"earlier"
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "save", "changes"),
    [
        ("A.NRRD", save_nrrd, {}),
        ("a.Nrrd", save_nrrd, {"type": "int8"}),
        ("A.MHA", save_meta, {}),
        ("a.Mha", save_meta, {"ElementType": "MET_CHAR"}),
    ],
)
def test_names_in_capitals(tmp_path, name, save, changes):
    volume = read_volume(save(tmp_path / name, **changes))
    assert np.array_equal(volume.array[0], VOXELS)
    np.testing.assert_allclose(volume.affine[:3, 3], [-10, -20, 30])


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_names_that_are_no_text(tmp_path, suffix):
    folder = tmp_path / "M\udcfcller"
    folder.mkdir()
    written = write_mask(Mask(VOXELS, affine=SHEARED), folder / f"a{suffix}")
    assert [path.name for path in folder.iterdir()] == [f"a{suffix}"]
    shutil.copy(written, tmp_path / f"\udcfc{suffix}")
    for path in (written, tmp_path / f"\udcfc{suffix}"):
        volume = read_volume(path)
        assert np.array_equal(volume.array[0], VOXELS)
        np.testing.assert_allclose(volume.affine, SHEARED, atol=1e-6)


@pytest.mark.parametrize("name", ["A.NHDR", "A.MHD"])
def test_detached_voxels_of_a_name_in_capitals(tmp_path, name):
    (tmp_path / "a.raw").write_bytes(CONTENT)
    if name.endswith("NHDR"):
        save_nrrd(tmp_path / name, b"", data_file="a.raw")
    else:
        save_meta(tmp_path / name, b"", ElementDataFile="a.raw")
    assert np.array_equal(read_volume(tmp_path / name).array[0], VOXELS)


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr"])
def test_two_files_are_not_written(tmp_path, name):
    with pytest.raises(UnreadableError, match=r"\.nrrd or \.mha"):
        write_mask(Mask(VOXELS, affine=SHEARED), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_real_volumes_and_their_masks(data_root):
    image = read_volume(data_root / "lung_ct/cip_64/ct-64.nrrd")
    mask = read_volume(data_root / "lung_ct/cip_64/wholeLung-64.nrrd")
    crop = read_volume(data_root / "lung_ct/elastix_right_lung/3DCT_lung.mha")
    right = read_volume(data_root / "lung_ct/elastix_right_lung/3DCT_lung_baseline_mask.mha")
    for volume, lung in ((image, mask), (crop, right)):
        assert volume.warnings == lung.warnings == ()
        np.testing.assert_allclose(volume.affine, lung.affine)
        assert -950 < volume.array[lung.array > 0].mean() < -600
    assert nib.aff2axcodes(image.affine) == nib.aff2axcodes(crop.affine) == ("L", "P", "S")
