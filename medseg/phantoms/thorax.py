"""Paint the body around the lungs: muscles, mediastinum, abdomen and arms, and the table under it.

Attenuation in HU is from Kalender, "Computed Tomography" (3rd ed., 2011) and from Hounsfield tables of
radiology textbooks: fat -110 to -80, muscle 40 to 60, blood 35 to 50, liver 50 to 65, trabecular bone 100 to
300, cortical bone 600 to 1300, water 0, air -1000.
"""

from __future__ import annotations

import numpy as np

from medseg.phantoms.anatomy import CAGE, OESOPHAGUS, PATHS, Person
from medseg.phantoms.canvas import Canvas, Noise, ellipsoid, joined

# Tissue to its code in Canvas.tissue.
TISSUES = {
    name: code
    for code, name in enumerate((
        "air", "table", "clothes", "skin", "fat", "muscle", "bone", "marrow", "cartilage", "mediastinum",
        "heart", "vessel", "oesophagus", "liver", "spleen", "bowel", "bowel_gas", "canal", "lung",
        "lung_vessel", "lung_airway", "airway", "airway_wall", "effusion", "pneumothorax", "nodule",
        "consolidation", "ground_glass", "fibrosis", "emphysema", "atelectasis",
    ))
}  # fmt: skip
FAT_HU, MUSCLE_HU, BLOOD_HU = -100, 52, 42


def paint_body(canvas: Canvas, person: Person, noise: Noise, random: np.random.Generator) -> None:
    """Paint skin, fat and muscle of the trunk."""
    grain, patches = noise.fine(2.5), noise.smooth(14)
    canvas.paint(person.skin, 15, TISSUES["skin"])
    canvas.paint(lambda *p: person.skin(*p) + 2, lambda box: FAT_HU + 8 * grain(box), TISSUES["fat"])
    share = random.uniform(0.35, 1.1)

    def muscle(box):
        # Strands of fat separate the muscles.
        strands = np.clip(patches(box) * 2 + 2.6 * share, 0, 1)
        return FAT_HU + strands * (MUSCLE_HU - FAT_HU) + 6 * grain(box)

    canvas.paint(person.trunk, muscle, TISSUES["muscle"])
    inside = canvas.grid.box(*person.cage_box())
    canvas.paint(person.cage, lambda box: FAT_HU + 10 * grain(box), TISSUES["mediastinum"], inside)


def paint_abdomen(
    canvas: Canvas,
    person: Person,
    noise: Noise,
    random: np.random.Generator,
    down: np.ndarray,
    contrast_hu: float,
) -> None:
    """Paint liver, spleen, stomach and bowel with gas under the diaphragm."""
    grain = noise.fine(2.0)
    inside = dict.fromkeys(("liver", "spleen"), 0.0)
    inside["liver"], inside["spleen"] = (h + 0.35 * contrast_hu for h in random.uniform(42, 62, 2))
    cut = random.uniform(-60, -30)

    def below(side):
        return lambda x, y, z: np.maximum(person.cage(x, y, z) + 3, z - person.diaphragm_z(x, y, side))

    def liver(x, y, z):
        slant = cut - x + np.maximum(-100 - z, 0) * 0.35
        return np.maximum(np.maximum(below(1)(x, y, z) + 2, slant), person.spine_bulge(x, y, z) * -1 + 4)

    bottom, _ = person.cage_box()
    box = canvas.grid.box(bottom, np.array([-bottom[0], -bottom[1], -10]))
    canvas.paint(lambda *p: np.maximum(below(1)(*p), -p[0]), 45, TISSUES["muscle"], box)
    canvas.paint(lambda *p: np.maximum(below(-1)(*p), p[0]), 45, TISSUES["muscle"], box)
    fat = lambda part: FAT_HU + 8 * grain(part)  # noqa: E731
    canvas.paint(lambda *p: np.maximum(below(-1)(*p) + 3, p[0] + 12), fat, TISSUES["fat"], box)
    canvas.paint(liver, lambda part: inside["liver"] + 5 * grain(part), TISSUES["liver"], box)
    low = -person.inspiration_mm
    spleen = person.at((-96, -46, -178)) + np.array([0, 0, low])
    canvas.paint(
        lambda *p: np.maximum(ellipsoid(p, spleen, (34, 42, 44)), below(-1)(*p) + 3),
        inside["spleen"],
        TISSUES["spleen"],
        canvas.grid.box(spleen - 46, spleen + 46),
    )
    _paint_hollow(canvas, person, random, down, below(-1), low)


def _paint_hollow(canvas, person, random, down, below, low) -> None:
    """Paint stomach and bowel loops: wall, fluid below, gas above."""
    places = [
        (person.at((-68, 26, -168)) + np.array([0, 0, low]), random.uniform((34, 26, 26), (52, 44, 42)))
    ]
    for _ in range(random.integers(1, 7)):
        centre = person.at(random.uniform((-110, -20, -250), (100, 80, -175))) + np.array([0, 0, low])
        places.append((centre, random.uniform(9, 26, 3)))
    for centre, radii in places:
        level = random.uniform(-0.7, 0.9) * radii.mean()
        box = canvas.grid.box(centre - radii - 6, centre + radii + 6)

        def hollow(x, y, z, centre=centre, radii=radii):
            return np.maximum(
                ellipsoid((x, y, z), centre, radii), below(x, y, z) + 5 if centre[0] < 0 else -900
            )

        def gas(x, y, z, centre=centre, level=level, hollow=hollow):
            depth = sum(
                np.float32(d) * (p - np.float32(c)) for d, p, c in zip(down, (x, y, z), centre, strict=True)
            )
            return np.maximum(hollow(x, y, z) + 3, depth + np.float32(level))

        over = tuple(TISSUES[n] for n in ("fat", "mediastinum", "muscle", "spleen", "bowel", "bowel_gas"))
        canvas.paint(lambda *p, hollow=hollow: hollow(*p), random.uniform(5, 45), TISSUES["bowel"], box, over)
        canvas.paint(gas, -985, TISSUES["bowel_gas"], box, (TISSUES["bowel"],))


def paint_mediastinum(
    canvas: Canvas, person: Person, noise: Noise, random: np.random.Generator, contrast_hu: float
) -> None:
    """Paint heart, great vessels and oesophagus in the fat between the lungs."""
    grain, strands = noise.fine(2.0), noise.smooth(7)
    low, high = person.cage_box()
    canvas.paint(
        lambda *p: np.maximum(person.mediastinum(*p) + 7, person.cage(*p)),
        lambda box: FAT_HU + 25 + 45 * np.clip(strands(box), -1, 1.6) + 8 * grain(box),
        TISSUES["mediastinum"],
        canvas.grid.box(low * (1, 1, 0.6), high),
    )
    blood, wall = BLOOD_HU + contrast_hu, MUSCLE_HU + 0.3 * contrast_hu
    beats = canvas.grid.box(*person.heart_box())
    canvas.paint(
        lambda *p: np.maximum(person.heart_distance(*p), person.cage(*p)), wall, TISSUES["heart"], beats
    )
    for place, thick in zip(person.heart_parts(), (11, 4, 3), strict=True):
        centre, radii, turn = place
        canvas.paint(
            lambda *p, c=centre, r=radii - thick, t=turn: np.maximum(
                ellipsoid(p, c, r, t), person.cage(*p) + 6
            ),
            blood * random.uniform(0.85, 1.05),
            TISSUES["heart"],
            beats,
        )
    for name, corners in PATHS.items():
        vein = "vein" in name or "cava" in name
        value = BLOOD_HU + contrast_hu * (random.uniform(0.4, 1.6) if vein else 1)
        tubes = person.path(corners, 1 if vein else person.aorta)
        canvas.tubes(tubes, value, TISSUES["vessel"])
    canvas.tubes(person.path(OESOPHAGUS), 40, TISSUES["oesophagus"])
    if random.random() < 0.35:
        first = int(random.integers(0, 3))
        canvas.tubes(person.path(OESOPHAGUS[first : first + 2], 0.4), -900, TISSUES["bowel_gas"])


def paint_limbs(canvas: Canvas, person: Person, arms_up: bool, random: np.random.Generator) -> None:
    """Paint shoulders and arms, raised or along the body: fat outside, muscle and a bone inside."""
    fat = float(person.fat_mm[2]) * 0.5
    for side in (-1, 1):
        shoulder = person.at((156, -30, 88)) * (side, 1, 1)
        if arms_up:
            bends = [(0, 0, 0), (side * 18, 6, 70), (side * random.uniform(-30, 20), 30, 190)]
        else:
            bends = [(0, 0, 0), (side * 34, -8, -70), (side * random.uniform(30, 60), 6, -330)]
        path = shoulder + np.array(bends)
        radii = np.array([50, 40, 34]) * person.scale.mean() * random.uniform(0.85, 1.1)
        air = (TISSUES["air"], TISSUES["skin"], TISSUES["fat"])
        canvas.tubes(joined(path, radii + fat), FAT_HU, TISSUES["fat"], (TISSUES["air"], TISSUES["skin"]))
        canvas.tubes(joined(path, radii), MUSCLE_HU, TISSUES["muscle"], air)
        canvas.tubes(joined(path, np.array([23, 12, 12.0])), 900, TISSUES["bone"])
        canvas.tubes(joined(path, np.array([21, 7, 7.0])), 200, TISSUES["marrow"])


def paint_breasts(canvas: Canvas, person: Person, random: np.random.Generator) -> None:
    """Paint breasts of fat and glands in front of the ribs."""
    size = random.uniform(34, 70)
    for side in (-1, 1):
        wide, middle, deep = person.outline(CAGE, np.array([-55.0]))
        centre = np.array(
            [side * wide[0] * 0.62, middle[0] + deep[0] * 0.85 + float(person.fat_mm[1]) * 0.5 + 12, -58]
        )
        radii = np.array([size * 1.15, size * 0.75, size * 1.1])
        box = canvas.grid.box(centre - radii - 4, centre + radii + 4)
        air = tuple(TISSUES[n] for n in ("air", "skin", "fat"))
        canvas.paint(
            lambda *p, c=centre, r=radii: ellipsoid(p, c, r + 2), 10, TISSUES["skin"], box, (TISSUES["air"],)
        )
        canvas.paint(lambda *p, c=centre, r=radii: ellipsoid(p, c, r), FAT_HU, TISSUES["fat"], box, air)
        for _ in range(random.integers(2, 9)):
            blob = centre + random.normal(0, 0.25, 3) * radii
            canvas.tubes(
                np.array([[*blob, *(blob + random.normal(0, 8, 3)), 4, 7]]),
                35,
                TISSUES["muscle"],
                (TISSUES["fat"],),
            )


def paint_table(canvas: Canvas, person: Person, down: np.ndarray, random: np.random.Generator) -> None:
    """Paint a curved table with a mattress under the body, and folded cloth around the body."""
    over = (TISSUES["air"],)
    if random.random() < 0.8:
        folds = random.uniform(0, 2 * np.pi, 3)
        gap = random.uniform(2, 14)

        def cloth(x, y, z):
            wave = (
                4 * np.sin(x / 17 + folds[0])
                + 3 * np.sin(z / 31 + y / 23 + folds[1])
                + 3 * np.sin(y / 11 + folds[2])
            )
            return np.abs(person.skin(x, y, z) - np.float32(gap) + wave) - np.float32(0.8)

        canvas.paint(cloth, random.uniform(-900, -500), TISSUES["clothes"], None, over)
    if random.random() < 0.08:
        return
    lowest = _lowest(person, down)
    bend, deep = np.float32(random.uniform(0.0004, 0.0018)), random.uniform(18, 60)
    axis = int(np.argmax(np.abs(down)))
    low, high = np.full(3, -500.0), np.full(3, 500.0)
    sides = sorted(down[axis] * (lowest + np.array([-90, 90])))
    low[axis], high[axis] = sides
    box = canvas.grid.box(low, high)

    def layer(start, stop):
        def distance(*p):
            # The table is concave.
            depth = np.float32(down[axis]) * p[axis] - lowest + bend * p[1 - axis] ** 2
            return np.maximum(np.maximum(start - depth, depth - stop), np.abs(p[1 - axis]) - 215) + 0 * p[2]

        return distance

    shells = random.uniform(-200, 250, 2)
    for start, stop, hu in (
        (2, 14, -920),
        (14, 16.5, shells[0]),
        (16.5, 16 + deep, -960),
        (16 + deep, 19 + deep, shells[1]),
    ):
        canvas.paint(layer(start, stop), hu, TISSUES["table"], box, over)


def _lowest(person: Person, down: np.ndarray) -> np.float32:
    """The largest distance in mm from the origin to the skin along gravity."""
    steps = np.arange(0, 330, 2, dtype=np.float32)
    heights = np.linspace(-150, 60, 12, dtype=np.float32)
    x, y, z = (np.float32(d) * steps[:, None] for d in down)
    inside = person.skin(x + 0 * heights, y + 0 * heights, z + heights) < 0
    return np.float32(steps[inside.any(axis=1)].max())
