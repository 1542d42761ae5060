"""A chest CT taken again: another dose, kernel, slice thickness, and another place in the scanner."""

from __future__ import annotations

import dataclasses

import numpy as np

from medseg.phantoms.scanner import KERNELS, Scan, apply_kernel, quantum_noise, rotation
from medseg.volume import Volume

TURN_DEG = 3.0  # standard deviation about each axis, at strength 1
SHIFT_MM = 8.0  # standard deviation along each axis
ZOOM = 0.08  # standard deviation of the logarithm of the field of view's size
THICKEST = 2.0  # slices are at most so many times as thick as they are far apart
NOISE_HU = (2.0, 25.0)  # added to the scan's own, in a slice of median attenuation
OUTSIDE_HU = -1024


@dataclasses.dataclass(frozen=True)
class Retake:
    """What differs in a scan that is taken again.

    Attributes:
        turn_deg: of the body about x, y and z.
        shift_mm: of the body along x, y and z.
        zoom: of the field of view: above 1, a voxel is larger in the plane.
        thickness: of a slice, in steps from slice to slice.
        kernel: a name of medseg.phantoms.scanner.KERNELS.
        noise_hu: standard deviation of the noise that is added.
    """

    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    zoom: float = 1.0
    thickness: float = 1.0
    kernel: str = "standard"
    noise_hu: float = 0.0


def draw_retake(random: np.random.Generator, strength: float = 1.0) -> Retake:
    """Settings of another day.

    Args:
        random: the same state gives the same settings.
        strength: 0 for the same scan again, 1 for another protocol; pose, field of view, thickness and noise
            grow with it, and any kernel is as likely as another above 0.
    """
    kernels = tuple(KERNELS) if strength else ("standard",)
    low, high = np.log(NOISE_HU)
    turn, shift = random.normal(0, TURN_DEG * strength, 3), random.normal(0, SHIFT_MM * strength, 3)
    return Retake(
        turn_deg=(float(turn[0]), float(turn[1]), float(turn[2])),
        shift_mm=(float(shift[0]), float(shift[1]), float(shift[2])),
        zoom=float(np.exp(random.normal(0, ZOOM * strength))),
        thickness=1 + float(random.uniform(0, THICKEST - 1)) * strength,
        kernel=str(random.choice(kernels)),
        noise_hu=float(np.exp(random.uniform(low, high))) * strength,
    )


def retake_scan(volume: Volume, retake: Retake, random: np.random.Generator) -> Volume:
    """The same chest, taken again; breath and disease are as they were.

    The body is turned about the middle of the scan and shifted, on a grid of the same number of voxels, so
    that its ends may leave the scan, or air come in. Slices are averaged over a box as long as they are
    thick; kernel and noise are those of medseg.phantoms.scanner. A scan's own noise and sharpness stay: this
    can make it noisier and smoother, and sharper only as far as it holds detail.

    Args:
        volume: (1, i, j, k) in HU, slices along k, with its affine.
        retake: what differs.
        random: for the noise.

    Returns:
        (1, i, j, k) int16 in HU, on a grid of its own; without headers.
    """
    from scipy.ndimage import affine_transform

    affine = np.asarray(volume.affine, float)
    hu = np.maximum(volume.array[0], OUTSIDE_HU).astype(np.float32)
    grid = affine @ _zoomed(hu.shape, retake.zoom)
    to_source = np.linalg.inv(affine) @ np.linalg.inv(_moved(retake, affine, hu.shape)) @ grid
    hu = affine_transform(
        hu, to_source[:3, :3], to_source[:3, 3], order=1, mode="constant", cval=OUTSIDE_HU, output=np.float32
    )
    spacing = np.linalg.norm(grid[:3, :3], axis=0)
    scan = Scan(
        shape=hu.shape,
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        kernel=retake.kernel,
        noise_hu=retake.noise_hu,
    )
    hu = apply_kernel(_thick(hu, retake.thickness), scan)
    if retake.noise_hu:
        hu += quantum_noise(hu, scan, random)
    np.clip(np.rint(hu, out=hu), OUTSIDE_HU, 3071, out=hu)
    return Volume(hu.astype(np.int16)[None], affine=grid, source=volume.source)


def _zoomed(shape: tuple[int, ...], zoom: float) -> np.ndarray:
    """Voxels of the new grid to those of the old one: larger in the plane, about its middle."""
    matrix = np.diag([zoom, zoom, 1.0, 1.0])
    matrix[:2, 3] = (1 - zoom) * (np.array(shape[:2]) - 1) / 2
    return matrix


def _moved(retake: Retake, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Where the body goes, in mm: turned about the middle of the scan, then shifted; 4x4."""
    middle = (affine @ [*((np.array(shape) - 1) / 2), 1])[:3]
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(retake.turn_deg)
    matrix[:3, 3] = middle - matrix[:3, :3] @ middle + retake.shift_mm
    return matrix


def _thick(hu: np.ndarray, thickness: float) -> np.ndarray:
    """Average over slices with a box of `thickness` steps, 1 to 3."""
    from scipy.ndimage import correlate1d

    if thickness <= 1:
        return hu
    side = (thickness - 1) / 2
    return correlate1d(hu, np.array([side, 1.0, side]) / thickness, axis=2, mode="nearest")
