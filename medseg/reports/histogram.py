"""The bars of a small histogram as a path of an SVG."""

from __future__ import annotations

import numpy as np

WIDTH, HEIGHT = 260, 84  # units of a small plot
_BINS = 20
_FEW_VALUES = 12  # different values that get a bar each, if they are counts or come again
_RANGE = (0.5, 99.5)  # percentiles that the axis spans; what lies outside is in the outer bars


def edges_of(values: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """The edges of the bars of (n,) finite values, and the values that stand at the ends of the axis."""
    different = np.unique(values)
    if 1 < len(different) <= _FEW_VALUES and _are_levels(values, different):
        middles = (different[1:] + different[:-1]) / 2
        step = float(np.diff(different).min())
        edges = np.array([different[0] - step / 2, *middles, different[-1] + step / 2])
        return edges, (float(different[0]), float(different[-1]))
    low, high = (float(end) for end in np.percentile(values, _RANGE))
    if low == high:
        low, high = float(values.min()), float(values.max())
    return np.linspace(low, high if high > low else low + 1, _BINS + 1), (low, high)


def _are_levels(values: np.ndarray, different: np.ndarray) -> bool:
    """Whether values are small counts, or come again at even steps; bars of other values would be a block."""
    if (different == np.round(different)).all() and np.ptp(different) <= _BINS:
        return True
    steps = np.diff(different)
    return 2 * len(different) <= len(values) and bool(np.allclose(steps, steps[0], rtol=0.01))


def shares_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The share of (n,) values in each bar; what lies outside the edges counts to the outer bars."""
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)


def number_text(value: float) -> str:
    """A number at the end of an axis."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def outline(heights: np.ndarray) -> str:
    """A closed outline of bars of equal width; heights from 0 to 1."""
    width = WIDTH / len(heights)
    corners = [f"M0 {HEIGHT}"]
    for number, height in enumerate(heights):
        y = HEIGHT - 2 - height * (HEIGHT - 6)
        corners.append(f"L{number * width:.1f} {y:.1f} L{(number + 1) * width:.1f} {y:.1f}")
    return " ".join([*corners, f"L{WIDTH} {HEIGHT} Z"])
