"""Join the labels of a lung network with those of the classical method.

The classical method decides on the border and the side of air-filled lung, and on the airway. The network
decides which dense tissue lies in a pleural cavity, and which air-filled components are no lung.
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

LAYER_MM = 3.0  # a thinner layer of lung that only the network finds is its uncertainty at a border
ABOVE_MM = 15.0  # lung that only the network finds may reach so far above air-filled lung: beyond is the neck
BESIDE_MM = 10.0  # and so far beside it in the axial projection
LUMEN_HU = -600
BODY_MM = (
    3.0  # voxels of the grid on which the body is found; fat and rib cage are found on one twice as coarse
)
FAT_HU = (-150, -30)  # means of blocks; consolidation and effusion are above, blocks with air below
BONE_HU = 150
RIB_MM = 15.0  # ribs slope, so each slice takes the bone of slices up to this far above and below
MARGIN = 2  # voxels around all labels, so that their border is inside the box


class JoinLungsd(MapTransform):
    """From a network's coarse logits to scores on the image's grid, in the box that holds all labels.

    Lung of the classical method keeps its label, except for components of which the network calls less than
    half lung or airway (bowel, or air beside a body); its border follows the HU between the voxels. The
    airway is the classical method's where it finds one. Lung that only the network finds is dense
    (consolidation, effusion, tumour), or missed by thresholds, or an error. It stays where it is inside the
    body and the rib cage, is no fat, is not far above, before or beside air-filled lung, and is connected
    with air-filled lung or the airway. A warning says where both methods disagree by more than a given
    volume.

    Args:
        keys: coarse logits of (background, left lung, right lung, airway) by (i, j, k), whose outer faces are
            the grid's. They are replaced by scores (label, i, j, k); the image's meta data gets `grid_box`,
            (3, 2) first voxel and end along each axis, the part of the grid that they cover. The rest of the
            grid is background.
        most_ml: largest volume of disagreement without a warning.
        image_key: the CT on the grid, (1, i, j, k) in HU; its meta data has `grid_spacing_mm` and gets the
            notes and the warnings.
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
        box: the part of the image to return.
        spacing_mm: size of a voxel.

    Returns:
        (i, j, k) bool, of the box.
    """
    step = [max(1, round(BODY_MM / spacing_mm))] * 3
    means = mean_blocks(hu, step)
    inside = inside_body(means, [step[0] * spacing_mm] * 3)
    broad, within = mean_blocks(means, [2] * 3), mean_blocks(inside, [2] * 3) > 0.5  # averaging lowers noise
    fat = (broad > FAT_HU[0]) & (broad < FAT_HU[1])
    thick = dilated(~dilated(~fat))  # the mean of lung and tissue is that of fat: thin layers are no fat
    cage = rib_cage(within & (broad > BONE_HU), within & (broad < LUMEN_HU), 2 * step[0] * spacing_mm)
    lean = cage & ~thick
    return repeated(inside & repeated(lean, [2] * 3, inside.shape), step, hu.shape)[box]


def rib_cage(bone: np.ndarray, aerated: np.ndarray, spacing_mm: float) -> np.ndarray:
    """The rib cage: in each axial slice the convex hull of aerated lung and of the bone in and near it.

    The hull includes aerated lung because cartilage, thin ribs and ribs that the image cuts are not seen as
    bone. A slice without bone nearby is True everywhere.

    Args:
        bone: (i, j, k) bool, inside the body.
        aerated: (i, j, k) bool, inside the body.
        spacing_mm: size of a voxel.

    Returns:
        (i, j, k) bool.
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
    """Join the labels of a network and of the classical method.

    Args:
        own: (i, j, k) labels of the network: 1 left lung, 2 right lung, 3 airway.
        known: (i, j, k) labels of the classical method.
        hu: (i, j, k) in HU.
        body: (i, j, k) bool, where the network's lung can be.
        spacing_mm: size of a voxel.

    Returns:
        (i, j, k) uint8 labels; and notes on what was left out of the classical method's lung, as sentences.
    """
    voxel_ml = spacing_mm**3 / 1000
    airway = known == AIRWAY
    lung = is_lung(known)
    middle = airway if airway.any() else body | lung  # never empty where there is lung
    if not airway.any():
        airway = own_airway(own, hu, lung)
    refused = refused_components(lung, own > 0)
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
        volume = f"{refused.sum() * voxel_ml:.1f} ml"
        notes.append(f"{volume} of air left out: lung by thresholds, but not by the network")
    return found, notes


def own_airway(own: np.ndarray, hu: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """The air-filled part of the network's airway, (i, j, k) bool; none at the lung bases or below: bowel."""
    airway = (own == AIRWAY) & (hu < LUMEN_HU)
    if lung.any():
        height = bounding_box(lung)[2]
        airway[..., : height.start + round(LOWER_PART * (height.stop - height.start))] = False
    return airway


def column(lung: np.ndarray, middle: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Where lung can be in the axial projection: not in the muscles before and beside the rib cage.

    The convex hull of air-filled lung and of its mirror image, which stands for a side that is dense; and all
    that lies behind the hull.

    Args:
        lung: (i, j, k) bool, air-filled, not empty.
        middle: (i, j, k) bool, not empty; the mean of its i is the plane of the mirror.
        spacing_mm: size of a voxel.

    Returns:
        (i, j, 1) bool.
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


def refused_components(mask: np.ndarray, accepted: np.ndarray) -> np.ndarray:
    """The connected components of (x, y, z) bool of which less than half is accepted; (x, y, z) bool."""
    numbers, count = numbered(mask)
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    agreed = np.bincount(numbers[accepted & mask], minlength=count + 1)
    refused = agreed < 0.5 * sizes
    refused[0] = False
    return chosen(numbers, refused)


def disagreements(
    own: np.ndarray, found: np.ndarray, known: np.ndarray, spacing_mm: float, most_ml: float
) -> Iterator[str]:
    """Sentences on the lungs of which only one method found more than `most_ml`."""
    voxel_ml = spacing_mm**3 / 1000
    for value, name in zip(LUNGS, ("left lung", "right lung"), strict=True):
        dense_ml = float(((found == value) & ~is_lung(known)).sum()) * voxel_ml
        missed_ml = float(((known == value) & (own != value)).sum()) * voxel_ml
        if dense_ml > most_ml:
            yield (
                f"{dense_ml:.0f} ml of the {name} were found by the network alone, not by thresholds: "
                "dense tissue or fluid in the lung, or an error"
            )
        if missed_ml > most_ml:
            yield (
                f"{missed_ml:.0f} ml of the {name} were found by thresholds alone, not by the network: "
                "check the border and the side of the lung there"
            )


def _box(where: Box, coarse: torch.Tensor, shape: tuple[int, ...]) -> Box:
    """The box around what either method found, with a margin; a few voxels where nothing was found."""
    labels = best_labels(coarse).numpy()
    ends = []
    for part, size, length in zip(bounding_box(labels > 0, (1, 1, 1)), shape, labels.shape, strict=True):
        ends.append(slice(int(part.start * size / length), int(np.ceil(part.stop * size / length))))
    boxes = [box for box in (where, tuple(ends)) if all(shape_of(box))]
    return widened(hull(boxes[0], boxes[-1]) if boxes else ends, (MARGIN,) * 3, shape)
