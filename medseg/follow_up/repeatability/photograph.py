"""A fundus photograph taken again: another light, focus, colour balance, and another part of the retina."""

from __future__ import annotations

import dataclasses

import numpy as np

TURN_DEG = 4.0  # standard deviation, at strength 1
SHIFT = 0.05  # standard deviation along each axis, in diameters of the field of view
ZOOM = 0.04  # standard deviation of the logarithm
BEND = 0.01  # quadratic distortion at the border of the field, in its radii: the curved retina, seen aslant
UNEVEN = 0.2  # standard deviation of the brightness from one side of the field to the other
GAMMA = 0.12  # standard deviation of the logarithm
CHANNEL = 0.06  # standard deviation of the logarithm of each colour's brightness
BLUR = (0.0, 1.4)  # sigma in thousandths of the field's diameter
NOISE = 4.0  # largest standard deviation in grey values of 255


@dataclasses.dataclass(frozen=True, eq=False)
class Retaken:
    """A photograph that was taken again.

    Attributes:
        picture: (3, row, column) uint8.
        to_source: (2, row, column) float: row and column of each of its pixels in the photograph itself.
    """

    picture: np.ndarray
    to_source: np.ndarray


def retake_photograph(
    picture: np.ndarray, field: np.ndarray, random: np.random.Generator, strength: float = 1.0
) -> Retaken:
    """The same eye, photographed again by the same camera; its vessels are as they were.

    The field of view stays where the camera's aperture puts it, and the retina moves behind it: turned,
    shifted, a little nearer, and bent as a curved surface that is seen from another side. What the photograph
    itself does not show stays black.

    Args:
        picture: (3, row, column) uint8.
        field: (row, column) bool, the field of view.
        random: the same state gives the same photograph.
        strength: 0 for the same photograph, 1 for another day; all that differs grows with it.
    """
    from scipy.ndimage import map_coordinates

    middle, diameter = _circle(field)
    to_source = _moved(field.shape, middle, diameter, random, strength)
    moved = np.stack(
        [
            map_coordinates(channel.astype(np.float32), to_source, order=1, mode="constant")
            for channel in picture
        ]
    )
    seen = map_coordinates(field.astype(np.uint8), to_source, order=0, mode="constant").astype(bool)
    seen &= field
    values = _relit(moved / 255, middle, diameter, random, strength)
    values = _focused(values, seen, diameter, random, strength)
    values += random.normal(0, random.uniform(0, NOISE / 255) * strength, values.shape)
    return Retaken(np.rint(np.clip(values, 0, 1) * 255 * seen).astype(np.uint8), to_source)


def _circle(field: np.ndarray) -> tuple[np.ndarray, float]:
    rows, columns = np.flatnonzero(field.any(axis=1)), np.flatnonzero(field.any(axis=0))
    middle = np.array([rows[0] + rows[-1], columns[0] + columns[-1]]) / 2
    return middle, float(max(np.ptp(rows), np.ptp(columns)) + 1)


def _moved(
    shape: tuple[int, ...], middle: np.ndarray, diameter: float, random: np.random.Generator, strength: float
) -> np.ndarray:
    angle = np.radians(random.normal(0, TURN_DEG * strength))
    zoom = np.exp(random.normal(0, ZOOM * strength))
    shift = random.normal(0, SHIFT * diameter * strength, 2)
    bend = random.normal(0, BEND * strength, (2, 3)) * diameter / 2
    place = (np.indices(shape) - middle[:, None, None]) / (diameter / 2)  # -1 to 1 inside the field
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    squares = np.stack([place[0] ** 2, place[0] * place[1], place[1] ** 2])
    straight = np.tensordot(turn, place, 1) * diameter / 2
    return straight + np.tensordot(bend, squares, 1) + (middle + shift)[:, None, None]


def _relit(
    values: np.ndarray, middle: np.ndarray, diameter: float, random: np.random.Generator, strength: float
) -> np.ndarray:
    """Brightness that falls off to one side, another gamma, and another balance of the colours."""
    rows, columns = np.ogrid[: values.shape[1], : values.shape[2]]
    slope = random.normal(0, UNEVEN * strength, 2)
    light = 1 + (slope[0] * (rows - middle[0]) + slope[1] * (columns - middle[1])) / diameter
    balance = np.exp(random.normal(0, CHANNEL * strength, (len(values), 1, 1)))
    gamma = np.exp(random.normal(0, GAMMA * strength))
    return np.clip(values * np.clip(light, 0.2, None) * balance, 0, 1) ** gamma


def _focused(
    values: np.ndarray, seen: np.ndarray, diameter: float, random: np.random.Generator, strength: float
) -> np.ndarray:
    """Blurred inside the field; the dark surround does not bleed in."""
    from scipy.ndimage import gaussian_filter

    sigma = random.uniform(*BLUR) * strength * diameter / 1000
    if sigma < 0.1:
        return values
    weight = gaussian_filter(seen.astype(float), sigma)
    blurred = [gaussian_filter(channel * seen, sigma) / np.maximum(weight, 1e-6) for channel in values]
    return np.where(seen, np.stack(blurred), values)
