"""Left stays left: a mask comes back voxel by voxel at its place, in each format and order of the axes."""

import itertools

import dicom_phantom
import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_phantom import GEOMETRIES, LABELS
from seg_reader import read_seg

from medseg.io import read_mask, write_mask
from medseg.io.dicom.rtstruct import write_rtstruct
from medseg.io.dicom.seg import write_seg
from medseg.io.mesh import surface
from medseg.volume import Mask

SHAPE = (7, 8, 9)
MARKER = (5, 2, 7)  # the one voxel of the airway
MARKER_MM = (11.5, -20.25, 131.0)  # RAS: on the right, at the back
STEPS_MM = np.array([0.7, 0.9, 2.5])
TILT = np.array([[1, 0, 0], [0, 1, 0.3], [0, 0, 1]])
SIDES = [
    "".join(c) for order in itertools.permutations(("LR", "PA", "IS")) for c in itertools.product(*order)
]
TURN = nib.eulerangles.euler2mat(0.3, -0.2, 0.25)


def phantom(sides, turn=None):
    """A mask whose axes run towards the given sides, with the marker at MARKER_MM."""
    axes = np.zeros((3, 3))
    for axis, side in enumerate(sides):
        direction = next(n for n, pair in enumerate(("LR", "PA", "IS")) if side in pair)
        axes[direction, axis] = 1 if side in "RAS" else -1
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if turn is None else turn) @ axes * STEPS_MM
    affine[:3, 3] = MARKER_MM - affine[:3, :3] @ MARKER
    array = np.random.default_rng(3).integers(0, 3, SHAPE, dtype=np.uint8)
    array[MARKER] = 3
    return Mask(array, LABELS, affine=affine)


def marker_mm(mask):
    (index,) = np.argwhere(mask.array == 3)
    return mask.affine[:3, :3] @ index + mask.affine[:3, 3]


def test_all_48_orders_are_here():
    assert len(set(SIDES)) == 48
    assert {"".join(nib.aff2axcodes(phantom(sides).affine)) for sides in SIDES} == set(SIDES)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("turn", [None, TURN, TILT], ids=["straight", "oblique", "tilted"])
def test_volumes(tmp_path, suffix, turn):
    for sides in SIDES:
        mask = phantom(sides, turn)
        again = read_mask(write_mask(mask, tmp_path / f"a{suffix}"), LABELS)
        assert np.array_equal(again.array, mask.array), sides
        np.testing.assert_allclose(again.affine, mask.affine, atol=1e-4, err_msg=sides)
        np.testing.assert_allclose(marker_mm(again), MARKER_MM, atol=1e-3, err_msg=sides)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_other_programs_see_the_marker_at_the_same_place(tmp_path, suffix):
    """nibabel for NIfTI; for the others ITK, whose coordinates are LPS."""
    import itk

    for sides in SIDES[::5]:
        path = write_mask(phantom(sides, TURN), tmp_path / f"a{suffix}")
        if suffix == ".nii.gz":
            image = nib.load(path)
            place = image.affine @ [*np.argwhere(np.asarray(image.dataobj) == 3)[0], 1]
        else:
            image = itk.imread(str(path))
            index = np.argwhere(np.asarray(image) == 3)[0][::-1]
            place = np.array(image.TransformIndexToPhysicalPoint([int(n) for n in index])) * [-1, -1, 1]
        np.testing.assert_allclose(place[:3], MARKER_MM, atol=1e-3, err_msg=sides)


@pytest.mark.parametrize("sides", SIDES)
def test_meshes(sides):
    mask = phantom(sides, TILT)
    points, triangles = surface(mask, 3)
    np.testing.assert_allclose(points.mean(axis=0) * [-1, -1, 1], MARKER_MM, atol=1e-4)
    corners = points[triangles] - points.mean(axis=0)
    assert np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() > 0


@pytest.mark.parametrize("name", GEOMETRIES)
def test_dicom(tmp_path, name):
    """The left lung lies where DICOM's own formula says."""
    headers = tuple(dicom_phantom.headers(name))
    mask = Mask(dicom_phantom.labels(), LABELS, affine=dicom_phantom.ras_affine(name), headers=headers)
    array = np.where(mask.array == 1, mask.array, 0).astype(np.uint8)
    centre_mm = np.argwhere(array).mean(axis=0) @ dicom_phantom.lps_affine(name)[:3, :3].T
    centre_mm += dicom_phantom.lps_affine(name)[:3, 3]
    codes = {"left_lung": {"category": ("91723000", "SCT", "a"), "type": ("39607008", "SCT", "Lung")}}
    left = Mask(array, LABELS, affine=mask.affine, headers=headers)

    again = read_seg(write_seg(left, tmp_path / "seg.dcm", codes), LABELS, mask)
    found = np.argwhere(again.array) @ again.affine[:3, :3].T + again.affine[:3, 3]
    np.testing.assert_allclose(found.mean(axis=0) * [-1, -1, 1], centre_mm, atol=1e-3)

    contours = (
        pydicom.dcmread(write_rtstruct(left, tmp_path / "rt.dcm")).ROIContourSequence[0].ContourSequence
    )
    points = np.concatenate([np.array(c.ContourData, dtype=float).reshape(-1, 3) for c in contours])
    extent = (points.min(axis=0) + points.max(axis=0)) / 2
    voxels = (
        np.argwhere(array) @ dicom_phantom.lps_affine(name)[:3, :3].T + dicom_phantom.lps_affine(name)[:3, 3]
    )
    np.testing.assert_allclose(extent, (voxels.min(axis=0) + voxels.max(axis=0)) / 2, atol=0.6)
