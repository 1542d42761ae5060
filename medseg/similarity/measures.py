"""How alike two images on one grid are, by measures of the literature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.similarity.alignment import Pair
from medseg.similarity.texture import cooccurrence, lbp_histogram, planes_of, to_levels

SSIM_SIGMA, SSIM_WINDOW = 1.5, 11  # Wang and others 2004
NMI_BINS = 64
HISTOGRAM_BINS = 256
_SLAB = 32  # planes of a volume whose SSIM is computed at once


@dataclass(frozen=True)
class Measure:
    """A measure: its name for people, its range, its value for identical images, and its definition."""

    title: str
    span: str
    identical: str
    definition: str


MEASURES = {
    "ssim": Measure(
        "structural similarity (SSIM)",
        "-1 to 1",
        "1",
        "mean of the SSIM map with a Gaussian window of sigma 1.5 and 11 pixels, K1 0.01, K2 0.03 "
        "(Wang and others, IEEE TIP 13, 2004)",
    ),
    "normalised_mutual_information": Measure(
        "normalised mutual information",
        "1 to 2",
        "2",
        "(H(A) + H(B)) / H(A, B) with 64 bins an image (Studholme and others, Pattern Recognition 32, 1999)",
    ),
    "normalised_cross_correlation": Measure(
        "normalised cross-correlation",
        "-1 to 1",
        "1",
        "Pearson's correlation of the values, without a shift",
    ),
    "psnr_db": Measure(
        "peak signal-to-noise ratio (dB)",
        "any",
        "none: no noise",
        "10 log10(data range squared / mean squared error)",
    ),
    "histogram_intersection": Measure(
        "histogram intersection",
        "0 to 1",
        "1",
        "sum of min(p, q) (Swain and Ballard, IJCV 7, 1991)",
    ),
    "histogram_chi_square": Measure(
        "chi-square distance of histograms",
        "0 to 1",
        "0",
        "half the sum of (p - q)^2 / (p + q)",
    ),
    "histogram_hellinger": Measure(
        "Hellinger distance of histograms",
        "0 to 1",
        "0",
        "square root of 1 - the Bhattacharyya coefficient, sum of sqrt(p q)",
    ),
    "histogram_wasserstein": Measure(
        "Wasserstein distance of histograms",
        "from 0, in the image's own values",
        "0",
        "earth mover's distance of order 1 (Rubner and others, IJCV 40, 2000)",
    ),
    "texture_glcm_hellinger": Measure(
        "texture: co-occurrence",
        "0 to 1",
        "0",
        "Hellinger distance of grey-level co-occurrence matrices, 32 levels, distance 1, 4 directions "
        "(Haralick and others, IEEE SMC 3, 1973)",
    ),
    "texture_lbp_chi_square": Measure(
        "texture: local binary patterns",
        "0 to 1",
        "0",
        "chi-square distance of histograms of uniform rotation-invariant patterns, 8 neighbours, radius 1 "
        "(Ojala and others, PAMI 24, 2002)",
    ),
}


def measures(pair: Pair) -> tuple[dict[str, dict[str, Any]], float]:
    """Every measure of a pair, and the data range that SSIM and the peak signal-to-noise ratio use.

    Of images in colour each measure is the mean over the channels. Texture of volumes is that of up to 16
    planes along the last axis.

    Returns:
        Name to {"value": number, or None with a "reason"}; and the data range: 255 if both have 8 bits, else
        the difference of the largest and smallest value in both.
    """
    data_range = _data_range(pair)
    found: dict[str, list[float | str]] = {name: [] for name in MEASURES}
    for a, b in zip(pair.a, pair.b, strict=True):
        for name, value in _of_channel(a, b, pair.inside, data_range).items():
            found[name].append(value)
    return {name: _entry(values) for name, values in found.items()}, data_range


def _entry(values: list[float | str]) -> dict[str, Any]:
    reasons = [value for value in values if isinstance(value, str)]
    if reasons:
        return {"value": None, "reason": reasons[0]}
    return {"value": float(np.mean([float(value) for value in values]))}


def _of_channel(
    a: np.ndarray, b: np.ndarray, inside: np.ndarray | None, data_range: float
) -> dict[str, float | str]:
    one, two = (image.ravel() if inside is None else image[inside] for image in (a, b))
    return {
        "ssim": ssim(a, b, data_range, inside),
        **_of_values(one, two, data_range),
        **_of_histograms(one, two),
        **_of_texture(a, b, inside),
    }


def ssim(a: np.ndarray, b: np.ndarray, data_range: float, inside: np.ndarray | None = None) -> float | str:
    """Mean structural similarity where the whole window lies in the images, and inside; or why there is none.

    A volume is computed in slabs, which changes nothing but the memory.

    Args:
        a, b: (row, column) or (i, j, k).
        data_range: the difference of the largest and smallest possible value.
        inside: what is compared; None for all.
    """
    from scipy.ndimage import minimum_filter
    from skimage.metrics import structural_similarity

    if min(a.shape) < SSIM_WINDOW:
        return f"an image of fewer than {SSIM_WINDOW} pixels along an axis has no whole window"
    if data_range == 0:
        return "all values of both images are the same"
    half = SSIM_WINDOW // 2
    total, count = 0.0, 0
    step = _SLAB if a.ndim == 3 else a.shape[-1]
    for start in range(0, a.shape[-1] - 2 * half, step):
        part = (..., slice(start, start + step + 2 * half))
        _, here = structural_similarity(
            a[part].astype(np.float32),
            b[part].astype(np.float32),
            data_range=data_range,
            gaussian_weights=True,
            sigma=SSIM_SIGMA,
            use_sample_covariance=False,
            full=True,
        )
        core = (slice(half, -half),) * a.ndim
        whole = True if inside is None else minimum_filter(inside[part], SSIM_WINDOW)[core]
        total += float(here[core].sum(where=whole, dtype=np.float64))
        count += here[core].size if inside is None else int(np.count_nonzero(whole))
    return total / count if count else "the overlap holds no whole window"


def _of_values(one: np.ndarray, two: np.ndarray, data_range: float) -> dict[str, float | str]:
    from skimage.measure import pearson_corr_coeff
    from skimage.metrics import normalized_mutual_information

    one, two = one.astype(np.float64), two.astype(np.float64)
    error = float(np.mean((one - two) ** 2))
    noise = 10 * float(np.log10(data_range**2 / error)) if error > 0 else "the images are the same"
    constant = [name for name, values in (("first", one), ("second", two)) if values.min() == values.max()]
    if constant:
        reason = f"all values of the {' and the '.join(constant)} image are the same"
        both: dict[str, float | str] = {
            "normalised_mutual_information": reason,
            "normalised_cross_correlation": reason,
        }
    else:
        both = {
            "normalised_mutual_information": float(normalized_mutual_information(one, two, bins=NMI_BINS)),
            "normalised_cross_correlation": float(np.clip(pearson_corr_coeff(one, two)[0], -1, 1)),
        }
    return {**both, "psnr_db": noise}


def _of_histograms(one: np.ndarray, two: np.ndarray) -> dict[str, float | str]:
    """Distances of histograms over the common range; of 8 bits each value has a bin of its own."""
    from scipy.stats import wasserstein_distance

    low, high = float(min(one.min(), two.min())), float(max(one.max(), two.max()))
    if one.dtype == two.dtype == np.uint8:
        low, high = -0.5, 255.5
    elif low == high:
        low, high = low - 0.5, high + 0.5
    p, edges = np.histogram(one, HISTOGRAM_BINS, (low, high))
    q, _ = np.histogram(two, HISTOGRAM_BINS, (low, high))
    p, q, centres = p / p.sum(), q / q.sum(), (edges[1:] + edges[:-1]) / 2
    return {
        "histogram_intersection": float(np.minimum(p, q).sum()),
        "histogram_chi_square": chi_square(p, q),
        "histogram_hellinger": hellinger(p, q),
        "histogram_wasserstein": float(wasserstein_distance(centres, centres, p, q)),
    }


def _of_texture(a: np.ndarray, b: np.ndarray, inside: np.ndarray | None) -> dict[str, float | str]:
    """Each image is spread over its own 1st to 99th percentile: brightness is no texture."""
    names = ("texture_glcm_hellinger", "texture_lbp_chi_square")
    masks = [None] * len(planes_of(a)) if inside is None else planes_of(inside)
    levels = []
    for image in (a, b):
        low, high = np.percentile(image if inside is None else image[inside], (1, 99))
        planes = planes_of(image)
        levels.append([to_levels(plane, low, high, mask) for plane, mask in zip(planes, masks, strict=True)])
    pairs = [[function(planes) for planes in levels] for function in (cooccurrence, lbp_histogram)]
    if any(not found.any() for pair in pairs for found in pair):
        return dict.fromkeys(names, "the overlap is too small for a texture")
    return dict(zip(names, (hellinger(*pairs[0]), chi_square(*pairs[1])), strict=True))


def chi_square(p: np.ndarray, q: np.ndarray) -> float:
    """Half the sum of (p - q)^2 / (p + q) of two distributions, 0 to 1; without bins empty in both."""
    total = p + q
    return float(np.divide((p - q) ** 2, total, out=np.zeros_like(total), where=total > 0).sum() / 2)


def hellinger(p: np.ndarray, q: np.ndarray) -> float:
    """Hellinger distance of two distributions: sqrt(1 - the Bhattacharyya coefficient), 0 to 1."""
    return float(np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2))


def _data_range(pair: Pair) -> float:
    if pair.a.dtype == pair.b.dtype == np.uint8:
        return 255.0
    ends = [end for image in (pair.a, pair.b) for end in (float(image.min()), float(image.max()))]
    return max(ends) - min(ends)
