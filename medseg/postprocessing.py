"""What follows a network: stray pieces go, holes are filled, and the classical method has a say.

All of it happens on the network's grid, before the scores go back to the scan's voxels. Where a label is
taken from a voxel, the next likely one takes its place. What was changed is noted, in ml.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from medseg.grid import best_labels

NOTES = "postprocessing"  # key in the image's meta data, a line each


class CleanLabelsd(MapTransform):
    """Drop small pieces of each label, and fill the holes of some.

    Args:
        keys: scores of (labels, right, anterior, superior), changed in place; the best one is the label,
            and 0 is the background.
        labels: value to name.
        min_ml: label name to the volume that a piece must have, beside the largest piece, which always
            stays. A piece is what hangs together by faces, edges or corners.
        filled: names of labels in which no background is enclosed.
        image_key: the resampled scan; its meta data gets the notes.
    """

    def __init__(
        self,
        keys: KeysCollection,
        labels: Mapping[int | str, str],
        min_ml: Mapping[str, float],
        filled: tuple[str, ...] = (),
        image_key: str = "image",
    ) -> None:
        super().__init__(keys)
        self.values = {name: int(value) for value, name in labels.items()}
        self.min_ml, self.filled, self.image_key = dict(min_ml), tuple(filled), image_key

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        cleaned = dict(data)
        meta = cleaned[self.image_key].meta
        for key in self.key_iterator(cleaned):
            scores = cleaned[key]
            voxel_ml = float(meta["grid_spacing_mm"]) ** 3 / 1000
            labels = best_labels(torch.as_tensor(scores)).numpy()
            notes = [*self._drop(scores, labels, voxel_ml), *self._fill(scores, labels, voxel_ml)]
            meta[NOTES] = "\n".join(notes)
        return cleaned

    def _drop(self, scores: torch.Tensor, labels: np.ndarray, voxel_ml: float) -> Iterator[str]:
        for name, least_ml in self.min_ml.items():
            value = self.values[name]
            stray, count = small_pieces(labels == value, least_ml / voxel_ml)
            if count:
                _never(scores, value, stray)
                yield f"{name}: {count} pieces of {stray.sum() * voxel_ml:.1f} ml removed"

    def _fill(self, scores: torch.Tensor, labels: np.ndarray, voxel_ml: float) -> Iterator[str]:
        for name in self.filled:
            value = self.values[name]
            holes = holes_of(labels == value) & (labels == 0)
            if holes.any():
                _never(scores, 0, holes)
                yield f"{name}: holes of {holes.sum() * voxel_ml:.1f} ml filled"


class CompareClassicald(MapTransform):
    """A warning where the network and the classical method disagree on a lung by more than a volume.

    The classical method finds air-filled lung alone, by thresholds. Lung that only the network finds is dense
    (consolidation, effusion, tumour) or no lung; lung that only the classical method finds was missed by the
    network, or is none. Both deserve a look.

    Args:
        keys: scores on the network's grid.
        labels: value to name; those whose name ends in "lung" are compared.
        range_hu: what 0 and 1 mean in the image.
        most_ml: the volume for which there is no warning.
        image_key: the resampled and scaled scan; its meta data gets the warnings.
    """

    def __init__(
        self,
        keys: KeysCollection,
        labels: Mapping[int | str, str],
        range_hu: tuple[float, float],
        most_ml: float,
        image_key: str = "image",
    ) -> None:
        super().__init__(keys)
        self.lungs = {int(value): name for value, name in labels.items() if name.endswith("lung")}
        self.range_hu, self.most_ml, self.image_key = tuple(range_hu), most_ml, image_key

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        compared = dict(data)
        image = compared[self.image_key]
        low, high = self.range_hu
        hu = image[0].as_tensor() * (high - low) + low
        for key in self.key_iterator(compared):
            found = best_labels(torch.as_tensor(compared[key]))
            notes = disagreements(hu, found, self.lungs, float(image.meta["grid_spacing_mm"]), self.most_ml)
            image.meta["warnings"] = "\n".join([*image.meta["warnings"].splitlines(), *notes])
        return compared


def disagreements(
    hu: torch.Tensor, found: torch.Tensor, lungs: Mapping[int, str], spacing_mm: float, most_ml: float
) -> list[str]:
    """Sentences on the lungs on which the classical method disagrees by more than `most_ml`.

    It runs on means of 2x2x2 voxels: whole lungs need no more, and it takes an eighth of the time.

    Args:
        hu: (x, y, z), RAS+.
        found: (x, y, z) uint8, the network's labels.
        lungs: value to name.
        spacing_mm: of a voxel.
        most_ml: per lung and direction.
    """
    from medseg.classical.lungs import lungs as classical_lungs

    coarse = torch.nn.functional.avg_pool3d(hu[None], 2)[0].numpy()
    own = found[: 2 * coarse.shape[0] : 2, : 2 * coarse.shape[1] : 2, : 2 * coarse.shape[2] : 2].numpy()
    other = classical_lungs(coarse, (2 * spacing_mm,) * 3)
    voxel_ml = (2 * spacing_mm) ** 3 / 1000
    sentences = []
    for value, name in lungs.items():
        dense_ml = float(((own == value) & ~np.isin(other, list(lungs))).sum()) * voxel_ml
        missed_ml = float(((other == value) & (own != value)).sum()) * voxel_ml
        readable = name.replace("_", " ")
        if dense_ml > most_ml:
            sentences.append(
                f"{dense_ml:.0f} ml of the {readable} are lung to the network alone, not to thresholds: "
                "dense tissue or fluid in it, or an error"
            )
        if missed_ml > most_ml:
            sentences.append(
                f"{missed_ml:.0f} ml are {readable} to thresholds, not to the network: look for a part that "
                "is missing, or on the wrong side"
            )
    return sentences


def _never(scores: torch.Tensor, value: int, mask: np.ndarray) -> None:
    """Take a label from voxels: its score becomes the lowest that a label has there."""
    where = torch.from_numpy(mask)
    scores[value][where] = scores[:, where].amin(0)


def small_pieces(mask: np.ndarray, least_voxels: float) -> tuple[np.ndarray, int]:
    """The pieces of (x, y, z) bool with fewer voxels than the least, without the largest; and how many."""
    from scipy.ndimage import find_objects, label

    boxes = find_objects(mask.astype(np.uint8))
    small = np.zeros_like(mask)
    if not boxes:
        return small, 0
    box = boxes[0]
    numbers, _ = label(mask[box], np.ones((3, 3, 3)))
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    goes = sizes < least_voxels
    goes[0] = goes[sizes.argmax()] = False
    small[box] = goes[numbers]
    return small, int(goes.sum())


def holes_of(mask: np.ndarray) -> np.ndarray:
    """Voxels not in (x, y, z) bool from which no way by faces leads out of it."""
    from scipy.ndimage import binary_fill_holes, find_objects

    holes = np.zeros_like(mask)
    for box in find_objects(mask.astype(np.uint8)):
        holes[box] = binary_fill_holes(mask[box]) & ~mask[box]
    return holes
