"""Values of a measure that lie far from all others."""

from __future__ import annotations

import numpy as np

LIMIT = 3.5
FEWEST = 10  # cases; of fewer the spread is hardly known


def modified_z(values: np.ndarray) -> np.ndarray | None:
    """How far each of (n,) finite values lies from the median, in robust standard deviations.

    0.6745 (x - median) / MAD, where MAD is the median of the absolute deviations from the median: 0.6745 of
    a normal distribution's standard deviation. Iglewicz and Hoaglin, How to Detect and Handle Outliers (ASQC
    Basic References in Quality Control 16, 1993), call beyond 3.5 an outlier.

    Returns:
        (n,), signed; None for fewer than 10 values, or if more than half of them are equal: then MAD is 0.
    """
    if len(values) < FEWEST:
        return None
    away = values - np.median(values)
    spread = float(np.median(np.abs(away)))
    # A spread that is only rounding is none.
    if spread <= 1e-12 * float(np.abs(values).max()):
        return None
    return 0.6745 * away / spread
