"""The field of view of a fundus photograph: the disc that the camera's aperture lets through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medseg.errors import UnsuitableError

THUMBNAIL_PX = 384
MIN_DIAMETER_PX = 200
MIN_OTHER_SHARE = 0.1  # of the largest region's area: smaller regions are labels and reflections
MIN_VISIBLE_SHARE = 0.55  # of the circle's area; the frame leaves 0.82 of it in the photographs of HRF
MIN_BRIGHTNESS = 0.4  # of the bright end: most of every field of view is at least so bright


@dataclass(frozen=True, eq=False)
class FieldOfView:
    """Where the retina is in the picture.

    Attributes:
        mask: (row, column), bool, on the picture's grid.
        diameter_px: diameter of the aperture's circle, which the frame may cut, in px of the picture.
        warnings: sentences on what is unlike a fundus photograph; empty when nothing is.
    """

    mask: np.ndarray
    diameter_px: float
    warnings: tuple[str, ...]


def find_field_of_view(picture: np.ndarray) -> FieldOfView:
    """Find the field of view and check that the picture looks like a retina.

    The bright region is separated from the dark surround on a thumbnail, a circle is fitted to the
    part of its border that neither the frame nor a black bar cuts (Kasa, IEEE Trans. Instrum. Meas. 25,
    1976, with outliers trimmed), and the field of view is the region's convex hull within that circle.
    Where no such circle is found, the field of view is the whole picture.

    Args:
        picture: (C, row, column) with C 1 or 3, any real type.

    Raises:
        UnsuitableError: the picture is blank, has values that are not finite or is less than 100 px high
            or wide, or its field of view is less than 200 px across.
    """
    _require_sound(picture)
    step = max(1, round(max(picture.shape[1:]) / THUMBNAIL_PX))
    small = _thumbnail(picture, step)
    brightness = _brightness(small)
    warnings = _colour_warnings(small)
    regions = _bright_regions(brightness)
    region = regions[0] if regions else None
    circle = _find_circle(region) if region is not None else None
    if region is None or circle is None:
        mask = np.ones(picture.shape[1:], dtype=bool)
        diameter_px = float(max(picture.shape[1:]))
        warnings.insert(0, "no round field of view was found: the picture may not be a fundus photograph")
    else:
        mask = _field_of_view_mask(region, circle, step, picture.shape[1:])
        diameter_px = 2 * circle[2] * step
        warnings += _cut_warnings(mask, diameter_px) + _other_eye_warnings(regions[1:])
    if diameter_px < MIN_DIAMETER_PX:
        raise UnsuitableError(
            f"a fundus photograph with a field of view at least {MIN_DIAMETER_PX} px across",
            got=f"a picture of {picture.shape[2]}x{picture.shape[1]} px with a field of view of "
            f"{diameter_px:.0f} px",
            advice="Use the photograph in its original size.",
        )
    return FieldOfView(mask, diameter_px, tuple(warnings))


def _require_sound(picture: np.ndarray) -> None:
    if picture.dtype.kind == "f" and not np.isfinite(picture).all():
        raise UnsuitableError(
            "a fundus photograph with finite pixel values",
            got="a picture with infinite values or NaN",
            advice="Check the export from the camera.",
        )
    if min(picture.shape[1:]) < MIN_DIAMETER_PX // 2:
        raise UnsuitableError(
            f"a fundus photograph at least {MIN_DIAMETER_PX // 2} px high and wide",
            got=f"a picture of {picture.shape[2]}x{picture.shape[1]} px",
            advice="Use the photograph in its original size.",
        )


def _thumbnail(picture: np.ndarray, step: int) -> np.ndarray:
    """(C, row, column) means of step x step blocks, float64; the last partial block is left out."""
    channels, rows, columns = picture.shape[0], picture.shape[1] // step, picture.shape[2] // step
    cut = picture[:, : rows * step, : columns * step]
    return cut.reshape(channels, rows, step, columns, step).mean(axis=(2, 4), dtype=np.float64)


def _brightness(small: np.ndarray) -> np.ndarray:
    """(row, column) float64: the brightest channel, smoothed and scaled; its 99th percentile is about 1."""
    from scipy.ndimage import gaussian_filter

    low, high = min(0.0, float(small.min())), float(np.percentile(small.max(axis=0), 99))
    if np.ptp(small, axis=(1, 2)).max() < 1e-3 * max(abs(high), 1.0):
        raise UnsuitableError(
            "a fundus photograph",
            got=f"a blank picture (every pixel near {high:g})",
            advice="Check the export from the camera.",
        )
    return gaussian_filter(small.max(axis=0) - low, 1.0) / (high - low)


def _bright_regions(brightness: np.ndarray) -> list[np.ndarray]:
    """The regions brighter than the corners, the largest first; none when no corner is dark."""
    from scipy import ndimage

    corner = max(2, min(brightness.shape) // 40)
    corners = np.concatenate(
        [
            brightness[rows, columns].ravel()
            for rows in (slice(corner), slice(-corner, None))
            for columns in (slice(corner), slice(-corner, None))
        ]
    )
    rows, columns = brightness.shape
    middle = float(np.median(brightness[rows // 4 : -rows // 4, columns // 4 : -columns // 4]))
    inside = max(middle, MIN_BRIGHTNESS)  # a small field of view may lie beside the middle of the frame
    dark = float(np.median(corners))
    if dark > 0.5 * inside:
        return []
    region = ndimage.binary_fill_holes(brightness > dark + 0.15 * (inside - dark))
    region = ndimage.binary_opening(region, iterations=3)
    components, count = ndimage.label(region)
    if count == 0:
        return []
    sizes = np.bincount(components.ravel())[1:]
    order = np.argsort(-sizes, kind="stable")
    return [components == 1 + label for label in order if sizes[label] >= MIN_OTHER_SHARE * sizes[order[0]]]


def _cut_warnings(mask: np.ndarray, diameter_px: float) -> list[str]:
    """A warning when much of the circle is black or outside the frame."""
    share = float(mask.sum()) / (np.pi / 4 * diameter_px**2)
    if share >= MIN_VISIBLE_SHARE:
        return []
    return [
        f"only {share:.0%} of the round field of view is visible: the mask may follow the edge of the "
        "visible part, and all measurements are of that part alone"
    ]


def _other_eye_warnings(regions: list[np.ndarray]) -> list[str]:
    """A warning when a smaller region is a field of view too, as where both eyes are in one picture."""
    count = 1 + sum(_find_circle(region) is not None for region in regions)
    if count == 1:
        return []
    return [
        f"{count} round fields of view are in the picture and only the largest was analysed: save each "
        "photograph as a file of its own"
    ]


def _find_circle(region: np.ndarray) -> tuple[float, float, float] | None:
    """As _fit_circle; where black bars cut the field of view, the circle is fitted between the bars."""
    from scipy import ndimage

    circle = _fit_circle(region)
    if circle is None:
        box = ndimage.find_objects(region.astype(np.uint8))[0]
        inner = _fit_circle(region[box])
        circle = inner and (inner[0] + box[0].start, inner[1] + box[1].start, inner[2])
    return circle


def _fit_circle(region: np.ndarray) -> tuple[float, float, float] | None:
    """(row, column, radius) of the circle on the region's border; None when it is not round."""
    from scipy import ndimage

    border = region & ~ndimage.binary_erosion(region, border_value=1)
    border[[0, 1, -2, -1], :] = False
    border[:, [0, 1, -2, -1]] = False
    points = np.argwhere(border).astype(float)
    circle = (0.0, 0.0, 0.0)
    for _ in range(5):
        if len(points) < 40:
            return None
        circle = _kasa(points)
        distance = np.abs(np.hypot(points[:, 0] - circle[0], points[:, 1] - circle[1]) - circle[2])
        points = points[distance <= max(1.5, np.percentile(distance, 90))]
    disc = _disc(circle, region.shape)
    overlap = (disc & region).sum() / max(1, (disc | region).sum())
    return circle if overlap >= 0.9 else None


def _kasa(points: np.ndarray) -> tuple[float, float, float]:
    """Least-squares circle through (row, column) points: x^2 + y^2 + ax + by + c = 0 (Kasa 1976)."""
    system = np.column_stack([points, np.ones(len(points))])
    a, b, c = np.linalg.lstsq(system, -(points**2).sum(axis=1), rcond=None)[0]
    return -a / 2, -b / 2, float(np.sqrt(max(0.0, a * a / 4 + b * b / 4 - c)))


def _disc(circle: tuple[float, float, float], shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - circle[0]) ** 2 + (columns - circle[1]) ** 2 <= circle[2] ** 2


def _field_of_view_mask(
    region: np.ndarray, circle: tuple[float, float, float], step: int, shape: tuple[int, ...]
) -> np.ndarray:
    """The region's convex hull within the circle, drawn on the picture's own grid."""
    from scipy.spatial import ConvexHull

    points = np.argwhere(region)
    corners = (points[ConvexHull(points).vertices] + 0.5) * step - 0.5
    # The hull runs through the centres of the outermost blocks; the field of view reaches their far side.
    corners += np.sign(corners - corners.mean(axis=0)) * step / 2
    row, column = ((value + 0.5) * step - 0.5 for value in circle[:2])
    # Both are convex, so each row is one run of pixels: this needs little time and memory.
    left, right = _runs(corners, shape[0])
    half = np.sqrt(np.maximum(0.0, (circle[2] * step) ** 2 - (np.arange(shape[0]) - row) ** 2))
    left, right = np.maximum(left, column - half), np.minimum(right, column + half)
    columns = np.arange(shape[1])
    return (left[:, None] <= columns) & (columns <= right[:, None])


def _runs(corners: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last column of a convex polygon in each row; inf and -inf where it has none."""
    left, right = np.full(rows, np.inf), np.full(rows, -np.inf)
    for ends in zip(corners, np.roll(corners, 1, axis=0), strict=True):
        (top, start), (bottom, end) = sorted(map(tuple, ends))
        inside = np.arange(max(0, int(np.ceil(top))), min(rows, int(np.floor(bottom)) + 1))
        if top == bottom:  # a horizontal edge; the edges beside it end at its ends
            continue
        columns = start + (inside - top) * (end - start) / (bottom - top)
        left[inside] = np.minimum(left[inside], columns)
        right[inside] = np.maximum(right[inside], columns)
    return left, right


def _colour_warnings(small: np.ndarray) -> list[str]:
    """A retina reflects red most and blue least, whatever the camera (Delori and Pflibsen 1989)."""
    if small.shape[0] == 1:
        return ["the picture is grey: a colour photograph was expected"]
    brightness = small.max(axis=0)
    red, green, blue = small[:, brightness > 0.3 * np.percentile(brightness, 99)].mean(axis=1)
    if red < green or red < 1.2 * blue:
        return ["the picture's colours are not those of a retina (red most, blue least)"]
    return []
