"""Panoptic quality: how well segments, things and stuff, are found and outlined.

Source: Kirillov, He, Girshick, Rother and Dollar, Panoptic Segmentation, CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from medseg.errors import DataError
from medseg.volume import Mask

MATCHED = (
    0.5  # segments with a higher IoU match; each then has one partner at most, so the matching is unique
)


@dataclass(frozen=True)
class PanopticScore:
    """Counts of one category, in one image or added up over several.

    Attributes:
        true_positives: pairs of a predicted and a reference segment with an IoU above MATCHED.
        false_positives: predicted segments without a partner.
        false_negatives: reference segments without a partner.
        iou_sum: of the pairs.
    """

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    iou_sum: float = 0.0

    def __add__(self, other: PanopticScore) -> PanopticScore:
        return PanopticScore(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
            self.iou_sum + other.iou_sum,
        )

    @property
    def segmentation_quality(self) -> float | None:
        """Mean IoU of the pairs; None without a pair."""
        return self.iou_sum / self.true_positives if self.true_positives else None

    @property
    def recognition_quality(self) -> float | None:
        """F1 of the segments; None where neither mask has one."""
        wrong = self.false_positives + self.false_negatives
        return (
            self.true_positives / (self.true_positives + wrong / 2) if self.true_positives + wrong else None
        )

    @property
    def panoptic_quality(self) -> float | None:
        """Segmentation times recognition quality, 0 to 1; None where neither mask has a segment."""
        if self.recognition_quality is None:
            return None
        return self.recognition_quality * (self.segmentation_quality or 0.0)


def panoptic_scores(
    prediction: Mask, reference: Mask, seen: np.ndarray | None = None
) -> dict[str, PanopticScore]:
    """Match the segments of two instance or panoptic masks, category by category.

    Segments of different categories never match. What is 0 in a mask is no segment, and counts in the union
    of segments that overlap it. COCO leaves unlabelled pixels of the reference out instead: name them in
    `seen` for that.

    Args:
        prediction, reference: (row, column) or (i, j, k) on one grid, with `segments`.
        seen: bool on that grid, True where the masks are compared; None for everywhere.

    Returns:
        The score of each category of either mask; add them up over images before the quality is taken.

    Raises:
        DataError: another grid, masks whose values are labels, or a value that is no segment.
    """
    categories = _categories(prediction), _categories(reference)
    shapes = {prediction.array.shape, reference.array.shape}
    if len(shapes if seen is None else shapes | {seen.shape}) > 1:
        raise DataError("masks of one shape", got=f"{shapes}", advice="Compare masks of the same image.")
    here = np.s_[...] if seen is None else seen
    ids = prediction.array[here].ravel(), reference.array[here].ravel()
    present = [_areas(ids[n], categories[n]) for n in range(2)]
    scores = {name: PanopticScore() for mask in (prediction, reference) for name in _names(mask)}
    partners: tuple[set[int], set[int]] = (set(), set())
    for (mine, theirs), overlap in _overlaps(*ids).items():
        iou = overlap / (present[0][mine] + present[1][theirs] - overlap)
        if iou > MATCHED and categories[0][mine] == categories[1][theirs]:
            scores[categories[0][mine]] += PanopticScore(true_positives=1, iou_sum=iou)
            partners[0].add(mine)
            partners[1].add(theirs)
    for value in present[0].keys() - partners[0]:
        scores[categories[0][value]] += PanopticScore(false_positives=1)
    for value in present[1].keys() - partners[1]:
        scores[categories[1][value]] += PanopticScore(false_negatives=1)
    return scores


def mean_quality(scores: Iterable[PanopticScore]) -> dict[str, float | None]:
    """Means of pq, sq and rq over categories, each over those that have one; None where none has.

    Args:
        scores: of the categories to average, such as all things or all stuff.
    """
    each = list(scores)
    values = {
        "pq": [score.panoptic_quality for score in each],
        "sq": [score.segmentation_quality for score in each],
        "rq": [score.recognition_quality for score in each],
    }
    known = {name: [value for value in column if value is not None] for name, column in values.items()}
    return {name: sum(column) / len(column) if column else None for name, column in known.items()}


def _categories(mask: Mask) -> Mapping[int, str]:
    if mask.segments is None:
        raise DataError(
            "masks whose values are segments", got="labels", advice="Use the mode instance or panoptic."
        )
    return mask.segments.category


def _names(mask: Mask) -> Iterable[str]:
    return mask.segments.is_thing if mask.segments else ()


def _areas(ids: np.ndarray, categories: Mapping[int, str]) -> dict[int, int]:
    """The number of voxels of each segment that is there."""
    values, counts = np.unique(ids, return_counts=True)
    areas = {v: n for v, n in zip(values.tolist(), counts.tolist(), strict=True) if v}
    if unknown := sorted(areas.keys() - categories.keys()):
        raise DataError(
            "a category for each segment", got=f"none for {unknown[:5]}", advice="Correct the segments."
        )
    return areas


def _overlaps(first: np.ndarray, second: np.ndarray) -> dict[tuple[int, int], int]:
    """The number of voxels that two segments share, for each pair that shares any."""
    both = (first > 0) & (second > 0)
    pairs = first[both].astype(np.int64) << 32 | second[both].astype(np.int64)
    values, counts = np.unique(pairs, return_counts=True)
    return {
        (value >> 32, value & 0xFFFFFFFF): count
        for value, count in zip(values.tolist(), counts.tolist(), strict=True)
    }
