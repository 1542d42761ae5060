"""The affine of a NIfTI volume, from the sform, the qform, the voxel sizes and the unit in its header."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.errors import UnreadableError

# The qform's quaternion is float32, which moves a voxel by about 0.1 mm over half a metre.
FORM_TOLERANCE_MM = 0.1
# Beyond 45 degrees a voxel axis is nearer to another direction of the body.
MAX_TURN_DEGREES = 45.0
# Far above the rounding of float32 (1e-6), far below any gantry tilt (1 degree: 0.017).
MAX_COSINE = 1e-3
# A sheared affine gets a qform with right angles, which ITK, 3D Slicer and ITK-SNAP use, if it moves no voxel
# further than this.
RIGID_TOLERANCE_MM = 1.0
# Relative difference of two voxel sizes that is still rounding; a larger one changes volumes in ml.
SIZE_TOLERANCE = 0.01
HIGHEST_CODE = 5  # of sform_code and qform_code in the NIfTI standard
# xyzt_units to mm; the lowest three bits are the unit of length.
UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
UNIT_NAMES = {1: "metres", 3: "micrometres"}
VOXEL_MM = (0.01, 50.0)  # voxel sizes of scanners; others show that the declared unit is wrong
# Squared length of the quaternion's b, c and d: with the excess over 1 of float32 rounding, and with that of
# programs that write numbers as text.
ROUNDED, LONGEST = 1 + 3 * float(np.finfo(np.float32).eps), 1 + 1e-3


@dataclass(frozen=True)
class _Form:
    """The sform or the qform of a header.

    Attributes:
        matrix: 4x4, voxel index to RAS+ in the header's unit; None where the form is absent or unusable.
        flaw: why it is unusable, as a predicate such as "holds NaN or infinity"; else empty.
        notes: warnings about a form that is usable.
    """

    matrix: np.ndarray | None = None
    flaw: str = ""
    notes: tuple[str, ...] = ()


def affine_of(header: Any, shape: tuple[int, ...], name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The affine of a volume and warnings about it.

    Where the header has both forms, the sform is used, as in nibabel, ITK and FSL. With both codes 0 the
    standard defines voxel sizes but no orientation. Programs then differ in which side they call left, and
    a mask with a left and a right lung would be a guess.

    Args:
        header: nibabel's header, read without nibabel's corrections.
        shape: (i, j, k).
        name: of the file, for messages.

    Returns:
        4x4, voxel index to RAS+ mm; warnings for the user.

    Raises:
        UnreadableError: left and right are missing or contradictory in the header.
    """
    sform, qform = _sform(header), _qform(header)
    affine, warnings = _choose(header, sform, qform, name)
    affine, unit_warnings = _to_mm(header, affine, name)
    if sform.matrix is not None:
        warnings += _compare_sizes(header, affine)
    if sform.matrix is not None and qform.matrix is not None:
        mm = np.diag([*[_unit_mm(header)] * 3, 1.0])
        warnings += _compare_forms(mm @ sform.matrix, mm @ qform.matrix, shape, name)
    return affine, warnings + unit_warnings


def _choose(header: Any, sform: _Form, qform: _Form, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The affine in the header's unit, with warnings about the form that is used and the one that isn't."""
    if sform.matrix is not None:
        unused = (f"the qform {qform.flaw}: the sform was used",) if qform.flaw else ()
        return sform.matrix, sform.notes + qform.notes + unused
    if qform.matrix is not None:
        unused = (f"the sform {sform.flaw}: the qform was used",) if sform.flaw else ()
        return qform.matrix, qform.notes + unused + _qfac_warning(header)
    codes = int(header["sform_code"]), int(header["qform_code"])
    if sform.flaw or qform.flaw:
        flaws = [
            f"whose {kind} {form.flaw}" for kind, form in (("sform", sform), ("qform", qform)) if form.flaw
        ]
        raise UnreadableError(
            "an sform or a qform that can be used",
            got=f"{name}, {' and '.join(flaws)}",
            advice="Export it again from its source.",
        )
    raise UnreadableError(
        "a header that defines which side is left (an sform or qform code above 0)",
        got=f"{name} with {'both codes 0' if codes == (0, 0) else f'the codes {codes[0]} and {codes[1]}'}",
        advice="Export it again from its source with its orientation.",
    )


def _sform(header: Any) -> _Form:
    code = int(header["sform_code"])
    if code <= 0:
        return _Form()
    matrix = np.eye(4)
    matrix[:3] = [header[f"srow_{axis}"] for axis in "xyz"]
    if not np.isfinite(matrix).all():
        return _Form(flaw="holds NaN or infinity")
    sizes = np.linalg.norm(matrix[:3, :3], axis=0)
    if (
        not np.isfinite(sizes).all()
        or not sizes.all()
        or abs(np.linalg.det(matrix[:3, :3] / sizes)) < MAX_COSINE
    ):
        return _Form(flaw="has linearly dependent axes")
    return _Form(matrix, notes=_code_warnings("sform", code))


def _qform(header: Any) -> _Form:
    """The qform by nifti1.h: a quaternion, the voxel sizes, and a third axis that may be mirrored."""
    from nibabel.quaternions import quat2mat

    code = int(header["qform_code"])
    if code <= 0:
        return _Form()
    sizes = np.array(header["pixdim"][1:4], dtype=np.float64)
    turn = np.array([header[f"quatern_{part}"] for part in "bcd"], dtype=np.float64)
    offset = np.array([header[f"qoffset_{axis}"] for axis in "xyz"], dtype=np.float64)
    qfac = float(header["pixdim"][0])
    if not np.isfinite([*turn, *offset]).all():
        return _Form(flaw="holds NaN or infinity")
    if not (np.isfinite(sizes) & (sizes > 0)).all():
        return _Form(flaw=f"has the voxel size {_sizes(sizes)} (pixdim)")
    if not qfac >= 0 and qfac != -1:  # or NaN
        return _Form(
            flaw=f"has the qfac {qfac:g} (pixdim[0]), where 1 or -1 says whether the third axis is mirrored"
        )
    squared = float(turn @ turn)
    if squared > LONGEST:
        return _Form(flaw=f"has a quaternion of the length {math.sqrt(squared):.4g}, which is no rotation")
    notes = _code_warnings("qform", code)
    if squared > ROUNDED:
        notes += (
            f"the qform's quaternion is slightly longer than 1 ({math.sqrt(squared):.7f}); some programs "
            "refuse such a file",
        )
    turn /= max(1.0, math.sqrt(squared))
    matrix = np.eye(4)
    scalar = math.sqrt(max(0.0, 1 - float(turn @ turn)))
    matrix[:3, :3] = quat2mat([scalar, *turn]) * sizes * [1, 1, -1 if qfac < 0 else 1]
    matrix[:3, 3] = offset
    return _Form(matrix, notes=notes)


def _code_warnings(form: str, code: int) -> tuple[str, ...]:
    if code <= HIGHEST_CODE:
        return ()
    return (f"the {form}'s code {code} is not in the standard (0 to {HIGHEST_CODE}); the {form} was used",)


def _qfac_warning(header: Any) -> tuple[str, ...]:
    qfac = float(header["pixdim"][0])
    if qfac in (1, -1):
        return ()
    return (
        f"the header's qfac is {qfac:g} instead of 1 or -1; 1 (no mirrored axis) was used, by the standard",
    )


def _unit_mm(header: Any) -> float:
    return UNIT_MM.get(int(header["xyzt_units"]) & 7, 1.0)


def _to_mm(header: Any, affine: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The affine in mm, with a warning where the header's unit is not mm or not in the standard."""
    code = int(header["xyzt_units"]) & 7
    if code not in UNIT_MM:
        return affine, (f"the header's unit of length has the unknown code {code}; mm were assumed",)
    if UNIT_MM[code] == 1:
        return affine, ()
    affine = np.diag([*[UNIT_MM[code]] * 3, 1.0]) @ affine
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if sizes.min() < VOXEL_MM[0] or sizes.max() > VOXEL_MM[1]:
        raise UnreadableError(
            "a unit of length that fits the voxel size",
            got=f"{name} in {UNIT_NAMES[code]}, with voxels of {_sizes(sizes)} mm",
            advice="Export it again in mm.",
        )
    return affine, (f"the header's lengths are in {UNIT_NAMES[code]}; the voxels are {_sizes(sizes)} mm",)


def _sizes(sizes: np.ndarray) -> str:
    """Such as 0.86 x 0.86 x 2.5."""
    return " x ".join(f"{size:.4g}" for size in sizes)


def _compare_sizes(header: Any, affine: np.ndarray) -> tuple[str, ...]:
    """A warning where pixdim and the sform, which was used, give different voxel sizes.

    It is no error, because headers with a correct sform often have a pixdim that was never set: 1 or 0.
    """
    pixdim = np.array(header["pixdim"][1:4], dtype=np.float64) * _unit_mm(header)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if np.allclose(pixdim, sizes, rtol=SIZE_TOLERANCE, atol=0):
        return ()
    return (
        f"the voxels are {_sizes(sizes)} mm by the sform, which was used, and {_sizes(pixdim)} mm by pixdim; "
        "if pixdim is right, all lengths and volumes here are wrong",
    )


def _compare_forms(
    sform: np.ndarray, qform: np.ndarray, shape: tuple[int, ...], name: str
) -> tuple[str, ...]:
    """A warning where sform and qform differ in position; UnreadableError where they differ in orientation.

    One that is mirrored against the other swaps left and right. The angle test finds it: the trace of a
    reflection is at most 1, so that one of its three cosines is at most 1/3, an angle above 70 degrees.
    """
    import nibabel as nib

    steps = [form[:3, :3] / np.linalg.norm(form[:3, :3], axis=0) for form in (sform, qform)]
    cosines = np.sum(steps[0] * steps[1], axis=0)
    turned = np.degrees(np.arccos(np.clip(cosines, -1, 1))).max()
    if not turned <= MAX_TURN_DEGREES:  # or NaN
        axes = ["".join(str(code) for code in nib.aff2axcodes(form)) for form in (sform, qform)]
        raise UnreadableError(
            "an sform and a qform that agree on left and right",
            got=f"{name}, whose sform says {axes[0]} and whose qform says {axes[1]}",
            advice="Export it again from its source; the file does not show which of the two is right.",
        )
    apart_mm = furthest_mm(sform, qform, shape)
    if apart_mm <= _negligible_mm(sform):
        return ()
    return (
        f"sform and qform place voxels up to {apart_mm:.1f} mm apart; the sform was used, and programs that "
        "use the qform show the mask in another place",
    )


def furthest_mm(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    """The largest distance in mm between the places that two affines give a voxel; it occurs at a corner.

    Args:
        one, other: 4x4, voxel index to mm.
        shape: (i, j, k).
    """
    corners = np.array(list(itertools.product(*((0, n - 1) for n in shape), (1,))), dtype=np.float64)
    return float(np.linalg.norm(corners @ (one - other).T, axis=1).max())


def _negligible_mm(affine: np.ndarray) -> float:
    """A distance too small to see: a tenth of a voxel, or the rounding of the qform."""
    return max(FORM_TOLERANCE_MM, float(np.linalg.norm(affine[:3, :3], axis=0).min()) / 10)


def is_sheared(affine: np.ndarray) -> bool:
    """Whether two axes are not at right angles, by more than rounding."""
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(steps.T @ steps - np.eye(3)).max() > MAX_COSINE / 100)


def nearest_rigid(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The affine with right angles and the same voxel sizes that is nearest to a sheared one.

    It minimizes the sum of squared distances over all voxels. The rotation is the orthogonal Procrustes
    solution (Schönemann 1966), and the centre of the volume stays in place.

    Args:
        affine: 4x4, voxel index to mm.
        shape: (i, j, k).
    """
    extent = np.asarray(shape, dtype=np.float64)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    # A uniform grid of n steps has the variance (n^2 - 1) / 12; a single slice must count too.
    left, _, right = np.linalg.svd(affine[:3, :3] * sizes * np.maximum(extent**2 - 1, 1))
    rigid = np.eye(4)
    rigid[:3, :3] = left @ right * sizes
    centre = (extent - 1) / 2
    rigid[:3, 3] = affine[:3, :3] @ centre + affine[:3, 3] - rigid[:3, :3] @ centre
    return rigid


def lean_warnings(affine: np.ndarray, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Warnings about a mask on a sheared grid as NIfTI, which ITK can't read exactly.

    Args:
        affine: 4x4, voxel index to RAS+ mm.
        shape: (i, j, k).
    """
    if not is_sheared(affine):
        return ()
    off_mm = furthest_mm(affine, nearest_rigid(affine, shape), shape)
    exact = "choose the format nrrd (or dicom-seg for a DICOM series), which they read exactly"
    if off_mm > RIGID_TOLERANCE_MM:
        return (
            "the grid is sheared, so that ITK, 3D Slicer and ITK-SNAP refuse the NIfTI file (no orthonormal "
            f"direction cosines); for them {exact}",
        )
    if off_mm > _negligible_mm(affine):
        return (
            f"the grid is slightly sheared: ITK, 3D Slicer and ITK-SNAP show the NIfTI file up to "
            f"{off_mm:.1f} mm off, programs that use its sform show it in place; if that matters, {exact}",
        )
    return ()
