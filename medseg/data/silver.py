"""Silver masks: lungs that the classical method finds in real scans, corrected by eye in three planes.

A silver mask is no ground truth: where it was not corrected, it is the output of the classical method. The
corrections are polygons in a small file, from which the masks can be reproduced.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medseg.data.manifests import shipped_manifests
from medseg.errors import DataError
from medseg.grid import plan, to_grid, to_source
from medseg.io import nifti, read_volume
from medseg.methods.chest.airway import AREA_MM2
from medseg.methods.chest.lungs import closed, lungs
from medseg.morphology import components, dilated

logger = logging.getLogger(__name__)

SILVER_MM = 1.5  # the grid that the classical method was made for
LABELS = {"background": 0, "left_lung": 1, "right_lung": 2, "airway": 3}
LUMEN_HU, WALL_HU = -900, -600  # upper limits of an airway's lumen and of the partial volume at its wall
OPEN_HU = -960  # the mean of a trachea's section is below it, even if the mask calls the trachea lung
SLAB, SLAB_MM = 12, 4.0  # a single slice is repeated to a slab of 48 mm
STORED_ZERO = 2000  # the value of 0 HU in the slices' PNG
TRACHEA_ASIDE_MM = 40.0  # largest distance of the trachea from the middle between both lungs
SLICE_STATUS = ("ok", "none")  # values of mask_status whose masks can be used
MOST_OF_BOTH = 0.6  # largest width of a single lung, as a share of the width of both


@dataclass(frozen=True)
class Correction:
    """A prism in which voxels change their label.

    Attributes:
        to: the new label. background replaces lungs and airway, a lung replaces background, airway both.
        outline_mm: (n, 2) corners (x, y) of an axial polygon, RAS mm.
        z_mm: lowest and highest z, RAS mm.
        hu: lowest and highest value of the voxels that change.
        why: the reason, for the reader.
    """

    to: str
    outline_mm: Sequence[Sequence[float]]
    z_mm: tuple[float, float]
    why: str
    hu: tuple[float, float] = (-np.inf, np.inf)


def read_corrections(name: str) -> dict[str, list[Correction]]:
    """The shipped corrections of a data set: scan to its corrections, in the order to apply them.

    Raises:
        DataError: the file doesn't hold corrections.
    """
    path = shipped_manifests() / "corrections" / f"{name}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))["corrections"]
        return {scan: [Correction(**entry) for entry in entries] for scan, entries in content.items()}
    except (ValueError, KeyError, TypeError) as error:
        got = f"{path.name}, which can't be read ({error})"
        raise DataError("a file of corrections", got=got, advice="Correct the file.") from error


def write_silver(
    folder: str | Path, dataset_dir: str | Path, scans: Mapping[str, str], corrections: str
) -> None:
    """Write real scans with silver masks: images/, labels/ and corrected/NAME.nii.gz.

    Existing files are kept. corrected/ is 1 where the label differs from the output of the classical method.

    Args:
        folder: created if it is missing.
        dataset_dir: the folder that the scans' paths start from.
        scans: name to file or study.
        corrections: see read_corrections.

    Raises:
        DataError: a scan is a picture instead of a volume, or the corrections can't be read.
    """
    known = read_corrections(corrections)
    for name, path in scans.items():
        if all((Path(folder) / part / f"{name}.nii.gz").is_file() for part in ("images", "labels")):
            continue
        volume = read_volume(Path(dataset_dir) / path, "CT")
        if volume.affine is None:
            raise DataError("a volume", got=f"the picture {path}", advice="Remove it from the list of scans.")
        array = np.maximum(volume.array[0], -1024).astype(np.int16)
        labels, changed = silver(array, volume.affine, known.get(name, ()))
        logger.info(
            "%s: %.2f%% of the mask's voxels were corrected", name, 100 * changed.sum() / (labels > 0).sum()
        )
        _write(Path(folder), name, volume.affine, images=array, labels=labels, corrected=changed)


def silver(
    array_hu: np.ndarray, affine: np.ndarray, corrections: Sequence[Correction]
) -> tuple[np.ndarray, np.ndarray]:
    """The silver mask of a scan, and where it differs from the classical method; (i, j, k) uint8 each.

    Args:
        array_hu: (i, j, k).
        affine: 4x4, voxel index to RAS+ mm.
        corrections: the corrections to apply, in order.
    """
    grid = plan(array_hu.shape, affine, SILVER_MM)
    hu = to_grid(torch.as_tensor(array_hu)[None], grid)
    found = lungs(hu[0].numpy(), (SILVER_MM,) * 3)
    silvered = corrected(found, hu[0].numpy(), grid.affine, corrections)
    on_scan = [to_source(_one_hot(labels), grid)[0].numpy() for labels in (silvered, found)]
    return on_scan[0], (on_scan[0] != on_scan[1]).astype(np.uint8)


def corrected(
    labels: np.ndarray, hu: np.ndarray, affine: np.ndarray, corrections: Sequence[Correction]
) -> np.ndarray:
    """Apply corrections in order; labels and result are (i, j, k) uint8 on a grid in RAS order."""
    changed = labels.copy()
    for correction in corrections:
        value = LABELS[correction.to]
        inside = prism(labels.shape, affine, correction)
        selected = inside & (hu >= correction.hu[0]) & (hu <= correction.hu[1])
        if value == LABELS["background"]:
            changed[selected] = 0
        elif value == LABELS["airway"]:
            _add_airway(changed, hu, selected)
        else:
            changed[selected & (changed == 0)] = value
            filled = closed(changed, (SILVER_MM,) * 3)
            changed[inside & (filled == value) & (changed == 0)] = value
    return changed


def prism(shape: Sequence[int], affine: np.ndarray, correction: Correction) -> np.ndarray:
    """The voxels whose centres lie in a correction's prism; (i, j, k) bool."""
    from skimage.draw import polygon2mask

    steps, origin = np.diag(affine)[:3], affine[:3, 3]
    corners = (np.asarray(correction.outline_mm, dtype=float) - origin[:2]) / steps[:2]
    z = origin[2] + steps[2] * np.arange(shape[2])
    in_range = (z >= correction.z_mm[0]) & (z <= correction.z_mm[1])
    return polygon2mask(tuple(shape[:2]), corners)[..., None] & in_range


def _add_airway(labels: np.ndarray, hu: np.ndarray, selected: np.ndarray) -> None:
    """Label the largest component of air in a prism as airway, and its wall as background; in place."""
    numbers, sizes = components(selected & (hu < LUMEN_HU))
    if len(sizes) < 2:
        return
    lumen = numbers == 1 + sizes[1:].argmax()
    lumen |= dilated(lumen) & (hu < WALL_HU)
    labels[dilated(lumen) & (labels < LABELS["airway"])] = 0
    labels[lumen] = LABELS["airway"]


def write_slabs(folder: str | Path, slices: str | Path) -> None:
    """Write single slices, each repeated to a slab: images/ and labels/NAME.nii.gz. Existing files are kept.

    Left and right follow from the position in the slice. Slices of patients who don't lie on their back are
    therefore only used if they contain no lung.

    Args:
        folder: created if it is missing.
        slices: a folder with slices.csv (image, label, mask_status, pixel_mm, patient_position) and the PNG
            files that it lists.
    """
    with open(Path(slices) / "slices.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mask_status"] in SLICE_STATUS]
    for row in rows:
        name, step_mm = Path(row["image"]).stem, float(row["pixel_mm"])
        if row["mask_status"] == "ok" and not row["patient_position"].endswith("S"):
            continue
        if (Path(folder) / "labels" / f"{name}.nii.gz").is_file():
            continue
        # Rows run to the back and columns to the left; transposed and flipped they are (x, y) in RAS.
        stored, lungs = (
            read_volume(Path(slices) / row[key]).array[0].T[::-1, ::-1].astype(np.int16)
            for key in ("image", "label")
        )
        hu = stored - STORED_ZERO
        labels = _slice_labels(hu, lungs > 0, step_mm)
        if labels is None:
            continue
        image, label = (np.repeat(plane[..., None], SLAB, axis=2) for plane in (hu, labels))
        _write(Path(folder), name, np.diag([step_mm, step_mm, SLAB_MM, 1.0]), images=image, labels=label)


def _slice_labels(hu: np.ndarray, lungs: np.ndarray, step_mm: float) -> np.ndarray | None:
    """The labels of a slice, (x, y) uint8; None if a component of lung spans both sides of the middle.

    Air as wide as a trachea between the lungs becomes airway, because the slices' masks leave it out or call
    it lung.

    Args:
        hu: (x, y).
        lungs: (x, y) bool.
        step_mm: size of a pixel.
    """
    from skimage.measure import label, regionprops

    labels = np.zeros(lungs.shape, dtype=np.uint8)
    if not lungs.any():
        return labels
    low, high = np.flatnonzero(lungs.any(1))[[0, -1]]
    middle = (low + high) / 2
    for component in regionprops(label(lungs)):
        x, y = component.coords.T
        if np.ptp(x) > MOST_OF_BOTH * (high - low):
            return None
        labels[x, y] = LABELS["left_lung" if component.centroid[0] < middle else "right_lung"]
    for component in regionprops(label(hu < LUMEN_HU)):
        x, y = component.coords.T
        is_open = hu[x, y].mean() < OPEN_HU or not lungs[x, y].any()
        fits = is_open and AREA_MM2[0] <= component.area * step_mm**2 <= AREA_MM2[1]
        between = low < x.min() and x.max() < high and lungs[:, y.min() : y.max() + 1].any()
        if fits and between and abs(component.centroid[0] - middle) * step_mm < TRACHEA_ASIDE_MM:
            labels[x, y] = LABELS["airway"]
    return labels


def _one_hot(labels: np.ndarray) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.as_tensor(labels).long(), len(LABELS)).movedim(-1, 0).float()


def _write(folder: Path, name: str, affine: np.ndarray, **parts: Any) -> None:
    """Write the labels last, so that existing labels mean that all files exist."""
    for part in sorted(parts):
        path = folder / part / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nifti.write(parts[part], affine, path)
    logger.info("%s", name)
