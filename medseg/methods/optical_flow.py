"""An object that is drawn on one slice or frame, carried to the next ones by optical flow.

The flow is TV-L1 (Zach, Pock and Bischof, "A duality based approach for realtime TV-L1 optical flow",
DAGM 2007) as scikit-image computes it. What is carried is the signed distance from the outline: it keeps
shifts of a fraction of a pixel, which a mask of whole pixels would lose at every step. After each step the
outline may move to where the grey values change from the object's to those of its surroundings, as they were
on the drawn slice. Tissue with the object's values that lies beside it, such as a chest wall that a tumour
touches, is carried along as a rival, so that the object does not grow into it.

Axes are (row, column). Lengths are in the unit of the pixel size: mm, or px where that is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from medseg.boxes import bounding_box

MOST_PX = 192  # long side of the picture on which the flow is computed
WARPS, ITERATIONS = 3, 5  # of the flow at each scale
MARGIN = 0.3  # of the object's size, on each side of it
BAND = 0.2  # of the object's radius: how far the outline moves at most after a step
LEAST_BAND_PX = 2
GAP = 0.1  # of the object's radius: thinner structures in the object, such as vessels, are filled
SMOOTHING_PX = 1.0  # standard deviation of the Gaussian against noise and speckle
DISTINCT = 0.75  # share of pixels on the drawn slice whose value tells inside from outside
LEAST_AREA = 0.05  # of the drawn area; less has vanished
LEAST_PX = 5
AGREEING = 0.5  # share of the carried pixels whose value is the object's; fewer, and it has vanished

SMALL, OTHER_VALUES = "it became too small", "the values inside were no longer those of the object"


@dataclass(frozen=True, eq=False)
class Drawn:
    """An object as it was drawn, and how it looks there.

    Attributes:
        level: (row, column) signed distance from its outline, positive inside.
        image: (row, column) float32, the slice.
        pixel: (row, column) size of a pixel.
        inside, outside: the median value in the object, and in a ring around it.
        is_distinct: whether values tell the object from its surroundings.
        limits: values that become 0 and 1 for the flow.
    """

    level: np.ndarray
    image: np.ndarray
    pixel: tuple[float, float]
    inside: float
    outside: float
    is_distinct: bool
    limits: tuple[float, float]

    @property
    def area_px(self) -> int:
        return int((self.level > 0).sum())

    @property
    def radius(self) -> float:
        """Of the circle of the same area."""
        return float(np.sqrt(self.area_px * self.pixel[0] * self.pixel[1] / np.pi))

    @property
    def band(self) -> float:
        return max(BAND * self.radius, LEAST_BAND_PX * min(self.pixel))

    def owns(self, image: np.ndarray) -> np.ndarray:
        """Where the smoothed values are nearer to the object's than to those of its surroundings."""
        smooth = _smooth(image)
        return np.abs(smooth - self.inside) < np.abs(smooth - self.outside)


def drawn(image: np.ndarray, mask: np.ndarray, pixel: tuple[float, float]) -> Drawn:
    """An object that is drawn on a slice.

    Args:
        image: (row, column), finite values.
        mask: (row, column) bool, with at least one pixel.
        pixel: (row, column) size of a pixel.
    """
    image = image.astype(np.float32)
    level = signed_distance(mask, pixel)
    radius = float(np.sqrt(mask.sum() * pixel[0] * pixel[1] / np.pi))
    ring = (level < 0) & (level > -max(BAND * radius, (LEAST_BAND_PX + 1) * max(pixel)))
    smooth = _smooth(image)
    inside, outside = (float(np.median(smooth[part])) for part in (mask, ring))
    nearer = np.abs(smooth - inside) < np.abs(smooth - outside)
    is_distinct = bool(nearer[mask].mean() >= DISTINCT and 1 - nearer[ring].mean() >= DISTINCT)
    low, high = np.percentile(image[_box(level, pixel)], [1, 99])
    return Drawn(level, image, pixel, inside, outside, is_distinct, (float(low), float(high)))


def follow(
    start: Drawn, slices: Iterable[np.ndarray], *, refine: bool = True, stop: bool = True
) -> tuple[list[np.ndarray], str]:
    """Carry a drawn object through the slices that follow.

    Args:
        start: the drawn object.
        slices: (row, column) each, the neighbour of the drawn one first.
        refine: whether the outline follows the values after each step, where the object is distinct.
        stop: whether to end where the object has vanished.

    Returns:
        The signed distance on each slice that it reaches; and why it ended, empty where the slices did.
    """
    level, here = start.level, start.image
    found: list[np.ndarray] = []
    for image in slices:
        box = _box(level, start.pixel)
        there = image.astype(np.float32)
        own, outline = start.owns(here[box]), level[box]
        rival = signed_distance(own & (outline < 0), start.pixel)
        outline, rival = carried((outline, rival), here[box], there[box], start)
        own = start.owns(there[box])
        reason = _vanished(outline > 0, own, start)
        if refine and start.is_distinct and not reason:
            outline = refined(outline, rival, own, start)
            reason = _vanished(outline > 0, own, start)
        if reason and stop:
            return found, reason
        level = np.full_like(level, outline.min())
        level[box] = outline
        found.append(level)
        here = there
    return found, ""


def carried(
    levels: Sequence[np.ndarray], here: np.ndarray, there: np.ndarray, start: Drawn
) -> list[np.ndarray]:
    """Signed distances on the next slice, moved by the flow.

    Args:
        levels: (row, column) each, on this slice.
        here, there: (row, column) this slice and the next.
        start: the drawn object.
    """
    from scipy.ndimage import map_coordinates
    from skimage.registration import optical_flow_tvl1
    from skimage.transform import resize

    small = _flow_shape(here.shape, start.pixel)
    low, high = start.limits
    before, after = (
        resize(((image - low) / max(high - low, 1e-6)).clip(0, 1), small, order=1, anti_aliasing=True)
        for image in (here, there)
    )
    # Where a pixel of the next slice comes from: the next one is the reference.
    flow = optical_flow_tvl1(after, before, num_warp=WARPS, num_iter=ITERATIONS, dtype=np.float32)
    scale = np.divide(here.shape, small)
    steps = [resize(part, here.shape, order=1) * by for part, by in zip(flow, scale, strict=True)]
    places = np.indices(here.shape) + steps
    return [map_coordinates(level, places, order=1, mode="nearest") for level in levels]


def refined(level: np.ndarray, rival: np.ndarray, owned: np.ndarray, start: Drawn) -> np.ndarray:
    """The signed distance after the outline has moved to where the values change.

    Pixels with the values of the surroundings leave the object, thin structures in it excepted; pixels with
    its own values join it where they are no further from it than a band.

    Args:
        level: (row, column) carried signed distance.
        rival: (row, column) that of other tissue with the object's values.
        owned: (row, column) bool, pixels with the object's values.
        start: the drawn object.
    """
    from scipy.ndimage import binary_fill_holes

    near = (level > -start.band) & (level > rival)
    gap = GAP * start.radius
    own = owned & near
    solid = signed_distance(signed_distance(own, start.pixel) > -gap, start.pixel) > gap  # a closing
    own = _without_spikes((own | solid) & near, gap / 2, start.pixel)
    main = _main_part(own, level > 0)
    # What has its values and is enclosed by it is no rival.
    return signed_distance(main | (binary_fill_holes(main) & owned), start.pixel)


def _without_spikes(mask: np.ndarray, width: float, pixel: tuple[float, float]) -> np.ndarray:
    """The mask without what is thinner than about twice the width: an opening."""
    if width < min(pixel):
        return mask
    core = signed_distance(mask, pixel) > width
    return mask & (signed_distance(core, pixel) > -width - min(pixel))


def signed_distance(mask: np.ndarray, pixel: tuple[float, float]) -> np.ndarray:
    """The distance from the outline of a (row, column) mask, positive inside; float32."""
    import edt

    far = np.hypot(*mask.shape) * max(pixel)
    if not mask.any() or mask.all():
        return np.full(mask.shape, far if mask.any() else -far, np.float32)
    inner, outer = (edt.edt(np.ascontiguousarray(part), anisotropy=pixel) for part in (mask, ~mask))
    return np.where(mask, inner - min(pixel) / 2, min(pixel) / 2 - outer).astype(np.float32)


def _main_part(own: np.ndarray, carried_mask: np.ndarray) -> np.ndarray:
    """The connected component that has most pixels in common with the carried mask."""
    from scipy.ndimage import label

    numbers, _ = label(own)
    common = np.bincount(numbers[carried_mask & own])
    return numbers == common.argmax() if common.any() else np.zeros_like(own)


def _vanished(mask: np.ndarray, owned: np.ndarray, start: Drawn) -> str:
    if _is_small(mask, start):
        return SMALL
    if start.is_distinct and owned[mask].mean() < AGREEING:
        return OTHER_VALUES
    return ""


def _is_small(mask: np.ndarray, start: Drawn) -> bool:
    return int(mask.sum()) < max(LEAST_PX, LEAST_AREA * start.area_px)


def _box(level: np.ndarray, pixel: tuple[float, float]) -> tuple[slice, ...]:
    """The box of the object with its margin."""
    tight = bounding_box((level > 0)[None])[1:]
    size = max((part.stop - part.start) * each for part, each in zip(tight, pixel, strict=True))
    margin = [max(8, round(MARGIN * size / each)) for each in pixel]
    return bounding_box((level > 0)[None], (0, *margin))[1:]


def _flow_shape(shape: tuple[int, ...], pixel: tuple[float, float]) -> tuple[int, ...]:
    """The shape with square pixels, as fine as the box's finest, at most MOST_PX on the long side."""
    sizes = [count * each for count, each in zip(shape, pixel, strict=True)]
    unit = max(min(pixel), max(sizes) / MOST_PX)
    return tuple(max(8, round(size / unit)) for size in sizes)


def _smooth(image: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image.astype(np.float32), SMOOTHING_PX)
