"""Where a NIfTI volume lies: what the sform, the qform, the voxel sizes and the unit of its header say."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.errors import UnreadableError

# The qform's three numbers are float32: over half a metre they leave about a tenth of a millimetre.
FORM_TOLERANCE_MM = 0.1
# Past 45 degrees a voxel axis is nearer to another direction of the body.
MAX_TURN_DEGREES = 45.0
# Far above the rounding of float32 (1e-6), far below any gantry tilt (1 degree: 0.017).
MAX_COSINE = 1e-3
# ITK, Slicer and ITK-SNAP show a grid that leans by the rigid grid next to it, if that is so near.
RIGID_TOLERANCE_MM = 1.0
# Sizes that are farther apart give volumes that are.
SIZE_TOLERANCE = 0.01
HIGHEST_CODE = 5  # of the standard's forms
# xyzt_units to mm; the lowest three bits are the unit of length.
UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
UNIT_NAMES = {1: "metres", 3: "micrometres"}
VOXEL_MM = (0.01, 50.0)  # of any scanner; others show that the unit isn't the one of the numbers
# The squared length of b, c and d: float32 may leave that much above 1, and what some programs print as text
# that much.
ROUNDED, LONGEST = 1 + 3 * float(np.finfo(np.float32).eps), 1 + 1e-3


@dataclass(frozen=True)
class _Form:
    """One of the header's two affines.

    Attributes:
        matrix: 4x4; None where the form says nothing, or nothing that can be used.
        flaw: why it can't be used, as what follows its name.
        notes: warnings that it deserves though it can be used.
    """

    matrix: np.ndarray | None = None
    flaw: str = ""
    notes: tuple[str, ...] = ()


def affine_of(header: Any, shape: tuple[int, ...], name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The affine in RAS+ mm and what is odd about it.

    Where both forms say where the volume lies, the sform is taken, as nibabel, ITK and FSL do. With both
    codes 0 the standard gives voxel sizes and no orientation: programs then differ in which side they call
    left, and a mask with a left and a right lung would be a guess.

    Args:
        header: nibabel's, as it is in the file: not "fixed" on reading.
        shape: (i, j, k).
        name: of the file, for messages.

    Raises:
        UnreadableError: a header that says nothing or two things about left and right.
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
    """The affine in the header's unit, and the warnings of its form and about the other one."""
    if sform.matrix is not None:
        told = (f"the qform {qform.flaw}: the sform was used",) if qform.flaw else ()
        return sform.matrix, sform.notes + qform.notes + told
    if qform.matrix is not None:
        told = (f"the sform {sform.flaw}: the qform was used",) if sform.flaw else ()
        return qform.matrix, qform.notes + told + _qfac_warning(header)
    codes = int(header["sform_code"]), int(header["qform_code"])
    if sform.flaw or qform.flaw:
        flaws = [
            f"whose {kind} {form.flaw}" for kind, form in (("sform", sform), ("qform", qform)) if form.flaw
        ]
        raise UnreadableError(
            "voxels and an affine that says where they lie",
            got=f"{name}, {' and '.join(flaws)}",
            advice="Export it again from its source.",
        )
    raise UnreadableError(
        "a header that says which side is left (an sform or qform code above 0)",
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
        return _Form(flaw="has no three directions")
    return _Form(matrix, notes=_code_warnings("sform", code))


def _qform(header: Any) -> _Form:
    """The qform by the standard: rotation by a quaternion, voxel sizes, and a mirrored third axis or not."""
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
    if not qfac >= 0 and qfac != -1:  # NaN too
        return _Form(
            flaw=f"has the qfac {qfac:g} (pixdim[0]), where 1 or -1 says if the third axis is mirrored"
        )
    squared = float(turn @ turn)
    if squared > LONGEST:
        return _Form(flaw=f"has a quaternion of the length {math.sqrt(squared):.4g}, which is no rotation")
    notes = _code_warnings("qform", code)
    if squared > ROUNDED:
        notes += (
            f"the qform's quaternion is a little longer than 1 ({math.sqrt(squared):.7f}), for which some "
            "programs refuse the file",
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
    return (f"the {form}'s code {code} is none of the standard's (0 to {HIGHEST_CODE}): any above 0 is used",)


def _qfac_warning(header: Any) -> tuple[str, ...]:
    qfac = float(header["pixdim"][0])
    if qfac in (1, -1):
        return ()
    return (
        f"the header's qfac is {qfac:g}, not 1 or -1: 1, no mirrored axis, was taken as the standard says",
    )


def _unit_mm(header: Any) -> float:
    return UNIT_MM.get(int(header["xyzt_units"]) & 7, 1.0)


def _to_mm(header: Any, affine: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The affine in mm, and a warning where the header's unit is another one or none of the standard's."""
    code = int(header["xyzt_units"]) & 7
    if code not in UNIT_MM:
        return affine, (f"the header's unit of length has the unknown code {code}: mm were assumed",)
    if UNIT_MM[code] == 1:
        return affine, ()
    affine = np.diag([*[UNIT_MM[code]] * 3, 1.0]) @ affine
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if sizes.min() < VOXEL_MM[0] or sizes.max() > VOXEL_MM[1]:
        raise UnreadableError(
            "a unit of length that fits the voxel size",
            got=f"{name} in {UNIT_NAMES[code]}, so with voxels of {_sizes(sizes)} mm",
            advice="Export it again in mm.",
        )
    return affine, (f"lengths were in {UNIT_NAMES[code]}: the voxels are {_sizes(sizes)} mm",)


def _sizes(sizes: np.ndarray) -> str:
    """Such as 0.86 x 0.86 x 2.5."""
    return " x ".join(f"{size:.4g}" for size in sizes)


def _compare_sizes(header: Any, affine: np.ndarray) -> tuple[str, ...]:
    """A warning where the header's sizes of a voxel aren't those of the sform, which was used.

    A refusal would be no safer: a header that was never filled in holds 1 x 1 x 1 or 0 beside a good sform.
    """
    pixdim = np.array(header["pixdim"][1:4], dtype=np.float64) * _unit_mm(header)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if np.allclose(pixdim, sizes, rtol=SIZE_TOLERANCE, atol=0):
        return ()
    return (
        f"the voxels are {_sizes(sizes)} mm by the sform, which was used, and {_sizes(pixdim)} mm by pixdim: "
        "if the latter is right, all lengths and volumes here are wrong; programs that use it show others",
    )


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
            got=f"{name}, whose sform says {axes[0]} and whose qform says {axes[1]}",
            advice="Export it again from its source: nothing in the file says which of the two is right.",
        )
    apart_mm = furthest_mm(sform, qform, shape)
    if apart_mm <= _unseen_mm(sform):
        return ()
    return (
        f"sform and qform place the volume up to {apart_mm:.1f} mm apart; the sform was used, and a program "
        "that uses the qform will show the mask elsewhere",
    )


def furthest_mm(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    """How far two affines place a voxel of (i, j, k) apart at most: at a corner."""
    corners = np.array(list(itertools.product(*((0, n - 1) for n in shape), (1,))), dtype=np.float64)
    return float(np.linalg.norm(corners @ (one - other).T, axis=1).max())


def _unseen_mm(affine: np.ndarray) -> float:
    """A distance that no one sees: a tenth of a voxel, or what rounding leaves."""
    return max(FORM_TOLERANCE_MM, float(np.linalg.norm(affine[:3, :3], axis=0).min()) / 10)


def is_sheared(affine: np.ndarray) -> bool:
    """Whether two axes are not at right angles, by more than rounding."""
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(steps.T @ steps - np.eye(3)).max() > MAX_COSINE / 100)


def nearest_rigid(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The affine with right angles and the same voxel sizes that is nearest to it over all voxels.

    The least squares of their distances: the rotation is a Procrustes fit, and the centre stays.
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
    """What a user of NIfTI should know of a grid without right angles, which ITK doesn't take from it."""
    if not is_sheared(affine):
        return ()
    off_mm = furthest_mm(affine, nearest_rigid(affine, shape), shape)
    exact = "ask for the format nrrd (or dicom-seg, of a DICOM series), which they read exactly"
    if off_mm > RIGID_TOLERANCE_MM:
        return (
            "the slices lean, so that ITK, 3D Slicer and ITK-SNAP refuse the NIfTI file (no orthonormal "
            f"direction cosines): for them {exact}",
        )
    if off_mm > _unseen_mm(affine):
        return (
            f"the slices lean a little: ITK, 3D Slicer and ITK-SNAP show the NIfTI file up to "
            f"{off_mm:.1f} mm off, programs that use its sform in place; if that matters, {exact}",
        )
    return ()
