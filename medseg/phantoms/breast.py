"""A synthetic B-mode picture of a breast whose lesions are known exactly.

Depth grows with the row: skin, fat, gland, muscle and the chest wall, each with an echo level in decibels.
Speckle is the envelope of filtered complex Gaussian noise, so that its amplitude is Rayleigh distributed
(Wagner et al. 1983). It is averaged over a few images, as in compounding, and compressed by a logarithm.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

# Lower end as a share of the depth, and echo level in dB.
LAYERS = ((0.035, -6.0), (0.24, -30.0), (0.62, -21.0), (0.66, -14.0), (0.86, -27.0), (2.0, -36.0))
LESION_DB = -42.0
ATTENUATION_DB = -9.0  # at the lower end, after time gain compensation
RANGE_DB = 62.0  # dynamic range, from black to white
COMPOUNDED_IMAGES = 3
SPECKLE_PX = (0.9, 1.8)  # along and across the beam; the focus is wider than the pulse is long
BEHIND_DB = {"enhancement": 8.0, "shadow": -14.0}

TEXT, BAR = 210, 40  # grey values of letters, and of the bar at the top of a scanner's screen


def breast_ultrasound(
    seed: int = 0, shape: tuple[int, int] = (400, 360), lesions: int = 1, *, framed: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A synthetic B-mode picture of a breast.

    Args:
        seed: the same arguments give the same picture.
        shape: (row, column) of the ultrasound region, at least 128 px each.
        lesions: number of dark, lobulated lesions, side by side, with enhancement or a shadow behind them.
        framed: put the ultrasound region on a scanner's screen with letters, a ruler, a bar and a logo.

    Returns:
        picture (row, column) uint8; lesion mask (row, column) uint8, 1 in lesions; ultrasound region (row,
        column) bool, the part of the picture that shows echoes. All are larger than `shape` when framed.
    """
    random = np.random.default_rng(seed)
    echo_db = _layers(shape, random)
    mask = np.zeros(shape, dtype=bool)
    for number in range(lesions):
        lesion, centre, radius = _lesion(shape, number, lesions, random)
        echo_db += _behind(shape, centre, radius, str(random.choice(list(BEHIND_DB))))
        echo_db[lesion & ~mask] = LESION_DB + random.uniform(-4, 4)
        mask |= lesion
    picture = _compressed(echo_db, random)
    region = np.ones(shape, dtype=bool)
    if framed:
        return _framed(picture, mask, region, random)
    return picture, mask.astype(np.uint8), region


def _layers(shape: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """Mean echo in dB, (row, column), with undulating borders of layers and fine fibres along them."""
    from scipy.ndimage import gaussian_filter

    rows, columns = shape
    depth = np.linspace(0, 1, rows)[:, None]
    across = np.linspace(0, 1, columns)
    echo_db = np.full(shape, LAYERS[0][1])
    for (end, _), (_, level) in pairwise(LAYERS):
        waves = sum(
            random.normal(0, 0.12 / k) * np.sin(2 * np.pi * (k * across + random.random())) for k in (1, 2, 3)
        )
        border = end * (1 + 0.4 * waves * min(1.0, 8 * end - 0.28))
        echo_db = np.where(depth > border, level, echo_db)
    fibres = gaussian_filter(random.normal(size=shape), (rows / 150, columns / 12))
    lumps = gaussian_filter(random.normal(size=shape), (rows / 25, columns / 15))
    texture = 4.0 * fibres / fibres.std() + 3.0 * lumps / lumps.std()
    smooth: np.ndarray = gaussian_filter(echo_db, (rows / 300, 1.0))
    return smooth + texture * (depth > LAYERS[0][0]) + ATTENUATION_DB * depth


def _lesion(
    shape: tuple[int, int], number: int, count: int, random: np.random.Generator
) -> tuple[np.ndarray, tuple[float, float], tuple[float, float]]:
    """A lobulated ellipse in its own strip of the picture: mask (row, column), centre and radii in px."""
    strip = shape[1] / count
    radius = (
        shape[0] * random.uniform(0.08, 0.13),
        min(strip * 0.36, shape[1] * random.uniform(0.12, 0.2)),
    )
    centre = (shape[0] * random.uniform(0.3, 0.48), strip * (number + random.uniform(0.45, 0.55)))
    down, right = (axis - at for axis, at in zip(np.indices(shape), centre, strict=True))
    angle = np.arctan2(down / radius[0], right / radius[1])
    edge = 1 + sum(random.normal(0, 0.12 / k) * np.cos(k * angle + random.uniform(0, 6.3)) for k in (2, 3, 5))
    return np.hypot(down / radius[0], right / radius[1]) <= edge, centre, radius


def _behind(
    shape: tuple[int, int], centre: tuple[float, float], radius: tuple[float, float], effect: str
) -> np.ndarray:
    """The change of the echoes behind a lesion, (row, column) in dB."""
    row, column = np.ogrid[: shape[0], : shape[1]]
    across = np.exp(-(((column - centre[1]) / (0.75 * radius[1])) ** 4))
    below = np.clip((row - centre[0]) / radius[0], 0, 1) * np.exp(
        -np.clip(row - centre[0], 0, None) / (0.5 * shape[0])
    )
    return BEHIND_DB[effect] * across * below


def _compressed(echo_db: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(row, column) uint8 of echoes in dB, with speckle."""
    from scipy.ndimage import gaussian_filter

    power = np.zeros(echo_db.shape)
    for _ in range(COMPOUNDED_IMAGES):
        real, imaginary = (gaussian_filter(random.normal(size=echo_db.shape), SPECKLE_PX) for _ in range(2))
        power += real**2 + imaginary**2
    grey = 255 * (1 + (echo_db + 10 * np.log10(power / power.mean()) - 4) / RANGE_DB)
    return np.clip(np.round(grey + random.normal(0, 1.5, grey.shape)), 0, 255).astype(np.uint8)


def _framed(
    picture: np.ndarray, mask: np.ndarray, region: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ultrasound region on a black screen, with letters and marks around it that don't touch it."""
    rows, columns = picture.shape
    top, side = max(60, rows // 6), max(80, columns // 4)
    screen = np.zeros((rows + 2 * top, columns + 2 * side), dtype=np.uint8)
    inner = (slice(top, top + rows), slice(side, side + columns))
    labels, seen = np.zeros(screen.shape, np.uint8), np.zeros(screen.shape, dtype=bool)
    screen[inner], labels[inner], seen[inner] = picture, mask, region
    screen[: top // 4] = BAR
    for line in (top // 3, top // 3 + 16, top + rows + 14):
        _write(screen, line, side // 4, int(columns / 12), random)
    screen[top : top + rows // 2, side // 4 : side // 4 + 14] = np.linspace(255, 0, rows // 2)[:, None]
    screen[top : top + rows : max(8, rows // 20), side + columns + 12 : side + columns + 20] = TEXT
    row, column = np.ogrid[: screen.shape[0], : screen.shape[1]]
    logo = ((row - top * 0.6) / (top * 0.25)) ** 2 + ((column - (columns + 1.5 * side)) / (side * 0.25)) ** 2
    screen[logo <= 1] = TEXT
    return screen, labels, seen


def _write(screen: np.ndarray, top: int, left: int, letters: int, random: np.random.Generator) -> None:
    """Draw random glyphs, 10 px high and 6 px wide, in place."""
    for number in range(letters):
        glyph = np.kron(random.random((5, 3)) < 0.6, np.ones((2, 2), dtype=bool))
        at = left + 8 * number
        window = screen[top : top + 10, at : at + 6]
        window[glyph[: window.shape[0], : window.shape[1]]] = TEXT
