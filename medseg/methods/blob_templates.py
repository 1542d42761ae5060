"""A dark lesion in an ultrasound picture, by templates of dark blobs with a bright rim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medseg.errors import UnsuitableError
from medseg.methods.regions import not_black, require_contrast

STEP_PX = 2  # templates are compared on every second pixel
CORE = 0.7  # of a template's axes: what surely is inside
LOGIT = 6.0  # of a perfect match


@dataclass(frozen=True)
class Blob:
    """An ellipse with horizontal and vertical axes.

    Attributes:
        centre: (row, column).
        semi_axes: its height and width, halved, in px.
        match: normalised cross-correlation with its template, from -1 to 1.
    """

    centre: tuple[float, float]
    semi_axes: tuple[float, float]
    match: float

    def radius(self, shape: Sequence[int]) -> np.ndarray:
        """(row, column) of a picture of this shape: 0 in the centre of the ellipse, 1 on it, more outside."""
        row, column = np.ogrid[: shape[0], : shape[1]]
        height, width = self.semi_axes
        return np.hypot((row - self.centre[0]) / height, (column - self.centre[1]) / width)


class BlobTemplates(torch.nn.Module):
    """The best match of a bank of templates, grown to the dark region that it lies on.

    The match is normalised cross-correlation (Lewis, Fast normalized cross-correlation, Vision Interface
    1995), as scikit-image computes it, plus a prior: lesions lie at some depth in the tissue, and who holds
    the probe brings them near the middle. Large blobs correlate less than small ones, which speckle imitates,
    and get a bonus. From the best blob a region grows: what is connected, near, and darker than a threshold
    between the medians of its core and of its rim.

    Args:
        half_widths_px: of the ellipses.
        width_to_height: ratios of their axes.
        rim: outer axes of the bright rim, as multiples of the ellipse's.
        depth: mean and standard deviation of the lesion's depth, as shares of the picture's height.
        side: standard deviation of its distance from the middle, as a share of the picture's width.
        prior_weight: factor of the prior's logarithm.
        size_weight: factor of the logarithm of the mean half axis in px.
        least_contrast: nothing is found where the rim's median exceeds the core's by less than this.
        smoothing_px: standard deviations of the Gaussian before matching and before growing.
        level: threshold of the growing, 0 for the core's median, 1 for the rim's.
        reach: how far the region may grow, as a multiple of the ellipse's axes.
        opening_px: radius of the opening that cuts thin bridges to other dark regions.
    """

    def __init__(
        self,
        half_widths_px: Sequence[float],
        width_to_height: Sequence[float],
        rim: float,
        depth: Sequence[float],
        side: float,
        prior_weight: float,
        size_weight: float,
        least_contrast: float,
        smoothing_px: Sequence[float],
        level: float,
        reach: float,
        opening_px: int,
    ) -> None:
        super().__init__()
        self.semi_axes = [(width / ratio, width) for width in half_widths_px for ratio in width_to_height]
        self.rim, self.depth, self.side = rim, tuple(depth), side
        self.prior_weight, self.size_weight, self.least_contrast = prior_weight, size_weight, least_contrast
        self.smoothing_px, self.level, self.reach = tuple(smoothing_px), level, reach
        self.opening_px = opening_px

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, C, row, column) from 0 to 1, of which the mean over C is used, to logits (1, 1, row, column).

        Raises:
            UnsuitableError: the input is a volume, or a picture without contrast.
        """
        if x.ndim != 4 or x.shape[0] != 1:
            raise UnsuitableError(
                "one picture: blob_templates works on pictures only",
                got=f"an array of shape {tuple(x.shape)}",
                advice="Choose a method for volumes.",
            )
        image = x[0].float().mean(0).cpu().numpy()
        inside = not_black(image[None])
        require_contrast(image[None], inside)
        blob = self.best_blob(image, inside)
        logit = np.full(image.shape, -LOGIT, np.float32)
        if blob is not None:
            logit[self.grown(image, inside, blob)] = LOGIT * blob.match
        return torch.as_tensor(logit)[None, None].to(x.device)

    def best_blob(self, image: np.ndarray, inside: np.ndarray) -> Blob | None:
        """The blob with the highest score; None if the picture is smaller than all templates."""
        from scipy.ndimage import gaussian_filter
        from skimage.feature import match_template

        small = gaussian_filter(image, self.smoothing_px[0])[::STEP_PX, ::STEP_PX]
        prior = self._prior(inside)[::STEP_PX, ::STEP_PX]
        best, best_score = None, -math.inf
        for semi_axes in self.semi_axes:
            template = blob_template([axis / STEP_PX for axis in semi_axes], self.rim)
            if any(size >= whole for size, whole in zip(template.shape, small.shape, strict=True)):
                continue
            matches = match_template(small, template, pad_input=True, mode="edge")
            scores = matches + prior + self.size_weight * math.log(math.sqrt(semi_axes[0] * semi_axes[1]))
            place = np.unravel_index(scores.argmax(), scores.shape)
            if scores[place] > best_score:
                centre = (float(place[0] * STEP_PX), float(place[1] * STEP_PX))
                best, best_score = Blob(centre, semi_axes, float(matches[place])), scores[place]
        return best

    def _prior(self, inside: np.ndarray) -> np.ndarray:
        """(row, column) weighted logarithm of the prior, within the picture's part of the square."""
        rows, columns = (_shares(np.asarray(inside.any(axis=axis))) for axis in (1, 0))
        deep = ((rows - self.depth[0]) / self.depth[1]) ** 2
        aside = ((columns - 0.5) / self.side) ** 2
        return -0.5 * self.prior_weight * (deep[:, None] + aside[None])

    def grown(self, image: np.ndarray, inside: np.ndarray, blob: Blob) -> np.ndarray:
        """(row, column) bool, the dark region of a blob; empty where its rim is hardly brighter."""
        from scipy.ndimage import binary_fill_holes, binary_opening, gaussian_filter, label
        from skimage.morphology import disk

        smooth, radius = gaussian_filter(image, self.smoothing_px[1]), blob.radius(image.shape)
        ellipse, rim = radius <= 1, (radius > 1) & (radius <= self.rim) & inside
        core, around = (np.median(smooth[part]) if part.any() else 0.0 for part in (radius <= CORE, rim))
        if around - core < self.least_contrast:
            return np.zeros_like(inside)
        dark = (smooth < core + self.level * (around - core)) & (radius <= self.reach)
        numbers, count = label(binary_opening(dark, disk(self.opening_px)))
        shares = np.bincount(numbers[ellipse], minlength=count + 1)[1:]
        if not shares.any():
            return ellipse  # no part is wide enough for the opening
        filled: np.ndarray = binary_fill_holes(numbers == 1 + shares.argmax())
        return filled


def blob_template(semi_axes: Sequence[float], rim: float) -> np.ndarray:
    """A dark ellipse in a bright rim, with the sum 0.

    Args:
        semi_axes: height and width of the ellipse, halved, in px.
        rim: outer axes of the rim, as multiples of the ellipse's.

    Returns:
        (row, column) float64; the ellipse sums up to -1, the rim to 1, the corners are 0.
    """
    centre = [math.ceil(axis * rim) for axis in semi_axes]
    shape = [2 * half + 1 for half in centre]
    radius = Blob((centre[0], centre[1]), (semi_axes[0], semi_axes[1]), 1.0).radius(shape)
    ellipse, around = radius <= 1, (radius > 1) & (radius <= rim)
    return around / around.sum() - ellipse / ellipse.sum()


def _shares(seen: np.ndarray) -> np.ndarray:
    """For each row or column, its place in the part that is seen, from 0 to 1."""
    where = np.flatnonzero(seen)
    return (np.arange(len(seen)) - where[0]) / (where[-1] - where[0] + 1)
