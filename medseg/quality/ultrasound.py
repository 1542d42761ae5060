"""The ultrasound region of a B-mode picture, where it shows echoes, and signs of another kind of picture.

What a scanner's screen shows around it (letters, rulers, grey bars, logos) must not reach a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.errors import UnsuitableError

MIN_SIDE_PX = 128
THUMBNAIL_PX = 320
# The limits below were chosen on the 1492 pictures of BUS-BRA (speckle contrast 0.024 to 0.11, layering from
# 1.36, uprightness from -0.1 in 99.5 %) against scikit-image's photographs (layering up to 1.15).
SPECKLE_CONTRAST, CERTAIN_SPECKLE_CONTRAST = (0.02, 0.15), (0.03, 0.12)
MIN_LAYERING = 1.2
MIN_UPRIGHTNESS = -0.25
SEAM = 4.5  # change across one column over that of the median column; 5 or more in 99 % of joined pictures
ROUND = 0.93  # overlap with an ellipse: a sector has 0.88, a rectangle 0.85
BLACK = 5  # grey values up to this one show no echo
COLOURED = 40  # difference of the largest and the smallest channel; grey JPEG pictures stay below

COLOURED_AREA = (
    "colours, as of colour Doppler or of drawn marks, are in the ultrasound region: they were removed; the "
    "mask of a lesion under them may be wrong"
)
COLOURED_LINES = (
    "coloured lines, as of calipers or of a drawn contour, are in the ultrasound region: the colours were "
    "removed; the mask may follow the lines"
)
DRAWN_CONTOUR = (
    "a white closed line, as of a drawn contour, seems to be in the ultrasound region: the mask may follow it"
)
TWO_VIEWS = (
    "two views seem to lie side by side: they are analysed as one picture; save each view as a picture of "
    "its own to measure it"
)
INVERTED = (
    "the grey values seem to be inverted (dark echoes on a bright ground): the mask may be wrong; export the "
    "picture without inversion"
)
NO_SPECKLE = (
    "the picture lacks the speckle or the layers of B-mode ultrasound: it may be another kind of picture, "
    "and the mask may be wrong"
)


@dataclass(frozen=True, eq=False)
class UltrasoundRegion:
    """Where the picture shows echoes.

    Attributes:
        mask: (row, column), bool, on the picture's grid.
        box: (top, left, height, width) of the mask in px.
        grey: (row, column), float32, the picture's grey values from 0 to 255, not masked.
        warnings: sentences on what is unlike a plain B-mode picture; empty when nothing is.
    """

    mask: np.ndarray
    box: tuple[int, int, int, int]
    grey: np.ndarray
    warnings: tuple[str, ...]


def find_region(picture: np.ndarray, search_box: tuple[int, int, int, int] | None = None) -> UltrasoundRegion:
    """Find the ultrasound region and check that the picture looks like B-mode ultrasound.

    Where the frame of the picture is of one grey value, as on a scanner's screen, the region is the convex
    hull of the broad components that differ from that value; letters, rulers and bars are too narrow. The
    region is the whole picture where the frame itself shows echoes, or where the hull reaches the upper, left
    and right edge: then cropping would remove dark depth alone.

    Args:
        picture: (C, row, column) with C 1 or 3, any real type.
        search_box: (top, left, height, width) in px that holds the region, as DICOM's calibrated region does;
            None for the whole picture.

    Raises:
        UnsuitableError: the picture is blank, has values that are not finite, is less than 128 px high or
            wide, is in colour, shows a round body in air as CT and MR do, or has neither speckle nor layers;
            or the region is less than 64 px high or wide.
    """
    if search_box is not None:
        region = find_region(_cut(picture, search_box))
        return _placed(region, search_box, _levels(picture).mean(axis=0))
    _require_sound(picture)
    levels = _levels(picture)
    grey = levels.mean(axis=0)
    coloured = np.ptp(levels, axis=0) > COLOURED
    step = max(1, round(max(grey.shape) / THUMBNAIL_PX))
    small = _thumbnail(grey, step)
    _require_no_body(small)
    regions = _regions(small)
    mask = np.ones(grey.shape, dtype=bool)
    if regions.any():
        hull = _hull(regions)
        if not _reaches_three_edges(hull):
            mask = _enlarged(hull, step, grey.shape)
    box = _box(mask)
    if min(box[2:]) < MIN_SIDE_PX // 2:
        raise UnsuitableError(
            f"an ultrasound region at least {MIN_SIDE_PX // 2} px high and wide",
            got=f"one of {box[3]}x{box[2]} px in a picture of {grey.shape[1]}x{grey.shape[0]} px",
            advice="Export the picture in its original size.",
        )
    inside = _cut(mask, box)
    warnings = [
        *_colour_warnings(_cut(coloured, box) & inside, int(inside.sum())),
        *_appearance_warnings(_cut(grey, box), inside),
    ]
    if _are_two(regions) or _has_seam(_cut(grey, box)):
        warnings.append(TWO_VIEWS)
    return UltrasoundRegion(mask, box, grey, tuple(warnings))


def _placed(
    region: UltrasoundRegion, search_box: tuple[int, int, int, int], grey: np.ndarray
) -> UltrasoundRegion:
    """A region that was found in a crop of the picture, on the grid of the whole picture."""
    mask = np.zeros(grey.shape, dtype=bool)
    _cut(mask, search_box)[:] = region.mask
    top, left, height, width = region.box
    box = (top + search_box[0], left + search_box[1], height, width)
    return UltrasoundRegion(mask, box, grey, region.warnings)


def _require_sound(picture: np.ndarray) -> None:
    shape = f"{picture.shape[2]}x{picture.shape[1]} px"
    if min(picture.shape[1:]) < MIN_SIDE_PX:
        raise UnsuitableError(
            f"an ultrasound picture at least {MIN_SIDE_PX} px high and wide (a smaller one does not resolve "
            "the border of a lesion)",
            got=f"a picture of {shape}",
            advice="Export the picture in its original size.",
        )
    if picture.dtype.kind == "f" and not np.isfinite(picture).all():
        raise UnsuitableError(
            "an ultrasound picture with finite pixel values",
            got="a picture with infinite values or NaN",
            advice="Check the export from the scanner.",
        )
    if np.ptp(picture.astype(np.float64)) < 1e-3 * max(1.0, float(np.abs(picture).max())):
        raise UnsuitableError(
            "an ultrasound picture",
            got=f"a blank picture (every pixel near {float(picture.flat[0]):g})",
            advice="Check the export from the scanner.",
        )


def _levels(picture: np.ndarray) -> np.ndarray:
    """(C, row, column) float32 from 0 to 255; 8-bit values are kept, others scaled from their range."""
    levels: np.ndarray = picture.astype(np.float32)
    low, high = min(0.0, float(levels.min())), float(levels.max())
    if picture.dtype == np.uint8:
        return levels
    return (levels - low) * np.float32(255 / (high - low))


def _thumbnail(grey: np.ndarray, step: int) -> np.ndarray:
    """(row, column) means of step x step blocks; the last partial block is left out."""
    rows, columns = grey.shape[0] // step, grey.shape[1] // step
    cut = grey[: rows * step, : columns * step]
    return cut.reshape(rows, step, columns, step).mean(axis=(1, 3))


def _regions(small: np.ndarray) -> np.ndarray:
    """Components (1, 2, ...) that differ from a frame of one grey value; all 0 without such a frame."""
    from scipy import ndimage

    differs = _differs_from_frame(small, 3)
    if differs is None:
        return np.zeros(small.shape, dtype=np.int32)
    solid = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(differs, 4))[4:-4, 4:-4])
    # Two lines of letters join to 30 of 320 px; a grey bar is narrower.
    size = max(5, round(0.06 * max(small.shape)))
    kernel = np.ones((size, size), dtype=bool)
    padded = np.pad(solid, size, mode="edge")
    opened = ndimage.binary_opening(padded, kernel)[size:-size, size:-size]
    components, count = ndimage.label(opened)
    if count == 0:
        return np.zeros(small.shape, dtype=np.int32)
    sizes = np.bincount(components.ravel())[1:]
    large = 1 + np.flatnonzero(sizes >= 0.4 * sizes.max())
    kept: np.ndarray = np.where(np.isin(components, large), components, 0)
    return kept


def _differs_from_frame(small: np.ndarray, noise: float) -> np.ndarray | None:
    """(row, column) bool; None where less than 40 % of the outermost pixels are of one grey value."""
    frame = np.concatenate([small[:2], small[-2:], small[:, :2].T, small[:, -2:].T], axis=1)
    usual = np.bincount(np.clip(frame, 0, 255).round().astype(int).ravel()).argmax()
    if np.mean(np.abs(frame - usual) <= noise) < 0.4:
        return None
    differs: np.ndarray = np.abs(small - usual) > noise + 1
    return differs


def _hull(regions: np.ndarray) -> np.ndarray:
    from skimage.morphology import convex_hull_image

    hull: np.ndarray = convex_hull_image(regions > 0, offset_coordinates=False)
    return hull


def _reaches_three_edges(hull: np.ndarray) -> bool:
    top, left, _, width = _box(hull)
    rows, columns = hull.shape
    return top <= 0.05 * rows and left <= 0.05 * columns and left + width >= 0.95 * columns


def _enlarged(hull: np.ndarray, step: int, shape: tuple[int, ...]) -> np.ndarray:
    """The mask on the picture's own grid; partial blocks at the end belong to their neighbours."""
    large = np.kron(hull, np.ones((step, step), dtype=bool))
    rest = [(0, max(0, length - have)) for length, have in zip(shape, large.shape, strict=True)]
    grown: np.ndarray = np.pad(large, rest, mode="edge")
    return grown


def _require_no_body(small: np.ndarray) -> None:
    """Refuse one bright ellipse on dark noise: the cross-section of a body in air; a screen has no noise."""
    from scipy import ndimage
    from skimage.measure import label, regionprops

    differs = _differs_from_frame(ndimage.uniform_filter(small, 5), 12)
    if differs is None or np.median(small[~differs]) > 80:
        return
    solid = ndimage.binary_opening(ndimage.binary_fill_holes(differs), iterations=4)
    bodies = regionprops(label(solid))
    if bodies and _likeness_to_ellipse(max(bodies, key=lambda body: body.area)) > ROUND:
        raise UnsuitableError(
            "a B-mode ultrasound picture",
            got="a round bright region in the dark, such as a slice of a body in CT or MR, or a retina",
            advice="Choose the task that fits the image.",
        )


def _likeness_to_ellipse(body: Any) -> float:
    """Intersection over union of a region (skimage.measure.regionprops) and the ellipse of its moments."""
    rows, columns = np.indices(body.image.shape)
    down, right = rows - body.centroid_local[0], columns - body.centroid_local[1]
    cosine, sine = np.cos(body.orientation), np.sin(body.orientation)  # from the row axis to the major one
    along = (down * cosine + right * sine) / max(body.axis_major_length / 2, 1)
    aside = (right * cosine - down * sine) / max(body.axis_minor_length / 2, 1)
    ellipse = along**2 + aside**2 <= 1
    return float((ellipse & body.image).sum() / (ellipse | body.image).sum())


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        int(rows[0]),
        int(columns[0]),
        int(rows[-1] - rows[0]) + 1,
        int(columns[-1] - columns[0]) + 1,
    )


def _cut(array: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    top, left, height, width = box
    return array[..., top : top + height, left : left + width]


def _colour_warnings(coloured: np.ndarray, region_px: int) -> list[str]:
    from scipy import ndimage

    share = coloured.sum() / region_px
    if share > 0.3:
        raise UnsuitableError(
            "a grey B-mode ultrasound picture",
            got=f"colours in {share:.0%} of the ultrasound region, as in a photograph or with a colour map",
            advice="Choose the task that fits the image, or export the picture with a grey map.",
        )
    patch = ndimage.binary_opening(coloured, np.ones((7, 7), dtype=bool)).sum() / region_px
    if patch > 5e-4:
        return [COLOURED_AREA]
    return [COLOURED_LINES] if share > 5e-4 else []


def _appearance_warnings(grey: np.ndarray, inside: np.ndarray) -> list[str]:
    contrast, layers = _speckle_contrast(grey, inside), _layering(grey)
    low, high = CERTAIN_SPECKLE_CONTRAST
    if layers < MIN_LAYERING and not low < contrast < high:
        raise UnsuitableError(
            "a B-mode ultrasound picture",
            got="one with neither the speckle nor the layers of ultrasound, such as a photograph",
            advice="Choose the task that fits the image.",
        )
    warnings = []
    if layers < MIN_LAYERING or not SPECKLE_CONTRAST[0] < contrast < SPECKLE_CONTRAST[1]:
        warnings.append(NO_SPECKLE)
    if _uprightness(grey, inside) < MIN_UPRIGHTNESS:
        warnings.append(INVERTED)
    if _has_white_contour(grey, inside):
        warnings.append(DRAWN_CONTOUR)
    return warnings


def _speckle_contrast(grey: np.ndarray, inside: np.ndarray) -> float:
    """Median over the bright parts of the local deviation of single pixels over the local mean."""
    from scipy import ndimage

    step = max(1, round(max(grey.shape) / 600))
    small, lit = _thumbnail(grey, step), _thumbnail(inside.astype(np.float32), step) > 0.5
    fine = small - ndimage.uniform_filter(small, 3)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(fine**2, 9), 0))
    mean = ndimage.uniform_filter(small, 9)
    lit &= mean > 20
    return float(np.median(spread[lit] / mean[lit])) if lit.any() else 0.0


def _layering(grey: np.ndarray) -> float:
    """Mean change of the smoothed grey along columns over that along rows; above 1 for layers of tissue."""
    from scipy import ndimage

    small = _thumbnail(grey, max(1, round(max(grey.shape) / 600)))
    down, along = (np.abs(ndimage.gaussian_filter(small, 2, order=o)).mean() for o in ((1, 0), (0, 1)))
    return float(down / max(along, 1e-6))


def _uprightness(grey: np.ndarray, inside: np.ndarray) -> float:
    """Positive where few pixels are bright and depth is dark; negative for most inverted pictures.

    The skewness of the grey values less 2.5 times their covariance, in standard deviations, with the depth,
    which runs from -1 to 1: the linear discriminant of the BUS-BRA pictures and their inverses.
    """
    inside = inside & (grey > BLACK)
    values = grey[inside]
    score = (values - values.mean()) / max(float(values.std()), 1e-6)
    depth = np.broadcast_to(np.linspace(-1, 1, grey.shape[0])[:, None], grey.shape)[inside]
    return float((score**3).mean()) - 2.5 * float((score * (depth - depth.mean())).mean())


def _has_white_contour(grey: np.ndarray, inside: np.ndarray) -> bool:
    """Whether a thin line of the brightest grey encloses a region, as a drawn outline does."""
    from scipy import ndimage

    # A white page may show at the region's border, which is known to a few pixels only.
    white = (grey >= 250) & ndimage.binary_erosion(inside, iterations=6)
    thin = white & ~ndimage.binary_opening(white, np.ones((5, 5), dtype=bool))
    lines, count = ndimage.label(ndimage.binary_dilation(thin), np.ones((3, 3)))
    if count == 0:
        return False
    places = ndimage.find_objects(lines)
    for number in np.argsort(np.bincount(lines.ravel())[1:])[::-1][:5]:
        line = lines[places[number]] == number + 1
        enclosed, holes = ndimage.label(ndimage.binary_fill_holes(line) & ~line)
        hole = np.bincount(enclosed.ravel())[1:].max() if holes else 0
        if hole > 0.004 * grey.size and hole > 0.9 * (enclosed > 0).sum() and line.sum() < hole:
            return True
    return False


def _are_two(regions: np.ndarray) -> bool:
    """Whether two of the broad regions lie side by side."""
    from scipy import ndimage

    boxes = [box for box in ndimage.find_objects(regions) if box is not None]
    return any(
        min(a[0].stop, b[0].stop) - max(a[0].start, b[0].start) > 0.5 * (a[0].stop - a[0].start)
        and (a[1].stop <= b[1].start or b[1].stop <= a[1].start)
        for n, a in enumerate(boxes)
        for b in boxes[n + 1 :]
    )


def _has_seam(grey: np.ndarray) -> bool:
    """Whether most rows change at one column of the middle half, as between two views that touch."""
    count = grey.shape[0] // 8
    blocks = grey[: 8 * count].reshape(count, 8, -1).mean(axis=1)  # speckle would drown the seam
    change = np.median(np.abs(np.diff(blocks, axis=1)), axis=0)
    middle = change[len(change) // 4 : -(len(change) // 4)]
    return bool(middle.max() > SEAM * max(float(np.median(middle)), 0.5))
