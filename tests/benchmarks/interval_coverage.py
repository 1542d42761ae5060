"""How often a nominal 95% interval of a mean score covers the true mean, by method and number of subjects.

    python tests/benchmarks/interval_coverage.py [SIMULATIONS]

Scores are simulated: one case a subject, or two to three that are alike. All intervals of a simulation but
Student's come from the same resamples of subjects.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
from scipy import stats

from medseg.metrics.overlap import bootstrap_interval

SUBJECTS = (5, 6, 8, 10, 20, 50)
RESAMPLES = 2000  # as medseg's
CONFIDENCE = 0.95

Scores = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
Bounds = tuple[np.ndarray, np.ndarray]


def _of_mean(rng: np.random.Generator, mean: np.ndarray, concentration: float) -> np.ndarray:
    return rng.beta(mean * concentration, (1 - mean) * concentration)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Dice near 0.9 with a tail to the left; the true mean is 0.9."""
    subject = np.clip(rng.beta(18, 2, shape[:-1]), 1e-3, 1 - 1e-3)[..., None]
    return _of_mean(rng, np.broadcast_to(subject, shape), 60)


def bimodal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """One subject in six fails; the true mean is 0.82."""
    failed = rng.random(shape[:-1]) < 1 / 6
    subject = np.where(failed, 0.42, 0.9)[..., None]
    return _of_mean(rng, np.broadcast_to(subject, shape), 40)


def differences(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Two methods that agree on 3 subjects of 10, else in steps of 0.01; the true mean is 0.007."""
    differs = rng.random(shape[:-1]) >= 0.3
    subject = rng.normal(0.01, 0.02, shape[:-1])
    return np.round(subject[..., None] + rng.normal(0, 0.015, shape), 2) * differs[..., None]


DISTRIBUTIONS: dict[str, tuple[Scores, float]] = {
    "skewed, near 0.9": (skewed, 0.9),
    "one in six fails": (bimodal, 0.82),
    "differences, ties": (differences, 0.007),
}


def simulate(
    scores: Scores, subjects: int, several: bool, simulations: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the scores and number of cases of each subject, both (simulations, subjects)."""
    values = scores(rng, (simulations, subjects, 3))
    sizes = rng.integers(2, 4, (simulations, subjects)) if several else np.ones((simulations, subjects), int)
    return (values * (np.arange(3) < sizes[..., None])).sum(axis=-1), sizes.astype(float)


def resampled_means(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The mean over cases in every resample of subjects; (simulations, resamples)."""
    subjects = sums.shape[1]
    drawn = np.random.default_rng(0).integers(subjects, size=(RESAMPLES, subjects))
    times = np.stack([np.bincount(row, minlength=subjects) for row in drawn]).astype(float)
    return (sums @ times.T) / (sizes @ times.T)


def mean_of_cases(sums: np.ndarray, sizes: np.ndarray, axis: int) -> np.ndarray:
    return sums.sum(axis=axis) / sizes.sum(axis=axis)


def of_scipy(sums: np.ndarray, sizes: np.ndarray, means: np.ndarray, method: str) -> Bounds:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NaN where all values are equal: it is counted below
        found = stats.bootstrap(
            (sums, sizes), mean_of_cases, paired=True, vectorized=True, axis=1, n_resamples=0,
            method=method, bootstrap_result=SimpleNamespace(bootstrap_distribution=means),
        )  # fmt: skip
    return found.confidence_interval.low, found.confidence_interval.high


def expanded(means: np.ndarray, subjects: int) -> Bounds:
    """Percentiles as far out as Student's t is (Hesterberg, Am. Stat. 69:371, 2015)."""
    t = stats.t.ppf((1 + CONFIDENCE) / 2, subjects - 1)
    tail = stats.norm.cdf(-np.sqrt(subjects / (subjects - 1)) * t)
    low, high = np.quantile(means, [tail, 1 - tail], axis=1)
    return low, high


def student(sums: np.ndarray, sizes: np.ndarray) -> Bounds:
    """Student's t over the means of subjects."""
    means, subjects = sums / sizes, sums.shape[1]
    half = stats.t.ppf((1 + CONFIDENCE) / 2, subjects - 1) * means.std(axis=1, ddof=1) / np.sqrt(subjects)
    return means.mean(axis=1) - half, means.mean(axis=1) + half


def require_same_as_medseg(sums: np.ndarray, sizes: np.ndarray, ours: Bounds) -> None:
    """The percentile interval here is the one that medseg reports."""
    for row in range(3):
        owners = [f"{s:03}" for s, size in enumerate(sizes[row]) for _ in range(int(size))]
        values = [sums[row, int(owner)] / sizes[row, int(owner)] for owner in owners]
        _, low, high = bootstrap_interval(values, owners)
        np.testing.assert_allclose((ours[0][row], ours[1][row]), (low, high), rtol=1e-9, atol=1e-12)


def report(name: str, subjects: int, cases: str, true_mean: float, intervals: dict[str, Bounds]) -> None:
    cells = []
    for low, high in intervals.values():
        covered = 100 * np.mean((low <= true_mean) & (true_mean <= high))
        missing = np.isnan(low) | np.isnan(high)
        none = f", {100 * missing.mean():.1f}% NaN" if missing.any() else ""
        cells.append(f"{covered:.1f} ({np.nanmean(high - low):.3f}{none})")
    print(f"| {name} | {subjects} | {cases} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    error = 100 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / simulations)
    print(f"{simulations} simulations: coverage in %, +- {error:.1f} at 95%; in brackets the mean width\n")
    header = ["scores", "subjects", "cases", "percentile", "basic", "BCa", "expanded", "Student's t"]
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    rng = np.random.default_rng(0)
    for name, (scores, true_mean) in DISTRIBUTIONS.items():
        for several in (False, True):
            for subjects in SUBJECTS:
                sums, sizes = simulate(scores, subjects, several, simulations, rng)
                means = resampled_means(sums, sizes)
                intervals = {
                    "percentile": of_scipy(sums, sizes, means, "percentile"),
                    "basic": of_scipy(sums, sizes, means, "basic"),
                    "BCa": of_scipy(sums, sizes, means, "BCa"),
                    "expanded": expanded(means, subjects),
                    "Student's t": student(sums, sizes),
                }
                require_same_as_medseg(sums, sizes, intervals["percentile"])
                report(name, subjects, "2-3" if several else "1", true_mean, intervals)


if __name__ == "__main__":
    main()
