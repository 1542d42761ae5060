"""What follows a network: the classical method has a say, stray pieces go, and holes are filled.

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

from medseg.case import note, warn
from medseg.grid import best_labels

AIRY_HU = -400  # half-way from healthy lung to tissue: the border, where partial volume is even
HU_PER_SCORE = 200
AIRY_SHARE = 0.05  # of a piece of lung, below which it is dense


class CleanLabelsd(MapTransform):
    """Drop small pieces of each label, dense ones sooner, and fill the holes of some.

    Pieces of dense tissue apart from the lung are most often liver or muscle, not consolidated lung.

    Args:
        keys: scores of (labels, right, anterior, superior), changed in place; the best one is the label,
            and 0 is the background.
        labels: value to name.
        min_ml: label name to the volume that a piece must have, beside the largest piece, which always
            stays. A piece is what hangs together by faces, edges or corners.
        filled: names of labels in which no background is enclosed.
        min_dense_ml: the same as min_ml for pieces of which less than 5% is air-filled.
        air: the image's value below which a voxel is air-filled.
        image_key: the resampled scan; its meta data gets the notes.
    """

    def __init__(
        self,
        keys: KeysCollection,
        labels: Mapping[int | str, str],
        min_ml: Mapping[str, float],
        filled: tuple[str, ...] = (),
        min_dense_ml: Mapping[str, float] | None = None,
        air: float = 0.0,
        image_key: str = "image",
    ) -> None:
        super().__init__(keys)
        self.values = {name: int(value) for value, name in labels.items()}
        self.min_ml, self.filled, self.image_key = dict(min_ml), tuple(filled), image_key
        self.min_dense_ml, self.air = dict(min_dense_ml or {}), air

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        cleaned = dict(data)
        meta = cleaned[self.image_key].meta
        for key in self.key_iterator(cleaned):
            scores = cleaned[key]
            voxel_ml = float(meta["grid_spacing_mm"]) ** 3 / 1000
            labels = best_labels(torch.as_tensor(scores)).numpy()
            airy = np.asarray(cleaned[self.image_key][0]) < self.air
            notes = [*self._drop(scores, labels, airy, voxel_ml), *self._fill(scores, labels, voxel_ml)]
            note(meta, self, *notes)
        return cleaned

    def _drop(
        self, scores: torch.Tensor, labels: np.ndarray, airy: np.ndarray, voxel_ml: float
    ) -> Iterator[str]:
        for name, least_ml in self.min_ml.items():
            value = self.values[name]
            dense_ml = self.min_dense_ml.get(name, least_ml)
            stray, count = small_pieces(labels == value, least_ml / voxel_ml, airy, dense_ml / voxel_ml)
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


class CleanLesionsd(MapTransform):
    """Fill the holes of lesions in a picture, and drop specks.

    Args:
        keys: masks of (1, row, column), 1 in lesions.
        min_px: pixels that a lesion has at least; pieces hang together by edges or corners.
        image_key: the picture; its meta data gets the notes.
    """

    def __init__(self, keys: KeysCollection, min_px: int, image_key: str = "image") -> None:
        super().__init__(keys)
        self.min_px, self.image_key = min_px, image_key

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        from scipy.ndimage import binary_fill_holes, label

        cleaned = dict(data)
        meta = getattr(cleaned[self.image_key], "meta", {})
        for key in self.key_iterator(cleaned):
            filled = binary_fill_holes(np.asarray(cleaned[key])[0] > 0)
            numbers, count = label(filled, np.ones((3, 3)))
            sizes = np.bincount(numbers.ravel(), minlength=count + 1)
            kept = sizes >= self.min_px
            kept[0] = False
            if specks := int(count - kept.sum()):
                note(meta, self, f"{specks} specks of {int(sizes[1:][~kept[1:]].sum())} px removed")
            cleaned[key] = torch.as_tensor(kept[numbers][None]).to(torch.as_tensor(cleaned[key]).dtype)
        return cleaned


class JoinClassicald(MapTransform):
    """Where lung holds air, thresholds know its border and its side; the network knows the rest.

    The classical method finds air-filled lung alone, by thresholds. What it calls lung gets its label, except
    where the network says airway; pieces that the network mostly calls no lung are left to it (bowel, or air
    beside a body). Lung that only the network finds is dense (consolidation, effusion, tumour) or no
    lung; lung that only the classical method finds was missed by the network, or is none. Where either is
    more than a volume, a warning says so.

    Where air-filled lung meets tissue, the border lies between voxels, half-way from air to tissue: there the
    scores follow the HU, so that their interpolation on the scan's own grid crosses over at that density.

    Args:
        keys: scores on the network's grid, changed in place.
        labels: value to name; those whose name ends in "lung" are joined.
        range_hu: what 0 and 1 mean in the image.
        most_ml: the volume for which there is no warning.
        least_mm: a slab that is thinner is left to the classical method: the network has learnt chests.
        image_key: the resampled and scaled scan; its meta data gets the notes and the warnings.
    """

    def __init__(
        self,
        keys: KeysCollection,
        labels: Mapping[int | str, str],
        range_hu: tuple[float, float],
        most_ml: float,
        least_mm: float = 0.0,
        image_key: str = "image",
    ) -> None:
        super().__init__(keys)
        self.lungs = {int(value): name for value, name in labels.items() if name.endswith("lung")}
        self.range_hu, self.most_ml, self.image_key = tuple(range_hu), most_ml, image_key
        self.least_mm = least_mm

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        from medseg.classical.lungs import lungs as classical_lungs
        from medseg.classical.morphology import bounding_box

        joined = dict(data)
        image = joined[self.image_key]
        low, high = self.range_hu
        spacing_mm = float(image.meta["grid_spacing_mm"])
        hu = (image[0].as_tensor() * (high - low) + low).numpy()
        other = classical_lungs(hu, (spacing_mm,) * 3)
        for key in self.key_iterator(joined):
            scores = torch.as_tensor(joined[key])
            if min(other.shape) * spacing_mm < self.least_mm:
                for value in range(len(scores)):
                    scores[value] = torch.from_numpy(other == value)
                thin = f"less than {self.least_mm:g} mm of a chest: thresholds made the mask, not the network"
                warn(image.meta, self, thin)
                continue
            own = best_labels(scores).numpy()
            warn(image.meta, self, *disagreements(own, other, self.lungs, spacing_mm, self.most_ml))
            box = bounding_box((own > 0) | (other > 0), (2, 2, 2))  # the rest is background to both
            part = scores[(slice(None), *box)]
            notes = list(self._join(part, own[box], other[box], spacing_mm**3 / 1000))
            self._sharpen(part, own[box], other[box], hu[box])
            note(image.meta, self, *notes)
        return joined

    def _join(
        self, scores: torch.Tensor, own: np.ndarray, other: np.ndarray, voxel_ml: float
    ) -> Iterator[str]:
        values = list(self.lungs)
        taken = np.isin(other, values) & np.isin(own, [0, *values])
        taken &= ~refused_pieces(taken, np.isin(own, values))
        for value, name in self.lungs.items():
            where = taken & (other == value)
            changed = where & (own != value)
            if changed.any():
                place = torch.from_numpy(changed)
                scores[value][place] = scores[:, place].amax(0) + 1
                yield f"{name}: {changed.sum() * voxel_ml:.1f} ml taken from the classical method"

    def _sharpen(self, scores: torch.Tensor, own: np.ndarray, other: np.ndarray, hu: np.ndarray) -> None:
        """Let scores follow the HU within a voxel of the border of air-filled lung."""
        from medseg.classical.morphology import dilated

        values = list(self.lungs)
        best = best_labels(scores).numpy()
        airy = np.isin(other, values) & np.isin(best, values) & (hu < AIRY_HU)
        dense = np.isin(own, values) & ~np.isin(other, values)
        # A layer of one voxel is the network's uncertainty; what is thicker is dense lung.
        dense &= dilated(~dilated(~dense), 2)
        tissue = ~np.isin(other, values) & ~dense & np.isin(best, [0, *values]) & (hu >= AIRY_HU)
        for value in values:
            outer = tissue & dilated(airy & (best == value))
            inner = airy & (best == value) & dilated(outer)
            rim = torch.from_numpy(outer | inner)
            airiness = torch.from_numpy((AIRY_HU - hu[outer | inner]) / HU_PER_SCORE).to(scores.dtype)
            scores[:, rim] = -airiness.abs() - 1
            scores[0, rim], scores[value, rim] = -airiness, airiness


def refused_pieces(pieces: np.ndarray, accepted: np.ndarray) -> np.ndarray:
    """The connected pieces of (x, y, z) bool of which less than half is accepted."""
    from scipy.ndimage import label

    numbers, count = label(pieces)
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    agreed = np.bincount(numbers[accepted], minlength=count + 1)
    refused = agreed < 0.5 * sizes
    refused[0] = False
    return refused[numbers]


def disagreements(
    own: np.ndarray, other: np.ndarray, lungs: Mapping[int, str], spacing_mm: float, most_ml: float
) -> list[str]:
    """Sentences on the lungs on which network and classical method disagree by more than `most_ml`.

    Args:
        own: (x, y, z) labels of the network.
        other: those of the classical method.
        lungs: value to name.
        spacing_mm: of a voxel.
        most_ml: per lung and direction.
    """
    voxel_ml = spacing_mm**3 / 1000
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
                f"{missed_ml:.0f} ml are {readable} to thresholds, not to the network: look at the border "
                "and the side of the lung there"
            )
    return sentences


def _never(scores: torch.Tensor, value: int, mask: np.ndarray) -> None:
    """Take a label from voxels: its score becomes the lowest that a label has there."""
    where = torch.from_numpy(mask)
    scores[value][where] = scores[:, where].amin(0)


def small_pieces(
    mask: np.ndarray, least_voxels: float, airy: np.ndarray, least_dense_voxels: float
) -> tuple[np.ndarray, int]:
    """The pieces of (x, y, z) bool with fewer voxels than the least, without the largest; and how many.

    Args:
        mask: the pieces; they hang together by faces, edges or corners.
        least_voxels: that a piece has.
        airy: (x, y, z) bool; a piece with less than AIRY_SHARE of it is dense.
        least_dense_voxels: that a dense piece has.
    """
    from scipy.ndimage import find_objects, label

    boxes = find_objects(mask.astype(np.uint8))
    small = np.zeros_like(mask)
    if not boxes:
        return small, 0
    box = boxes[0]
    numbers, _ = label(mask[box], np.ones((3, 3, 3)))
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    dense = np.bincount(numbers[airy[box]], minlength=len(sizes)) < AIRY_SHARE * sizes
    goes = sizes < np.where(dense, least_dense_voxels, least_voxels)
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
