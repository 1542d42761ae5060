"""Figures over all cases of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.planning.cases import CaseFigures

Triple = tuple[float, float, float]  # lowest, median, highest


@dataclass(frozen=True)
class ClassFigures:
    """One label over all cases; sizes are of the cases that have it.

    Attributes:
        value, name: of the label.
        cases: number of cases that have it.
        voxels: pixels or voxels.
        volume_ml: of volumes; None for pictures.
        share: of the image.
        components: number of connected components.
        smallest_share: lowest of the cases' smallest components, as a share of the case's label.
        brighter: of each channel, the median of medseg.planning.cases.LabelFigures.brighter.
    """

    value: int
    name: str
    cases: int
    voxels: Triple
    volume_ml: Triple | None
    share: Triple
    components: Triple
    smallest_share: float
    brighter: tuple[float, ...]


@dataclass(frozen=True)
class Intensity:
    """Values of a channel inside the foreground, of all cases together, as nnU-Net takes them."""

    mean: float
    std: float
    low: float  # 0.5th percentile
    high: float  # 99.5th percentile


def summarise(cases: Sequence[CaseFigures], labels: Mapping[int, str], channels: int) -> dict[str, Any]:
    """The fields of medseg.planning.fingerprint.Fingerprint that are figures over all cases."""
    shapes = np.array([case.shape for case in cases], float)
    samples = np.concatenate([_repeated(case.samples, channels) for case in cases])
    inside = np.concatenate([case.sample_labels for case in cases]) > 0
    known = [case.spacing_mm for case in cases if case.spacing_mm is not None]
    spacings = np.array(known) if len(known) == len(cases) else None
    return {
        "cases": len(cases),
        "dimensions": shapes.shape[1],
        "shape": tuple(_triple(axis) for axis in shapes.T),
        "spacing_mm": None if spacings is None else tuple(_triple(axis) for axis in spacings.T),
        "one_size": bool((shapes == shapes[0]).all()),
        "anisotropy": 1.0 if spacings is None else float(np.median(spacings.max(1) / spacings.min(1))),
        "median_size_mm": None if spacings is None else tuple(np.median(shapes * spacings, axis=0).tolist()),
        "foreground": tuple(_intensity(channel[inside]) for channel in samples.T),
        "threshold": tuple(_best_threshold(channel, inside) for channel in samples.T),
        "brightness": tuple(_triple(part) for part in np.array([case.brightness for case in cases]).T),
        "zeros": float(np.median([case.zeros for case in cases])),
        "foreground_share": _triple([case.foreground_share for case in cases]),
        "empty_masks": sum(not case.labels for case in cases),
        "classes": tuple(_classes(cases, labels, channels)),
    }


def _repeated(samples: np.ndarray, channels: int) -> np.ndarray:
    """(n, channels): a grey picture among colour ones has the same value in each channel."""
    return samples if samples.shape[1] == channels else np.repeat(samples, channels, axis=1)


def _intensity(values: np.ndarray) -> Intensity:
    low, high = np.percentile(values, (0.5, 99.5))
    return Intensity(float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64)),
                     float(low), float(high))  # fmt: skip


def _best_threshold(values: np.ndarray, inside: np.ndarray) -> float:
    """The value whose sides differ most in their shares of foreground and background: Youden's index."""
    order = np.argsort(values, kind="stable")
    sides = np.where(inside[order], 1 / max(inside.sum(), 1), -1 / max((~inside).sum(), 1))
    at = int(np.abs(np.cumsum(sides)).argmax())
    ranked = values[order]
    return float((ranked[at] + ranked[min(at + 1, len(ranked) - 1)]) / 2)


def _classes(
    cases: Sequence[CaseFigures], labels: Mapping[int, str], channels: int
) -> Iterator[ClassFigures]:
    for value, name in labels.items():
        own = [(case, case.labels[value]) for case in cases if value in case.labels]
        if not value or not own:
            continue
        sizes = [figures.voxels for _, figures in own]
        volumes = [
            figures.voxels * float(np.prod(case.spacing_mm)) / 1000
            for case, figures in own
            if case.spacing_mm is not None and len(case.shape) == 3
        ]
        ranks = np.array([_repeated(np.array([figures.brighter]), channels)[0] for _, figures in own])
        yield ClassFigures(
            value, name, len(own), _triple(sizes), _triple(volumes) if volumes else None,
            _triple([figures.voxels / np.prod(case.shape) for case, figures in own]),
            _triple([figures.components for _, figures in own]),
            min(figures.smallest / figures.voxels for _, figures in own),
            tuple(np.median(ranks, axis=0).tolist()),
        )  # fmt: skip


def _triple(values: Any) -> Triple:
    low, middle, high = (float(part(values)) for part in (np.min, np.median, np.max))
    return low, middle, high
