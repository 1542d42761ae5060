"""Training data that medseg makes itself: phantoms with exact masks, and real scans with silver ones.

There is no public set of many chest CTs with masks of diseased lungs that may train shipped weights. Each
image and label is an ordinary NIfTI file, so that anybody can look at it, and correct it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch

from medseg.classical import ClassicalLungs
from medseg.classical.morphology import components
from medseg.errors import DataError
from medseg.grid import plan, to_grid, to_source
from medseg.io import nifti, read_volume
from medseg.phantoms import Chest, ChestPhantom, chest

logger = logging.getLogger(__name__)

SILVER_MM = 1.5  # the grid that the classical method was made for
AIRWAY = 3
GAS_HU, GAS_RIM = -930, 3  # voxels that are partly gas
SIDES, SLICES = (140, 230), (90, 210)  # of a phantom: voxels of 1.2 to 3.4 mm in the plane, 1.1 to 4.4 along


def write_phantoms(folder: str | Path, first_seed: int, count: int) -> None:
    """Chest phantoms of all kinds of people, diseases and scanners: images/SEED.nii.gz and labels/.

    A file that is there is left as it is.

    Args:
        folder: made when it is missing.
        first_seed: each phantom is a function of its seed.
        count: of phantoms.
    """
    for seed in range(first_seed, first_seed + count):
        _write(Path(folder), f"{seed}", partial(_phantom, seed))


def write_diseased(folder: str | Path, first_seed: int, kinds: Mapping[str, int], strength: float) -> None:
    """Phantoms of one disease each, or of none ("healthy"): images/DISEASE_SEED.nii.gz and labels/.

    Args:
        folder: made when it is missing.
        first_seed: of the first phantom; the others follow.
        kinds: disease (medseg.phantoms.disease.DISEASES) or "healthy" to how many.
        strength: of the disease, 0 to 1.
    """
    names = [name for name, count in kinds.items() for _ in range(count)]
    for seed, name in enumerate(names, first_seed):
        disease = {} if name == "healthy" else {name: strength}
        _write(Path(folder), f"{name}_{seed}", partial(_phantom, seed, disease))


def varied_chest(seed: int, disease: Mapping[str, float] | None = None) -> ChestPhantom:
    """The phantom of a seed, with a matrix of its own; None draws its diseases."""
    random = np.random.default_rng([seed, 77])
    side, slices = int(random.integers(*SIDES)), int(random.integers(*SLICES))
    return chest(
        Chest(seed=seed, shape=(side, side, slices), disease=None if disease is None else dict(disease))
    )


def write_silver(folder: str | Path, dataset_dir: str | Path, scans: Mapping[str, Mapping[str, str]]) -> None:
    """Real scans with the labels of the classical method, corrected by a rule where it is known to fail.

    Args:
        folder: gets images/NAME.nii.gz and labels/NAME.nii.gz.
        dataset_dir: where the scans' paths start.
        scans: name to {"path": file or study, "rule": name of RULES}.
    """
    for name, scan in scans.items():
        source, rule = Path(dataset_dir) / scan["path"], RULES[scan["rule"]]
        _write(Path(folder), name, partial(_silver, source, rule))


def _phantom(
    seed: int, disease: Mapping[str, float] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    phantom = varied_chest(seed, disease)
    return phantom.array, phantom.labels, phantom.affine


def _silver(
    source: Path, rule: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    volume = read_volume(source, "CT")
    if volume.affine is None:
        raise DataError("a volume", came=f"the picture {source.name}", do="Correct the list of scans.")
    array = np.maximum(volume.array[0], -1024).astype(np.int16)
    grid = plan(array.shape, volume.affine, SILVER_MM)
    image = to_grid(torch.as_tensor(array)[None], grid)
    with torch.inference_mode():
        labels = ClassicalLungs(SILVER_MM)(image[None])[0].argmax(0).numpy().astype(np.uint8)
    labels = rule(labels, image[0].numpy())
    scores = torch.nn.functional.one_hot(torch.as_tensor(labels).long(), AIRWAY + 1).movedim(-1, 0)
    return array, to_source(scores.float(), grid)[0].numpy(), volume.affine


def _as_found(labels: np.ndarray, hu: np.ndarray) -> np.ndarray:
    return labels


def _without_bowel(labels: np.ndarray, hu: np.ndarray) -> np.ndarray:
    """Of an abdomen: gas is darker than lung, and lung bases go on above the image."""
    from scipy.ndimage import binary_dilation

    gas = binary_dilation((labels > 0) & (hu < GAS_HU), iterations=GAS_RIM)
    numbers, _ = components((labels > 0) & ~gas)
    reaching = np.unique(numbers[..., -1])
    return labels * np.isin(numbers, reaching[reaching > 0]).astype(np.uint8)


RULES = {
    "as_found": _as_found,
    "without_bowel": _without_bowel,
}


def _write(folder: Path, name: str, make: Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """The image first: where the label is, both are."""
    image, label = (folder / part / f"{name}.nii.gz" for part in ("images", "labels"))
    if label.is_file() and image.is_file():
        return
    array, labels, affine = make()
    for path, content in ((image, array), (label, labels.astype(np.uint8))):
        path.parent.mkdir(parents=True, exist_ok=True)
        nifti.write(content, affine, path)
    logger.info("%s", image)
