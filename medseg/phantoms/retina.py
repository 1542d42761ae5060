"""Synthetic fundus photographs and simple shapes whose masks are known exactly.

Axes are (row, column). Pixels are unit squares with their centres on whole numbers. A pixel belongs to a
shape when its centre lies in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STROKE_ERROR_PX = 0.02  # greatest error of a curve's border; it sets the distance of the discs that draw it

# A photograph with a field of view of 45 degrees. Lengths are in units of the radius of the field of view,
# positions are (row, column) from its centre.
FIELD_OF_VIEW_RADIUS = 0.46  # of the picture's side
DISC, DISC_RADIUS = np.array([-0.02, 0.62]), 0.155
FOVEA = np.array([0.03, -0.06])
FOVEA_CLEAR = 0.13
STEP = 0.012  # length by which a vessel grows
THINNEST = 0.0035  # calibre at which a vessel ends
SHORTEST = 0.13  # a shorter branch isn't drawn
SPROUT_GAP = 0.085  # distance along a vessel between possible branches
# Each trunk: calibre, then the control points of a cubic curve from the disc.
TRUNKS = (
    (0.024, ((-0.05, 0.62), (-0.70, 0.52), (-0.78, -0.20), (-0.42, -0.90))),
    (0.018, ((-0.05, 0.60), (-0.46, 0.46), (-0.62, -0.05), (-0.50, -0.62))),
    (0.024, ((0.01, 0.62), (0.66, 0.54), (0.80, -0.18), (0.46, -0.88))),
    (0.018, ((0.01, 0.60), (0.44, 0.48), (0.58, -0.02), (0.56, -0.55))),
    (0.018, ((-0.04, 0.64), (-0.30, 0.66), (-0.42, 0.80), (-0.55, 0.88))),
    (0.014, ((-0.03, 0.65), (-0.16, 0.72), (-0.20, 0.86), (-0.26, 1.02))),
    (0.018, ((0.00, 0.64), (0.30, 0.68), (0.44, 0.76), (0.56, 0.86))),
    (0.014, ((0.00, 0.65), (0.14, 0.74), (0.16, 0.84), (0.24, 1.02))),
    (0.008, ((-0.03, 0.60), (-0.10, 0.46), (-0.12, 0.34), (-0.07, 0.12))),
    (0.008, ((0.00, 0.60), (0.08, 0.46), (0.14, 0.34), (0.12, 0.12))),
)


@dataclass(frozen=True)
class Vessel:
    """A vessel of the synthetic eye.

    Attributes:
        path: (n, 2) row and column from the centre of the field of view, in units of its radius.
        calibre: (n,) diameter in the same units.
        is_vein: a vein, which is darker, or an artery.
    """

    path: np.ndarray
    calibre: np.ndarray
    is_vein: bool


def fundus(size_px: int = 700, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A synthetic photograph of the retina of a right eye.

    Args:
        size_px: side of the square picture.
        seed: the same seed and size give the same picture.

    Returns:
        picture (row, column, 3) uint8 RGB; vessel mask (row, column) uint8, 1 in vessels;
        field of view (row, column) bool, the round part that shows the retina.
    """
    random = np.random.default_rng(seed)
    radius_px = FIELD_OF_VIEW_RADIUS * size_px
    place = (np.indices((size_px, size_px)) - (size_px - 1) / 2) / radius_px
    field_of_view = np.hypot(*place) <= 1
    veins, arteries = np.zeros_like(field_of_view), np.zeros_like(field_of_view)
    for vessel in _tree(random):
        points = vessel.path * radius_px + (size_px - 1) / 2
        stroke(veins if vessel.is_vein else arteries, points, vessel.calibre * radius_px)
    mask = (veins | arteries) & field_of_view
    picture = _photograph(place, veins, arteries, field_of_view, random)
    return picture, mask.astype(np.uint8), field_of_view


def stroke(picture: np.ndarray, points: np.ndarray, width_px: float | np.ndarray) -> None:
    """Draw a curve with round ends into a picture, in place.

    Args:
        picture: (row, column) bool.
        points: (n, 2) row and column, joined by straight lines; they may lie outside the picture.
        width_px: of the whole curve, or (n,) at each point.
    """
    centres, radii = _along(points, np.broadcast_to(width_px, len(points)) / 2)
    for (row, column), radius in zip(centres, radii, strict=True):
        top, left = max(int(row - radius), 0), max(int(column - radius), 0)
        window = picture[top : max(int(row + radius) + 2, 0), left : max(int(column + radius) + 2, 0)]
        down, right = np.ogrid[: window.shape[0], : window.shape[1]]
        window |= (down + top - row) ** 2 + (right + left - column) ** 2 <= radius**2


def bar(
    side_px: int,
    length_px: float,
    width_px: float,
    angle_deg: float,
    shift_px: tuple[float, float] = (0.3, 0.1),
) -> np.ndarray:
    """A straight bar with square ends in a square picture, (row, column) bool.

    Args:
        side_px: of the picture.
        length_px, width_px: of the bar.
        angle_deg: from the column axis towards higher rows.
        shift_px: (row, column) of the bar's centre from that of the picture. By default it is not symmetric
            to the pixels, because symmetry would hide errors of half a pixel.
    """
    row, column = (
        axis - side_px / 2 - s for axis, s in zip(np.indices((side_px, side_px)), shift_px, strict=True)
    )
    angle = np.radians(angle_deg)
    along = column * np.cos(angle) + row * np.sin(angle)
    across = row * np.cos(angle) - column * np.sin(angle)
    inside = (-length_px / 2 <= along) & (along < length_px / 2)
    return inside & (-width_px / 2 <= across) & (across < width_px / 2)


def sierpinski(order: int) -> np.ndarray:
    """Sierpinski's triangle of side 2**order, (row, column) bool; its fractal dimension is log 3 / log 2."""
    row, column = np.indices((2**order, 2**order))
    return (row & column) == 0


def _along(points: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and radii along a polyline, close enough for STROKE_ERROR_PX."""
    travelled = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    # Between two discs the border is too low by step**2 / (8 radius).
    step = np.sqrt(8 * STROKE_ERROR_PX * radii.min())
    at = np.linspace(0, travelled[-1], int(travelled[-1] / step) + 2)
    centres = np.stack([np.interp(at, travelled, axis) for axis in points.T], axis=1)
    return centres, np.interp(at, travelled, radii)


def _tree(random: np.random.Generator) -> list[Vessel]:
    """Trunks from the optic disc, then branches of branches until they are too thin to see."""
    grown = [_trunk(k, random) for k in range(len(TRUNKS))]
    waiting = list(grown)
    while waiting:
        parent = waiting.pop(0)
        for start, side in _sprouts(parent, random):
            branch = _branch(parent, start, side, grown, random)
            if len(branch.path) * STEP > SHORTEST:
                grown.append(branch)
                waiting.append(branch)
    return grown


def _trunk(number: int, random: np.random.Generator) -> Vessel:
    calibre, corners = TRUNKS[number]
    at = np.linspace(0, 1, 120)[:, None]
    a, b, c, d = np.asarray(corners) + random.normal(0, 0.012, (4, 2))
    path = (1 - at) ** 3 * a + 3 * at * (1 - at) ** 2 * b + 3 * at**2 * (1 - at) * c + at**3 * d
    phase, waves = random.uniform(0, 2 * np.pi, 2), random.uniform(2.5, 4.5, 2)
    swing = 0.011 * np.linalg.norm(d - a)
    path = path + swing * np.sin(2 * np.pi * waves * at + phase) * np.minimum(at * 4, 1)
    return Vessel(path, calibre * (1 - 0.65 * at[:, 0]), number % 2 == 0)


def _sprouts(parent: Vessel, random: np.random.Generator) -> list[tuple[int, int]]:
    """Indices of a vessel's path where branches leave it, and the side (1 or -1), which mostly alternates."""
    step = float(np.linalg.norm(np.diff(parent.path, axis=0), axis=1).mean())
    gap = max(int(SPROUT_GAP / step), 2)
    side = int(random.choice((-1, 1)))
    places = []
    for k in range(gap, len(parent.path) - 2, gap):
        start = min(k + int(random.integers(0, gap)), len(parent.path) - 2)
        side = -side if random.random() < 0.8 else side
        if np.hypot(*parent.path[start]) < 0.97:
            places.append((start, side))
    return places


def _branch(
    parent: Vessel, start: int, side: int, grown: list[Vessel], random: np.random.Generator
) -> Vessel:
    """Grow a branch until it is too thin, leaves the field of view, or nears the fovea or another vessel."""
    others = np.concatenate([vessel.path for vessel in grown])
    point, calibre = parent.path[start], parent.calibre[start] * random.uniform(0.5, 0.85)
    heading = np.arctan2(*(parent.path[start + 1] - point)) + side * random.uniform(0.5, 0.95)
    to_fovea = np.arctan2(*(FOVEA - point))
    inwards = np.cos(heading - to_fovea) > 0 and point[1] < DISC[1] - DISC_RADIUS
    path, calibres, turn = [point], [calibre], 0.0
    while calibre > THINNEST and np.hypot(*point) < 1.02:
        # Vessels inside the arcades run to the fovea, all others away from the disc.
        goal = np.arctan2(*(FOVEA - point if inwards else point - DISC))
        turn = 0.85 * turn + random.normal(0, 0.03)
        heading += turn + 0.05 * np.sin(goal - heading)
        point = point + STEP * np.array([np.sin(heading), np.cos(heading)])
        near = np.linalg.norm(others - point, axis=1).min() < 0.028 and len(path) > 5
        if near or np.hypot(*(point - FOVEA)) < FOVEA_CLEAR:
            break
        calibre *= 0.987
        path.append(point)
        calibres.append(calibre)
    # A branch that had to stop early still ends thin.
    most = THINNEST + 0.06 * STEP * np.arange(len(path))[::-1]
    return Vessel(np.array(path), np.minimum(calibres, most), parent.is_vein)


def _photograph(
    place: np.ndarray,
    veins: np.ndarray,
    arteries: np.ndarray,
    field_of_view: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """Illumination, pigment, disc, macula and vessels applied to a red-orange background; uint8 RGB."""
    from scipy.ndimage import gaussian_filter, zoom

    side = field_of_view.shape[0]
    texture = sum(zoom(random.normal(0, 0.025, (n, n)), side / n) for n in (12, 40))
    ground = np.ones((*field_of_view.shape, 3)) * (205, 100, 48)
    ground *= 1 + texture[..., None] * (0.5, 1.0, 1.0)
    macula = np.exp(-np.sum((place - FOVEA[:, None, None]) ** 2, axis=0) / (2 * 0.14**2))
    ground *= 1 - macula[..., None] * (0.28, 0.42, 0.45)
    to_disc = np.hypot(*(place - DISC[:, None, None]) / [[[1.0]], [[0.9]]]) / DISC_RADIUS
    ground = _mix(ground, (246, 196, 118), 1 / (1 + np.exp((to_disc - 1) * 18)))
    ground = _mix(ground, (255, 232, 178), 0.8 / (1 + np.exp((to_disc - 0.45) * 14)))
    blur = side / 900
    ground = _mix(ground, (138, 34, 20), 0.62 * gaussian_filter(arteries.astype(float), blur))
    ground = _mix(ground, (108, 18, 18), 0.78 * gaussian_filter(veins.astype(float), blur))
    light = 1.08 - 0.38 * np.hypot(*place) ** 2.2 + 0.10 * place[1] - 0.05 * place[0]
    edge = gaussian_filter(field_of_view.astype(float), blur) * field_of_view
    noise = random.normal(0, 2.6, ground.shape) * field_of_view[..., None]
    ground = ground * (light * edge)[..., None] + noise
    return np.clip(np.round(ground), 0, 255).astype(np.uint8)


def _mix(ground: np.ndarray, colour: tuple[int, int, int], share: np.ndarray) -> np.ndarray:
    return ground * (1 - share[..., None]) + np.asarray(colour) * share[..., None]
