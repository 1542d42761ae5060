"""Resample a volume to a grid in RAS order, and undo it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from medseg.grid import Grid, plan, to_grid, to_source
from medseg.transforms.load import Data


class ToGridd(MapTransform):
    """Resample a scan to a grid in RAS order: (C, i, j, k) to (C, right, anterior, superior), float32.

    Args:
        keys: scans (C, i, j, k) from LoadVolumed; the meta data gets `grid_spacing_mm`.
        spacing_mm: distance between the voxels of the grid: one for all axes, or one for each of right,
            anterior and superior.
        source_key: gets the original scan, without a copy of its data; with None it is not kept.
        label_keys: labels (1, i, j, k) on the first scan's grid, which become uint8 on the new grid: each
            voxel gets the label with the largest share in it.

    Raises:
        UnsuitableError: see medseg.grid.plan.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spacing_mm: float | Sequence[float],
        source_key: str | None = "source_image",
        label_keys: Sequence[str] = (),
    ) -> None:
        super().__init__(keys)
        self.spacing_mm = spacing_mm
        self.source_key = source_key
        self.label_keys = tuple(label_keys)

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        resampled = dict(data)
        for key in self.key_iterator(resampled):
            scan = resampled[key]
            grid = plan(tuple(scan.shape[1:]), scan.meta["source_affine"].numpy(), self.spacing_mm)
            meta = _without_affine(scan.meta) | {"grid_spacing_mm": _collatable(self.spacing_mm)}
            if self.source_key:
                resampled[self.source_key] = scan
            resampled[key] = MetaTensor(
                to_grid(scan.as_tensor(), grid), affine=torch.as_tensor(grid.affine), meta=meta
            )
        for key in self.label_keys:
            scan = data[self.keys[0]]
            grid = plan(tuple(scan.shape[1:]), scan.meta["source_affine"].numpy(), self.spacing_mm)
            labels = _largest_share(torch.as_tensor(resampled[key]), grid)
            resampled[key] = MetaTensor(labels, affine=torch.as_tensor(grid.affine))
        return resampled


class RestoreGridd(MapTransform):
    """Undo ToGridd: from scores on the grid to labels on the scan's grid, (1, i, j, k) uint8.

    Args:
        keys: scores of (labels, right, anterior, superior).
        image_key: the resampled scan with the meta data of ToGridd. Where the scores cover only a part of the
            grid, `grid_box` in the meta data is that part: (3, 2) first voxel and end along each axis.
    """

    def __init__(self, keys: KeysCollection, image_key: str = "image") -> None:
        super().__init__(keys)
        self.image_key = image_key

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        restored = dict(data)
        meta = restored[self.image_key].meta
        grid = _grid_of(meta)
        box = tuple(slice(*ends) for ends in meta["grid_box"].tolist()) if "grid_box" in meta else None
        for key in self.key_iterator(restored):
            labels = to_source(torch.as_tensor(restored[key]).cpu(), grid, box)
            restored[key] = MetaTensor(labels, affine=meta["source_affine"], meta=_without_affine(meta))
        return restored


def _collatable(spacing_mm: float | Sequence[float]) -> float | torch.Tensor:
    """As a DataLoader and MONAI's decollation leave it: a list would become one tensor for each axis."""
    return spacing_mm if isinstance(spacing_mm, (int, float)) else torch.tensor([*spacing_mm])


def _largest_share(labels: torch.Tensor, grid: Grid) -> torch.Tensor:
    """(1, i, j, k) labels to (1, right, anterior, superior) uint8, one label at a time."""
    best = torch.zeros(1, *grid.shape)
    found = torch.zeros(1, *grid.shape, dtype=torch.uint8)
    for value in labels.unique().tolist():
        share = to_grid((labels == value).float(), grid)
        found[share > best] = int(value)
        best = torch.maximum(best, share)
    return found


def _without_affine(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The meta data without their affine, for a tensor that gets another one."""
    return {key: value for key, value in meta.items() if key != "affine"}


def _grid_of(meta: Mapping[str, Any]) -> Grid:
    shape = tuple(int(size) for size in meta["source_shape"])
    return plan(shape, np.asarray(meta["source_affine"]), np.asarray(meta["grid_spacing_mm"]).tolist())
