"""Pictures of one place at two times: slices of both images, sampled where the registration says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medseg.colours import colour_rgb
from medseg.follow_up.lungs import on_image
from medseg.follow_up.record import ObjectChange, Picture, Visit
from medseg.follow_up.registration import Registration
from medseg.reports.volume_overlay import contours
from medseg.reports.volume_views import to_grey
from medseg.volume import Window

LUNG_WINDOW = Window("Lung window", -600, 1500, "HU")
AIR_HU = -1024.0  # beyond the image
CROP_MM, PIXEL_MM = 96.0, 0.6
MAP_PIXEL_MM = 1.2
STRONGEST_HU = 250.0  # full colour in the map of change
DENSER, THINNER = np.array([255, 120, 20]), np.array([40, 140, 255])  # apart for the colour-blind, too
MOST_OBJECTS = 12


@dataclass(frozen=True, eq=False)
class Plane:
    """A slice of the later image as a radiologist sees it: the patient's right, or the front, is on the left.

    Attributes:
        places_mm: (row, column, 3) RAS+ mm.
        pixel_mm: size of a pixel.
    """

    places_mm: np.ndarray
    pixel_mm: float


def axial(centre_mm: np.ndarray, half_mm: Sequence[float], pixel_mm: float) -> Plane:
    """A slice across the body: columns run to the patient's left, rows to the back."""
    return _plane(centre_mm, half_mm, pixel_mm, across=0, down=1)


def coronal(centre_mm: np.ndarray, half_mm: Sequence[float], pixel_mm: float) -> Plane:
    """A slice along the body and across: columns run to the patient's left, rows to the feet."""
    return _plane(centre_mm, half_mm, pixel_mm, across=0, down=2)


def _plane(centre_mm: np.ndarray, half_mm: Sequence[float], pixel_mm: float, across: int, down: int) -> Plane:
    columns, rows = (np.arange(-half, half + pixel_mm / 2, pixel_mm) for half in half_mm)
    places = np.tile(np.asarray(centre_mm, float), (len(rows), len(columns), 1))
    places[..., across] -= columns[None]
    places[..., down] -= rows[:, None]
    return Plane(places, pixel_mm)


def sampled(
    array: np.ndarray, affine: np.ndarray, places_mm: np.ndarray, order: int, outside: float = 0.0
) -> np.ndarray:
    """Values of an array (i, j, k) at places (..., 3) in RAS+ mm."""
    from scipy.ndimage import map_coordinates

    to_voxel = np.linalg.inv(affine)
    at = np.moveaxis(places_mm @ to_voxel[:3, :3].T + to_voxel[:3, 3], -1, 0)
    box = tuple(
        slice(max(0, int(np.floor(axis.min())) - 1), max(1, min(size, int(np.ceil(axis.max())) + 2)))
        for axis, size in zip(at, array.shape, strict=True)
    )
    part = array[box]
    if not part.size:
        return np.full(places_mm.shape[:-1], outside)
    at = at - np.array([side.start for side in box]).reshape(-1, *[1] * (at.ndim - 1))
    dtype = np.float32 if order else array.dtype
    found: np.ndarray = map_coordinates(part, at, order=order, output=dtype, cval=outside)
    return found


def object_pictures(
    visits: tuple[Visit, Visit],
    numbers: tuple[np.ndarray, np.ndarray],
    found: Registration,
    objects: Sequence[ObjectChange],
) -> list[Picture]:
    """An axial slice through each object that changed at both times, the largest first."""
    shown = [each for each in objects if each.kind not in ("unchanged", "not assessed")]
    shown.sort(key=lambda each: -max(each.earlier_size or 0, each.later_size or 0))
    return [_object_picture(visits, numbers, found, each) for each in shown[:MOST_OBJECTS]]


def _object_picture(
    visits: tuple[Visit, Visit],
    numbers: tuple[np.ndarray, np.ndarray],
    found: Registration,
    changed: ObjectChange,
) -> Picture:
    plane = axial(_centre(visits, numbers, found, changed), (CROP_MM / 2,) * 2, PIXEL_MM)
    places = _both(plane, found)
    drawn = [
        _drawn(visit, own, place, wanted)
        for visit, own, place, wanted in zip(
            visits, numbers, places, (changed.earlier, changed.later), strict=True
        )
    ]
    sizes = [
        "none" if size is None else f"{size:.2g} {changed.unit}"
        for size in (changed.earlier_size, changed.later_size)
    ]
    which = (changed.later or changed.earlier)[0]
    return Picture(
        f"{changed.kind.capitalize()}: {changed.name.replace('_', ' ')} {which}",
        f"Axial slice of {CROP_MM:.0f} mm: {sizes[0]} earlier, {sizes[1]} later. What is meant has a thick "
        "line, other regions a thin one.",
        *drawn,
    )


def _centre(
    visits: tuple[Visit, Visit],
    numbers: tuple[np.ndarray, np.ndarray],
    found: Registration,
    changed: ObjectChange,
) -> np.ndarray:
    """The place of a voxel in the object, near the middle of its largest axial extent; later RAS+ mm."""
    time = 1 if changed.later else 0
    own = np.argwhere(np.isin(numbers[time], changed.later or changed.earlier))
    affine = np.asarray(visits[time].mask.affine)
    places = own @ affine[:3, :3].T + affine[:3, 3]
    nearest = places[np.argmin(np.linalg.norm(places - places.mean(axis=0), axis=1))]
    return nearest if time else found.to_later(nearest[None])[0]


def _both(plane: Plane, found: Registration) -> tuple[np.ndarray, np.ndarray]:
    """The places of a plane in the earlier and in the later image."""
    flat = plane.places_mm.reshape(-1, 3)
    return found.to_earlier(flat).reshape(plane.places_mm.shape), plane.places_mm


def _grey(visit: Visit, places_mm: np.ndarray) -> np.ndarray:
    values = sampled(visit.image.array[0], np.asarray(visit.mask.affine), places_mm, 1, AIR_HU)
    return to_grey(values, visit.window or LUNG_WINDOW)


def _drawn(visit: Visit, numbers: np.ndarray, places_mm: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """A slice in grey with the objects' contours; (row, column, 3) uint8."""
    picture = np.repeat(_grey(visit, places_mm)[..., None], 3, axis=2)
    labels = sampled(numbers, np.asarray(visit.mask.affine), places_mm, 0)
    meant = np.isin(labels, wanted) & (labels > 0)
    for mask, colour, width in (((labels > 0) & ~meant, 2, 1), (meant, 1, 2)):
        line = contours(mask.astype(np.uint8), width) == 1
        picture[line] = colour_rgb(colour)
    return picture


def map_pictures(
    visits: tuple[Visit, Visit], found: Registration, change_hu: np.ndarray, limit_hu: float
) -> list[Picture]:
    """A coronal and an axial slice of the map of change, where most of it is beyond the limit."""
    strength = np.nan_to_num(np.abs(change_hu)) > limit_hu
    inside = found.later.labels > 0
    pictures = []
    for name, cut, axis in (("Coronal", coronal, 1), ("Axial", axial, 2)):
        others = tuple(other for other in range(3) if other != axis)
        score = strength.sum(axis=others) + 1e-3 * inside.sum(axis=others)
        where = np.argwhere(inside).mean(axis=0)
        where[axis] = int(score.argmax())
        half = np.array(inside.shape) * found.later.spacing_mm / 2
        middle = found.later.origin_mm + half
        middle[axis] = found.later.origin_mm[axis] + where[axis] * found.later.spacing_mm
        size = [half[other] for other in others]
        pictures.append(
            _map_picture(name, cut(middle, size, MAP_PIXEL_MM), visits, found, change_hu, limit_hu)
        )
    return pictures


def _map_picture(
    name: str,
    plane: Plane,
    visits: tuple[Visit, Visit],
    found: Registration,
    change_hu: np.ndarray,
    limit_hu: float,
) -> Picture:
    earlier, later = (
        np.repeat(_grey(visit, place)[..., None], 3, axis=2)
        for visit, place in zip(visits, _both(plane, found), strict=True)
    )
    grid = np.diag([found.later.spacing_mm] * 3 + [1.0])
    grid[:3, 3] = found.later.origin_mm
    values = sampled(np.nan_to_num(change_hu), grid, plane.places_mm, 1)
    return Picture(
        f"{name} slice: change of density",
        f"Orange is denser, blue less dense than before, from {limit_hu:.0f} HU on; a change by the depth of "
        "the breath is taken out.",
        earlier,
        later,
        coloured(later, values, limit_hu),
    )


def coloured(grey: np.ndarray, change_hu: np.ndarray, limit_hu: float) -> np.ndarray:
    """A grey picture with a change in HU in colour, from the limit on; (row, column, 3) uint8."""
    beyond = np.abs(change_hu) >= limit_hu
    share = np.clip(np.abs(change_hu) / STRONGEST_HU, 0.35, 1)[..., None]
    colour = np.where((change_hu > 0)[..., None], DENSER, THINNER)
    mixed = np.where(beyond[..., None], (1 - share) * grey + share * colour, 0.8 * grey)
    drawn: np.ndarray = np.rint(mixed).astype(np.uint8)
    return drawn


def change_map(visit: Visit, found: Registration, change_hu: np.ndarray) -> np.ndarray:
    """The change in HU on the grid of the later image, (i, j, k) int16; 0 outside the lungs."""
    on_grid = on_image(np.nan_to_num(change_hu), found.later, visit)
    lungs = np.isin(visit.mask.array, [value for value in np.unique(found.later.labels) if value])
    values: np.ndarray = np.where(lungs, np.rint(on_grid), 0).astype(np.int16)
    return values
