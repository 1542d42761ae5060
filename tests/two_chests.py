"""A small synthetic chest at several times: lungs with vessels, nodules of known place and volume."""

import datetime
import hashlib
import json

import numpy as np
from scipy.ndimage import gaussian_filter

from medseg.follow_up.record import Visit
from medseg.io import write_mask
from medseg.io.nifti import write as write_nifti
from medseg.sources import remember
from medseg.volume import Mask, Volume

LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}
SHAPE, SPACING_MM = (92, 50, 60), 3.0
CENTRES = {1: (-62.0, 0.0, 0.0), 2: (62.0, 0.0, 0.0)}
RADII_MM = (46.0, 58.0, 78.0)
PROVENANCE = {
    "task": "lung_ct",
    "method": "classical",
    "bundle_version": "0.5.0",
    "weights_sha256": None,
    "mode": "semantic",
}


def chest(nodules=(), shift_mm=(0, 0, 0), noise_hu=10.0, seed=0, zoom=1.0, person=1):
    """Image and mask.

    Args:
        nodules: (place in mm, radius in mm), of the body before the shift.
        shift_mm: of the body.
        noise_hu, seed: of the noise.
        zoom: of the lungs along the body.
        person: whose vessels and shape.
    """
    affine = np.diag([SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = -(np.array(SHAPE) - 1) / 2 * SPACING_MM
    places = np.moveaxis(np.indices(SHAPE), 0, -1) * SPACING_MM + affine[:3, 3] - np.asarray(shift_mm)
    labels = np.zeros(SHAPE, np.uint8)
    hu = np.where(np.hypot(places[..., 0] / 132, places[..., 1] / 76) < 1, 40.0, -1000.0)
    for value, centre in CENTRES.items():
        away = (places - centre) / np.array(RADII_MM) / (1, 1, zoom)
        bump = 0.1 * np.sin(places[..., 2] / 17 + value + person)
        labels[np.linalg.norm(away, axis=-1) < 1 + bump * (places[..., 1] > 0)] = value
    hu[labels > 0] = -850.0
    hu += 700 * _vessels(places / (1, 1, zoom), np.random.default_rng(person)) * (labels > 0)
    airway = (np.hypot(places[..., 0], places[..., 1]) < 8) & (places[..., 2] > 10)
    labels[airway], hu[airway] = 3, -1000.0
    for place, radius in nodules:
        share = np.clip((radius - np.linalg.norm(places - place, axis=-1)) / SPACING_MM + 0.5, 0, 1)
        hu += share * (40 - hu)
    hu = gaussian_filter(hu, 0.4) + np.random.default_rng(seed).normal(0, noise_hu, SHAPE)
    return np.rint(hu).astype(np.int16), labels, affine


def _vessels(places, random):
    """Thin lines from the middle of each lung outwards, 0 to 1."""
    found = np.zeros(places.shape[:-1])
    for centre in CENTRES.values():
        for _ in range(14):
            direction = random.normal(0, 1, 3)
            direction /= np.linalg.norm(direction)
            along = (places - centre) @ direction
            across = np.linalg.norm(places - centre - along[..., None] * direction, axis=-1)
            found = np.maximum(found, np.exp(-((across / 3.0) ** 2)) * (along > 0) * (along < 70))
    return found


def visit(day, case="visit", **settings):
    """A visit of that chest; its measurements are empty."""
    hu, labels, affine = chest(**settings)
    mask = Mask(labels, LABELS, affine)
    date = datetime.date.fromisoformat(day)
    return Visit(case, date, mask, Volume(hu[None], affine, source=case), {}, PROVENANCE)


def result_folder(out, case, provenance=None, **settings):
    """A folder as `medseg segment` leaves it, with its image beside it; the folder's path."""
    hu, labels, affine = chest(**settings)
    out.mkdir(exist_ok=True)
    image = write_nifti(hu, affine, out / f"{case}.nii.gz")
    folder = out / case
    folder.mkdir()
    write_mask(Mask(labels, LABELS, affine), folder / "segmentation.nii.gz")
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    record = {
        "task": "lung_ct",
        "labels": LABELS,
        "measurements": {},
        "warnings": [],
        "provenance": {**PROVENANCE, **(provenance or {}), "input": case, "input_sha256": digest},
    }
    (folder / "measurements.json").write_text(json.dumps(record))
    remember(out, case, image)
    return folder
