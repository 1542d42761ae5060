"""The scan in a B-mode ultrasound picture: the part that shows echoes, and what speaks against it.

What lies around it on a scanner's screen (letters, rulers, grey bars, logos) must not reach a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.errors import UnsuitableError

MIN_SIDE_PX = 128
THUMBNAIL_PX = 320
# Limits below: those of the 1492 pictures of BUS-BRA (grain 0.024 to 0.11, layering from 1.36, uprightness
# from -0.1 in 99.5 %) against scikit-image's photographs (layering up to 1.15).
GRAIN, SURE_GRAIN = (0.02, 0.15), (0.03, 0.12)
LEAST_LAYERING = 1.2
LEAST_UPRIGHTNESS = -0.25
SEAM = 4.5  # change across one column by that of the median column; 5 and more in 99 % of joined pictures
ROUND = 0.93  # overlap with an ellipse: a sector has 0.88, a rectangle 0.85
BLACK = 5  # up to it there is no echo
COLOURED = 40  # grey levels between the largest and the smallest channel: JPEG and scanners stay below

COLOUR_DOPPLER = (
    "colour Doppler: the colours were removed; the mask of a lesion under the colour box may be wrong"
)
COLOURED_LINES = (
    "coloured lines are drawn into the scan (calipers or a contour): the colours were removed, and the mask "
    "may follow them"
)
DRAWN_CONTOUR = "a white closed line seems to be drawn into the scan: the mask may follow it"
TWO_VIEWS = (
    "two views seem to lie side by side: they are analysed as one picture; save each view as a picture "
    "of its own for measurements of it"
)
INVERTED = (
    "the grey values seem to be inverted (echoes dark instead of bright): the mask may be wrong; export the "
    "picture without inversion"
)
NO_SPECKLE = (
    "the picture lacks the speckle of an ultrasound scan: this may be none, and the mask may be wrong"
)


@dataclass(frozen=True, eq=False)
class Scan:
    """Where the echoes are in the picture.

    Attributes:
        mask: (row, column), bool, on the picture's grid.
        box: (top, left, height, width) of the mask in px.
        grey: (row, column), float32, the picture's grey values from 0 to 255, not masked.
        warnings: what speaks against a plain B-mode picture; empty when nothing does.
    """

    mask: np.ndarray
    box: tuple[int, int, int, int]
    grey: np.ndarray
    warnings: tuple[str, ...]


def find_region(picture: np.ndarray, region: tuple[int, int, int, int] | None = None) -> Scan:
    """Find the scan and check that the picture looks like B-mode ultrasound.

    Where the frame of the picture is of one grey value, as on a scanner's screen, what differs from it is
    kept if it is as broad as a scan and no letter, ruler or bar; the scan is its convex hull. It is the
    whole picture where the frame itself shows echoes, or where the hull reaches its upper, left and right
    edge: then only a dark depth would be cut.

    Args:
        picture: (C, row, column) with C 1 or 3, any real type.
        region: (top, left, height, width) in px to look in, as DICOM's calibrated region; None for all.

    Raises:
        UnsuitableError: the picture is not finite, blank, shorter than 128 px on a side, in colour, a
            round body in air as in CT or MR, or without both speckle and layers.
    """
    if region is not None:
        return _placed(find_region(_cut(picture, region)), region, _levels(picture).mean(axis=0))
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
            f"a scan of at least {MIN_SIDE_PX // 2} px on its shorter side",
            got=f"one of {box[3]}x{box[2]} px in a picture of {grey.shape[1]}x{grey.shape[0]} px",
            advice="Export the picture in its original size.",
        )
    inside = _cut(mask, box)
    warnings = [
        *_colour_warnings(_cut(coloured, box) & inside, int(inside.sum())),
        *_look_warnings(_cut(grey, box), inside),
    ]
    if _are_two(regions) or _has_seam(_cut(grey, box)):
        warnings.append(TWO_VIEWS)
    return Scan(mask, box, grey, tuple(warnings))


def _placed(scan: Scan, region: tuple[int, int, int, int], grey: np.ndarray) -> Scan:
    """The scan of a region on the grid of the whole picture."""
    mask = np.zeros(grey.shape, dtype=bool)
    _cut(mask, region)[:] = scan.mask
    top, left, height, width = scan.box
    return Scan(mask, (top + region[0], left + region[1], height, width), grey, scan.warnings)


def _require_sound(picture: np.ndarray) -> None:
    shape = f"{picture.shape[2]}x{picture.shape[1]} px"
    if min(picture.shape[1:]) < MIN_SIDE_PX:
        raise UnsuitableError(
            f"an ultrasound picture at least {MIN_SIDE_PX} px high and wide, for in a smaller one the "
            "borders of a lesion are lost",
            got=shape,
            advice="Export the picture in its original size.",
        )
    if picture.dtype.kind == "f" and not np.isfinite(picture).all():
        raise UnsuitableError(
            "an ultrasound picture with finite pixel values",
            got="a picture with infinite or undefined ones",
            advice="Check the export from the scanner.",
        )
    if np.ptp(picture.astype(np.float64)) < 1e-3 * max(1.0, float(np.abs(picture).max())):
        raise UnsuitableError(
            "an ultrasound picture",
            got=f"a blank picture (every pixel near {float(picture.flat[0]):g})",
            advice="Check the export from the scanner.",
        )


def _levels(picture: np.ndarray) -> np.ndarray:
    """(C, row, column) float32 from 0 to 255; 8 bits as they are, others by their brightest value."""
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
    """Refuse one ellipse in dark air, which is noisier than a screen: the cross-section of a body."""
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
            got="something round in the dark, as a slice of a body in CT or MR or a retina is",
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


def _colour_warnings(coloured: np.ndarray, scan_px: int) -> list[str]:
    from scipy import ndimage

    share = coloured.sum() / scan_px
    if share > 0.3:
        raise UnsuitableError(
            "a grey B-mode ultrasound picture",
            got=f"colours in {share:.0%} of the picture, as in a photograph or under a colour map",
            advice="Choose the task that fits the image, or export the scan with a grey map.",
        )
    patch = ndimage.binary_opening(coloured, np.ones((7, 7), dtype=bool)).sum() / scan_px
    if patch > 5e-4:
        return [COLOUR_DOPPLER]
    return [COLOURED_LINES] if share > 5e-4 else []


def _look_warnings(grey: np.ndarray, inside: np.ndarray) -> list[str]:
    grain, layers = _grain(grey, inside), _layering(grey)
    if layers < LEAST_LAYERING and not SURE_GRAIN[0] < grain < SURE_GRAIN[1]:
        raise UnsuitableError(
            "a B-mode ultrasound picture",
            got="one with neither the speckle nor the layers of a scan, as a photograph has",
            advice="Choose the task that fits the image.",
        )
    warnings = []
    if layers < LEAST_LAYERING or not GRAIN[0] < grain < GRAIN[1]:
        warnings.append(NO_SPECKLE)
    if _uprightness(grey, inside) < LEAST_UPRIGHTNESS:
        warnings.append(INVERTED)
    if _has_white_contour(grey, inside):
        warnings.append(DRAWN_CONTOUR)
    return warnings


def _grain(grey: np.ndarray, inside: np.ndarray) -> float:
    """Median over the lit parts of speckle's contrast: spread of single pixels over the local mean."""
    from scipy import ndimage

    step = max(1, round(max(grey.shape) / 600))
    small, lit = _thumbnail(grey, step), _thumbnail(inside.astype(np.float32), step) > 0.5
    fine = small - ndimage.uniform_filter(small, 3)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(fine**2, 9), 0))
    mean = ndimage.uniform_filter(small, 9)
    lit &= mean > 20
    return float(np.median(spread[lit] / mean[lit])) if lit.any() else 0.0


def _layering(grey: np.ndarray) -> float:
    """Change of the smoothed grey down the columns by that along the rows: tissue lies in layers."""
    from scipy import ndimage

    small = _thumbnail(grey, max(1, round(max(grey.shape) / 600)))
    down, along = (np.abs(ndimage.gaussian_filter(small, 2, order=o)).mean() for o in ((1, 0), (0, 1)))
    return float(down / max(along, 1e-6))


def _uprightness(grey: np.ndarray, inside: np.ndarray) -> float:
    """Positive where few pixels are bright and depth is dark; an inverted picture has it the other way.

    The skewness of the grey values less 2.5 times their mean (in standard deviations) weighted by depth,
    from -1 to 1: the linear discriminant of the BUS-BRA pictures and their inverses.
    """
    inside = inside & (grey > BLACK)
    values = grey[inside]
    score = (values - values.mean()) / max(float(values.std()), 1e-6)
    depth = np.broadcast_to(np.linspace(-1, 1, grey.shape[0])[:, None], grey.shape)[inside]
    return float((score**3).mean()) - 2.5 * float((score * (depth - depth.mean())).mean())


def _has_white_contour(grey: np.ndarray, inside: np.ndarray) -> bool:
    """Whether a thin line of the brightest grey encloses a region, as a drawn outline does."""
    from scipy import ndimage

    # A white page may show at the scan's rim, which is known to a few pixels only.
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
    """Whether a column of the middle half parts most rows: two scans that touch, or a line between them."""
    count = grey.shape[0] // 8
    blocks = grey[: 8 * count].reshape(count, 8, -1).mean(axis=1)  # speckle would drown the seam
    change = np.median(np.abs(np.diff(blocks, axis=1)), axis=0)
    middle = change[len(change) // 4 : -(len(change) // 4)]
    return bool(middle.max() > SEAM * max(float(np.median(middle)), 0.5))
