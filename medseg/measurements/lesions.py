"""Geometric measurements of lesions in breast ultrasound from a mask, each with its unit and its source.

Axes are (row, column); the skin is at the top, so that the row is the depth below it. Pixels are unit squares
with their centres on whole numbers. Shape and direction are computed in mm where the pixel size is known;
otherwise pixels are taken as square, and the unit says so. Terms of BI-RADS name geometry here, and are no
diagnosis.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medseg.case import Case
from medseg.errors import UnsuitableError, UsageError
from medseg.instances import numbered, numbers_of
from medseg.measurements.entries import Measures, entry
from medseg.volume import Mask

LESION = 1
SMOOTHING_PX = 1.5  # standard deviation of the Gaussian that removes pixel steps from an outline
OUTLINE_STEP_PX = 0.25  # distance between the points of an outline before it is smoothed
MIN_OUTLINE_PX = 30.0  # pixel steps dominate shorter outlines, those of lesions under 10 px across
ROUND = 0.95  # short over long axis, above which pixel steps decide where the long axis points
UNKNOWN_SPACING = "the pixel size is not known: give it with --pixel-spacing-mm"
NO_LESION = "no lesion was found"
NOT_ESTIMATED = "the probability of malignancy was not estimated"
NOT_ASKED = "the method does not say whether there is a lesion"
SQUARE = ", pixels taken as square"
PER_LESION = "per lesion"
Spacing = tuple[float, float] | None


def measure_lesions(case: Case) -> Measures:
    """Measure all lesions together, the largest one, and each one in a list, the largest first.

    Args:
        case: of a picture, (row, column), 1 for lesion; without pixel_spacing_mm in its mask the values in mm
            are None. Lesions are those of `segmented`, where the mode has split what touches; else pixels
            that touch by an edge or a corner are one lesion. `malignancy` among its extras is one number from
            0 to 1, a network's probability that this picture shows a malignant lesion. It is returned
            unchanged, and is no diagnosis.

    Returns:
        name to {"value", "unit"}; where the value is None, "reason" says why. `lesions` is a list of dicts
        with the names of the largest lesion's measures, without their prefix. Without any lesion
        all but `lesion_count` and `lesion_probability` is None, also the probability of malignancy.

    Raises:
        UnsuitableError: the mask is a volume, not a picture.
        UsageError: the spacing is not two positive numbers, or malignancy not one number from 0 to 1.
    """
    mask, malignancy = case.mask, case.extras.get("malignancy")
    _check(mask, malignancy)
    numbers, spacing_mm = lesion_instances(mask.array), mask.pixel_spacing_mm
    if case.segmented is not None:
        numbers = numbers_of(case.segmented, mask.labels[LESION])
    each = _each(numbers, spacing_mm)
    values = [{name: measure["value"] for name, measure in lesion.items()} for lesion in each]
    largest = each[0] if each else _nothing(spacing_mm)
    return {
        **entry("lesion_count", len(each), "count"),
        **_lesion_probability(case.extras.get("lesion_probability")),
        **_malignancy(malignancy, bool(each)),
        **_prefixed("lesion_", _total_area(mask.array == LESION, spacing_mm)),
        **_prefixed("largest_lesion_", largest),
        **entry("lesions", values or None, PER_LESION, NO_LESION),
    }


def lesion_instances(mask_array: np.ndarray) -> np.ndarray:
    """Number the lesions of a mask by size: 1 the largest; of two equal ones, the upper one first.

    Args:
        mask_array: (row, column), 1 for lesion.

    Returns:
        (row, column), 0 for background, in the smallest unsigned type that holds all numbers. Pixels that
        touch by an edge or a corner have the same number.

    Raises:
        UnsuitableError: the mask is a volume, not a picture.
    """
    if mask_array.ndim != 2:
        raise UnsuitableError(
            "a mask of (row, column)",
            got=f"shape {mask_array.shape}",
            advice="Measure one ultrasound picture at a time.",
        )
    return numbered(mask_array == LESION)


def area(lesion: np.ndarray, spacing_mm: Spacing) -> Measures:
    """Area of a (row, column) bool lesion in pixels, and in mm²; holes don't count."""
    total = int(lesion.sum())
    area_mm2 = float(total * np.prod(spacing_mm)) if spacing_mm else None
    return entry("area_px", total, "px") | entry("area_mm2", area_mm2, "mm²", UNKNOWN_SPACING)


def diameters(lesion: np.ndarray, spacing_mm: Spacing, corner: tuple[int, int] = (0, 0)) -> Measures:
    """Longest diameter, and the longest line at right angles to it, both between points of the convex hull.

    The first is the maximum Feret diameter of the midpoints of the pixels' outer edges, as in scikit-image's
    feret_diameter_max; it exceeds that of a smooth shape by half a pixel on average and by one pixel at most;
    with pixel corners it would exceed it by twice as much. The second is measured as with a caliper, like the
    perpendicular of RECIST (Eisenhauer et al., European Journal of Cancer 45, 2009); it is at most the width
    of a bounding box along the first. The directions in mm may differ from those in px; the ends are those of
    the line in mm, where the pixel size is known. `corner` is where the first pixel lies in the picture.
    """
    hull = _hull(_edge_midpoints(lesion))
    lines = lines_px = _longest_and_perpendicular(hull)
    if spacing_mm:
        lines = _longest_and_perpendicular(hull * spacing_mm)
    found: Measures = {}
    names = "longest_diameter", "perpendicular_diameter"
    for name, line, line_px in zip(names, lines, lines_px, strict=True):
        ends_px = (line / (spacing_mm or 1.0) + corner).round(2).tolist()
        found |= _length(name, _length_of(line_px), _length_of(line) if spacing_mm else None)
        found |= entry(f"{name}_ends_px", ends_px, "px")
    return found


def depth_and_width(lesion: np.ndarray, spacing_mm: Spacing) -> Measures:
    """Extent away from the skin and along it, their ratio, and the term of BI-RADS for it.

    "Not parallel" is a lesion at least as deep as it is wide, round ones included; with a ratio above 1 it is
    called taller than wide. BI-RADS gives no angle for oblique lesions, so the ratio decides.
    Sources: BI-RADS Atlas, 5th edition, Ultrasound, 2013; ratio: Chen et al., Radiology 226, 2003.
    """
    rows, columns = np.nonzero(lesion.any(axis=1))[0], np.nonzero(lesion.any(axis=0))[0]
    depth_px, width_px = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    row_mm, column_mm = spacing_mm or (1.0, 1.0)
    depth, width = depth_px * row_mm, width_px * column_mm
    # 7 * 0.1 is not 0.7 in floating point: equal lengths must not differ by rounding.
    ratio = 1.0 if np.isclose(depth, width, rtol=1e-9) else depth / width
    return {
        **_length("depth", depth_px, depth if spacing_mm else None),
        **_length("width", width_px, width if spacing_mm else None),
        **entry("depth_to_width_ratio", float(ratio), _unit("ratio", spacing_mm)),
        **entry(
            "orientation_descriptor",
            "not parallel" if ratio >= 1 else "parallel",
            _unit("by depth and width, no diagnosis", spacing_mm),
        ),
    }


def orientation(lesion: np.ndarray, spacing_mm: Spacing) -> Measures:
    """Angle in degrees between the long axis and the skin, taken as horizontal: 0 parallel, 90 perpendicular.

    The long axis is that of the ellipse with the same second moments, on which outliers of the margin have
    less influence than on the longest diameter. Source: Shen et al., Academic Radiology 14, 2007.
    """
    spacing = spacing_mm or (1.0, 1.0)
    places = np.argwhere(lesion) * spacing
    # The second term is the variance within a pixel; without it a row of pixels would have no width.
    spread = np.cov(places.T, bias=True) + np.diag(np.square(spacing)) / 12
    (short, long), axes = np.linalg.eigh(spread)
    down, across = np.abs(axes[:, 1])
    angle = None if np.sqrt(short / long) > ROUND else float(np.degrees(np.arctan2(down, across)))
    reason = "the lesion is too round to have a long axis"
    return entry("orientation_angle", angle, _unit("degrees", spacing_mm), reason)


def solidity(lesion: np.ndarray) -> Measures:
    """Pixels of the lesion per pixel in its convex hull, at most 1, whatever the spacing; holes lower it.

    The hull is that of pixel centres, so that convex shapes have 1 wherever they lie on the grid; with the
    hull of whole pixels, as in scikit-image, a disc 10 px across has 0.96. Called overlap ratio by Alvarenga
    et al., Medical Engineering and Physics 32, 2010.
    """
    value = float(lesion.sum() / _pixels_in_hull(lesion))
    return entry("solidity", value, "fraction of the hull")


def margin(lesion: np.ndarray, spacing_mm: Spacing) -> Measures:
    """Irregularity and circularity of the outer margin after smoothing; holes don't count.

    margin_irregularity is the margin's length over that of its convex hull: 1 for convex lesions, more for
    lobes and spicules; details near the size of SMOOTHING_PX count less. It is the reciprocal of the
    convexity, and circularity (4 pi area / perimeter², 1 for a disc) is the form factor, of Chang, Wu, Moon
    and Chen, Breast Cancer Research and Treatment 89, 2005. A segmentation smoother than the lesion lowers
    irregularity and raises circularity. On ellipses pixel steps alone give an irregularity of 1.001, or 1.007
    where pixels are 2.5 times as long as wide.
    """
    outline_px = _outline(lesion)
    reason = f"the outline is shorter than {MIN_OUTLINE_PX:g} px"
    irregularity = circularity = None
    if _perimeter(outline_px) >= MIN_OUTLINE_PX:
        outline = _smooth(outline_px) * (spacing_mm or (1.0, 1.0))
        perimeter = _perimeter(outline)
        irregularity = perimeter / _perimeter(_hull(outline))
        circularity = 4 * np.pi * _polygon_area(outline) / perimeter**2
    return {
        **entry("margin_irregularity", irregularity, _unit("ratio", spacing_mm), reason),
        **entry("circularity", circularity, _unit("ratio", spacing_mm), reason),
    }


def _check(mask: Mask, malignancy: np.ndarray | None) -> None:
    spacing = mask.pixel_spacing_mm
    if spacing is not None and not (len(spacing) == 2 and all(0 < s < np.inf for s in spacing)):
        raise UsageError(
            "a pixel spacing of two positive numbers", got=f"{spacing}", advice="Give (row, column) in mm."
        )
    if malignancy is None:
        return
    if np.size(malignancy) != 1:
        got = f"shape {np.shape(malignancy)}"
        raise UsageError(
            "one probability of malignancy", got=got, advice="Give the probability of one picture."
        )
    if not 0 <= (probability := np.asarray(malignancy).item()) <= 1:
        raise UsageError(
            "a probability from 0 to 1", got=f"{probability:g}", advice="Apply the sigmoid first."
        )


def _each(numbers: np.ndarray, spacing_mm: Spacing) -> list[Measures]:
    """The measures of each lesion, in the order of the numbers."""
    from scipy.ndimage import find_objects

    found = []
    for number, (rows, columns) in enumerate(find_objects(numbers.astype(np.intp)), start=1):
        # One pixel of background around it, also at the border of the picture.
        lesion = np.pad(numbers[rows, columns] == number, 1)
        found.append(_lesion(lesion, (rows.start - 1, columns.start - 1), spacing_mm))
    return found


def _lesion(lesion: np.ndarray, corner: tuple[int, int], spacing_mm: Spacing) -> Measures:
    """All measures of one lesion, (row, column) bool, whose first pixel lies at corner in the picture."""
    row, column = (np.argwhere(lesion).mean(axis=0) + corner).tolist()
    return {
        **area(lesion, spacing_mm),
        **diameters(lesion, spacing_mm, corner),
        **depth_and_width(lesion, spacing_mm),
        **orientation(lesion, spacing_mm),
        **solidity(lesion),
        **margin(lesion, spacing_mm),
        **entry("centroid_row_px", row, "px"),
        **entry("centroid_column_px", column, "px"),
    }


def _nothing(spacing_mm: Spacing) -> Measures:
    """The names and units of a lesion's measures, without values."""
    missing: Measures = {}
    for name, measure in _each(np.ones((1, 1), np.uint8), spacing_mm)[0].items():
        missing |= entry(name, None, measure["unit"], NO_LESION)
    return missing


def _total_area(lesion: np.ndarray, spacing_mm: Spacing) -> Measures:
    found = area(lesion, spacing_mm) if lesion.any() else {}
    missing = entry("area_px", None, "px", NO_LESION) | entry("area_mm2", None, "mm²", NO_LESION)
    return {name.replace("area", "area_total"): measure for name, measure in (missing | found).items()}


def _malignancy(malignancy: np.ndarray | None, has_lesion: bool) -> Measures:
    value = None if malignancy is None or not has_lesion else float(np.asarray(malignancy).item())
    reason = NOT_ESTIMATED if has_lesion else NO_LESION
    return entry("malignancy_probability", value, "probability, no diagnosis", reason)


def _lesion_probability(probability: np.ndarray | None) -> Measures:
    value = None if probability is None else float(np.asarray(probability).item())
    return entry("lesion_probability", value, "probability, no diagnosis", NOT_ASKED)


def _prefixed(prefix: str, measures: Measures) -> Measures:
    return {prefix + name: measure for name, measure in measures.items()}


def _length(name: str, length_px: float, length_mm: float | None) -> Measures:
    return entry(f"{name}_px", length_px, "px") | entry(f"{name}_mm", length_mm, "mm", UNKNOWN_SPACING)


def _unit(unit: str, spacing_mm: Spacing) -> str:
    return unit if spacing_mm else unit + SQUARE


def _edge_midpoints(lesion: np.ndarray) -> np.ndarray:
    """(n, 2) row and column of the middle of each pixel edge between lesion and background."""
    found: list[Any] = []
    for step in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        border = lesion & ~np.roll(lesion, step, axis=(0, 1))
        found.append(np.argwhere(border) - np.array(step) / 2)
    return np.concatenate(found)


def _hull(points: np.ndarray) -> np.ndarray:
    """(m, 2) corners of the convex hull of (n, 2), in order."""
    from scipy.spatial import ConvexHull

    return points[ConvexHull(points).vertices]


def _pixels_in_hull(lesion: np.ndarray) -> int:
    """How many pixels have their centre in the convex hull of the lesion's pixel centres."""
    from scipy.ndimage import binary_erosion
    from scipy.spatial import ConvexHull

    # Four points close around each centre, so that a row of pixels has a hull with an area as well.
    around = 1e-6 * np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])
    border = np.argwhere(lesion & ~binary_erosion(lesion))
    hull = ConvexHull((border[:, None] + around).reshape(-1, 2))
    row, column = np.indices(lesion.shape)
    inside = np.ones(lesion.shape, dtype=bool)
    for row_normal, column_normal, offset in hull.equations:
        inside &= row_normal * row + column_normal * column + offset <= 0
    return int(inside.sum())


def _longest_and_perpendicular(hull: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends, (2, 2), of a convex polygon's longest diameter, and of its longest chord at right angles."""
    distance = np.linalg.norm(hull[:, None] - hull, axis=2)
    first, last = np.unravel_index(distance.argmax(), distance.shape)
    towards = (hull[last] - hull[first]) / distance[first, last]
    sideways = np.array([-towards[1], towards[0]])
    along, beside = (hull - hull[first]) @ towards, (hull - hull[first]) @ sideways
    beside[[first, last]] = 0.0
    order = np.argsort(along)
    left, right = order[beside[order] >= 0], order[beside[order] <= 0]
    # Both sides are polylines, so the longest chord starts at a corner.
    ends = np.column_stack([np.interp(along, along[side], beside[side]) for side in (left, right)])
    widest = int((ends[:, 0] - ends[:, 1]).argmax())
    chord = hull[first] + along[widest] * towards + ends[widest][:, None] * sideways
    return hull[[first, last]], chord


def _length_of(line: np.ndarray) -> float:
    """The length of a line, (2, 2) its ends."""
    return float(np.linalg.norm(line[1] - line[0]))


def _outline(lesion: np.ndarray) -> np.ndarray:
    """(n, 2) the closed outer margin by marching squares, the first point not repeated at the end."""
    from scipy.ndimage import binary_fill_holes
    from skimage.measure import find_contours

    solid = binary_fill_holes(lesion).astype(float)
    (outline,) = find_contours(solid, 0.5, fully_connected="high")
    return outline[:-1]


def _smooth(outline: np.ndarray) -> np.ndarray:
    """A closed polygon, (n, 2), resampled at even steps and smoothed."""
    from scipy.ndimage import gaussian_filter1d

    closed = np.concatenate([outline, outline[:1]])
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.linspace(0, arc[-1], int(arc[-1] / OUTLINE_STEP_PX), endpoint=False)
    even = np.column_stack([np.interp(at, arc, closed[:, axis]) for axis in (0, 1)])
    return gaussian_filter1d(even, SMOOTHING_PX / OUTLINE_STEP_PX, axis=0, mode="wrap")


def _perimeter(polygon: np.ndarray) -> float:
    return float(np.linalg.norm(polygon - np.roll(polygon, 1, axis=0), axis=1).sum())


def _polygon_area(polygon: np.ndarray) -> float:
    """The shoelace formula."""
    row, column = polygon.T
    return float(abs(row @ np.roll(column, 1) - column @ np.roll(row, 1)) / 2)
