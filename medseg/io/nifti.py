"""Volumes as NIfTI-1 and NIfTI-2, by nibabel."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import UnreadableError
from medseg.io.atomic import atomic_path
from medseg.io.raster import check_labels, compact
from medseg.volume import Mask, Volume

SUFFIXES = (".nii", ".nii.gz")
MOST_VOXELS = 2**31  # 4 GiB as 16 bits; a whole body at 512 x 512 takes 2**29

# The qform's three numbers are float32: over half a metre they leave about a tenth of a millimetre.
FORM_TOLERANCE_MM = 0.1
# Past 45 degrees a voxel axis is nearer to another direction of the body.
MAX_TURN_DEGREES = 45.0
# Far above the rounding of float32 (1e-6), far below any gantry tilt (1 degree: 0.017).
MAX_COSINE = 1e-3


def is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def read(path: Path) -> Volume:
    """Read a 3D volume: (1, i, j, k), scaled by slope and intercept, and its affine in RAS+ mm.

    Where both forms say where the volume lies, the sform is taken, as nibabel, ITK and FSL do.

    Raises:
        UnreadableError: not a NIfTI file, a damaged one, one that is not 3D, or one whose header says
            nothing or two things about left and right.
    """
    import nibabel as nib

    try:
        image: Any = nib.load(path)
        _require_all_voxels(image.dataobj, path)
        require_size(image.shape, path.name)
        # Whole numbers with a slope become float32, not float64: half the memory, exact for HU.
        scaled = (image.dataobj.slope, image.dataobj.inter) != (1, 0)
        array = np.asarray(image.dataobj, dtype=np.float32 if scaled else None)
    except UnreadableError:
        raise
    except Exception as error:  # nibabel lets zlib, header and memory errors through
        raise UnreadableError(
            "a whole NIfTI volume",
            came=f"{path.name}, which can't be read ({str(error).replace(str(path), path.name)})",
            do="Copy it again from its source.",
        ) from error
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim != 3 or not array.size:
        raise UnreadableError(
            "a volume with three axes",
            came=f"{path.name} with the shape {array.shape}",
            do="Save one volume (one time point) as a file of its own.",
        )
    affine, warnings = _affine(image.header, array.shape, path.name)
    if array.dtype.kind not in "biuf" or not np.isfinite(affine).all() or np.linalg.det(affine) == 0:
        raise UnreadableError(
            "a volume of real numbers whose affine says where they lie",
            came=f"{path.name} with the type {array.dtype} and the affine {affine.tolist()}",
            do="Export it again from its source.",
        )
    # torch takes the machine's byte order alone.
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return Volume(array[None], affine=affine, source=str(path), warnings=warnings)


def require_size(shape: Iterable[int], name: str) -> None:
    """Raise UnreadableError for more voxels than a computer of this field holds, before memory is taken."""
    if math.prod(int(n) for n in shape) > MOST_VOXELS:
        raise UnreadableError(
            f"at most {MOST_VOXELS} voxels",
            came=f"{name} with the shape {tuple(shape)}",
            do="Save the part of it that matters.",
        )


def _require_all_voxels(voxels: Any, path: Path) -> None:
    """Raise ValueError where the file ends before its header says, before memory is taken for it."""
    import gzip

    length = path.stat().st_size
    if path.name.lower().endswith(".gz"):
        # To the end, where gzip compares its checksum: nibabel stops before it.
        with gzip.open(path) as stream:
            length = sum(map(len, iter(lambda: stream.read(1 << 20), b"")))
    needed = voxels.offset + math.prod(int(n) for n in voxels.shape) * voxels.dtype.itemsize
    if length < needed:
        raise ValueError(f"it holds {length} of {needed} bytes")


def _affine(header: Any, shape: tuple[int, ...], name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The affine in RAS+ mm, and a warning where sform and qform put a corner elsewhere.

    With both codes 0 the standard gives voxel sizes and no orientation: programs then differ in which
    side they call left, and a mask with a left and a right lung would be a guess.
    """
    unit = header.get_xyzt_units()[0]
    if unit not in ("mm", "unknown"):
        raise UnreadableError(
            "lengths in millimetres (xyzt_units)",
            came=f"{name} in the unit {unit}",
            do="Export it again in mm.",
        )
    sform, qform = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
    if sform is None and qform is None:
        raise UnreadableError(
            "a header that says which side is left (an sform or qform code above 0)",
            came=f"{name} with both codes 0",
            do="Export it again from its source with its orientation.",
        )
    if sform is None or qform is None:
        return np.asarray(qform if sform is None else sform, dtype=np.float64), ()
    return np.asarray(sform, dtype=np.float64), _compare_forms(sform, qform, shape, name)


def _compare_forms(
    sform: np.ndarray, qform: np.ndarray, shape: tuple[int, ...], name: str
) -> tuple[str, ...]:
    """A warning where the two affines differ; UnreadableError where they turn or mirror the volume.

    A mirror in any axis swaps left and right. It turns an axis by more than 70 degrees: the trace of a
    reflection is at most 1, so that one of its three cosines is at most a third.
    """
    import nibabel as nib

    steps = [form[:3, :3] / np.linalg.norm(form[:3, :3], axis=0) for form in (sform, qform)]
    cosines = np.sum(steps[0] * steps[1], axis=0)
    turned = np.degrees(np.arccos(np.clip(cosines, -1, 1))).max()
    if not turned <= MAX_TURN_DEGREES:  # a NaN too
        axes = ["".join(str(code) for code in nib.aff2axcodes(form)) for form in (sform, qform)]
        raise UnreadableError(
            "an sform and a qform that agree on left and right",
            came=f"{name}, whose sform says {axes[0]} and whose qform says {axes[1]}",
            do="Export it again from its source: nothing in the file says which of the two is right.",
        )
    corners = np.array(list(itertools.product(*((0, n - 1) for n in shape), (1,))), dtype=np.float64)
    apart_mm = np.linalg.norm(corners @ (sform - qform).T, axis=1).max()
    voxel_mm = np.linalg.norm(sform[:3, :3], axis=0).min()
    if apart_mm <= max(FORM_TOLERANCE_MM, voxel_mm / 10):
        return ()
    return (
        f"sform and qform place the volume up to {apart_mm:.1f} mm apart; the sform was used, and a program "
        "that uses the qform will show the mask elsewhere",
    )


def read_mask(path: Path, labels: dict[int, str]) -> Mask:
    """Read a label volume; see medseg.io.read_mask."""
    volume = read(path)
    array = check_labels(volume.array[0], labels, path.name)
    return Mask(array, labels, affine=volume.affine, source=volume.source)


def write_mask(mask: Mask, path: Path) -> Path:
    """Write (i, j, k) labels with the affine of the source."""
    return write(compact(mask.array), np.asarray(mask.affine), path)


def write(array: np.ndarray, affine: np.ndarray, path: Path) -> Path:
    """Write (i, j, k) values with their affine, RAS+ mm, which the sform holds in full.

    The qform can't hold a shear (a tilted gantry): it then has the code 0, "not to be used".
    """
    import nibabel as nib

    affine = np.asarray(affine, dtype=np.float64)
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=0 if _is_sheared(affine) else 1)
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary:
        nib.save(image, temporary)
    return path


def _is_sheared(affine: np.ndarray) -> bool:
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(steps.T @ steps - np.eye(3)).max() > MAX_COSINE)
