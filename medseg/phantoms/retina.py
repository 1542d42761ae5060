"""Synthetic pictures whose masks are known exactly, for tests and for trying medseg without patients.

Axes are (row, column), pixels are unit squares with their centres on whole numbers, and a pixel belongs
to a shape when its centre lies in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STROKE_ERROR_PX = 0.02  # the discs that draw a curve lie so close that its border is exact to this

# The eye, in units of the field's radius, (row, column) from the field's centre; a 45 degree photograph.
FIELD_RADIUS = 0.46  # of the picture's side
DISC, DISC_RADIUS = np.array([-0.02, 0.62]), 0.155
FOVEA = np.array([0.03, -0.06])
FOVEA_CLEAR = 0.13
STEP = 0.012  # a vessel grows by this much at a time
THINNEST = 0.0035  # calibre at which a vessel ends
SHORTEST = 0.13  # a shorter branch isn't drawn
SPROUT_GAP = 0.085  # along a vessel, from one try at a branch to the next
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
        path: (n, 2) row and column from the field's centre, in units of the field's radius.
        calibre: (n,) in the same units.
        is_vein: veins are darker.
    """

    path: np.ndarray
    calibre: np.ndarray
    is_vein: bool


def fundus(size_px: int = 700, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A photograph of a right eye's retina that nobody has.

    Args:
        size_px: side of the square picture.
        seed: the same seed and size give the same picture.

    Returns:
        picture (row, column, 3) uint8 RGB; vessel mask (row, column) uint8, 1 in vessels;
        field (row, column) bool, the round part that shows the eye.
    """
    random = np.random.default_rng(seed)
    radius_px = FIELD_RADIUS * size_px
    place = (np.indices((size_px, size_px)) - (size_px - 1) / 2) / radius_px
    field = np.hypot(*place) <= 1
    veins, arteries = np.zeros_like(field), np.zeros_like(field)
    for vessel in _tree(random):
        points = vessel.path * radius_px + (size_px - 1) / 2
        stroke(veins if vessel.is_vein else arteries, points, vessel.calibre * radius_px)
    mask = (veins | arteries) & field
    picture = _photograph(place, veins, arteries, field, random)
    return picture, mask.astype(np.uint8), field


def stroke(picture: np.ndarray, points: np.ndarray, width_px: float | np.ndarray) -> None:
    """Draws a curve with round ends into a (row, column) bool picture, in place.

    Args:
        picture: (row, column) bool.
        points: (n, 2) row and column, joined by straight lines; may lie outside.
        width_px: one for the curve, or (n,).
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
    """A straight bar with square ends, shift_px off the middle of a square picture; (row, column) bool.

    It's off the grid by default: a symmetric place would hide errors of half a pixel.
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
    """Sierpinski's triangle of side 2**order; (row, column) bool, dimension log 3 / log 2."""
    row, column = np.indices((2**order, 2**order))
    return (row & column) == 0


def _along(points: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and radii along a line through the points, close enough for STROKE_ERROR_PX."""
    travelled = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    # Between two discs the border sinks by step**2 / (8 radius).
    step = np.sqrt(8 * STROKE_ERROR_PX * radii.min())
    at = np.linspace(0, travelled[-1], int(travelled[-1] / step) + 2)
    centres = np.stack([np.interp(at, travelled, axis) for axis in points.T], axis=1)
    return centres, np.interp(at, travelled, radii)


def _tree(random: np.random.Generator) -> list[Vessel]:
    """Trunks from the disc, then branches of branches until they are too thin to see."""
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
    """Places along a vessel where branches leave it, and to which side: mostly by turns."""
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
    """Grows a branch until it's too thin, leaves the field, nears the fovea or meets another vessel."""
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
    place: np.ndarray, veins: np.ndarray, arteries: np.ndarray, field: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Light, pigment, disc, macula and vessels as factors of a red-orange ground; uint8 RGB."""
    from scipy.ndimage import gaussian_filter, zoom

    side = field.shape[0]
    texture = sum(zoom(random.normal(0, 0.025, (n, n)), side / n) for n in (12, 40))
    ground = np.ones((*field.shape, 3)) * (205, 100, 48)
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
    edge = gaussian_filter(field.astype(float), blur) * field
    ground = ground * (light * edge)[..., None] + random.normal(0, 2.6, ground.shape) * field[..., None]
    return np.clip(np.round(ground), 0, 255).astype(np.uint8)


def _mix(ground: np.ndarray, colour: tuple[int, int, int], share: np.ndarray) -> np.ndarray:
    return ground * (1 - share[..., None]) + np.asarray(colour) * share[..., None]
