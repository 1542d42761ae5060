"""A mesh is closed, lies where the voxels lie, looks outwards and holds their volume."""

import resource
from collections import Counter

import numpy as np
import pytest

from medseg.errors import UnreadableError, UnsuitableError
from medseg.io.mesh import surface, write_mesh, write_meshes
from medseg.volume import Mask

LABELS = {0: "background", 1: "left_lung", 2: "right_lung"}
# Steps of 0.8, 0.7 and 1.5 mm; sheared, as a tilted gantry makes it; and the mirror image of that.
SHEARED = np.array([[-0.8, 0, 0, 40], [0, -0.7, 0.4, 30], [0, 0, 1.5, -100], [0, 0, 0, 1.0]])
AFFINES = {
    "axial": np.diag([-0.8, -0.7, 1.5, 1.0]),
    "sheared": SHEARED,
    "mirrored": SHEARED * [[-1], [1], [1], [1]],
}


def ball(affine, radius_mm=14.0):
    """A ball in mm, whatever the grid; in the middle of it a voxel more than in the mirror image."""
    index = np.indices((46, 52, 30))
    centre = np.array([22, 25, 14.5])
    from_centre = np.einsum("ab,bijk->aijk", affine[:3, :3], index - centre[:, None, None, None])
    return Mask((np.linalg.norm(from_centre, axis=0) < radius_mm).astype(np.uint8), LABELS, affine=affine)


def read_stl(path):
    """Header, normals (m, 3) and corners (m, 3, 3) of a binary STL."""
    content = path.read_bytes()
    facets = np.frombuffer(
        content[84:], dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("zero", "<u2")]
    )
    assert len(facets) == int.from_bytes(content[80:84], "little")
    return content[:80], facets["normal"], facets["corners"]


def volume_mm3(corners):
    """The volume that triangles enclose, positive when they look outwards, by the divergence theorem."""
    corners = corners.astype(float)
    return np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6


def is_closed(triangles):
    """Whether each edge is gone along as often one way as the other."""
    edges = Counter(
        map(tuple, np.concatenate([triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))]).tolist())
    )
    return all(edges[end, start] == count for (start, end), count in edges.items())


@pytest.mark.parametrize("name", AFFINES)
def test_a_ball(tmp_path, name):
    mask = ball(AFFINES[name])
    write_mesh(mask, 1, tmp_path / "a.stl")
    header, normals, corners = read_stl(tmp_path / "a.stl")
    voxels_mm3 = mask.array.sum() * abs(np.linalg.det(mask.affine[:3, :3]))
    assert volume_mm3(corners) == pytest.approx(voxels_mm3, rel=0.01)
    assert is_closed(surface(mask, 1)[1])
    # Outwards, and in LPS: the centre is where the affine says, its first two signs turned.
    centre = (mask.affine @ [22, 25, 14.5, 1])[:3] * [-1, -1, 1]
    outwards = corners.mean(axis=1) - centre
    assert (np.einsum("ij,ij->i", normals, outwards) > 0).mean() > 0.99
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(corners.reshape(-1, 3).mean(axis=0), centre, atol=0.2)
    assert b"SPACE=LPS" in header
    assert not header.startswith(b"solid")  # which would make it a text file


def test_one_voxel_lies_at_its_place(tmp_path):
    array = np.zeros((5, 6, 7), np.uint8)
    array[1, 4, 2] = 2
    write_mesh(Mask(array, LABELS, affine=SHEARED), 2, tmp_path / "a.stl")
    corners = read_stl(tmp_path / "a.stl")[2]
    np.testing.assert_allclose(corners.min(axis=(0, 1)), [-39.6, -28.35, -97.75], atol=1e-4)
    np.testing.assert_allclose(corners.max(axis=(0, 1)), [-38.8, -27.65, -96.25], atol=1e-4)


def test_what_reaches_the_border_and_touches_by_edges_is_closed_too():
    for seed, share in enumerate(np.linspace(0.05, 0.95, 10)):
        array = (np.random.default_rng(seed).random((7, 8, 9)) < share).astype(np.uint8)
        assert is_closed(surface(Mask(array, LABELS, affine=SHEARED), 1)[1])
    assert is_closed(surface(Mask(np.ones((3, 3, 3), np.uint8), LABELS, affine=SHEARED), 1)[1])


def test_obj_holds_the_same_surface(tmp_path):
    mask = ball(SHEARED)
    write_mesh(mask, 1, tmp_path / "a.obj")
    lines = [line.split() for line in (tmp_path / "a.obj").read_text().splitlines()]
    points = np.array([line[1:] for line in lines if line[0] == "v"], dtype=float)
    triangles = np.array([line[1:] for line in lines if line[0] == "f"], dtype=int) - 1
    expected_points, expected_triangles = surface(mask, 1)
    np.testing.assert_allclose(points, expected_points, atol=1e-4)
    assert np.array_equal(triangles, expected_triangles)
    assert "SPACE=LPS" in " ".join(lines[0])


def test_one_file_for_each_label_that_is_there(tmp_path):
    assert write_meshes(ball(SHEARED), tmp_path) == [tmp_path / "left_lung.stl"]
    assert write_meshes(Mask(np.zeros((3, 3, 3), np.uint8), LABELS, affine=SHEARED), tmp_path) == []


def test_what_can_t_be_written(tmp_path):
    mask = ball(SHEARED)
    with pytest.raises(UnsuitableError, match="voxels of right_lung"):
        write_mesh(mask, 2, tmp_path / "a.stl")
    with pytest.raises(UnsuitableError, match="a picture"):
        write_mesh(Mask(mask.array[0], LABELS), 1, tmp_path / "a.stl")
    with pytest.raises(UnreadableError, match=r"\.stl or \.obj"):
        write_mesh(mask, 1, tmp_path / "a.ply")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "a.stl"
    path.write_bytes(b"earlier")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            write_mesh(ball(SHEARED), 1, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]
