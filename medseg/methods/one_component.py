"""One connected component of the target: the most likely object of its kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medseg.errors import UsageError
from medseg.methods.target import Target


class OneComponent:
    """The component of a target that is darkest against its surroundings, large, and at a likely place.

    The components of the target, after a morphological opening by a disk, are scored by contrast times the
    square root of the area times a Gaussian of the place of their centre. The one with the highest score
    keeps its probabilities; a target without a component is empty.

    Args:
        target: which classes the components are of.
        opening_px: radius of the disk; thinner bridges between components are cut.
        place: row and column of the most likely centre, as shares of the height and the width of the region.
        spread: standard deviations of the centres around it, as the same shares.
        rim_px: width of the rim around a component whose mean feature is compared with that inside.

    Raises:
        UsageError: place or spread are not two numbers, or a spread is not above 0.
    """

    def __init__(
        self,
        target: Target,
        opening_px: int,
        place: tuple[float, float],
        spread: tuple[float, float],
        rim_px: int = 8,
    ) -> None:
        if len(place) != 2 or len(spread) != 2 or min(spread) <= 0:
            raise UsageError(
                "a row and a column for place, and for spread, which is above 0",
                got=f"{place} and {spread}",
                advice="Correct place and spread.",
            )
        self.target, self.opening_px, self.rim_px = target, opening_px, rim_px
        self.place, self.spread = np.asarray(place), np.asarray(spread)

    def __call__(
        self, classes: np.ndarray, features: np.ndarray, names: Sequence[str], region: np.ndarray
    ) -> np.ndarray:
        """Probability (row, column) of the target in one component, 0 elsewhere; arguments as for Target."""
        from scipy.ndimage import find_objects, label
        from skimage.morphology import isotropic_opening

        probability = self.target(classes, features, names, region)
        numbers, count = label(isotropic_opening(probability > 0.5, self.opening_px))
        if not count:
            return np.zeros_like(probability)
        feature = features[list(names).index(self.target.feature)]
        rows, columns = np.nonzero(region)
        corner = np.array([rows.min(), columns.min()])
        size = np.array([np.ptp(rows), np.ptp(columns)]) + 1
        scores = []
        for number, box in enumerate(find_objects(numbers), 1):
            near = tuple(slice(max(0, s.start - self.rim_px), s.stop + self.rim_px) for s in box)
            component = numbers[near] == number
            centre = np.argwhere(component).mean(axis=0) + [s.start for s in near]
            off = ((centre - corner) / size - self.place) / self.spread
            contrast = self._contrast(component, feature[near], region[near])
            scores.append(contrast * np.sqrt(np.count_nonzero(component)) * np.exp(-(off @ off) / 2))
        found: np.ndarray = np.where(numbers == 1 + int(np.argmax(scores)), probability, 0)
        return found

    def _contrast(self, component: np.ndarray, feature: np.ndarray, region: np.ndarray) -> float:
        """The mean feature of the rim minus that of the component, or the reverse; 0 without a rim."""
        from skimage.morphology import isotropic_dilation

        rim = isotropic_dilation(component, self.rim_px) & region & ~component
        if not rim.any():
            return 0.0
        contrast = float(feature[rim].mean() - feature[component].mean())
        return contrast if self.target.order == "lowest" else -contrast
