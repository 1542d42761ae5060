"""Simulate a CT scan of painted tissue: grid, slice thickness, kernel, noise and field of view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medseg.phantoms.canvas import Canvas, Grid

# In-plane blur (sigma in mm) and gain of edges; sharp kernels overshoot at borders.
KERNELS = {"soft": (0.9, 0.0), "standard": (0.6, 0.0), "lung": (0.4, 0.6), "sharp": (0.3, 1.4)}
PADDINGS_HU = (None, None, -1000, -1024, -2000, -3024)  # values that vendors use
FINEST_STEP_MM = 3.2  # slices with larger steps are painted as several thinner ones


@dataclass(frozen=True)
class Scan:
    """The settings of a CT scan.

    Attributes:
        shape: (i, j, k).
        spacing_mm: along i and j in the plane, and from slice to slice.
        thickness_mm: of a slice; the step between slices by default.
        centre_mm: (x, y, z) of the field of view in anatomy coordinates, whose origin is the carina.
        turn_deg: rotation of the body in the scanner about x, y and z.
        oblique: the slices are rotated by turn_deg instead of the body, and so is the affine.
        tilt_deg: of the gantry: the slices are tilted against the couch's movement (a sheared grid).
        kernel: soft, standard, lung or sharp.
        noise_hu: standard deviation in a slice of median attenuation.
        padding_hu: value outside the round field of view; None for a square one without padding.
        offset_mm: of the scanner's origin, so that coordinates are not round numbers.
    """

    shape: tuple[int, int, int] = (160, 160, 120)
    spacing_mm: tuple[float, float, float] = (2.4, 2.4, 2.8)
    thickness_mm: float | None = None
    centre_mm: tuple[float, float, float] = (0.0, -12.0, -38.0)
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    oblique: bool = False
    tilt_deg: float = 0.0
    kernel: str = "standard"
    noise_hu: float = 15.0
    padding_hu: int | None = None
    offset_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)


def draw(random: np.random.Generator, shape: tuple[int, int, int] = (160, 160, 120)) -> Scan:
    """A scan with random quality, and with a random field of view that covers most of the chest."""
    field_of_view_mm = float(random.triangular(280, 380, 480))
    length_mm = float(random.triangular(240, 320, 400))
    step_mm = length_mm / shape[2]
    return Scan(
        shape=shape,
        spacing_mm=(field_of_view_mm / shape[0], field_of_view_mm / shape[1], step_mm),
        thickness_mm=step_mm * float(random.choice((0.6, 1, 1, 1.5, 2))),
        centre_mm=tuple(random.normal((0, -12, -42), (12, 10, 14)).tolist()),
        turn_deg=tuple(random.normal(0, (3, 3, 5)).tolist()),
        kernel=str(random.choice(tuple(KERNELS))),
        noise_hu=float(np.exp(random.uniform(np.log(4), np.log(70)))),
        padding_hu=PADDINGS_HU[random.integers(len(PADDINGS_HU))],
        offset_mm=tuple(random.uniform(-300, 300, 3).tolist()),
    )


def affine(scan: Scan) -> np.ndarray:
    """The affine of a scan: 4x4, voxel index to RAS+ mm."""
    turn = rotation(scan.turn_deg) if scan.oblique else np.eye(3)
    return _affine(scan, turn, np.add(scan.centre_mm, scan.offset_mm))


def grid(scan: Scan) -> Grid:
    """The grid to paint: that of the scan, with several thinner slices in place of each thick one."""
    split, weights = _profile(scan)
    window = len(weights)
    matrix = _affine(scan, rotation(scan.turn_deg), np.array(scan.centre_mm))
    matrix[:3, 2] /= split
    matrix[:3, 3] -= matrix[:3, 2] * (window - 1) / 2
    return Grid((*scan.shape[:2], (scan.shape[2] - 1) * split + window), matrix)


def acquire(
    canvas: Canvas, labels: np.ndarray, scan: Scan, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulate the scan: average the painted slices, apply the kernel, add noise and round.

    Args:
        canvas: painted on `grid(scan)`.
        labels: (i, j, k) on the same grid.
        scan: the settings.
        random: for the noise.

    Returns:
        (i, j, k) int16 in HU, and labels and tissue of the middle plane of each slice.
    """
    split, weights = _profile(scan)
    planes = [np.s_[..., n : n + (scan.shape[2] - 1) * split + 1 : split] for n in range(len(weights))]
    centre = planes[len(weights) // 2]
    labels, tissue = labels[centre], canvas.tissue[centre]
    hu = canvas.hu[planes[0]] * weights[0]
    for plane, weight in zip(planes[1:], weights[1:], strict=True):
        hu += canvas.hu[plane] * weight
    hu = apply_kernel(hu, scan)
    if scan.noise_hu:
        hu += quantum_noise(hu, scan, random)
    np.clip(np.rint(hu, out=hu), -1024, 3071, out=hu)
    array = hu.astype(np.int16)
    if scan.padding_hu is not None:
        array[~_field_of_view(scan)] = scan.padding_hu
    return array, np.ascontiguousarray(labels), np.ascontiguousarray(tissue)


def rotation(turn_deg: tuple[float, float, float]) -> np.ndarray:
    """3x3 rotation about x, then y, then z, in degrees."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()


def _affine(scan: Scan, turn: np.ndarray, centre_mm: np.ndarray) -> np.ndarray:
    tilt = np.radians(scan.tilt_deg)
    # Rows run to the left and columns to the back; with a tilted gantry columns also run up or down.
    columns = np.array([(-1, 0, 0), (0, -np.cos(tilt), np.sin(tilt)), (0, 0, 1)]).T * scan.spacing_mm
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ columns
    matrix[:3, 3] = centre_mm - matrix[:3, :3] @ ((np.array(scan.shape) - 1) / 2)
    return matrix


def _profile(scan: Scan) -> tuple[int, np.ndarray]:
    """The number of painted planes per step between slices, and the weights of the planes of a slice.

    The slice profile is a box: the weight of a plane is the share of it that lies in the slice. The number of
    planes per step and the number of weights are odd.
    """
    step = scan.spacing_mm[2]
    split = 1 if step <= FINEST_STEP_MM else 3
    thick = max((scan.thickness_mm or step) / step * split, 1.0)
    reach = int(np.ceil(thick / 2 - 0.5 - 1e-9))
    planes = np.abs(np.arange(-reach, reach + 1))
    weights = np.clip(thick / 2 + 0.5 - planes, 0, 1)
    return split, (weights / weights.sum()).astype(np.float32)


def apply_kernel(hu: np.ndarray, scan: Scan) -> np.ndarray:
    """Apply the blur or the edge gain of the reconstruction kernel in the plane; (i, j, k) float32."""
    from scipy.ndimage import gaussian_filter1d

    sigma_mm, gain = KERNELS[scan.kernel]
    blurred = hu
    for axis in (0, 1):
        sigma = (sigma_mm if not gain else 0.8) / scan.spacing_mm[axis]
        if sigma > 0.25:
            blurred = gaussian_filter1d(blurred, sigma, axis=axis, truncate=2.5)
    return hu + np.float32(gain) * (hu - blurred) if gain else np.array(blurred, np.float32)


def quantum_noise(hu: np.ndarray, scan: Scan, random: np.random.Generator) -> np.ndarray:
    """Quantum noise with the grain of the kernel, and horizontal streaks where shoulders absorb most."""
    from scipy.ndimage import correlate1d

    noise = random.standard_normal(hu.shape, np.float32)
    grain = {
        "soft": (0.6, 1, 0.6),
        "standard": (0.4, 1, 0.4),
        "lung": (0.1, 1, 0.1),
        "sharp": (-0.35, 1, -0.35),
    }
    for axis in (0, 1):
        noise = correlate1d(noise, np.array(grain[scan.kernel], np.float32), axis=axis)
    noise /= noise[..., :1].std()
    # Photons left after the longest way through a slice: noise grows as exp(mu L / 2).
    water_mm = ((hu[:, ::4] + 1000) / 1000).clip(0, 2).sum(axis=0).max(axis=0) * scan.spacing_mm[0]
    level = np.exp(0.006 * (water_mm - np.median(water_mm))).clip(0.6, 3)
    rows = random.standard_normal(hu.shape[1:], np.float32)
    noise += rows * (0.25 * (level - 1).clip(0, 2)).astype(np.float32)
    return noise * (scan.noise_hu * level).astype(np.float32)


def _field_of_view(scan: Scan) -> np.ndarray:
    """The round field of view, (i, j) bool: the largest circle in a slice."""
    i, j = (np.arange(n) - (n - 1) / 2 for n in scan.shape[:2])
    radius = min(n * s for n, s in zip(scan.shape[:2], scan.spacing_mm[:2], strict=True)) / 2
    return np.hypot(i[:, None] * scan.spacing_mm[0], j[None] * scan.spacing_mm[1]) <= radius
