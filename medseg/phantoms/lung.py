"""Paint the lungs: parenchyma, disease, vessels and bronchi in the pleural cavities.

Aerated lung has -900 to -700 HU at full inspiration and is denser in its lowest part (Verschakelen et al.,
AJR 1993).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.phantoms import disease
from medseg.phantoms.anatomy import TRACHEA, Person
from medseg.phantoms.canvas import Box, Canvas, Noise
from medseg.phantoms.lung_room import LUNG_TISSUES, Lung
from medseg.phantoms.thorax import BLOOD_HU, TISSUES
from medseg.phantoms.trees import grow

LEFT, RIGHT, AIRWAY = 1, 2, 3
LABELLED_GENERATIONS = 3  # trachea 0, main 1, lobar 2, segmental 3 are AIRWAY; smaller bronchi are lung
# Paths of the main bronchi (x, y, z, radius in mm) by side, then where the tree of each lobe starts.
MAIN = {
    1: [(3, -21, 0, 7), (24, -22, -17, 6.5), (33, -24, -40, 5.5), (40, -18, -46, 4.5)],
    -1: [(3, -21, 0, 6.5), (-20, -24, -18, 6), (-39, -28, -34, 5.5)],
}
LOBES = {
    (1, "upper"): (24, -22, -17), (1, "middle"): (40, -18, -46), (1, "lower"): (33, -24, -44),
    (-1, "upper"): (-39, -28, -34), (-1, "lower"): (-39, -28, -34),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Content:
    """What `paint` has painted.

    Attributes:
        labels: (i, j, k) uint8 on the canvas' grid: LEFT, RIGHT, AIRWAY, 0 elsewhere.
        lesions: properties of each lesion.
        voxels: name of a disease, or lung_vessel, to its number of voxels.
    """

    labels: np.ndarray
    lesions: list[dict[str, Any]]
    voxels: dict[str, int]


def paint(
    canvas: Canvas,
    person: Person,
    noise: Noise,
    random: np.random.Generator,
    down: np.ndarray,
    contrast_hu: float,
    wanted: dict[str, float],
) -> Content:
    """Paint the lungs and the airways.

    Args:
        canvas: with the rest of the body.
        person: the shapes.
        noise: on the canvas' grid.
        random: the source of all random numbers.
        down: (3,) unit vector of gravity in anatomy coordinates.
        contrast_hu: enhancement of blood by contrast medium.
        wanted: disease to strength.
    """
    lung = _room(canvas, person, noise, random, down, contrast_hu)
    disease.fill_cavity(lung, {n: s for n, s in wanted.items() if n in disease.OF_CAVITY})
    _parenchyma(lung)
    for name, strength in wanted.items():
        if name in disease.OF_TISSUE:
            disease.OF_TISSUE[name](lung, strength)
    labels = _blend(lung)
    _vessels(lung)
    disease.nodules(lung, wanted.get("nodule", 0.0))
    _airways(lung)
    labels[canvas.tissue == TISSUES["airway"]] = AIRWAY
    voxels = {name: int((lung.code == TISSUES[name]).sum()) for name in disease.OF_TISSUE}
    whole = np.bincount(canvas.tissue.ravel(), minlength=len(TISSUES))
    voxels |= {name: int(whole[TISSUES[name]]) for name in ("nodule", *disease.OF_CAVITY, "lung_vessel")}
    return Content(labels, lung.lesions, voxels)


def _room(canvas, person, noise, random, down, contrast_hu) -> Lung:
    low = np.array([-150, -112, -250]) * person.scale - (8, 8, abs(person.inspiration_mm) + 20)
    high = np.array([150, 100, 0]) * person.scale + (8, 8, 0)
    high[2] = person.apex_mm[:, 2].max() + 5
    box = canvas.grid.box(low, high)
    shape = tuple(part.stop - part.start for part in box)
    lung = Lung(
        canvas, person, noise, random, down, contrast_hu, box,
        np.empty(shape, np.float32), np.empty(0), np.empty(shape, bool), np.empty(0),
        np.full(shape, TISSUES["lung"], np.uint8), {}, [], np.zeros(3, np.float32),
    )  # fmt: skip
    wobble, amount = noise.smooth(random.uniform(18, 40)), np.float32(random.uniform(0.5, 1.8))
    for part, own in lung.parts():
        right, left = person.lungs(*canvas.grid.points(part), amount * wobble(part))
        lung.room[own], lung.right[own] = np.minimum(right, left), right <= left
    lung.edge = lung.room
    lung.targets = _targets(lung)
    return lung


def _targets(lung: Lung) -> dict[tuple[int, str], np.ndarray]:
    """Random points in each lobe, (n, 3) in mm, more of them on a fine grid; the fissures are planes."""
    person, random = lung.person, lung.random
    count = int(np.clip(2600 / lung.canvas.edge_mm, 500, 3600))
    low, high = np.array([-145, -110, -230]) * person.scale, np.array([145, 95, 110]) * person.scale
    places = random.uniform(low, high, (count * 4, 3))
    x, y, z = places.astype(np.float32).T
    right, left = person.lungs(x, y, z)
    slope, middle = random.uniform(0.75, 1.1), random.uniform(-50, -25) * person.scale[2]
    height = (-36 + random.normal(0, 8)) * person.scale[2]
    lung.fissures = np.array([height, slope, middle], np.float32)
    lower = places[:, 2] < height - slope * places[:, 1]
    below = places[:, 2] < middle
    inside = {1: right < -2, -1: left < -2}
    return {
        (1, "lower"): places[inside[1] & lower],
        (1, "middle"): places[inside[1] & ~lower & below],
        (1, "upper"): places[inside[1] & ~lower & ~below],
        (-1, "lower"): places[inside[-1] & lower],
        (-1, "upper"): places[inside[-1] & ~lower],
    }


def _parenchyma(lung: Lung) -> None:
    """Set lung.hu: a mixture of air and tissue, denser along gravity, with the texture of lobules."""
    random, noise = lung.random, lung.noise
    lung.hu = np.empty(lung.room.shape, np.float32)
    mean = random.uniform(-905, -780) - 0.9 * lung.person.inspiration_mm
    per_mm = random.uniform(0.1, 0.75)
    lobule, patch, grain = (
        noise.fine(random.uniform(3, 7)),
        noise.smooth(random.uniform(20, 60)),
        noise.fine(1.5),
    )
    strength = random.uniform((4, 3, 5), (20, 18, 20))
    for part, own in lung.parts():
        depth = sum(np.float32(d) * p for d, p in zip(lung.down, lung.grid.points(part), strict=True))
        texture = strength[0] * lobule(part) + strength[1] * patch(part) + strength[2] * grain(part)
        lung.hu[own] = mean + per_mm * depth + texture + _fissures(lung, part, own)
    np.clip(lung.hu, -985, -450, out=lung.hu)


def _fissures(lung: Lung, part: Box, own: Box) -> np.ndarray:
    """The HU added by the double layer of pleura between lobes, which is thinner than a voxel."""
    _, y, z = lung.grid.points(part)
    oblique = (z - lung.fissures[0] + lung.fissures[1] * y) / np.sqrt(1 + lung.fissures[1] ** 2)
    minor = np.where(lung.right[own] & (oblique > 0), np.abs(z - lung.fissures[2]), np.float32(99))
    away = np.minimum(np.abs(oblique), minor) / np.float32(lung.canvas.edge_mm)
    return np.clip(1 - away, 0, 1) * np.float32(250 * min(1, 0.5 / lung.canvas.edge_mm))


def _blend(lung: Lung) -> np.ndarray:
    labels = np.zeros(lung.grid.shape, np.uint8)
    canvas = lung.canvas
    for part, own in lung.parts():
        share = canvas.share(lung.edge[own])
        view = canvas.hu[part]
        view += share * (lung.hu[own] - view)
        inside = share >= 0.5
        canvas.tissue[part][inside] = lung.code[own][inside]
        # Including fluid and air around the lung, as radiologists outline the cavity (Kiser et al., 2020).
        cavity = canvas.share(lung.room[own]) >= 0.5
        labels[part] = np.where(cavity, np.where(lung.right[own], RIGHT, LEFT), 0)
    lung.code[lung.edge > 0] = 0
    return labels


def _vessels(lung: Lung) -> None:
    """Paint arteries along the bronchi, and veins between them, from the hila to the pleura."""
    person, random = lung.person, lung.random
    over = (*LUNG_TISSUES, TISSUES["mediastinum"])
    scale = random.uniform(0.85, 1.2)
    for (side, lobe), start in LOBES.items():
        points = lung.targets[side, lobe]
        if len(points) < 8:
            continue
        root = person.at(start) + np.array([side * 3, 10, 2])
        share = np.sqrt(len(points) / 400 * lung.canvas.edge_mm)
        arteries, _ = grow(root, points[::2], 5.2 * scale * np.clip(share, 0.7, 1.2), random)
        vein = person.at((side * 20, -10, -40 if lobe == "lower" else -24))
        veins, _ = grow(vein, points[1::2], 5.4 * scale * np.clip(share, 0.7, 1.2), random, wobble=0.1)
        for tubes, gain in ((arteries, 1.0), (veins, random.uniform(0.8, 1.1))):
            value = BLOOD_HU + lung.contrast_hu * gain
            lung.canvas.tubes(
                tubes[tubes[:, 6] > 0.22 * lung.canvas.edge_mm], value, TISSUES["lung_vessel"], over
            )


def _airways(lung: Lung) -> None:
    """Paint trachea and bronchi, all walls first, so that every lumen opens into the next."""
    person, random, canvas = lung.person, lung.random, lung.canvas
    calibre = random.uniform(0.8, 1.2) * person.scale.mean()
    large = [person.path(TRACHEA, calibre), *(person.path(MAIN[side], calibre) for side in (1, -1))]
    # Trachea: generation 0; main bronchi: 1.
    tubes, generations = [*large], [np.zeros(len(large[0]), int), *(np.ones(len(t), int) for t in large[1:])]
    for (side, lobe), start in LOBES.items():
        points = lung.targets[side, lobe]
        if len(points) >= 8:
            grown, depth = grow(person.at(start), points[::2], 4.4 * calibre, random, generation=2)
            tubes.append(grown)
            generations.append(depth)
    lumen, depth = np.concatenate(tubes), np.concatenate(generations)
    seen = lumen[:, 6] > max(0.75, 0.35 * canvas.edge_mm)
    lumen, depth = lumen[seen], depth[seen]
    walls = lumen.copy()
    walls[:, 6:] = walls[:, 6:] * random.uniform(1.1, 1.25) + 0.5
    soft = (*LUNG_TISSUES, TISSUES["mediastinum"], TISSUES["airway"])
    canvas.tubes(walls, random.uniform(-10, 50), TISSUES["airway_wall"], soft)
    small = depth > LABELLED_GENERATIONS
    canvas.tubes(lumen[small], random.uniform(-960, -900), TISSUES["lung_airway"], soft)
    # Trachea and main bronchi are painted over every tissue; further branches only over soft tissue.
    hu = random.uniform(-1000, -960)
    canvas.tubes(lumen[depth < 2], hu, TISSUES["airway"])
    canvas.tubes(lumen[(depth >= 2) & ~small], hu, TISSUES["airway"], soft)
