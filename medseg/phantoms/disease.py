"""Paint diseases of the lungs and of the pleural space, each with a strength from 0 to 1.

Attenuation after Hansell et al., "Fleischner Society: glossary of terms for thoracic imaging",
Radiology 2008, and textbook figures: consolidation 0 to 60 HU (no vessels visible), ground glass -700 to
-300 (vessels visible), emphysema below -950, simple effusion 0 to 25, solid nodule 10 to 60.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medseg.phantoms.canvas import ellipsoid
from medseg.phantoms.lung_room import LUNG_TISSUES, Lung
from medseg.phantoms.thorax import TISSUES


def draw(random: np.random.Generator) -> dict[str, float]:
    """Random diseases, name to strength: none with a probability of 0.3, else one to four."""
    if random.random() < 0.3:
        return {}
    names = random.choice(DISEASES, size=int(random.integers(1, 5)), replace=False)
    return {str(name): float(random.uniform(0.1, 1)) for name in names}


def fill_cavity(lung: Lung, wanted: dict[str, float]) -> None:
    """Paint effusion and pneumothorax: the lung gives way to fluid or air in the pleural cavity.

    The border of the lung becomes that of the cavity, shifted away from where the fluid or air collects. The
    crescent between them is filled.
    """
    lung.edge = lung.room
    for name, strength in wanted.items():
        side = (
            int(lung.random.choice((-1, 0, 1), p=(0.35, 0.3, 0.35)))
            if name == "effusion"
            else _one_side(lung)
        )
        towards = lung.down if name == "effusion" else -lung.down
        shift = -towards * (4 + 56 * strength) + (
            0,
            0,
            (4 + 26 * strength) * (1 if name == "effusion" else -1),
        )
        hu = lung.random.uniform(-2, 28) if name == "effusion" else -998
        lung.edge = _crescent(lung, shift, side, float(hu), TISSUES[name])
        lung.lesions.append(
            {"name": name, "side": {1: "right", -1: "left", 0: "both"}[side], "strength": strength}
        )


def _crescent(lung: Lung, shift: np.ndarray, side: int, hu: float, tissue: int) -> np.ndarray:
    canvas, edge = lung.canvas, lung.edge.copy()
    for part, own in lung.parts():
        points = [p - np.float32(s) for p, s in zip(lung.grid.points(part), shift, strict=True)]
        moved = np.minimum(*lung.person.lungs(*points))
        affected = True if side == 0 else lung.right[own] == (side == 1)
        edge[own] = np.where(affected, np.maximum(edge[own], moved), edge[own])
        share = canvas.share(lung.edge[own]) * affected
        view = canvas.hu[part]
        view += share * (np.float32(hu) - view)
        canvas.tissue[part][share >= 0.5] = tissue
    return edge


def _one_side(lung: Lung) -> int:
    return int(lung.random.choice((-1, 1)))


def _mix(lung: Lung, own, weight: np.ndarray, hu: np.ndarray | np.floating | float, name: str) -> None:
    """Blend lung tissue with `hu` by weight (0 to 1); voxels with at least half are marked as diseased."""
    view = lung.hu[own]
    view += weight * (hu - view)
    lung.code[own][weight >= 0.5] = TISSUES[name]


def consolidation(lung: Lung, strength: float) -> None:
    """Paint segments or a lobe without air, up to the pleura; the bronchi in it stay open."""
    for _ in range(int(lung.random.integers(1, 3 + round(3 * strength)))):
        _territory(lung, strength * lung.random.uniform(0.2, 1), "consolidation", lung.random.uniform(5, 50))


def _territory(lung: Lung, strength: float, name: str, hu: float) -> None:
    """Paint the part of a lobe around a random place, as supplied by the nearest branches."""
    from scipy.spatial import cKDTree

    random = lung.random
    lobes = [points for points in lung.targets.values() if len(points) > 8]
    if not lobes:
        return
    lobe = lobes[int(random.integers(len(lobes)))]
    first = lobe[random.integers(len(lobe))]
    order = np.argsort(np.linalg.norm(lobe - first, axis=1))
    count = max(int(len(lobe) * min(1.0, 0.06 + 0.94 * strength**1.5)), 3)
    chosen = cKDTree(lobe[order[:count]])
    others = [points for points in lung.targets.values() if points is not lobe]
    rest = cKDTree(np.concatenate([lobe[order[count:]], *others]))
    reach = np.linalg.norm(lobe[order[:count]] - first, axis=1).max() + 25
    ragged, inner = lung.noise.smooth(random.uniform(6, 12)), lung.noise.smooth(12)
    rough, sharp = random.uniform(0, 5), random.uniform(1.5, 6)
    full = random.uniform(0.8, 1.0)

    def margin(part):
        """Signed distance in mm from the territory at (n, 3) anatomy mm, negative inside."""
        near, _ = chosen.query(part, distance_upper_bound=reach)
        far, _ = rest.query(part)
        return np.minimum(near, 200) - far

    between = on_lattice(lung, margin, 4.0)
    for part, own in lung.parts():
        beyond = between(part) + rough * ragged(part)
        weight = np.clip(0.5 - beyond / sharp, 0, 1) * full
        if weight.any():
            _mix(lung, own, weight, hu + 0.25 * lung.contrast_hu + 10 * inner(part), name)
    lung.lesions.append({"name": name, "centre_mm": first.tolist(), "strength": strength})


def on_lattice(lung: Lung, function: Callable[[np.ndarray], np.ndarray], step_mm: float):
    """A slow function of (n, 3) anatomy mm, evaluated on a coarse lattice and interpolated linearly.

    Returns:
        A function from a box of voxels to the values in it.
    """
    spacing = lung.grid.spacing_mm
    strides = np.maximum(np.round(step_mm / spacing), 1).astype(int)
    axes = [
        np.arange(part.start, part.stop + stride, stride)
        for part, stride in zip(lung.box, strides, strict=True)
    ]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    places = index @ lung.grid.affine[:3, :3].T + lung.grid.affine[:3, 3]
    lattice = function(places).reshape([len(a) for a in axes]).astype(np.float32)

    def values(box):
        found = lattice
        for part, axis, stride in zip(box, axes, strides, strict=True):
            at = (np.arange(part.start, part.stop) - axis[0]) / stride
            weights = np.clip(1 - np.abs(at[:, None] - np.arange(len(axis))), 0, None).astype(np.float32)
            found = np.tensordot(found, weights, axes=(0, 1))
        return found

    return values


def ground_glass(lung: Lung, strength: float) -> None:
    """Paint hazy patches in which vessels stay visible."""
    random = lung.random
    patches, fine = lung.noise.smooth(random.uniform(14, 45)), lung.noise.smooth(5)
    hu, threshold = random.uniform(-620, -350), 1.3 - 1.7 * strength
    soft = random.uniform(0.3, 1.2)
    for part, own in lung.parts():
        weight = np.clip((patches(part) + 0.25 * fine(part) - threshold) / soft, 0, 1) * np.float32(0.9)
        _mix(lung, own, weight, np.float32(hu), "ground_glass")
    lung.lesions.append({"name": "ground_glass", "hu": hu, "strength": strength})


def fibrosis(lung: Lung, strength: float) -> None:
    """Paint a net of thick septa under the pleura and at the bases, with cysts between (honeycombing)."""
    random = lung.random
    nets = [lung.noise.smooth(random.uniform(4, 7)) for _ in range(2)]
    patches = lung.noise.smooth(30)
    deep_mm = 6 + 26 * strength
    cyst_hu, wall_hu = random.uniform(-930, -760), random.uniform(-350, 20)
    low = (
        float(np.percentile(lung.targets[1, "lower"][:, 2], 20)) if len(lung.targets[1, "lower"]) else -150.0
    )
    for part, own in lung.parts():
        _, _, z = lung.grid.points(part)
        basal = np.clip(1.1 - (z - np.float32(low)) / 150, 0.15, 1)
        weight = np.clip(1.2 + lung.room[own] / (deep_mm * basal) + 0.4 * patches(part), 0, 1)
        if not weight.any():
            continue
        net = np.minimum(np.abs(nets[0](part)), np.abs(nets[1](part)))
        wall = np.clip(1.5 - net / np.float32(0.14), 0, 1)
        _mix(lung, own, weight, cyst_hu + wall * np.float32(wall_hu - cyst_hu), "fibrosis")
    lung.lesions.append({"name": "fibrosis", "depth_mm": deep_mm, "strength": strength})


def emphysema(lung: Lung, strength: float) -> None:
    """Paint holes in the lung, most of them near the apices, and bullae."""
    random = lung.random
    holes, patches = lung.noise.smooth(random.uniform(5, 11)), lung.noise.smooth(40)
    for part, own in lung.parts():
        _, _, z = lung.grid.points(part)
        wish = 0.8 - 1.6 * strength - 0.004 * z - 0.4 * patches(part)
        weight = np.clip((holes(part) - wish) * 2, 0, 1)
        _mix(lung, own, weight, np.float32(-978), "emphysema")
    for _ in range(int(random.poisson(5 * strength))):
        _bulla(lung, random.uniform(5, 10 + 30 * strength))
    lung.lesions.append({"name": "emphysema", "strength": strength})


def _bulla(lung: Lung, radius: float) -> None:
    every = np.concatenate(list(lung.targets.values()))
    centre = every[lung.random.integers(len(every))]
    radii = radius * lung.random.uniform(0.6, 1.3, 3)
    for part, own in lung.parts():
        away = ellipsoid(lung.grid.points(part), centre, radii)
        if away.min() > 2:
            continue
        wall = np.clip(1.2 - np.abs(away), 0, 1) * np.float32(0.7)
        _mix(lung, own, np.clip(0.5 - away, 0, 1), np.float32(-995), "emphysema")
        view = lung.hu[own]
        view += wall * (-100 - view)


def atelectasis(lung: Lung, strength: float) -> None:
    """Paint dense lung in its lowest part, and plates above the diaphragm."""
    random = lung.random
    patches, deep = lung.noise.smooth(18), 4 + 30 * strength
    hu = random.uniform(-350, 60)
    behind = np.concatenate(list(lung.targets.values())) @ lung.down
    lowest = float(np.percentile(behind, 99.5)) if len(behind) else 0.0
    plates = [_plate(lung) for _ in range(int(random.integers(0, 1 + round(4 * strength))))]
    for part, own in lung.parts():
        points = lung.grid.points(part)
        depth = sum(np.float32(d) * p for d, p in zip(lung.down, points, strict=True))
        below = (depth - np.float32(lowest - deep)) / np.float32(deep)
        weight = np.clip(below * 1.5 + 0.35 * patches(part), 0, 1)
        for centre, normal, thick, wide in plates:
            away = np.abs(
                sum(
                    np.float32(n) * (p - np.float32(c))
                    for n, p, c in zip(normal, points, centre, strict=True)
                )
            )
            round_edge = ellipsoid(points, centre, (wide, wide, wide))
            weight = np.maximum(weight, np.clip(0.5 - np.maximum(away - thick / 2, round_edge), 0, 1))
        _mix(lung, own, weight, np.float32(hu), "atelectasis")
    lung.lesions.append({"name": "atelectasis", "hu": hu, "strength": strength})


def _plate(lung: Lung):
    every = np.concatenate([p for (_, lobe), p in lung.targets.items() if lobe == "lower"])
    centre = every[lung.random.integers(len(every))]
    normal = lung.random.normal(0, (0.4, 0.4, 1))
    return centre, normal / np.linalg.norm(normal), lung.random.uniform(1.5, 5), lung.random.uniform(15, 40)


def nodules(lung: Lung, strength: float) -> None:
    """Paint solid, part-solid, ground-glass and spiculated nodules and masses, some at the pleura."""
    if not strength:
        return
    random = lung.random
    every = np.concatenate(list(lung.targets.values()))
    for _ in range(int(1 + random.poisson(6 * strength))):
        kind = str(random.choice(("solid", "part_solid", "ground_glass", "spiculated", "juxtapleural")))
        radius = float(np.clip(random.lognormal(1.5, 0.55), 1.8, 10 + 22 * strength))
        centre = every[random.integers(len(every))]
        if kind == "juxtapleural":
            centre = _to_pleura(lung, centre, radius)
        _nodule(lung, kind, centre, radius)
        lung.lesions.append(
            {"name": "nodule", "kind": kind, "centre_mm": centre.tolist(), "radius_mm": radius}
        )


def _to_pleura(lung: Lung, centre: np.ndarray, radius: float) -> np.ndarray:
    """The centre of a nodule, moved outwards until the nodule touches the chest wall."""
    outwards = centre * (1, 1, 0) / max(np.hypot(centre[0], centre[1]), 1)
    for _ in range(60):
        x, y, z = centre.astype(np.float32)[:, None]
        if min(d[0] for d in lung.person.lungs(x, y, z)) > -0.6 * radius:
            break
        centre = centre + outwards * 2
    return centre


def _nodule(lung: Lung, kind: str, centre: np.ndarray, radius: float) -> None:
    canvas, random = lung.canvas, lung.random
    bumps = random.normal(0, 1, (5, 3)) / radius
    phase = random.uniform(0, 6, 5)
    rough = radius * random.uniform(0.03, 0.16)
    radii = radius * random.uniform(0.8, 1.2, 3)
    box = canvas.grid.box(centre - radius * 1.5 - 3, centre + radius * 1.5 + 3)

    def blob(part, x, y, z):
        waves = sum(np.sin(b[0] * x + b[1] * y + b[2] * z + p) for b, p in zip(bumps, phase, strict=True))
        return ellipsoid((x, y, z), centre, radii * part) + np.float32(rough) * waves

    glass = kind in ("part_solid", "ground_glass")
    hu = random.uniform(-650, -350) if glass else random.uniform(0, 60) + 0.3 * lung.contrast_hu
    canvas.paint(lambda *p: blob(1, *p), hu, TISSUES["nodule"], box, LUNG_TISSUES)
    if kind == "part_solid":
        canvas.paint(lambda *p: blob(0.5, *p), random.uniform(-50, 50), TISSUES["nodule"], box, LUNG_TISSUES)
    if kind == "spiculated":
        rays = random.normal(0, 1, (int(random.integers(8, 22)), 3))
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        ends = centre + rays * radius * random.uniform(1.2, 2.0, (len(rays), 1))
        tubes = [np.concatenate([centre, end, [0.25 * radius, 0.3]]) for end in ends]
        canvas.tubes(np.array(tubes), hu, TISSUES["nodule"], LUNG_TISSUES)


OF_CAVITY = ("effusion", "pneumothorax")
OF_TISSUE = {
    "emphysema": emphysema,
    "ground_glass": ground_glass,
    "fibrosis": fibrosis,
    "atelectasis": atelectasis,
    "consolidation": consolidation,
}
DISEASES = ("nodule", *OF_CAVITY, *OF_TISSUE)
