"""Training data that medseg makes itself: phantoms with exact masks.

No large public set of chest CTs with masks of diseased lungs has a licence that allows training shipped
weights. Each image and label is a NIfTI file, so that it can be viewed and corrected with any tool.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from medseg.io import nifti
from medseg.phantoms import Chest, ChestPhantom, chest

logger = logging.getLogger(__name__)

SIDES, SLICES = (140, 230), (90, 210)  # of a phantom: voxels of 1.2 to 3.4 mm in the plane, 1.1 to 4.4 along


def write_phantoms(folder: str | Path, first_seed: int, count: int) -> None:
    """Write chest phantoms with varied anatomy, disease and scanner: images/SEED.nii.gz, labels/SEED.nii.gz.

    Existing files are kept.

    Args:
        folder: created if it is missing.
        first_seed: the seed of the first phantom; each phantom is a function of its seed.
        count: the number of phantoms.
    """
    for seed in range(first_seed, first_seed + count):
        _write(Path(folder), f"{seed}", partial(_phantom, seed))


def write_diseased(folder: str | Path, first_seed: int, kinds: Mapping[str, int], strength: float) -> None:
    """Write phantoms with one disease each, or "healthy" ones: images/ and labels/DISEASE_SEED.nii.gz.

    Args:
        folder: created if it is missing.
        first_seed: the seed of the first phantom; the following phantoms have the following seeds.
        kinds: disease (medseg.phantoms.disease.DISEASES) or "healthy" to the number of phantoms.
        strength: strength of the disease, 0 to 1.
    """
    names = [name for name, count in kinds.items() for _ in range(count)]
    for seed, name in enumerate(names, first_seed):
        disease = {} if name == "healthy" else {name: strength}
        _write(Path(folder), f"{name}_{seed}", partial(_phantom, seed, disease))


def varied_chest(seed: int, disease: Mapping[str, float] | None = None) -> ChestPhantom:
    """The phantom of a seed, whose matrix size depends on the seed; without `disease`, diseases are drawn."""
    random = np.random.default_rng([seed, 77])
    side, slices = int(random.integers(*SIDES)), int(random.integers(*SLICES))
    return chest(
        Chest(seed=seed, shape=(side, side, slices), disease=None if disease is None else dict(disease))
    )


def _phantom(
    seed: int, disease: Mapping[str, float] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    phantom = varied_chest(seed, disease)
    return phantom.array, phantom.labels, phantom.affine


def _write(folder: Path, name: str, make: Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Write the image first, so that an existing label means that both files exist."""
    image, label = (folder / part / f"{name}.nii.gz" for part in ("images", "labels"))
    if label.is_file() and image.is_file():
        return
    array, labels, affine = make()
    for path, content in ((image, array), (label, labels.astype(np.uint8))):
        path.parent.mkdir(parents=True, exist_ok=True)
        nifti.write(content, affine, path)
    logger.info("%s", image)
