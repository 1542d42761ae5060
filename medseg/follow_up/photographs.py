"""Two photographs of one retina brought together by their features, and the check that it worked.

Features are SIFT's (Lowe, International Journal of Computer Vision 60, 2004). A similarity is found by RANSAC
(Fischler and Bolles, Communications of the ACM 24, 1981), then refined to an affine and, where there are
enough matches, to a quadratic map, which is what the curved retina needs (Can, Stewart, Roysam and
Tanenbaum, IEEE Transactions on Pattern Analysis and Machine Intelligence 24, 2002). Whether it worked is
judged by what it did not use: whether the vessels of both masks lie on each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medseg.errors import UnsuitableError

WORKING_PX = 512  # diameter of the field of view in which features are found
NEAR_PX = 3.0  # at that size: a match this near to the map agrees with it
VESSEL_PX = 3.0  # at that size: a centreline this near to one of the other photograph is the same vessel
RATIO = 0.85  # of the distances to the best and the second-best match: Lowe's test
FEWEST_INLIERS = 12
FEWEST_FOR_QUADRATIC = 40
LARGEST_ZOOM = 2.0
LEAST_OVERLAP = 0.5  # of centrelines; measured by tests/benchmarks/repeatability.py
LEAST_SHARED = 0.2  # of the earlier field of view: less is too little to compare
TRIALS = 4000
NO_FEATURES = "a photograph without features"
TERMS = {"similarity": 3, "affine": 3, "quadratic": 6}  # columns of the basis


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph with its vessels.

    Attributes:
        picture: (C, row, column), C 1 or 3.
        vessels: (row, column) bool.
        field: (row, column) bool, the field of view.
    """

    picture: np.ndarray
    vessels: np.ndarray
    field: np.ndarray

    @property
    def diameter_px(self) -> float:
        """Of the field of view: its longer side."""
        return float(max(np.ptp(np.flatnonzero(self.field.any(axis=axis))) + 1 for axis in (0, 1)))


@dataclass(frozen=True, eq=False)
class RetinaMap:
    """A map from places in one photograph to places in another, in px, (row, column).

    Attributes:
        kind: similarity, affine or quadratic.
        coefficients: (2, 6), of 1, r, c, r², rc, c² of the normalised place.
        centre, scale: a place is normalised by subtracting the one and dividing by the other.
    """

    kind: str
    coefficients: np.ndarray
    centre: np.ndarray
    scale: float

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """(n, 2) places to (n, 2) places."""
        return _basis((places - self.centre) / self.scale) @ self.coefficients.T

    @property
    def zoom(self) -> float:
        """How many px of the second photograph one px of the first is, at the centre."""
        return float(np.sqrt(abs(np.linalg.det(self.coefficients[:, 1:3]))) / self.scale)

    @property
    def turn_deg(self) -> float:
        """The rotation at the centre, from rows to columns."""
        (a, b), (c, d) = self.coefficients[:, 1:3]
        return float(np.degrees(np.arctan2(c - b, a + d)))

    def warped(self, values: np.ndarray, shape: tuple[int, int], order: int = 1) -> np.ndarray:
        """An array of the second photograph on the first one's grid; 0 where it shows nothing.

        Args:
            values: (row, column), or (C, row, column).
            shape: (row, column) of the first photograph.
            order: 0 for the nearest pixel, 1 for linear interpolation.
        """
        from scipy.ndimage import map_coordinates

        if values.ndim == 3:
            return np.stack([self.warped(channel, shape, order) for channel in values])
        places = self(np.indices(shape).reshape(2, -1).T).T.reshape(2, *shape)
        given = values.view(np.uint8) if values.dtype == bool else values
        moved = map_coordinates(given, places, order=order, mode="constant")
        return moved.astype(bool) if values.dtype == bool else moved

    def inverse(self, shape: tuple[int, int]) -> RetinaMap:
        """The way back, fitted to a grid over the first photograph, (row, column); quadratic maps nearly."""
        grid = np.stack(np.meshgrid(*(np.linspace(0, n - 1, 25) for n in shape), indexing="ij"))
        places = grid.reshape(2, -1).T
        return fitted(self(places), places, self.kind)


@dataclass(frozen=True, eq=False)
class Registered:
    """Two photographs on the grid of the earlier one.

    Attributes:
        to_later: from the earlier photograph to the later one.
        shared: (row, column) bool on the earlier grid, what both fields of view show.
        inliers: matches of features that agree with the map, of `matches`.
        overlap: the share of the centrelines within `shared` that lie on those of the other photograph.
    """

    to_later: RetinaMap
    shared: np.ndarray
    inliers: int
    matches: int
    overlap: float


def register_photographs(earlier: Photograph, later: Photograph) -> Registered:
    """Find where the later photograph shows what the earlier one shows.

    Raises:
        UnsuitableError: no map brings the vessels of both together, as with two eyes, or the photographs
            share too little of the retina.
    """
    features = [_features(photograph) for photograph in (earlier, later)]
    first, second = _matched(*features)
    near = NEAR_PX * later.diameter_px / WORKING_PX
    found = _agreed(first, second, near)
    if found is None or found[1] < FEWEST_INLIERS:
        raise _failed(f"{0 if found is None else found[1]} of {len(first)} features that agree")
    to_later, inliers = found
    if not 1 / LARGEST_ZOOM < to_later.zoom * earlier.diameter_px / later.diameter_px < LARGEST_ZOOM:
        raise _failed(f"a magnification of {to_later.zoom:.2f}, which no camera makes")
    shape = (earlier.field.shape[0], earlier.field.shape[1])
    shared = earlier.field & to_later.warped(later.field, shape, order=0)
    if shared.sum() < LEAST_SHARED * earlier.field.sum():
        raise _failed(f"{shared.sum() / earlier.field.sum():.0%} of the earlier field of view in both")
    overlap = vessel_overlap(earlier, to_later.warped(later.vessels, shape, order=0), shared)
    if overlap < LEAST_OVERLAP:
        raise _failed(f"{overlap:.0%} of the vessels on each other")
    return Registered(to_later, shared, inliers, len(first), overlap)


def vessel_overlap(earlier: Photograph, moved: np.ndarray, shared: np.ndarray) -> float:
    """The mean of two shares: of each photograph's centreline, what lies near that of the other.

    Args:
        earlier: the photograph whose grid it is.
        moved: (row, column) bool, the later vessels on that grid.
        shared: (row, column) bool, where they are compared.
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.morphology import skeletonize

    near = VESSEL_PX * earlier.diameter_px / WORKING_PX
    lines = [skeletonize(vessels) & shared for vessels in (earlier.vessels, moved)]
    if not all(line.any() for line in lines):
        return 0.0
    away = [distance_transform_edt(~line) for line in lines]
    return float(np.mean([(away[1][lines[0]] <= near).mean(), (away[0][lines[1]] <= near).mean()]))


def fitted(first: np.ndarray, second: np.ndarray, kind: str) -> RetinaMap:
    """The least-squares map of (n, 2) places to (n, 2) places; a similarity is fitted as an affine map."""
    centre, scale = first.mean(axis=0), float(max(np.abs(first - first.mean(axis=0)).max(), 1.0))
    basis = _basis((first - centre) / scale)[:, : TERMS[kind]]
    coefficients = np.zeros((2, 6))
    coefficients[:, : TERMS[kind]] = np.linalg.lstsq(basis, second, rcond=None)[0].T
    return RetinaMap(kind, coefficients, centre, scale)


def _basis(place: np.ndarray) -> np.ndarray:
    row, column = place.T
    return np.column_stack([np.ones(len(place)), row, column, row**2, row * column, column**2])


def _features(photograph: Photograph) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) places in px of the photograph, and (n, 128) descriptors."""
    from scipy.ndimage import binary_erosion
    from skimage.feature import SIFT
    from skimage.transform import resize

    rows, columns = (np.flatnonzero(photograph.field.any(axis=axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    field = photograph.field[box]
    scale = photograph.diameter_px / WORKING_PX
    size = tuple(round(length / scale) for length in field.shape)
    green = photograph.picture[min(1, len(photograph.picture) - 1)][box].astype(float)
    inside = binary_erosion(resize(field, size, order=0), iterations=WORKING_PX // 60)
    sift = SIFT(upsampling=1)
    try:
        sift.detect_and_extract(_levelled(resize(green, size, anti_aliasing=scale > 1), inside))
    except RuntimeError as error:  # no features at all
        raise _failed(NO_FEATURES) from error
    if sift.keypoints is None or sift.descriptors is None:
        raise _failed(NO_FEATURES)
    keep = inside[tuple(sift.keypoints.T)]
    places = (sift.keypoints[keep] + 0.5) * (np.array(field.shape) / size) - 0.5 + (rows[0], columns[0])
    return places, sift.descriptors[keep]


def _levelled(green: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Local contrast, 0 to 1: the light of two days differs, and the border of the field is no feature."""
    from scipy.ndimage import gaussian_filter

    def mean(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values * inside, WORKING_PX / 25) / weight

    weight = np.maximum(gaussian_filter(inside.astype(float), WORKING_PX / 25), 1e-3)
    away = (green - mean(green)) * inside
    spread = np.sqrt(mean(away**2))
    typical = np.median(spread[inside]) if inside.any() else 1.0
    return np.clip(away / np.maximum(spread, 0.3 * typical + 1e-9) / 6 + 0.5, 0, 1) * inside


def _matched(
    earlier: tuple[np.ndarray, np.ndarray], later: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    from skimage.feature import match_descriptors

    if min(len(earlier[0]), len(later[0])) < 2:
        raise _failed(NO_FEATURES)
    pairs = match_descriptors(earlier[1], later[1], max_ratio=RATIO, cross_check=True)
    return earlier[0][pairs[:, 0]], later[0][pairs[:, 1]]


def _agreed(first: np.ndarray, second: np.ndarray, near: float) -> tuple[RetinaMap, int] | None:
    """The map with which most matches agree, and how many; None for fewer than two matches."""
    if len(first) < 2:
        return None
    inside = _similarity_inliers(first, second, near)
    found = None
    for kind, fewest in (("affine", 3), ("affine", 3), *[("quadratic", FEWEST_FOR_QUADRATIC)] * 3):
        if np.count_nonzero(inside) < fewest:
            break
        found = fitted(first[inside], second[inside], kind)
        inside = np.linalg.norm(found(first) - second, axis=1) <= near
    return None if found is None else (found, int(np.count_nonzero(inside)))


def _similarity_inliers(first: np.ndarray, second: np.ndarray, near: float) -> np.ndarray:
    """(n,) bool, the matches that agree with the best of many similarities through two matches each.

    With places as complex numbers a similarity is z -> a z + b. The distance that counts as near is doubled,
    because the retina is curved.
    """
    random = np.random.default_rng(0)
    z, w = (places[:, 0] + 1j * places[:, 1] for places in (first, second))
    one, other = random.integers(0, len(z), (2, TRIALS))
    apart = np.abs(z[one] - z[other]) > 10 * near
    if not apart.any():
        return np.zeros(len(z), bool)
    one, other = one[apart], other[apart]
    a = (w[other] - w[one]) / (z[other] - z[one])
    b = w[one] - a * z[one]
    best = np.zeros(len(z), bool)
    for block in np.array_split(np.arange(len(a)), max(1, len(a) // 250)):
        inside = np.abs(a[block, None] * z + b[block, None] - w) <= 2 * near
        most = inside.sum(axis=1).argmax()
        if inside[most].sum() > best.sum():
            best = inside[most]
    return best


def _failed(got: str) -> UnsuitableError:
    return UnsuitableError(
        "two photographs of one eye that show the same part of the retina",
        got=got,
        advice="Check that neither is of the other eye or of another patient, and that both are sharp.",
    )
