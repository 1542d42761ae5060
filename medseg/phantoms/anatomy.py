"""Signed distances of the body, rib cage, diaphragm, mediastinum and lungs of one synthetic person.

Coordinates are in mm from the carina: x to the right, y to the front, z to the head. The lengths in the
tables are those of a middle-sized adult, read from an atlas of sectional anatomy; `Person` scales and varies
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medseg.phantoms.canvas import capsule, ellipsoid, smooth_max

# z, half width, front and back of the inner chest wall.
CAGE = np.array([
    (125, 40, -5, -60), (110, 58, 8, -68), (80, 85, 34, -87), (50, 103, 54, -97), (0, 122, 73, -104),
    (-50, 133, 84, -107), (-100, 139, 88, -105), (-160, 140, 86, -100), (-240, 132, 80, -92),
], float)  # fmt: skip
# z, half width, front and back of the muscles under the fat.
TRUNK = np.array([
    (190, 58, 40, -72), (150, 62, 36, -78), (125, 95, 34, -100), (100, 138, 44, -118), (60, 158, 68, -128),
    (0, 158, 90, -130), (-60, 155, 101, -128), (-120, 154, 105, -122), (-250, 148, 99, -116),
], float)  # fmt: skip
SPINE = np.array([(200, -32), (130, -42), (60, -58), (0, -66), (-80, -64), (-160, -54), (-260, -46)], float)
# Paths of large vessels and the oesophagus: x, y, z and radius.
PATHS = {
    "ascending_aorta": [(8, 14, -52, 16), (14, 16, -20, 16), (10, 12, 12, 15)],
    "arch": [(10, 12, 12, 15), (2, 2, 32, 14), (-14, -18, 34, 13), (-24, -36, 18, 13)],
    "descending_aorta": [(-24, -36, 18, 13), (-25, -42, -30, 12), (-20, -40, -110, 12), (-6, -30, -250, 10)],
    "superior_vena_cava": [(24, 12, 66, 8), (26, 8, 0, 9), (27, 8, -45, 10)],
    "brachiocephalic_vein": [(24, 12, 66, 7), (0, 20, 64, 6), (-28, 16, 82, 6), (-42, 6, 110, 6)],
    "brachiocephalic_artery": [(6, 6, 32, 7), (14, 0, 70, 6), (26, -4, 130, 4), (28, -6, 190, 4)],
    "carotid_artery": [(-6, -4, 34, 5), (-14, -4, 80, 4), (-26, -6, 130, 4), (-28, -6, 190, 4)],
    "subclavian_artery": [(-16, -20, 34, 6), (-22, -22, 75, 5), (-44, -22, 108, 5), (-90, -14, 112, 4)],
    "pulmonary_trunk": [(-16, 30, -52, 14), (-20, 16, -26, 14), (-20, 2, -14, 12)],
    "right_pulmonary_artery": [(-20, 2, -14, 11), (10, -4, -18, 11), (34, -10, -24, 9)],
    "left_pulmonary_artery": [(-20, 2, -14, 11), (-32, -14, -8, 10), (-42, -22, -14, 9)],
    "inferior_vena_cava": [(26, 6, -105, 12), (24, -2, -180, 12), (16, -20, -260, 11)],
    "azygos_vein": [(8, -44, -150, 4), (8, -44, 0, 4), (12, -38, 14, 4), (24, 2, 14, 4)],
}
OESOPHAGUS = [(-2, -30, 200, 6), (-4, -36, 60, 7), (-3, -38, 0, 7), (-6, -34, -90, 8), (-22, -14, -150, 9)]
TRACHEA = [(0, 0, 190, 9), (1, -6, 120, 9), (2, -17, 50, 9), (3, -21, 8, 9), (3, -22, 0, 9)]
# Large vessels that displace the lungs, and the path from the right ventricle to the pulmonary artery.
PUSHING = ("ascending_aorta", "arch", "descending_aorta", "superior_vena_cava")
OUTFLOW = [(-4, 56, -88, 30), (-12, 46, -62, 26), (-16, 26, -34, 17), (-14, 10, -16, 12)]


@dataclass(frozen=True, eq=False)
class Person:
    """The parameters of one chest; its shapes are the methods.

    Methods that take x, y and z expect float32 arrays in mm that broadcast, and return signed distances in
    mm, negative inside.

    Attributes:
        scale: (3,) factors of width, depth and length against the middle-sized adult (x, y, z).
        squareness: of the chest's section: 0 is an ellipse, 1 a box.
        asymmetry: share by which the right half of the chest is wider and the left half narrower.
        inspiration_mm: depth of the diaphragm below its mean position.
        domes_mm: (2,) extra height of the right and the left dome of the diaphragm.
        septum_mm: (2,) least distance between the lungs, in front and behind.
        septum_bend: (3,) shift of the plane between the lungs to the right: constant in mm, per mm of y, per
            mm of z.
        column_mm: half width of the mediastinum above the carina.
        heart: scale of the heart.
        heart_shift_mm: (3,) shift of the heart.
        fat_mm: (3,) thickness of the fat under the skin: sides, front, back.
        aorta: scale of the radii of the large vessels.
        apex_mm: (2, 3) apices of the right and the left lung.
    """

    scale: np.ndarray
    squareness: float
    asymmetry: float
    inspiration_mm: float
    domes_mm: np.ndarray
    septum_mm: np.ndarray
    septum_bend: np.ndarray
    column_mm: float
    heart: float
    heart_shift_mm: np.ndarray
    fat_mm: np.ndarray
    aorta: float
    apex_mm: np.ndarray

    def at(self, points) -> np.ndarray:
        """Points (..., 3 or more) of the middle-sized adult, scaled to this person; only x, y, z change."""
        points = np.array(points, float)
        points[..., :3] *= self.scale
        return points

    def outline(self, table: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Half width, centre in y and half depth of a table's section at the heights z, in mm."""
        up = self.at(np.stack([0 * table[:, 0], 0 * table[:, 0], table[:, 0]], axis=1))[:, 2][::-1]
        wide, front, back = (np.interp(z, up, column[::-1]).astype(np.float32) for column in table.T[1:])
        x, y = (np.float32(s) for s in self.scale[:2])
        return wide * x, (front + back) * y / 2, (front - back) * y / 2

    def ring(self, x, y, wide, middle, deep) -> np.ndarray:
        """Distance to an upright tube whose section is between an ellipse and a box.

        The section is the squircle of Fernandez-Guasti (1992), which is fast because it needs no powers.
        """
        y = y - middle
        side = np.float32(self.asymmetry) * np.sign(x)
        u2, v2 = (x / (wide * (1 + side))) ** 2, (y / deep) ** 2
        both = u2 + v2
        inner = np.sqrt(np.maximum(both * both - np.float32(4 * self.squareness**2) * u2 * v2, 0))
        norm = np.sqrt((both + inner) / 2) + np.float32(1e-6)
        return np.sqrt(x * x + y * y) * (1 - 1 / norm)

    def cage(self, x, y, z) -> np.ndarray:
        """The inner face of the chest wall."""
        return self.ring(x, y, *self.outline(CAGE, z))

    def cage_box(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners in mm of a box around the inside of the chest and the upper belly."""
        return np.array([-150, -118, -420]) * self.scale, np.array([150, 102, 132]) * self.scale

    def trunk(self, x, y, z) -> np.ndarray:
        """The outer face of the muscles, without arms and shoulders."""
        return self.ring(x, y, *self.outline(TRUNK, z))

    def skin(self, x, y, z) -> np.ndarray:
        wide, middle, deep = self.outline(TRUNK, z)
        sides, front, back = (np.float32(f) for f in self.fat_mm)
        # The neck and the shoulders carry less fat, the belly more.
        share = np.interp(z, [-250, -100, 60, 130], [1.5, 1.0, 0.8, 0.35]).astype(np.float32)
        return self.ring(
            x, y, wide + sides * share, middle + (front - back) / 2 * share, deep + (front + back) / 2 * share
        )

    def spine_y(self, z) -> np.ndarray:
        """y of the middle of the vertebral bodies."""
        return (np.interp(z, SPINE[::-1, 0] * self.scale[2], SPINE[::-1, 1]) * self.scale[1]).astype(
            np.float32
        )

    def spine_bulge(self, x, y, z) -> np.ndarray:
        """The ridge of vertebrae and rib heads at the back of the chest."""
        u, v = x / np.float32(23), (y - (self.spine_y(z) - 26)) / np.float32(46)
        norm = np.sqrt(u * u + v * v) + np.float32(1e-6)
        return np.sqrt(x * x + (v * 46) ** 2) * (1 - 1 / norm)

    def diaphragm_z(self, x, y, side: int) -> np.ndarray:
        """Height z in mm of the diaphragm on the right (side 1) or the left (side -1)."""
        dome = self.at([(68, 12, -118), (-72, 8, -130)])[(1 - side) // 2]
        top = dome[2] - self.inspiration_mm + self.domes_mm[(1 - side) // 2]
        u = (x - np.float32(dome[0])) / np.float32(66 * self.scale[0])
        v = (y - np.float32(dome[1])) / np.float32(84 * self.scale[1])
        away = u * u + v * v
        drop = np.float32(46) - np.float32(26) * np.clip(v, -1.3, 1)
        return np.float32(top) - drop * (away + away * away / 2) / np.float32(1.5)

    def above_diaphragm(self, x, y, z, side: int) -> np.ndarray:
        """Negative above the diaphragm; the factor approximates the distance to a sloping surface."""
        return (self.diaphragm_z(x, y, side) - z) * np.float32(0.75)

    def heart_parts(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        """Centre, half axes and rotation of the ventricles, the right and the left atrium."""
        lean = _turn(np.radians(-38), np.radians(24))
        centres = self.at([(-26, 34, -84), (24, 20, -76), (2, -14, -54)]) + self.heart_shift_mm
        centres[:, 2] -= 0.6 * self.inspiration_mm - 0.3 * self.domes_mm.mean()
        radii = np.array([(66, 45, 50), (33, 34, 44), (42, 21, 27)]) * self.heart
        return list(zip(centres, radii, (lean, None, None), strict=True))

    def heart_box(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners in mm of a box around the heart."""
        parts = self.heart_parts()
        reach = max(radii.max() for _, radii, _ in parts)
        return np.min([c for c, _, _ in parts], axis=0) - reach, np.max(
            [c for c, _, _ in parts], axis=0
        ) + reach

    def heart_distance(self, x, y, z) -> np.ndarray:
        parts = (ellipsoid((x, y, z), *part) for part in self.heart_parts())
        return np.minimum.reduce([np.broadcast_arrays(p, x, y, z)[0] for p in parts])

    def path(self, corners: Sequence[Sequence[float]], scale: float = 1.0) -> np.ndarray:
        """(n, 8) tubes along a path of (x, y, z, radius), as in canvas.joined; `scale` applies to radii."""
        points = self.at(corners)
        points[:, 3] *= scale
        return np.concatenate([points[:-1, :3], points[1:, :3], points[:-1, 3:], points[1:, 3:]], axis=1)

    def mediastinum(self, x, y, z) -> np.ndarray:
        """The mediastinum with its fat, which separates the lungs."""
        found = np.minimum(self.heart_distance(x, y, z) - 4, self.spine_bulge(x, y, z))
        column = self.column_mm * np.interp(z, [-30, 0, 70, 130], [0.5, 1.0, 1.05, 0.8]).astype(np.float32)
        u, v = x / column, (y - np.float32(2)) / np.float32(34 * self.scale[1])
        norm = np.sqrt(u * u + v * v) + np.float32(1e-6)
        upper = np.sqrt(x * x + (v * 34) ** 2) * (1 - 1 / norm)
        found = np.minimum(found, np.maximum(upper, np.float32(-30) - z))
        # Below the carina: oesophagus, nodes and fat between the heart and the spine.
        u, v = x / np.float32(17), (y + np.float32(24)) / np.float32(26)
        norm = np.sqrt(u * u + v * v) + np.float32(1e-6)
        found = np.minimum(found, (norm - 1) * 15 + np.maximum(z + 10, 0) * 0.2)
        # The fat in front of the heart and around the outflow tract joins them to the breastbone.
        tubes = [self.path(PATHS[n], self.aorta) for n in PUSHING] + [self.path(OUTFLOW, self.heart)]
        for tube in np.concatenate(tubes):
            found = np.minimum(found, capsule((x, y, z), tube[:3], tube[3:6], *(tube[6:] + 3)))
        for centre, radii in self.hila():
            found = np.minimum(found, ellipsoid((x, y, z), centre, radii))
        return found

    def hila(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Centre and half axes of the right and the left hilum."""
        centres = self.at([(33, -14, -24), (-37, -18, -18)])
        return list(zip(centres, np.array([(13, 17, 24), (12, 15, 22)], float), strict=True))

    def lungs(self, x, y, z, wobble: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Distances to the right and to the left pleural cavity."""
        wall, middle = self.cage(x, y, z) + wobble, self.mediastinum(x, y, z) - wobble
        constant, per_y, per_z = (np.float32(b) for b in self.septum_bend)
        plane = constant + per_y * y + per_z * z
        gap = np.interp(y, [-60, 0, 60], [self.septum_mm[1], 6, self.septum_mm[0]]).astype(np.float32)
        # The gap widens towards the diaphragm and the neck, where fat fills it.
        gap = gap + np.interp(z, [-130, -80, 50, 120], [34, 0, 0, 14]).astype(np.float32)
        found = []
        for side, apex in zip((1, -1), self.apex_mm, strict=True):
            # Below the apex the front opens faster than the back, because the thoracic inlet slopes.
            ahead = (y - np.float32(apex[1]) - np.clip(np.float32(apex[2]) - z, 0, 90) * 0.5) / (
                80 * 0.5 + 30
            )
            across = (x - np.float32(apex[0])) / np.float32(62)
            top = z - np.float32(apex[2]) + 62 * (across * across + ahead * ahead)
            inside = smooth_max(wall, top * np.float32(0.6), 14)
            inside = smooth_max(inside, -middle, 5)
            inside = smooth_max(inside, gap / 2 - side * (x - plane), 3)
            found.append(np.maximum(inside, self.above_diaphragm(x, y, z, side)))
        return found[0], found[1]


def draw_person(random: np.random.Generator) -> Person:
    """A person with random parameters."""
    size = random.normal(1, 0.07)
    scale = np.clip(size * random.normal(1, (0.06, 0.09, 0.07)), 0.72, 1.3)
    stout = random.beta(1.6, 3.0)
    apex = np.array([(48, -30, 104), (-50, -32, 104)]) * scale + random.normal(0, (4, 4, 5), (2, 3))
    return Person(
        scale=scale,
        squareness=random.uniform(0.55, 0.86),
        asymmetry=random.normal(0, 0.025),
        inspiration_mm=random.normal(2, 16),
        domes_mm=random.normal(0, 9, 2),
        septum_mm=np.array([random.uniform(1.2, 16), random.uniform(1.5, 9)]),
        septum_bend=random.normal(0, 1, 3) * (4, 0.05, 0.03) - (3, 0, 0),
        column_mm=random.uniform(25, 38) * scale[0],
        heart=random.uniform(0.86, 1.2) * scale.mean(),
        heart_shift_mm=random.normal(0, (5, 3, 4)),
        fat_mm=4 + stout * np.array([55, 38, 42]) * random.uniform(0.7, 1.2, 3),
        aorta=random.uniform(0.85, 1.3),
        apex_mm=apex,
    )


def _turn(about_z: float, about_y: float) -> np.ndarray:
    """A rotation about z, then about y, in radians."""
    c, s = np.cos(about_z), np.sin(about_z)
    first = np.array([(c, -s, 0), (s, c, 0), (0, 0, 1)])
    c, s = np.cos(about_y), np.sin(about_y)
    return np.array([(c, 0, s), (0, 1, 0), (-s, 0, c)]) @ first
