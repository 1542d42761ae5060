"""Silver masks: the classical method's lungs of real scans, with what was corrected by eye in three planes.

A silver mask is no ground truth: where nothing was corrected it is the rules' own opinion. The corrections
are kept as polygons in a small file, so that anybody can look at them and make the masks again.
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
LUMEN_HU, WALL_HU = -900, -600  # what an airway's region grows from, and where its wall begins
OPEN_HU = -960  # the mean of a trachea's section that somebody took for lung
SLAB, SLAB_MM = 12, 4.0  # a single slice repeated: a slab of 48 mm
STORED_ZERO = 2000  # the value of 0 HU in the slices' PNG
TRACHEA_ASIDE_MM = 40.0  # at most, of the middle between both lungs
SLICE_STATUS = ("ok", "none")  # whose masks can be used
MOST_OF_BOTH = 0.6  # of the width of both lungs: what is wider is no single one


@dataclass(frozen=True)
class Correction:
    """A prism in which voxels change their label.

    Attributes:
        to: the new label: the background takes lungs and airway, a lung takes background, an airway both.
        outline_mm: (n, 2) corners (x, y) of an axial polygon, RAS.
        z_mm: lowest and highest end.
        hu: lowest and highest value that is meant.
        why: for people.
    """

    to: str
    outline_mm: Sequence[Sequence[float]]
    z_mm: tuple[float, float]
    why: str
    hu: tuple[float, float] = (-np.inf, np.inf)


def read_corrections(name: str) -> dict[str, list[Correction]]:
    """The shipped corrections of a data set: scan to its corrections, in order.

    Raises:
        DataError: a file that doesn't hold corrections.
    """
    path = shipped_manifests() / "corrections" / f"{name}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))["corrections"]
        return {scan: [Correction(**entry) for entry in entries] for scan, entries in content.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError("a file of corrections", got=f"{path.name}: {error}", advice="Correct it.") from error


def write_silver(
    folder: str | Path, dataset_dir: str | Path, scans: Mapping[str, str], corrections: str
) -> None:
    """Real scans with silver masks: images/, labels/ and corrected/NAME.nii.gz. Files that are there stay.

    What is 1 in corrected/ is not what the classical method says.

    Args:
        folder: made when it is missing.
        dataset_dir: where the scans' paths start.
        scans: name to file or study.
        corrections: see read_corrections.
    """
    known = read_corrections(corrections)
    for name, path in scans.items():
        if all((Path(folder) / part / f"{name}.nii.gz").is_file() for part in ("images", "labels")):
            continue
        volume = read_volume(Path(dataset_dir) / path, "CT")
        if volume.affine is None:
            raise DataError("a volume", got=f"the picture {path}", advice="Correct the list of scans.")
        array = np.maximum(volume.array[0], -1024).astype(np.int16)
        labels, changed = silver(array, volume.affine, known.get(name, ()))
        logger.info(
            "%s: %.2f%% of the mask's voxels were corrected", name, 100 * changed.sum() / (labels > 0).sum()
        )
        _write(Path(folder), name, volume.affine, images=array, labels=labels, corrected=changed)


def silver(
    array_hu: np.ndarray, affine: np.ndarray, corrections: Sequence[Correction]
) -> tuple[np.ndarray, np.ndarray]:
    """The silver mask of a scan, and where it isn't the classical method's; (i, j, k) uint8 each."""
    grid = plan(array_hu.shape, affine, SILVER_MM)
    hu = to_grid(torch.as_tensor(array_hu)[None], grid)
    found = lungs(hu[0].numpy(), (SILVER_MM,) * 3)
    mended = corrected(found, hu[0].numpy(), grid.affine, corrections)
    on_scan = [to_source(_one_hot(labels), grid)[0].numpy() for labels in (mended, found)]
    return on_scan[0], (on_scan[0] != on_scan[1]).astype(np.uint8)


def corrected(
    labels: np.ndarray, hu: np.ndarray, affine: np.ndarray, corrections: Sequence[Correction]
) -> np.ndarray:
    """Labels after corrections, in their order; (i, j, k) uint8 on a grid in RAS order."""
    mended = labels.copy()
    for correction in corrections:
        value = LABELS[correction.to]
        inside = prism(labels.shape, affine, correction)
        meant = inside & (hu >= correction.hu[0]) & (hu <= correction.hu[1])
        if value == LABELS["background"]:
            mended[meant] = 0
        elif value == LABELS["airway"]:
            _open(mended, hu, meant)
        else:
            mended[meant & (mended == 0)] = value
            filled = closed(mended, (SILVER_MM,) * 3)
            mended[inside & (filled == value) & (mended == 0)] = value
    return mended


def prism(shape: Sequence[int], affine: np.ndarray, correction: Correction) -> np.ndarray:
    """The voxels whose middles lie in a correction's prism; (i, j, k) bool."""
    from skimage.draw import polygon2mask

    steps, origin = np.diag(affine)[:3], affine[:3, 3]
    corners = (np.asarray(correction.outline_mm, dtype=float) - origin[:2]) / steps[:2]
    z = origin[2] + steps[2] * np.arange(shape[2])
    among = (z >= correction.z_mm[0]) & (z <= correction.z_mm[1])
    return polygon2mask(tuple(shape[:2]), corners)[..., None] & among


def _open(labels: np.ndarray, hu: np.ndarray, meant: np.ndarray) -> None:
    """Give the largest tube of air in a prism to the airway, and its wall to nobody; in place."""
    numbers, sizes = components(meant & (hu < LUMEN_HU))
    if len(sizes) < 2:
        return
    lumen = numbers == 1 + sizes[1:].argmax()
    lumen |= dilated(lumen) & (hu < WALL_HU)
    labels[dilated(lumen) & (labels < LABELS["airway"])] = 0
    labels[lumen] = LABELS["airway"]


def write_slabs(folder: str | Path, slices: str | Path) -> None:
    """Single slices, each repeated to a slab: images/ and labels/NAME.nii.gz. Files that are there stay.

    The sides of a lung follow from where it lies, so slices of patients who lie otherwise than on their back
    are taken only where no lung is in them.

    Args:
        folder: made when it is missing.
        slices: a folder with slices.csv (image, label, mask_status, pixel_mm, patient_position) and its PNG.
    """
    with open(Path(slices) / "slices.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mask_status"] in SLICE_STATUS]
    for row in rows:
        name, step_mm = Path(row["image"]).stem, float(row["pixel_mm"])
        if row["mask_status"] == "ok" and not row["patient_position"].endswith("S"):
            continue
        if (Path(folder) / "labels" / f"{name}.nii.gz").is_file():
            continue
        # Rows run to the back, columns to the left: (x, y) in RAS after turning both.
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
    """(x, y) bool to labels; None where a piece of lung is not on one side of the middle.

    Air as wide as a trachea between the lungs is the airway, though the masks of the slices leave it out or
    take it for lung.
    """
    from skimage.measure import label, regionprops

    labels = np.zeros(lungs.shape, dtype=np.uint8)
    if not lungs.any():
        return labels
    low, high = np.flatnonzero(lungs.any(1))[[0, -1]]
    middle = (low + high) / 2
    for piece in regionprops(label(lungs)):
        x, y = piece.coords.T
        if np.ptp(x) > MOST_OF_BOTH * (high - low):
            return None
        labels[x, y] = LABELS["left_lung" if piece.centroid[0] < middle else "right_lung"]
    for piece in regionprops(label(hu < LUMEN_HU)):
        x, y = piece.coords.T
        is_open = hu[x, y].mean() < OPEN_HU or not lungs[x, y].any()
        fits = is_open and AREA_MM2[0] <= piece.area * step_mm**2 <= AREA_MM2[1]
        between = low < x.min() and x.max() < high and lungs[:, y.min() : y.max() + 1].any()
        if fits and between and abs(piece.centroid[0] - middle) * step_mm < TRACHEA_ASIDE_MM:
            labels[x, y] = LABELS["airway"]
    return labels


def _one_hot(labels: np.ndarray) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.as_tensor(labels).long(), len(LABELS)).movedim(-1, 0).float()


def _write(folder: Path, name: str, affine: np.ndarray, **parts: Any) -> None:
    """The labels last: where they are, all is."""
    for part in sorted(parts):
        path = folder / part / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nifti.write(parts[part], affine, path)
    logger.info("%s", name)
