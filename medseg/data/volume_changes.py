"""Real chest CTs made worse by known amounts; see medseg.data.changes for the form.

Volumes lie on a grid in RAS order, (1, right, anterior, superior) in HU, with labels 1 left lung, 2 right
lung, 3 airway.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, gaussian_filter1d, shift

from medseg.data.changes import OF_PHOTOGRAPHS, OF_ULTRASOUND, Change, Pair
from medseg.grid import plan, to_grid
from medseg.transforms.augmentation.lung_disease import RandLungDiseased
from medseg.volume import Volume

GRID_MM = 2.0
LUNGS = (1, 2)
AIR_HU, HIGHEST_HU = -1024, 3071
DENSE_HU, DENSE_NOISE_HU = 35.0, 20.0
LEAST_SLICES = 10


def on_grid(volume: Volume, labels: np.ndarray) -> tuple[Volume, np.ndarray]:
    """A CT (1, i, j, k) and its labels (i, j, k) on a grid of 2 mm in RAS order."""
    grid = plan(labels.shape, np.asarray(volume.affine), GRID_MM)
    hu = to_grid(torch.as_tensor(volume.array.astype(np.float32)), grid).numpy()
    shares = [
        to_grid(torch.as_tensor((labels == label)[None].astype(np.float32)), grid)[0].numpy()
        for label in range(1, 4)
    ]
    best = np.argmax(shares, axis=0) + 1
    known = np.where(np.max(shares, axis=0) > 0.5, best, 0).astype(np.uint8)
    affine = np.diag([*grid.spacing_mm, 1.0])
    return Volume(_hu(hu), affine, source=volume.source), known


def low_dose(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """Noise with the grain of a soft kernel and a standard deviation of up to 300 HU."""
    grain = gaussian_filter(random.normal(size=image.shape[1:]), (0.8, 0.8, 0.3))
    return _hu(image + 300 * strength * grain / grain.std()), labels


def blurred(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """A Gaussian of up to 10 mm in all directions."""
    return _hu(gaussian_filter(image[0].astype(np.float32), 5 * strength)[None]), labels


def thick(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """Slices of up to 30 mm."""
    return _hu(gaussian_filter1d(image[0].astype(np.float32), 0.01 + 6 * strength, axis=2)[None]), labels


def breathing(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """Slices that lie apart by up to 30 mm from front to back, in waves, while the reference lies still."""
    waves = np.sin(np.arange(image.shape[-1]) / random.uniform(3, 8) + random.uniform(0, 6))
    moved = [
        shift(image[0, ..., number].astype(np.float32), (0, 7 * strength * wave), order=1, cval=AIR_HU)
        for number, wave in enumerate(waves)
    ]
    return _hu(np.stack(moved, axis=-1)[None]), labels


def consolidated(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """One lung or both as dense as tissue beyond a plane, up to all of it."""
    sides = LUNGS if random.random() < 0.5 else (int(random.integers(1, 3)),)
    lung = np.isin(labels, sides)
    if not lung.any():
        return image, labels
    direction = random.normal(size=3)
    places = np.argwhere(lung) @ direction
    beyond = lung.copy()
    beyond[lung] = places > np.quantile(places, 1 - strength)
    values = image.copy()
    values[0][beyond] = random.normal(DENSE_HU, DENSE_NOISE_HU, int(beyond.sum()))
    return _hu(values), labels


def diseased(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """One to three diseases as the training paints them; the strength is drawn with them."""
    paint = RandLungDiseased("image", prob=1.0, spacing_mm=GRID_MM)
    paint.set_random_state(int(random.integers(2**31)))
    scaled = torch.as_tensor((image.astype(np.float32) + 1024) / 1500)
    painted = paint({"image": scaled, "label": torch.as_tensor(labels[None].astype(np.float32))})["image"]
    return _hu(np.asarray(painted) * 1500 - 1024), labels


def part(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """A slab of down to a quarter of the slices, at a random height."""
    length = image.shape[-1]
    size = min(length, max(LEAST_SLICES, round((1 - 0.75 * strength) * length)))
    start = int(random.integers(0, length - size + 1))
    return image[..., start : start + size], labels[..., start : start + size]


def elsewhere(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """The slices above or below the lungs, if there are some: the wrong part of the body."""
    empty = ~labels.any(axis=(0, 1))
    bounds = np.flatnonzero(np.diff(np.concatenate([[False], empty, [False]]).astype(int)))
    runs = sorted(zip(bounds[::2], bounds[1::2], strict=True), key=lambda run: run[0] - run[1])
    if not runs or runs[0][1] - runs[0][0] < 2 * LEAST_SLICES:
        return part(image, labels, strength, random)
    place = slice(int(runs[0][0]), int(runs[0][1]))
    return image[..., place], labels[..., place]


OF_CHESTS: dict[str, Change] = {
    "low_dose": low_dose, "blurred": blurred, "thick": thick, "breathing": breathing,
    "consolidated": consolidated, "diseased": diseased, "part": part, "elsewhere": elsewhere,
}  # fmt: skip

# A kind of image to what can go wrong with it.
KINDS: Mapping[str, Mapping[str, Change]] = {
    "photographs": OF_PHOTOGRAPHS,
    "ultrasound": OF_ULTRASOUND,
    "chests": OF_CHESTS,
}


def _hu(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), AIR_HU, HIGHEST_HU).astype(np.int16)
