"""Label map against reference: Dice of each label, and distances of the surfaces in millimetres.

A surface has an element wherever 2 x 2 x 2 voxels (2 x 2 pixels) are not all inside or all outside the mask,
with the area in mm2 (the length in mm) of marching cubes: in thick slices an element of the side counts for
more than one of the top. Nikolov et al., J. Med. Internet Res. 23, 2021, with the table of areas that MONAI
takes from their surface-distance. Outside the array is background: a mask has a surface where the array cuts
it.

Where a mask is empty:

    both                  Dice 1.0, surface Dice 1.0, HD95 None
    one of them           Dice 0.0, surface Dice 0.0, HD95 None

A missed label thus stays in the means of both Dice scores, and lowers the number of cases of HD95.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medseg.errors import LabelError
from medseg.metrics.overlap import confusion
from medseg.volume import Mask

MEAN = "mean"
_ROUNDING_MM = 1e-6  # a distance equal to the tolerance is within it
# As shares of the voxels: above, a distance transform is faster than a tree.
_FEW, _FEW_FAR = 1 / 16, 1 / 500
_NEAR_MM = 10.0


def score_labels(
    prediction: Mask,
    reference: Mask,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    tolerance_mm: float = 2.0,
) -> dict[str, dict[str, float | None]]:
    """All scores of one case: label to score name to value, None where not defined.

    The labels that the reference names are scored; several of its values may have one name. A name that is no
    label of the prediction must be that of a group.

    Args:
        prediction: (i, j, k) or (row, column) labels, with the size of a voxel.
        reference: the same shape.
        groups: further names, each for several labels taken together; a group is scored where the reference
            has all of its labels, or has its name.
        tolerance_mm: distance up to which surfaces agree.

    Returns:
        dice, surface_dice and hd95_mm of each label and group; under MEAN the dice and surface_dice averaged
        over the reference's labels that occur in prediction or reference (1.0 if none does).

    Raises:
        LabelError: another shape than the reference's, no size of a voxel, or an unknown name.
    """
    spacing_mm = prediction.spacing_mm or reference.spacing_mm
    if spacing_mm is None:
        raise LabelError(
            "masks with the size of a voxel", got="masks without one", advice="Give them an affine."
        )
    _require_alike(prediction.array, reference.array, spacing_mm)
    predicted_as, known_as = _values(prediction.labels), _values(reference.labels)
    groups = dict(groups or {})
    _require_groups(groups, predicted_as)
    predicted_as |= {name: [predicted_as[part][0] for part in parts] for name, parts in groups.items()}
    _require_known(known_as, predicted_as)
    own = list(known_as)
    for name, parts in groups.items():
        if name not in known_as and all(part in known_as for part in parts):
            known_as[name] = [value for part in parts for value in known_as[part]]
    scores: dict[str, dict[str, float | None]] = {MEAN: {"dice": 1.0, "surface_dice": 1.0}}
    present: list[tuple[float, float]] = []
    for name, values in known_as.items():
        masks = _one_of(prediction.array, predicted_as[name]), _one_of(reference.array, values)
        predicted, truth = _cropped(*masks)
        dice = confusion(predicted, truth).dice if predicted.size else 1.0
        surface_dice, hd95_mm = surface_scores(predicted, truth, spacing_mm, tolerance_mm)
        scores[name] = {"dice": dice, "surface_dice": surface_dice, "hd95_mm": hd95_mm}
        if name in own and predicted.size:
            present.append((dice, surface_dice))
    if present:
        means = (float(mean) for mean in np.mean(present, axis=0))
        scores[MEAN] = dict(zip(("dice", "surface_dice"), means, strict=True))
    return scores


def surface_scores(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float], tolerance_mm: float = 2.0
) -> tuple[float, float | None]:
    """The normalised surface Dice and the 95th percentile of the Hausdorff distance in mm.

    Surface Dice: the share of both surfaces within the tolerance of the other one. HD95: the distance within
    which 95 % of a surface's area are from the other one, the larger of both directions.

    Args:
        prediction: bool, (i, j, k) or (row, column).
        truth: bool, the same shape.
        spacing_mm: size of a voxel along each axis.
        tolerance_mm: 0 or more.

    Raises:
        LabelError: another shape or spacing than the reference's, or masks that are not bool.
    """
    _require_alike(prediction, truth, spacing_mm)
    if prediction.dtype != bool or truth.dtype != bool:
        got = f"{prediction.dtype} and {truth.dtype}"
        raise LabelError("bool masks", got=got, advice="Select one label, for example mask == 1.")
    prediction, truth = _cropped(prediction, truth)
    if not (prediction.any() and truth.any()):
        return (0.0 if prediction.any() or truth.any() else 1.0), None
    areas, distances = _surfaces(prediction, truth, spacing_mm)
    within = sum(
        float(area[distance <= tolerance_mm + _ROUNDING_MM].sum())
        for area, distance in zip(areas, distances, strict=True)
    )
    hd95_mm = max(_percentile(distance, area, 95) for area, distance in zip(areas, distances, strict=True))
    return within / sum(float(area.sum()) for area in areas), hd95_mm


def _surfaces(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Areas in mm2 of both surfaces' elements, prediction first, and their distances in mm to the other."""
    from monai.metrics.utils import get_code_to_measure_table

    table, kernel = get_code_to_measure_table(tuple(spacing_mm))
    weights = kernel[0, 0].numpy().astype(np.uint8)
    codes = [_neighbours(mask, weights) for mask in (prediction, truth)]
    surfaces = [(code != 0) & (code != weights.sum()) for code in codes]
    areas = [
        table.numpy().astype(float)[code[surface]] for code, surface in zip(codes, surfaces, strict=True)
    ]
    predicted, reference = surfaces
    return areas, [_distances(predicted, reference, spacing_mm), _distances(reference, predicted, spacing_mm)]


def _neighbours(mask: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """For each corner of the voxels the sum of the weights of the voxels around it that are set; uint8."""
    padded = np.pad(mask, 1).view(np.uint8)
    codes = np.zeros([length + 1 for length in mask.shape], np.uint8)
    for offset in np.ndindex(weights.shape):
        here = tuple(slice(n, n + length) for n, length in zip(offset, codes.shape, strict=True))
        codes += weights[offset] * padded[here]
    return codes


def _distances(surface: np.ndarray, other: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Distance in mm of each element to the nearest one of the other surface, in the order of the array.

    A tree is fast for few and near elements, as with a good mask; a distance transform takes the same time
    for all masks.
    """
    from scipy.ndimage import distance_transform_edt
    from scipy.spatial import KDTree

    distances = np.zeros(np.count_nonzero(surface))
    apart = ~other[surface]
    if np.count_nonzero(apart) < _FEW * surface.size:
        tree = KDTree(np.argwhere(other) * np.asarray(spacing_mm, float))
        elements = np.argwhere(surface & ~other) * np.asarray(spacing_mm, float)
        found = tree.query(elements, distance_upper_bound=_NEAR_MM, workers=-1)[0]
        far = np.isinf(found)
        if np.count_nonzero(far) < _FEW_FAR * surface.size:
            found[far] = tree.query(elements[far], workers=-1)[0]
            distances[apart] = found
            return distances
    return np.asarray(distance_transform_edt(~other, sampling=spacing_mm)[surface])


def _percentile(values: np.ndarray, weights: np.ndarray, percent: float) -> float:
    """The smallest value at which the values up to it have that percentage of the weight."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    index = np.searchsorted(reached, percent / 100 * reached[-1])
    return float(values[order[min(index, order.size - 1)]])


def _cropped(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both masks cropped to the bounding box of their union; arrays of size 0 where both are empty."""
    from scipy.ndimage import find_objects

    box = find_objects((prediction | truth).view(np.uint8), max_label=1)[0] or (slice(0, 0),) * truth.ndim
    return prediction[box], truth[box]


def _one_of(label_map: np.ndarray, values: Sequence[int]) -> np.ndarray:
    mask = label_map == values[0]
    for value in values[1:]:
        mask |= label_map == value
    return mask


def _values(labels: Mapping[int, str]) -> dict[str, list[int]]:
    """Label name to its values, without the background."""
    named: dict[str, list[int]] = {}
    for value, name in labels.items():
        if value != 0 and name != labels.get(0):
            named.setdefault(name, []).append(value)
    return named


def _require_groups(groups: Mapping[str, Sequence[str]], known: Mapping[str, Sequence[int]]) -> None:
    for name, members in groups.items():
        if set(members) - set(known) or not members or name in known:
            raise LabelError(
                f"groups with names of their own and labels of {', '.join(known)}",
                got=f"the group {name} of {', '.join(members)}",
                advice="Correct the group, or add the label.",
            )


def _require_known(names: Mapping[str, Sequence[int]], known: Mapping[str, Sequence[int]]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise LabelError(
            f"reference labels among {', '.join(known)}",
            got=", ".join(unknown),
            advice="Correct the labels of the manifest.",
        )


def _require_alike(prediction: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float]) -> None:
    if prediction.shape != truth.shape or len(spacing_mm) != truth.ndim or truth.ndim not in (2, 3):
        raise LabelError(
            "a prediction of its reference's shape, and a spacing for each of its 2 or 3 axes",
            got=f"shapes {prediction.shape} and {truth.shape}, {len(spacing_mm)} spacings",
            advice="Bring the prediction to the grid of the reference, without a channel axis.",
        )
