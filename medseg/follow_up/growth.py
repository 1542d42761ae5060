"""Growth of an object: the volume doubling time, with an interval by the repeatability of its volume.

An exponential growth is a line of the volume's logarithm over time; the doubling time is log 2 by its slope.
Source: Schwartz, Cancer 14, 1961. A line is fitted to all times (least squares). The error of a volume is
taken from its repeatability: 95% of pairs of an unchanged object differ by less than the limit x in the
ratio, so log(1 + x) is 1.96 times the standard deviation of a difference, which is sqrt 2 times that of one
logarithm. The slope's error follows from it, and the interval of the doubling time from the slope's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from medseg.follow_up.change import RELATIVE, Limit

Z = 1.959964  # of a normal distribution, for 95%


def growth_of(days: Sequence[float], volumes: Sequence[float], limit: Limit | None) -> dict[str, Any] | None:
    """The doubling time of a volume.

    Args:
        days: of each time, at least two different ones.
        volumes: above 0, in any unit.
        limit: the repeatability of the volume, a relative one.

    Returns:
        `doubling_days`, negative for a halving time; `interval_days`, the [low, high] of 95%, where None
        stands for no bound; `percent_per_year`, and its interval. None where it is not defined: for one time,
        a volume of 0, or a limit that is no relative one. `interval_days` is None where both growth and
        shrinking are in the interval, and `note` says so.
    """
    if len(set(days)) < 2 or min(volumes) <= 0 or limit is None or limit.kind != RELATIVE:
        return None
    logs = [math.log(volume) for volume in volumes]
    middle = sum(days) / len(days)
    spread = sum((day - middle) ** 2 for day in days)
    slope = sum((day - middle) * value for day, value in zip(days, logs, strict=True)) / spread
    error = math.log1p(limit.limit) / Z / math.sqrt(2) / math.sqrt(spread)
    low, high = slope - Z * error, slope + Z * error
    growth: dict[str, Any] = {
        "doubling_days": _doubling(slope),
        "interval_days": None,
        "percent_per_year": _yearly(slope),
        "percent_per_year_interval": [_yearly(low), _yearly(high)],
    }
    if low > 0 or high < 0:
        return growth | {"interval_days": sorted((_doubling(low), _doubling(high)))}  # type: ignore[type-var]
    return growth | {"note": "neither growth nor shrinking is beyond the error of the volumes"}


def _doubling(slope: float) -> float | None:
    """Days to the double; None for a slope of 0."""
    return math.log(2) / slope if slope else None


def _yearly(slope: float) -> float:
    """Percent in a year, from a slope of the logarithm in a day; at most 1e9, as after a few days."""
    return min(100 * math.expm1(min(slope * 365.25, 700)), 1e9)
