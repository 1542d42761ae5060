"""Features of lines and tubes, by the eigenvalues of the Hessian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement

import numpy as np

from medseg.methods.features.edges import derivative
from medseg.methods.features.record import Feature, FeatureInput

ALPHA, BETA = 0.5, 0.5  # Frangi's: how strictly a plate, and a blob, is told from a line
_CHUNK = 1 << 18  # eigenvalues that are computed at once, which bounds memory


def eigenvalues(image: FeatureInput, scale: float) -> np.ndarray:
    """Eigenvalues of the Hessian after a Gaussian, times the scale's square: (axes, n) in falling order.

    n are the region's pixels. Above 0 across dark lines, below 0 across bright ones. The factor makes the
    responses of scales comparable (Lindeberg, IJCV 30, 1998) and those of spacings the same.
    """
    return image.shared(("hessian", scale), lambda: _computed(image, scale))


def _computed(image: FeatureInput, scale: float) -> np.ndarray:
    sigma = image.pixels(scale)
    return symmetric_eigenvalues([sigma**2 * element for element in _hessian(image, sigma)])


def symmetric_eigenvalues(elements: Sequence[np.ndarray]) -> np.ndarray:
    """Eigenvalues (axes, n) float32 in falling order of n symmetric matrices, by their upper triangles.

    Args:
        elements: 3 or 6 arrays (n,), row by row.
    """
    from skimage.feature import hessian_matrix_eigvals

    of_part = hessian_matrix_eigvals if len(elements) == 3 else _of_three_axes
    count = len(elements[0])
    found = np.empty(({3: 2, 6: 3}[len(elements)], count), np.float32)
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        found[:, part] = of_part([element[part].astype(float) for element in elements])
    return found


def _of_three_axes(elements: Sequence[np.ndarray]) -> np.ndarray:
    """(3, n) eigenvalues by Smith's trigonometric formula (Communications of the ACM 4, 1961).

    LAPACK, which NumPy and scikit-image call for each matrix, takes ten times as long.
    """
    ii, ij, ik, jj, jk, kk = elements
    mean = (ii + jj + kk) / 3
    ii, jj, kk = ii - mean, jj - mean, kk - mean
    size = np.sqrt((ii**2 + jj**2 + kk**2 + 2 * (ij**2 + ik**2 + jk**2)) / 6)
    determinant = ii * (jj * kk - jk**2) - ij * (ij * kk - jk * ik) + ik * (ij * jk - jj * ik)
    cosine = determinant / (2 * np.maximum(size, 1e-30) ** 3)
    angle = np.arccos(np.clip(cosine, -1, 1)) / 3
    largest = mean + 2 * size * np.cos(angle)
    smallest = mean + 2 * size * np.cos(angle + 2 * np.pi / 3)
    return np.stack([largest, 3 * mean - largest - smallest, smallest])


def _hessian(image: FeatureInput, sigma: float) -> list[np.ndarray]:
    """The upper triangle of the Hessian per pixel squared at the region's pixels, each (n,)."""
    axes = range(image.grey.ndim)
    firsts = [derivative(image.grey, sigma, axis) for axis in axes]
    return [
        derivative(firsts[one], sigma, other)[image.region]
        for one, other in combinations_with_replacement(axes, 2)
    ]


def _eigenvalue(number: int) -> Callable[[FeatureInput, float], np.ndarray]:
    return lambda image, scale: image.over_region(eigenvalues(image, scale)[number])


def _frangi(sign: int) -> Callable[[FeatureInput, float], np.ndarray]:
    """Vesselness of dark (sign 1) or bright (sign -1) lines."""

    def compute(image: FeatureInput, scale: float) -> np.ndarray:
        found = sign * eigenvalues(image, scale)
        found = np.take_along_axis(found, np.abs(found).argsort(axis=0), axis=0)
        across = np.maximum(found[1:], 1e-10)
        norm = np.sqrt((found**2).sum(axis=0))
        half = norm.max() / 2 or 1
        blobness = np.abs(found[0]) / (across[0] if len(across) == 1 else np.sqrt(across[0] * across[1]))
        vesselness = np.exp(-(blobness**2) / (2 * BETA**2)) * (1 - np.exp(-(norm**2) / (2 * half**2)))
        if len(across) == 2:
            vesselness *= 1 - np.exp(-((across[0] / across[1]) ** 2) / (2 * ALPHA**2))
        return image.over_region(np.where((found[1:] > 0).all(axis=0), vesselness, 0))

    return compute


def _sato(sign: int) -> Callable[[FeatureInput, float], np.ndarray]:
    """Line strength of dark (sign 1) or bright (sign -1) lines: the geometric mean across the line."""

    def compute(image: FeatureInput, scale: float) -> np.ndarray:
        falling = eigenvalues(image, scale)
        across = falling[:-1] if sign > 0 else -falling[1:]
        return image.over_region(np.prod(np.maximum(across, 0), axis=0) ** (1 / len(across)))

    return compute


_HESSIAN = "eigenvalue of the Hessian after a Gaussian, times the scale's square (Lindeberg, IJCV 30, 1998)"
_FRANGI = "lines from 0 to 1, against half the image's largest Hessian norm (Frangi et al., MICCAI 1998)"
_SATO = "lines in the image's unit, comparable between scales (Sato et al., Medical Image Analysis 2, 1998)"

FEATURES = (
    Feature("hessian_largest", f"largest {_HESSIAN}", _eigenvalue(0), scaled=True),
    Feature("hessian_middle", f"middle {_HESSIAN}", _eigenvalue(1), scaled=True, dimensions=(3,)),
    Feature("hessian_smallest", f"smallest {_HESSIAN}", _eigenvalue(-1), scaled=True),
    Feature("dark_vesselness", f"dark {_FRANGI}", _frangi(1), scaled=True),
    Feature("bright_vesselness", f"bright {_FRANGI}", _frangi(-1), scaled=True),
    Feature("dark_ridge", f"dark {_SATO}", _sato(1), scaled=True),
    Feature("bright_ridge", f"bright {_SATO}", _sato(-1), scaled=True),
)
