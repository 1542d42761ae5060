"""Labels as closed surfaces: STL (binary) and OBJ, in millimetres.

Points are in DICOM's patient coordinates (LPS+: left, posterior, superior), as in the meshes of 3D Slicer,
which marks them in the header as SPACE=LPS. The surface runs half way between the centres of voxels inside
and outside. It is not smoothed, so that its volume is that of the voxels. Meshes have no colours: STL has no
standard for them, and OBJ keeps them in a second file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medseg.errors import UnreadableError, UnsuitableError
from medseg.io.atomic import atomic_path
from medseg.stamp import KEY, Stamp
from medseg.volume import Mask

HEADER = b"medseg; SPACE=LPS; UNIT=mm"
RESULT = b"; result="


def write_meshes(mask: Mask, directory: Path, stamp: Stamp | None = None) -> list[Path]:
    """Write `<label name>.stl` for each label that has a voxel.

    Args:
        mask: (i, j, k) labels with an affine.
        directory: an existing folder.

    Returns:
        The paths, in the order of the label values.

    Raises:
        UnsuitableError, OSError: as write_mesh.
    """
    present = [value for value in np.unique(mask.array.ravel(order="K")).tolist() if value]
    return [write_mesh(mask, value, directory / f"{mask.labels[value]}.stl", stamp) for value in present]


def write_mesh(mask: Mask, value: int, path: Path, stamp: Stamp | None = None) -> Path:
    """Write the surface of one label of a mask (i, j, k) as .stl or .obj.

    A stamp stands in a comment of OBJ. The 80 bytes that STL has for a text hold the result's number alone.

    Raises:
        UnsuitableError: the mask is that of a picture, or has no voxel of the label.
        UnreadableError: another suffix of the file name.
        OSError: the file can't be written in full.
    """
    writers = {".stl": _stl, ".obj": _obj}
    if path.suffix.lower() not in writers:
        raise UnreadableError(
            "a file name that ends in .stl or .obj",
            got=path.name,
            advice="Change the suffix of the file name.",
        )
    content = writers[path.suffix.lower()](*surface(mask, value), stamp)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path


def surface(mask: Mask, value: int) -> tuple[np.ndarray, np.ndarray]:
    """The closed surface of a label, by marching cubes (Lewiner et al. 2003).

    Args:
        mask: (i, j, k) labels with an affine.
        value: of the label.

    Returns:
        Points (n, 3) in LPS+ mm, and triangles (m, 3) of point indices, anticlockwise seen from outside.

    Raises:
        UnsuitableError: the mask is that of a picture, or has no voxel of the label.
    """
    from skimage.measure import marching_cubes

    inside = mask.array == value
    if mask.affine is None or not inside.any():
        raise UnsuitableError(
            f"a volume with voxels of {mask.labels.get(value, value)}",
            got="a picture" if mask.affine is None else "no such voxel",
            advice="Leave this surface out.",
        )
    # The label's bounding box with a layer of background, so that the surface closes at the volume's border.
    spans = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    start = np.array([span[0] for span in spans]) - 1
    box = np.pad(inside[tuple(slice(span[0], span[-1] + 1) for span in spans)], 1)
    points, triangles, _, _ = marching_cubes(box, 0.5, allow_degenerate=False)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(mask.affine, dtype=np.float64)
    if np.linalg.det(affine[:3, :3]) > 0:  # skimage's triangles are clockwise seen from outside
        triangles = triangles[:, ::-1]
    return (points + start) @ affine[:3, :3].T + affine[:3, 3], triangles


def _stl(points: np.ndarray, triangles: np.ndarray, stamp: Stamp | None) -> bytes:
    corners = points.astype("<f4")[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    facets = np.zeros(
        len(triangles), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("zero", "<u2")]
    )
    facets["normal"], facets["corners"] = normals, corners
    header = HEADER + (b"" if stamp is None else RESULT + stamp.result.encode("ascii"))
    return header.ljust(80) + np.uint32(len(triangles)).astype("<u4").tobytes() + facets.tobytes()


def _obj(points: np.ndarray, triangles: np.ndarray, stamp: Stamp | None) -> bytes:
    lines = [f"# {HEADER.decode()}", *([] if stamp is None else [f"# {KEY}: {stamp.text()}"])]
    lines += [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in points.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (triangles + 1).tolist()]
    return ("\n".join(lines) + "\n").encode()
