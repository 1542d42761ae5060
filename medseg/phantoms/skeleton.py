"""Paint the bones of the chest: spine, ribs, sternum, clavicles and shoulder blades."""

from __future__ import annotations

import numpy as np

from medseg.phantoms.anatomy import CAGE, Person
from medseg.phantoms.canvas import Canvas, joined
from medseg.phantoms.thorax import TISSUES

VERTEBRA_MM = 24.5  # distance of neighbouring thoracic vertebrae


def paint_bones(canvas: Canvas, person: Person, random: np.random.Generator) -> None:
    """Paint all bones, each with a shell of cortex around marrow."""
    density = random.uniform(0.6, 1.25)
    _paint_spine(canvas, person, density)
    ribs = rib_tubes(person)
    bones = np.concatenate([ribs[0], *_flat_bones(person)])
    canvas.tubes(ribs[1], 95, TISSUES["cartilage"])
    canvas.tubes(bones, 750 * density, TISSUES["bone"])
    canvas.tubes(bones[bones[:, 6] > 2.6], 230 * density, TISSUES["marrow"], (TISSUES["bone"],), -1.6)


def _paint_spine(canvas: Canvas, person: Person, density: float) -> None:
    scale = person.scale.mean()
    wide, deep = 17 * scale, 14 * scale
    step = VERTEBRA_MM * person.scale[2]

    def body(x, y, z):
        # Waist between the end plates.
        waist = np.abs(np.mod(z / np.float32(step), 1) - np.float32(0.5)) * np.float32(4) - 1
        norm = np.sqrt((x / (wide + waist)) ** 2 + ((y - person.spine_y(z)) / (deep + waist)) ** 2)
        return (norm - 1) * np.float32(deep)

    def plates(x, y, z):
        return np.maximum(body(x, y, z), 2.6 - step * np.abs(np.mod(z / np.float32(step) + 0.5, 1) - 0.5))

    bone, marrow = TISSUES["bone"], TISSUES["marrow"]
    low = np.array([-60, -180, -400]) * person.scale
    box = canvas.grid.box(low, np.array([60, 20, 260]) * person.scale)
    canvas.paint(body, 85, TISSUES["cartilage"], box)
    canvas.paint(plates, 480 * density, bone, box)
    canvas.paint(lambda *p: plates(*p) + 1.8, 175 * density, marrow, box)
    arch = deep + 10 * scale

    def ring(radius, x, y, z):
        return np.sqrt(x * x + (y - person.spine_y(z) + np.float32(arch)) ** 2) - np.float32(radius)

    def lamina(x, y, z):
        gap = np.abs(np.mod(z / np.float32(step) + 0.3, 1) - 0.5) * step - 9
        return np.maximum(ring(13.5 * scale, x, y, z), gap)

    canvas.paint(lamina, 520 * density, bone, box)
    canvas.paint(lambda *p: ring(8.5 * scale, *p), 22, TISSUES["canal"], box)
    canvas.tubes(_processes(person, arch, step, scale), 480 * density, bone)


def _processes(person: Person, arch: float, step: float, scale: float) -> np.ndarray:
    """Tubes (n, 8) of the spinous and the transverse processes of each vertebra."""
    tubes = []
    for number in range(-12, 9):
        z = (number + 0.3) * step
        y = float(person.spine_y(np.float32(z))) - arch - 10 * scale
        tubes.append([0, y, z, 0, y - 24 * scale, z - 16 * scale, 3.5, 3])
        for side in (-1, 1):
            x = side * 12 * scale
            tubes.append([x, y + 6, z + 3, x + side * 22 * scale, y - 4, z + 8, 5, 4])
    return np.array(tubes, float)


def rib_tubes(person: Person) -> tuple[np.ndarray, np.ndarray]:
    """Tubes (n, 8) of the ribs' bone and of their cartilage; each rib is two tubes, one above the other."""
    ends_deg = (150, 140, 134, 130, 128, 126, 124, 120, 114, 104, 78, 56)
    bones, cartilage = [], []
    for number, end_deg in enumerate(ends_deg):
        z0 = 96 - VERTEBRA_MM * number
        fall = np.interp(number, [0, 3, 7, 11], [26, 56, 82, 60])
        for side in (1, -1):
            angles = np.radians(np.linspace(14, end_deg, 20))
            at = (angles - angles[0]) / np.pi
            path = _on_cage(
                person, angles, (z0 - fall * np.sin(at * np.pi / 2) ** 1.2) * person.scale[2], side
            )
            for up in (-3.2, 3.2):
                bones.append(joined(path + np.array([0, 0, up]), np.full(len(path), 3.9)))
            if number < 10:
                rise = np.interp(number, [0, 4, 9], [6, 4, 60])
                angles = np.radians(np.linspace(end_deg, 168 if number < 7 else 150, 8))
                heights = path[-1, 2] + np.linspace(0, rise, 8) * person.scale[2]
                cartilage.append(joined(_on_cage(person, angles, heights, side), np.full(8, 5.5)))
    return np.concatenate(bones), np.concatenate(cartilage)


def _on_cage(person: Person, angles: np.ndarray, z: np.ndarray, side: int, out_mm: float = 6.5) -> np.ndarray:
    """(n, 3) points in mm on the chest wall at angles from the back (0) to the front (pi)."""
    wide, middle, deep = (np.asarray(v, float) for v in person.outline(CAGE, np.asarray(z, float)))
    direction = np.stack([side * np.sin(angles), -np.cos(angles)], axis=1)
    # The distance of `ring` is radial, so that a few corrections of the radius reach the section.
    radius = wide.copy()
    for _ in range(3):
        x, y = direction[:, 0] * radius, direction[:, 1] * radius
        radius = radius - np.asarray(person.ring(x, y + middle, wide, middle, deep), float)
    radius = radius + out_mm
    return np.stack(
        [direction[:, 0] * radius, direction[:, 1] * radius + middle, np.asarray(z, float)], axis=1
    )


def _flat_bones(person: Person) -> list[np.ndarray]:
    """Tubes (n, 8) of sternum, clavicles and shoulder blades, side by side."""
    found = []
    # The sternum lies on the front of the rib cage.
    heights = np.linspace(62, -84, 10) * person.scale[2]
    front = _on_cage(person, np.full(10, np.pi), heights, 1, 7)
    width = np.interp(np.arange(10), [0, 2, 4, 8, 9], [20, 15, 11, 14, 5])
    for share in (-1, -0.5, 0, 0.5, 1):
        found.append(
            joined(front + np.stack([share * width, 0 * width, 0 * width], axis=1), np.full(10, 5.0))
        )
    for side in (-1, 1):
        clavicle = [(12, 44, 62), (45, 54, 74), (85, 36, 88), (120, -2, 98), (150, -26, 96)]
        points = person.at(clavicle) * (side, 1, 1)
        found.append(joined(points, np.array([8, 6, 5.5, 6, 7.0])))
        found.append(
            joined(
                person.at([(70, -112, 62), (110, -98, 84), (152, -48, 92)]) * (side, 1, 1),
                np.array([4, 6, 9.0]),
            )
        )
        heights = np.linspace(84, -50, 6) * person.scale[2]
        for share in np.linspace(0, 1, 12):
            angle = np.radians(36 + 32 * share * np.linspace(1, 0.35, 6))
            found.append(joined(_on_cage(person, angle, heights, side, 17), np.full(6, 2.6)))
    return found
