"""A lung network and the classical method joined: each has the say on what it knows better.

Thresholds know where air-filled lung ends, on which side it is and where the airway runs; the network knows
what dense tissue lies in a pleural cavity, and what holds air and is no lung.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from medseg.boxes import Box, bounding_box, hull, placed, shape_of, widened
from medseg.case import note, warn
from medseg.grid import best_labels, finer_labels
from medseg.methods.chest.body import inside_body
from medseg.methods.chest.border import AIRWAY, LUNGS, scores_of
from medseg.methods.chest.lungs import LOWER_PART, found_lungs
from medseg.morphology import chosen, dilated, mean_plane, numbered, repeated
from medseg.morphology import coarse as mean_blocks

LAYER_MM = 3.0  # of lung that only the network sees: a thinner layer is its uncertainty at a border
ABOVE_MM = 15.0  # how far above all air-filled lung the network's may reach: beyond lie neck and head
BESIDE_MM = 10.0  # and beside it, seen from above
LUMEN_HU = -600
BODY_MM = 3.0  # the grid on which the body is found; its fat and its rib cage are found on twice that
FAT_HU = (-150, -30)  # means of blocks; consolidation and effusion are denser, what holds air is below
BONE_HU = 150
RIB_MM = 15.0  # ribs slope: each slice has those of the slices so far above and below
MARGIN = 2  # voxels around all that is found, so that its border is inside the box


class JoinLungsd(MapTransform):
    """From a network's coarse logits to scores on the scan's grid, in the box that holds all that was found.

    What the classical method calls lung gets its label, except for pieces that the network mostly calls no
    lung (bowel, or air beside a body); its border follows the HU between the voxels. The airway is the
    classical method's where it finds one. Lung that only the network finds is dense (consolidation, effusion,
    tumour) or was missed by thresholds, or is an error: it stays where it is inside the body and the rib cage
    and no fat, not far above all air-filled lung nor before or beside it, and hangs together with air-filled
    lung or the airway; where it is more than a volume, a warning says so.

    Args:
        keys: coarse logits of (background, left lung, right lung, airway), whose outer faces are the grid's.
            They are replaced by scores; the image's meta data gets `grid_box`, the part of the grid that they
            cover. Outside of it all is background.
        most_ml: the volume of disagreement for which there is no warning.
        image_key: the scan on its grid, in HU; its meta data gets the notes and the warnings.
    """

    def __init__(self, keys: KeysCollection, most_ml: float, image_key: str = "image") -> None:
        super().__init__(keys)
        self.most_ml, self.image_key = most_ml, image_key

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        joined = dict(data)
        image = joined[self.image_key]
        hu, spacing_mm = np.asarray(image[0]), float(image.meta["grid_spacing_mm"])
        rules, where = found_lungs(hu, (spacing_mm,) * 3)
        for key in self.key_iterator(joined):
            coarse = torch.as_tensor(joined[key]).cpu().float()
            box = _box(where, coarse, hu.shape)
            known = placed(rules, where, box) if rules.size else np.zeros(shape_of(box), dtype=np.uint8)
            own = finer_labels(coarse, hu.shape, box).numpy()
            found, notes = join(own, known, hu[box], possible(hu, box, spacing_mm), spacing_mm)
            warn(image.meta, self, *disagreements(own, found, known, spacing_mm, self.most_ml))
            note(image.meta, self, *notes)
            image.meta["grid_box"] = torch.tensor([[part.start, part.stop] for part in box])
            joined[key] = scores_of(found, hu[box], is_lung(found) & ~is_lung(known))
        return joined


def possible(hu: np.ndarray, box: Box, spacing_mm: float) -> np.ndarray:
    """Where the network's lung can be: in the body and the rib cage, neither in fat nor in a table's foam.

    Args:
        hu: (i, j, k) in HU, the whole image.
        box: the part that is wanted.
        spacing_mm: size of a voxel.
    """
    step = [max(1, round(BODY_MM / spacing_mm))] * 3
    means = mean_blocks(hu, step)
    inside = inside_body(means, [step[0] * spacing_mm] * 3)
    broad, within = mean_blocks(means, [2] * 3), mean_blocks(inside, [2] * 3) > 0.5  # less noise
    fat = (broad > FAT_HU[0]) & (broad < FAT_HU[1])
    thick = dilated(~dilated(~fat))  # not the blocks at a border between lung and tissue
    cage = rib_cage(within & (broad > BONE_HU), within & (broad < LUMEN_HU), 2 * step[0] * spacing_mm)
    lean = cage & ~thick
    return repeated(inside & repeated(lean, [2] * 3, inside.shape), step, hu.shape)[box]


def rib_cage(bone: np.ndarray, aerated: np.ndarray, spacing_mm: float) -> np.ndarray:
    """(i, j, k) bool: in each axial slice the hull of its air and of bones in and near it; all without bones.

    Air is in it because a soft, thin or cut rib may not be seen as bone.

    Args:
        bone, aerated: (i, j, k) bool, inside the body.
        spacing_mm: size of a voxel.
    """
    from skimage.morphology import convex_hull_image

    cage = np.ones(bone.shape, dtype=bool)
    reach = round(RIB_MM / spacing_mm)
    for k in range(bone.shape[2]):
        near = bone[..., max(0, k - reach) : k + reach + 1].any(axis=2)
        if near.any():
            cage[..., k] = convex_hull_image(near | aerated[..., k])
    return cage


def join(
    own: np.ndarray, known: np.ndarray, hu: np.ndarray, body: np.ndarray, spacing_mm: float
) -> tuple[np.ndarray, list[str]]:
    """Labels of a network and of the classical method joined, and what of the latter was left out.

    Args:
        own: (i, j, k) labels of the network.
        known: those of the classical method.
        hu: the image in HU.
        body: where the network's lung can be, bool.
        spacing_mm: size of a voxel.
    """
    voxel_ml = spacing_mm**3 / 1000
    airway = known == AIRWAY
    lung = is_lung(known)
    middle = airway if airway.any() else body | lung  # never empty where there is lung
    if not airway.any():
        airway = own_airway(own, hu, lung)
    refused = refused_pieces(lung, own > 0)
    lung &= ~refused & ~airway
    turns = max(1, round(LAYER_MM / spacing_mm))
    dense = is_lung(own) & body & ~lung & ~dilated(airway)
    if lung.any():
        height = bounding_box(lung)[2]
        dense[..., height.stop + round(ABOVE_MM / spacing_mm) :] = False
        dense &= column(lung, middle, spacing_mm)
    dense &= dilated(~dilated(~dense, turns), turns + 1)
    numbers, count = numbered(dense)
    if count:
        near = dilated(lung | airway | dense & (hu < LUMEN_HU), turns + 1)
        kept = np.zeros(count + 1, dtype=bool)
        kept[np.unique(numbers[near])] = True
        kept[0] = False
        dense = kept[numbers]
    found = np.where(lung, known, 0).astype(np.uint8)
    found[dense] = own[dense]
    found[airway] = AIRWAY
    notes = []
    if refused.any():
        notes.append(f"{refused.sum() * voxel_ml:.1f} ml of air left out that is no lung to the network")
    return found, notes


def own_airway(own: np.ndarray, hu: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """The network's airway, (i, j, k) bool: what holds air in it, and no bowel at the lung bases or below."""
    airway = (own == AIRWAY) & (hu < LUMEN_HU)
    if lung.any():
        height = bounding_box(lung)[2]
        airway[..., : height.start + round(LOWER_PART * (height.stop - height.start))] = False
    return airway


def column(lung: np.ndarray, middle: np.ndarray, spacing_mm: float) -> np.ndarray:
    """(i, j, 1) bool: where, seen from above, lung can be: not in the muscles before and beside the rib cage.

    The convex hull of air-filled lung and its mirror image, for where one side is dense, with all behind it.

    Args:
        lung: (i, j, k) bool, air-filled, not empty.
        middle: (i, j, k) bool, what the mirror goes through.
        spacing_mm: size of a voxel.
    """
    from skimage.morphology import convex_hull_image

    seen = np.asarray(lung.any(axis=2))
    places = np.argwhere(seen)
    mirrored = round(2 * mean_plane(middle)) - places[:, 0]
    inside = (mirrored >= 0) & (mirrored < len(seen))
    seen[mirrored[inside], places[inside, 1]] = True
    hull_ = convex_hull_image(seen)
    behind = np.logical_or.accumulate(hull_[:, ::-1], axis=1)[:, ::-1]
    return dilated(behind[..., None], round(BESIDE_MM / spacing_mm))


def is_lung(labels: np.ndarray) -> np.ndarray:
    """Where a label is that of a lung, bool."""
    return (labels > 0) & (labels < AIRWAY)


def refused_pieces(pieces: np.ndarray, accepted: np.ndarray) -> np.ndarray:
    """The connected pieces of (x, y, z) bool of which less than half is accepted."""
    numbers, count = numbered(pieces)
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    agreed = np.bincount(numbers[accepted & pieces], minlength=count + 1)
    refused = agreed < 0.5 * sizes
    refused[0] = False
    return chosen(numbers, refused)


def disagreements(
    own: np.ndarray, found: np.ndarray, known: np.ndarray, spacing_mm: float, most_ml: float
) -> Iterator[str]:
    """Sentences on the lungs on which network and classical method disagree by more than `most_ml`."""
    voxel_ml = spacing_mm**3 / 1000
    for value, name in zip(LUNGS, ("left lung", "right lung"), strict=True):
        dense_ml = float(((found == value) & ~is_lung(known)).sum()) * voxel_ml
        missed_ml = float(((known == value) & (own != value)).sum()) * voxel_ml
        if dense_ml > most_ml:
            yield (
                f"{dense_ml:.0f} ml of the {name} are lung to the network alone, not to thresholds: "
                "dense tissue or fluid in it, or an error"
            )
        if missed_ml > most_ml:
            yield (
                f"{missed_ml:.0f} ml are {name} to thresholds, not to the network: "
                "look at the border and the side of the lung there"
            )


def _box(where: Box, coarse: torch.Tensor, shape: tuple[int, ...]) -> Box:
    """The box around what either method found, with a margin; a few voxels where nothing was found."""
    labels = best_labels(coarse).numpy()
    ends = []
    for part, size, length in zip(bounding_box(labels > 0, (1, 1, 1)), shape, labels.shape, strict=True):
        ends.append(slice(int(part.start * size / length), int(np.ceil(part.stop * size / length))))
    boxes = [box for box in (where, tuple(ends)) if all(shape_of(box))]
    return widened(hull(boxes[0], boxes[-1]) if boxes else ends, (MARGIN,) * 3, shape)
