"""A synthetic chest CT whose lungs, airways and diseases are known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.phantoms import disease, lung, scanner, skeleton, thorax
from medseg.phantoms.anatomy import Person, draw_person
from medseg.phantoms.canvas import Canvas, Noise

LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}
DOWN = {"supine": (0, -1, 0), "prone": (0, 1, 0), "right_side": (1, 0, 0), "left_side": (-1, 0, 0)}


@dataclass(frozen=True)
class Chest:
    """The settings of a phantom; those that are None are drawn from the seed.

    Attributes:
        seed: the same settings and seed give the same phantom.
        disease: name (of disease.DISEASES) to strength (0 to 1); {} is healthy.
        position: how the person lies: supine, prone, or with the right_side or left_side down.
        contrast_hu: enhancement of blood by contrast medium in HU; 0 without it.
        arms_up: arms raised above the head, as in most chest CTs.
        breasts: whether the person has breasts.
        scan: grid, kernel, noise and field of view.
        shape: (i, j, k) of a scan that is drawn; not used with `scan`.
    """

    seed: int = 0
    disease: dict[str, float] | None = None
    position: str = "supine"
    contrast_hu: float | None = None
    arms_up: bool | None = None
    breasts: bool | None = None
    scan: scanner.Scan | None = None
    shape: tuple[int, int, int] = (160, 160, 120)


@dataclass(frozen=True, eq=False)
class ChestPhantom:
    """A chest CT with its exact masks.

    Attributes:
        array: (i, j, k) int16 in HU; i runs to the left, j to the back, k to the head.
        affine: 4x4, voxel index to RAS+ mm.
        labels: (i, j, k) uint8, values of LABELS. A lung includes its vessels, its bronchi beyond the
            segmental ones, all disease of its tissue, and effusion and pneumothorax beside it. It excludes
            the hilum and the airway, which is the lumen of trachea, main, lobar and segmental bronchi.
        tissue: (i, j, k) uint8, codes of thorax.TISSUES.
        volumes_ml: of each label and each disease.
        settings: `chest`, `scan`, `person` and `lesions`, from which it was built.
    """

    array: np.ndarray
    affine: np.ndarray
    labels: np.ndarray
    tissue: np.ndarray
    volumes_ml: dict[str, float]
    settings: dict[str, Any]

    def mask(self, *names: str) -> np.ndarray:
        """The mask, (i, j, k) bool, of tissues (thorax.TISSUES) or labels; 'body' is the whole person."""
        codes = [thorax.TISSUES[name] for name in names if name in thorax.TISSUES]
        values = [value for value, name in LABELS.items() if name in names and value]
        found = np.isin(self.tissue, codes) | np.isin(self.labels, values)
        if "body" in names:
            found |= ~np.isin(self.tissue, [thorax.TISSUES[n] for n in ("air", "table", "clothes")])
        return found


def chest(settings: Chest | None = None, **changes: Any) -> ChestPhantom:
    """Build a phantom.

    Args:
        settings: of the phantom; by default Chest(**changes).
        changes: attributes of Chest, where `settings` is None.
    """
    settings = settings or Chest(**changes)
    random = np.random.default_rng(settings.seed)
    person = draw_person(random)
    down = np.array(DOWN[settings.position], float)
    contrast_hu = settings.contrast_hu
    drawn_hu = float(random.choice((0, random.uniform(60, 330))))
    contrast_hu = drawn_hu if contrast_hu is None else contrast_hu
    wanted = disease.draw(random) if settings.disease is None else settings.disease
    scan = scanner.draw(random, settings.shape) if settings.scan is None else settings.scan
    canvas, affine = Canvas(scanner.grid(scan)), scanner.affine(scan)
    noise = Noise(canvas.grid, random)
    _paint_surroundings(canvas, person, noise, random, settings, down, contrast_hu)
    content = lung.paint(canvas, person, noise, random, down, contrast_hu, wanted)
    array, labels, tissue = scanner.acquire(canvas, content.labels, scan, random)
    volumes = _volumes(labels, affine) | {
        name: count * canvas.grid.voxel_ml for name, count in content.voxels.items() if count
    }
    return ChestPhantom(
        array,
        affine,
        labels,
        tissue,
        volumes,
        {"chest": settings, "scan": scan, "person": person, "lesions": content.lesions},
    )


def _paint_surroundings(
    canvas: Canvas,
    person: Person,
    noise: Noise,
    random: np.random.Generator,
    settings: Chest,
    down: np.ndarray,
    contrast_hu: float,
) -> None:
    arms_up = random.random() < 0.8 if settings.arms_up is None else settings.arms_up
    breasts = random.random() < 0.5 if settings.breasts is None else settings.breasts
    thorax.paint_body(canvas, person, noise, random)
    if breasts:
        thorax.paint_breasts(canvas, person, random)
    thorax.paint_limbs(canvas, person, arms_up, random)
    thorax.paint_abdomen(canvas, person, noise, random, down, contrast_hu)
    thorax.paint_mediastinum(canvas, person, noise, random, contrast_hu)
    skeleton.paint_bones(canvas, person, random)
    thorax.paint_table(canvas, person, down, random)


def _volumes(labels: np.ndarray, affine: np.ndarray) -> dict[str, float]:
    voxel_ml = float(abs(np.linalg.det(affine[:3, :3])) / 1000)
    counts = np.bincount(labels.ravel(), minlength=len(LABELS))
    return {name: float(counts[value] * voxel_ml) for value, name in LABELS.items() if value}
