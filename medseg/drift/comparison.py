"""Two samples compared, measure by measure: test, effect, correction for many tests."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from medseg.drift.sample import Event, Sample
from medseg.errors import UnsuitableError
from medseg.metrics.significance import holm

FEWEST = 10  # persons on each side: a Kolmogorov-Smirnov p of 10 against 10 can become as small as 1e-5
DISTRIBUTION, RATE = "distribution", "rate"
_RESAMPLES = 2000
_CLEARLY_EQUAL = 0.5
_MOST_PAIRS = 1_000_000  # of values, for the exact p; with more the asymptotic one is as good
_Z95 = 1.959964


@dataclass(frozen=True)
class Finding:
    """One measure, or one event, in the reference and now.

    Attributes:
        name: of the measure, or group and text of the event.
        same: names of measures that rank the cases in the same way, which are the same test.
        sort: DISTRIBUTION or RATE.
        unit: of reference, now, shift, low and high; a rate has none.
        cases: how many values in the reference and now.
        reference, now: the medians, or the rates.
        shift: now - reference.
        low, high: its 95% interval.
        statistic: the largest distance of the two cumulative distributions, 0 to 1 (Kolmogorov-Smirnov); of a
            rate, which is the same, the absolute difference.
        p: of the test alone.
        corrected: for all tests, by Holm.
        called: whether it is drift: corrected < alpha.
    """

    name: str
    same: tuple[str, ...]
    sort: str
    unit: str
    cases: tuple[int, int]
    reference: float
    now: float
    shift: float
    low: float
    high: float
    statistic: float
    p: float
    corrected: float = 1.0
    called: bool = False


@dataclass(frozen=True)
class Comparison:
    """All findings, what is called drift first, and why the others could not be tested.

    Attributes:
        findings: by corrected p, then p, then by the size of the effect.
        untested: measure to the reason in words.
        smallest: the smallest Kolmogorov-Smirnov statistic that would be called with so many cases and tests.
        alpha: the share of comparisons of equal samples in which anything is called.
    """

    findings: tuple[Finding, ...]
    untested: dict[str, str]
    smallest: float
    alpha: float

    @property
    def called(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.called)


def compare_samples(reference: Sample, now: Sample, alpha: float = 0.05) -> Comparison:
    """Test each measure and each event for a difference, so that all tests together err in `alpha` at most.

    Measures: two-sample Kolmogorov-Smirnov test (Smirnov, Ann. Math. Stat. 19, 1948). Events: Fisher's exact
    test (J. R. Stat. Soc. 85, 1922). Correction: Holm 1979. What is constant, has too few values, or is so
    rare that no outcome could be significant is not tested, which is decided without looking at which case is
    on which side; measures that rank all cases alike are one test.

    Raises:
        UnsuitableError: fewer than FEWEST persons on a side, or nothing can be tested.
    """
    _require_enough(reference, now)
    untested: dict[str, str] = {}
    found = [*_distributions(reference, now, untested), *_rates(reference, now, alpha, untested)]
    if not found:
        raise UnsuitableError(
            "a measure with values on both sides",
            got="; ".join(f"{name}: {reason}" for name, reason in list(untested.items())[:5]) or "none",
            advice="Compare results of the same task and method.",
        )
    found = [
        replace(finding, corrected=p, called=p < alpha)
        for finding, p in zip(found, holm([finding.p for finding in found]), strict=True)
    ]
    found.sort(key=lambda finding: (finding.corrected, finding.p, -finding.statistic, finding.name))
    smallest = _smallest(reference.persons, now.persons, alpha / len(found))
    return Comparison(tuple(found), untested, smallest, alpha)


def _require_enough(reference: Sample, now: Sample) -> None:
    for side, sample in (("in the reference", reference), ("now", now)):
        if sample.persons < FEWEST:
            raise UnsuitableError(
                f"at least {FEWEST} persons {side}",
                got=str(sample.persons),
                advice="Choose a longer period, or name more folders.",
            )


def _distributions(reference: Sample, now: Sample, untested: dict[str, str]) -> list[Finding]:
    ranked: dict[bytes, list[tuple[str, np.ndarray, np.ndarray]]] = {}
    for name in dict.fromkeys([*now.numbers, *reference.numbers]):
        first, second = (_present(sample.numbers.get(name)) for sample in (reference, now))
        if reason := _untestable(reference, now, name, first, second):
            untested[name] = reason
        else:
            ranked.setdefault(_ranks(reference, now, name), []).append((name, first, second))
    return [
        _distribution(group[0], now.units.get(group[0][0], ""), tuple(name for name, *_ in group[1:]))
        for group in ranked.values()
    ]


def _present(values: np.ndarray | None) -> np.ndarray:
    return np.empty(0) if values is None else values[np.isfinite(values)]


def _untestable(
    reference: Sample, now: Sample, name: str, first: np.ndarray, second: np.ndarray
) -> str | None:
    units = [sample.units[name] for sample in (reference, now) if name in sample.units]
    if len(set(units)) > 1:
        return f"in other units: {units[0] or 'none'} in the reference, {units[1] or 'none'} now"
    for side, values in (("in the reference", first), ("now", second)):
        if len(values) < FEWEST:
            return f"{len(values) or 'no'} {'value' if len(values) == 1 else 'values'} {side}"
    return f"always {first[0]:g}" if np.ptp(np.concatenate([first, second])) == 0 else None


def _ranks(reference: Sample, now: Sample, name: str) -> bytes:
    """The order of all cases by a measure; missing values last. Equal for x and any increasing f(x)."""
    from scipy.stats import rankdata

    values = np.concatenate([reference.numbers[name], now.numbers[name]])
    ranks = rankdata(np.where(np.isfinite(values), values, np.inf))
    return np.where(np.isfinite(values), ranks, 0.0).tobytes()


def _distribution(column: tuple[str, np.ndarray, np.ndarray], unit: str, same: tuple[str, ...]) -> Finding:
    from scipy.stats import ks_2samp

    name, first, second = column
    test = ks_2samp(first, second, method="asymp")
    # The exact p of nearly equal samples may be rounded to more than 1, of which SciPy warns.
    if test.pvalue < _CLEARLY_EQUAL and len(first) * len(second) <= _MOST_PAIRS:
        test = ks_2samp(first, second, method="exact")
    low, high = _shift_interval(first, second)
    medians = float(np.median(first)), float(np.median(second))
    return Finding(
        name=name,
        same=same,
        sort=DISTRIBUTION,
        unit=unit,
        cases=(len(first), len(second)),
        reference=medians[0],
        now=medians[1],
        shift=medians[1] - medians[0],
        low=low,
        high=high,
        statistic=float(test.statistic),
        p=float(test.pvalue),
    )


def _shift_interval(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of the difference of medians, always the same for equal values.

    The median of a resample is a value whose rank is that of the median of n uniform numbers, which has a
    beta distribution; so no resample is sorted.
    """
    rng = np.random.default_rng(0)
    medians = []
    for values in (first, second):
        n = len(values)
        ranks = rng.beta((n + 1) / 2, (n + 1) / 2, _RESAMPLES) * n
        medians.append(np.sort(values)[ranks.astype(int)])
    low, high = np.quantile(medians[1] - medians[0], (0.025, 0.975))
    return float(low), float(high)


def _rates(reference: Sample, now: Sample, alpha: float, untested: dict[str, str]) -> list[Finding]:
    groups: dict[bytes, list[tuple[Event, np.ndarray, np.ndarray]]] = {}
    for event in dict.fromkeys([*reference.events, *now.events]):
        first, second = (_looked(sample, event) for sample in (reference, now))
        if first is None or second is None:
            continue
        whole = np.concatenate([first, second])
        first, second = _present(first), _present(second)
        if min(len(first), len(second)) < FEWEST:
            untested[_told(event)] = f"{len(first)} cases in the reference and {len(second)} now"
        elif _least_p(first, second) < alpha:
            opposite = 1 - whole  # of two texts, one is there where the other is not
            key = min(whole.tobytes(), opposite.tobytes())
            groups.setdefault(key, []).append((event, first, second))
        elif 0 < np.nansum(whole) < len(whole):
            untested[_told(event)] = "too rare for a test"
    return [_rate(group[0], tuple(_told(event) for event, *_ in group[1:])) for group in groups.values()]


def _looked(sample: Sample, event: Event) -> np.ndarray | None:
    """The column of an event; zeros if it never happened though its group was looked at, else None."""
    return sample.events.get(event, sample.asked.get(event[0]))


def _told(event: Event) -> str:
    return ": ".join(event)


def _least_p(first: np.ndarray, second: np.ndarray) -> float:
    """The smallest p that so many events in so many cases could have (Tarone, Biometrics 46, 1990)."""
    events, n, m = int(first.sum() + second.sum()), len(first), len(second)
    extremes = [min(events, n), max(0, events - m)]
    return min(_fisher(k, n, events - k, m) for k in extremes)


def _fisher(k: int, n: int, other: int, m: int) -> float:
    from scipy.stats import fisher_exact

    return float(fisher_exact([[k, n - k], [other, m - other]]).pvalue)


def _rate(column: tuple[Event, np.ndarray, np.ndarray], same: tuple[str, ...]) -> Finding:
    event, first, second = column
    k, n, other, m = int(first.sum()), len(first), int(second.sum()), len(second)
    before, after = k / n, other / m
    low, high = _difference_interval(k, n, other, m)
    p = _fisher(k, n, other, m)
    change = after - before
    return Finding(_told(event), same, RATE, "", (n, m), before, after, change, low, high, abs(change), p)


def _difference_interval(k: int, n: int, other: int, m: int) -> tuple[float, float]:
    """The 95% interval of other / m - k / n: Newcombe's method 10 (Stat. Med. 17:873, 1998)."""
    (low_a, high_a), (low_b, high_b) = _wilson(k, n), _wilson(other, m)
    a, b = k / n, other / m
    return (
        b - a - math.hypot(b - low_b, high_a - a),
        b - a + math.hypot(high_b - b, a - low_a),
    )


def _wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95% score interval of a rate (J. Am. Stat. Assoc. 22, 1927)."""
    centre = (k + _Z95**2 / 2) / (n + _Z95**2)
    half = _Z95 / (n + _Z95**2) * math.sqrt(k * (n - k) / n + _Z95**2 / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def _smallest(n: int, m: int, alpha: float) -> float:
    """The Kolmogorov-Smirnov statistic whose asymptotic p is alpha."""
    return min(1.0, math.sqrt(-math.log(alpha / 2) / 2 * (n + m) / (n * m)))
