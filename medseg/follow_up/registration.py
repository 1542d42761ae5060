"""The lungs of two chest CTs brought into one frame: an affine, then a deformable registration.

Both images are resampled to a coarse grid, and what lies outside the lungs gets one value: so the border of
the lungs and the vessels inside guide it, and the ribs, which slide along the lungs, do not. Where the lungs
hold more air at one time, the earlier image gets the typical density of the later one. The affine part is
found from several starts; the deformable part is the symmetric demons algorithm (Vercauteren et al.,
NeuroImage 45, 2009), as in SimpleITK.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from medseg.errors import UnsuitableError, UsageError
from medseg.follow_up.lung_grid import Lungs

GRID_MM = 3.0  # of the deformable registration; vessels that guide it are thicker
COARSE_MM = 6.0  # of the affine one and of the first level
RIGID_STEP_MM, AFFINE_STEP_MM = 4.0, 1.0  # first steps; larger ones make affine transforms collapse
STARTS = 2  # of the starts are tried, the likeliest
AROUND_MM = 12.0  # around the lungs, where the affine registration compares
OUTSIDE_HU = 0.0
LEVELS = ((2, 40), (1, 25))  # shrinking, iterations
SMOOTHING = 2.0  # standard deviation of the field's smoothing, in voxels of a level
INVERSIONS = 12  # steps of the inverse; the field is smooth, so that few are enough
FINE_MM = 9.0  # standard deviation of what is taken away before two lungs' contents are correlated
LEAST_OVERLAP = 0.85  # Dice of the lungs, in what both images show
MOST_FOLDING = 0.01  # share of the lungs' voxels where the field folds
LEAST_COMMON_ML = 150.0  # of lung in both images: less is no basis


@dataclass(frozen=True, eq=False)
class Registration:
    """A map from places in the later image to places in the earlier one.

    Attributes:
        matrix: 4x4, the affine part, RAS+ mm to RAS+ mm.
        field_mm: (x, y, z, 3) float32, what is added to a place before it, on the grid of `later`.
        earlier, later: the lungs that were registered, `earlier` on its own grid.
        overlap: Dice of the lungs after it, in what both images show.
        folding: share of the later lungs' voxels in which the map folds.
        common_ml: later lung that both images show.
        likeness: correlation of what the lungs hold, see `_likeness`; the vessels of one person are alike.
    """

    matrix: np.ndarray
    field_mm: np.ndarray
    earlier: Lungs
    later: Lungs
    overlap: float = 0.0
    folding: float = 0.0
    common_ml: float = 0.0
    likeness: float = 0.0

    def to_earlier(self, places_mm: np.ndarray) -> np.ndarray:
        """Where places of the later image lie in the earlier one; (n, 3) mm RAS+ to the same."""
        from scipy.ndimage import map_coordinates

        at = ((places_mm - self.later.origin_mm) / self.later.spacing_mm).T
        moved = [map_coordinates(self.field_mm[..., axis], at, order=1, mode="nearest") for axis in range(3)]
        return _placed(places_mm + np.stack(moved, axis=1), self.matrix)

    def to_later(self, places_mm: np.ndarray) -> np.ndarray:
        """Where places of the earlier image lie in the later one, by fixed-point iteration."""
        inverse = np.linalg.inv(self.matrix)
        found = aim = _placed(places_mm, inverse)
        for _ in range(INVERSIONS):
            found = found - (_placed(self.to_earlier(found), inverse) - aim)
        return found

    def warped(self, values: np.ndarray, order: int = 1, outside: float = 0) -> np.ndarray:
        """An array on the grid of `earlier`, brought to that of `later`."""
        from scipy.ndimage import map_coordinates

        shape = self.later.hu.shape
        places = np.moveaxis(np.indices(shape), 0, -1).reshape(-1, 3) * self.later.spacing_mm
        found = self.to_earlier(places + self.later.origin_mm)
        at = ((found - self.earlier.origin_mm) / self.earlier.spacing_mm).T
        moved: np.ndarray = map_coordinates(values, at, order=order, mode="constant", cval=outside)
        return moved.reshape(shape)


def _placed(places_mm: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    placed: np.ndarray = places_mm @ matrix[:3, :3].T + matrix[:3, 3]
    return placed


def register(earlier: Lungs, later: Lungs) -> Registration:
    """Register the lungs of an earlier image with those of a later one, and check the result.

    Args:
        earlier, later: from `lungs_of`, both with GRID_MM.

    Raises:
        UsageError: SimpleITK is not installed.
        UnsuitableError: the images share too little lung, or the registration failed.
    """
    _require_simpleitk()
    matrix = _affine(earlier, later)
    plain = Registration(matrix, np.zeros((*later.hu.shape, 3), np.float32), earlier, later)
    return _checked(dataclasses.replace(plain, field_mm=_demons(plain)))


def _painted(lungs: Lungs, typical_hu: float) -> np.ndarray:
    """The lungs with the typical density of the other image, one value outside; (x, y, z) float32."""
    inside = lungs.labels > 0
    own = float(np.median(lungs.hu[inside]))
    scale = (typical_hu + 1000) / max(own + 1000, 1)
    scaled = np.clip((lungs.hu + 1000) * scale - 1000, -1000, OUTSIDE_HU)
    return np.where(inside, scaled, OUTSIDE_HU).astype(np.float32)


def _itk(array: np.ndarray, lungs: Lungs) -> Any:
    """An array on a grid as a SimpleITK image; its space is RAS+ here, which SimpleITK doesn't mind."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetOrigin([float(value) for value in lungs.origin_mm])
    image.SetSpacing([lungs.spacing_mm] * 3)
    return image


def _affine(earlier: Lungs, later: Lungs) -> np.ndarray:
    """4x4, places of the later image to the earlier one: the best of several starts, rigid or affine."""
    typical = float(np.median(later.hu[later.labels > 0]))
    fixed, moving = (_itk(_painted(lungs, typical), lungs) for lungs in (later, earlier))
    around = _itk(_near_lungs(later).astype(np.uint8), later)
    starts = sorted(_starts(earlier, later), key=lambda shift: -_agreement(_shifted(shift), earlier, later))
    found = [
        matrix
        for shift in starts[:STARTS]
        for matrix in _optimised(fixed, moving, around, later, shift)
        if np.linalg.det(matrix[:3, :3]) > 0
    ]
    return max(found, key=lambda matrix: _agreement(matrix, earlier, later))


def _shifted(shift: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    return matrix


def _near_lungs(lungs: Lungs) -> np.ndarray:
    """(x, y, z) bool: the lungs with a margin, as far as the image shows it."""
    from medseg.morphology import dilated

    return dilated(lungs.labels > 0, round(AROUND_MM / lungs.spacing_mm)) & lungs.shown


def _starts(earlier: Lungs, later: Lungs) -> list[np.ndarray]:
    """Shifts in mm to start from: as the scanner says, centre on centre, top on top, bottom on bottom."""
    places = [
        np.argwhere(lungs.labels > 0) * lungs.spacing_mm + lungs.origin_mm for lungs in (earlier, later)
    ]
    centre = places[0].mean(axis=0) - places[1].mean(axis=0)
    top, bottom = ([np.percentile(each[:, 2], rank) for each in places] for rank in (99, 1))
    return [
        np.zeros(3),
        centre,
        np.array([*centre[:2], top[0] - top[1]]),
        np.array([*centre[:2], bottom[0] - bottom[1]]),
    ]


def _optimised(fixed: Any, moving: Any, around: Any, later: Lungs, shift: np.ndarray) -> list[np.ndarray]:
    """The rigid transform near a start, and the affine one from there; 4x4 each."""
    import SimpleITK as sitk

    centre = np.argwhere(later.labels > 0).mean(axis=0) * later.spacing_mm + later.origin_mm
    rigid = sitk.Euler3DTransform()
    rigid.SetCenter(centre.tolist())
    rigid.SetTranslation(shift.tolist())
    matrix = _matrix(_stepped(fixed, moving, around, rigid, RIGID_STEP_MM))
    full = sitk.AffineTransform(3)
    full.SetCenter(centre.tolist())
    full.SetMatrix(matrix[:3, :3].ravel().tolist())
    full.SetTranslation((matrix[:3, 3] + matrix[:3, :3] @ centre - centre).tolist())
    return [matrix, _matrix(_stepped(fixed, moving, around, full, AFFINE_STEP_MM))]


def _stepped(fixed: Any, moving: Any, around: Any, transform: Any, step_mm: float) -> Any:
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMeanSquares()
    method.SetMetricFixedMask(around)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=step_mm, minStep=0.02, numberOfIterations=100, gradientMagnitudeTolerance=1e-6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([round(COARSE_MM / GRID_MM)])
    method.SetSmoothingSigmasPerLevel([COARSE_MM / 2])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(transform, inPlace=True)
    with suppress(RuntimeError):  # too few samples overlap: this start leads nowhere
        method.Execute(fixed, moving)
    return transform


def _matrix(transform: Any) -> np.ndarray:
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    ends = [np.array(transform.TransformPoint(tuple(axis))) - origin for axis in np.eye(3)]
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(ends).T
    matrix[:3, 3] = origin
    return matrix


def _agreement(matrix: np.ndarray, earlier: Lungs, later: Lungs) -> float:
    """Dice of the lungs in what both show, by the share of the smaller lungs that it is based on."""
    from scipy.ndimage import affine_transform

    step = matrix[:3, :3] * later.spacing_mm / earlier.spacing_mm
    start = (_placed(later.origin_mm[None], matrix)[0] - earlier.origin_mm) / earlier.spacing_mm
    both = (earlier.labels > 0) + 2 * earlier.shown.astype(np.uint8)
    moved = affine_transform(both, step, start, output_shape=later.labels.shape, order=0)
    dice, common = _dice((moved & 1) > 0, later.labels > 0, ((moved & 2) > 0) & later.shown)
    least = min((lungs.labels > 0).sum() for lungs in (earlier, later))
    return dice * min(1.0, common / least)


def _dice(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> tuple[float, int]:
    """Dice of two masks in a part, and the voxels of the other in it."""
    one, other = one & where, other & where
    total = int(one.sum()) + int(other.sum())
    return (2 * int((one & other).sum()) / total if total else 0.0), int(other.sum())


def _overlap(found: Registration) -> tuple[float, int]:
    """Dice of the lungs where both images show something, and later lung voxels there."""
    shown = found.later.shown & (found.warped(found.earlier.shown.astype(np.uint8), 0) > 0)
    return _dice(found.warped(found.earlier.labels, 0) > 0, found.later.labels > 0, shown)


def _demons(found: Registration) -> np.ndarray:
    """The displacement field in mm, (x, y, z, 3), on the grid of the later lungs."""
    import SimpleITK as sitk

    typical = float(np.median(found.later.hu[found.later.labels > 0]))
    moving = found.warped(_painted(found.earlier, typical), outside=OUTSIDE_HU)
    fixed = _painted(found.later, typical)
    shown = found.later.shown & (found.warped(found.earlier.shown.astype(np.uint8), 0) > 0)
    moving = np.where(shown, moving, fixed)  # what one image doesn't show moves nothing
    images = [_itk(image, found.later) for image in (fixed, moving)]
    field: Any = None
    for shrink, iterations in LEVELS:
        small = [_shrunk(image, shrink) for image in images]
        demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfIterations(iterations)
        demons.SetStandardDeviations(SMOOTHING)
        if field is None:
            field = demons.Execute(*small)
        else:
            start = sitk.Resample(field, small[0], sitk.Transform(), sitk.sitkLinear, 0.0, field.GetPixelID())
            field = demons.Execute(*small, start)
    return np.ascontiguousarray(sitk.GetArrayFromImage(field).transpose(2, 1, 0, 3)).astype(np.float32)


def _shrunk(image: Any, shrink: int) -> Any:
    import SimpleITK as sitk

    if shrink == 1:
        return image
    return sitk.BinShrink(image, [shrink] * 3)


def _folding(found: Registration) -> float:
    """Share of the later lungs' voxels where the determinant of the map's derivative is not positive."""
    jacobian = determinant(found)
    inside = found.later.labels > 0
    return float((jacobian[inside] <= 0).mean())


def determinant(found: Registration) -> np.ndarray:
    """Determinant of the map's derivative, (x, y, z): the earlier volume of a unit of later volume."""
    slopes = [
        np.stack(np.gradient(found.field_mm[..., axis], found.later.spacing_mm), axis=-1) for axis in range(3)
    ]
    derivative = np.stack(slopes, axis=-2) + np.eye(3)
    values: np.ndarray = np.linalg.det(derivative) * np.linalg.det(found.matrix[:3, :3])
    return values


def _checked(found: Registration) -> Registration:
    overlap, common = _overlap(found)
    common_ml = common * found.later.spacing_mm**3 / 1000
    if common_ml < LEAST_COMMON_ML:
        raise UnsuitableError(
            f"images that share at least {LEAST_COMMON_ML:.0f} ml of lung",
            got=f"{common_ml:.0f} ml",
            advice="Compare images of the same part of the body.",
        )
    folding = _folding(found)
    if overlap < LEAST_OVERLAP or folding > MOST_FOLDING:
        raise UnsuitableError(
            f"lungs that lie on each other after the registration (Dice from {LEAST_OVERLAP}, folded at most "
            f"{MOST_FOLDING:.0%})",
            got=f"Dice {overlap:.2f}, folded {folding:.1%}",
            advice="Look at both masks; check that the images are of one patient and one part of the body.",
        )
    return dataclasses.replace(
        found, overlap=overlap, folding=folding, common_ml=common_ml, likeness=_likeness(found)
    )


def _likeness(found: Registration) -> float:
    """Correlation of the densities within the lungs, -1 to 1, after what varies slowly was taken away.

    The border is left out, because the registration laid it on the other's. What is left are the vessels,
    which are a person's own.
    """
    from scipy.ndimage import binary_erosion, gaussian_filter

    warped = found.warped(found.earlier.hu, 1, -1000)
    inside = (found.later.labels > 0) & (found.warped(found.earlier.labels, 0) > 0)
    inside = binary_erosion(inside, iterations=2)
    if np.count_nonzero(inside) < 100:
        return 0.0
    sigma = FINE_MM / found.later.spacing_mm
    fine = []
    for image in (found.later.hu, warped):
        held = np.where(inside, np.clip(image, -1000, 0), np.median(image[inside]))
        fine.append((held - gaussian_filter(held, sigma))[inside])
    return float(np.corrcoef(*fine)[0, 1])


def _require_simpleitk() -> None:
    if find_spec("SimpleITK") is None:
        raise UsageError(
            "SimpleITK, which registers volumes",
            got="an environment without it",
            advice="Install it: pip install 'medseg[registration]'.",
        )
