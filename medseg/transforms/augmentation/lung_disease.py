"""Simulated disease in the lungs of a chest CT, for training: the intensities change, the mask stays.

A threshold finds only aerated lung. A network must learn that dense tissue, fluid and tumours inside the
pleural cavity belong to the lung. Real scans of such lungs with masks are scarce, so disease is simulated in
aerated lungs, real or synthetic, whose mask is known. This follows simulated lesions (Yao et al., "Label-free
segmentation of COVID-19 lesions in lung CT", IEEE Trans. Med. Imaging 40(10), 2021) and domain randomisation
(Billot et al., "SynthSeg", Medical Image Analysis 86, 2023): appearances are drawn at random from wider
ranges than those of real disease.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch.nn import functional

from medseg.transforms.load import Data

LUNGS, AIRWAY = (1, 2), 3
PARTLY_AIR_HU = -150  # below fat
RIM_MM = 4.0  # distance from a lung within which voxels may be partly air
KINDS = (
    "consolidation", "effusion", "white_out", "filled", "mass", "ground_glass", "reticulation",
    "pneumothorax",
)  # fmt: skip


class RandLungDiseased(RandomizableTransform, MapTransform):
    """Simulate one to three diseases in one or both lungs; airway and surroundings stay the same.

    Tissue denser than the disease, such as a vessel full of contrast medium, stays visible in most of them.

    Args:
        keys: (1, right, anterior, superior), in units of `hu_per_unit` above -1024 HU.
        label_key: the mask on the same grid: 1 left lung, 2 right lung, 3 airway.
        prob: probability of simulating any disease.
        spacing_mm: size of a voxel.
        hu_per_unit: HU per unit of the image's scale.
        kinds: the diseases to draw from; all of KINDS by default.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        prob: float = 0.5,
        spacing_mm: float = 2.0,
        hu_per_unit: float = 1500.0,
        kinds: Sequence[str] = KINDS,
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.label_key, self.spacing_mm, self.hu_per_unit = label_key, spacing_mm, hu_per_unit
        self.kinds = tuple(kinds)

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        painted = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return painted
        labels = torch.as_tensor(painted[self.label_key])[0]
        for key in self.key_iterator(painted):
            image = painted[key].clone()
            image[0] = torch.as_tensor(self._paint(image[0], labels))
            painted[key] = image
        return painted

    def _paint(self, image: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        hu = torch.as_tensor(image) * self.hu_per_unit - 1024
        for _ in range(self.R.randint(1, 4)):
            sides = LUNGS if self.R.uniform() < 0.4 else (int(self.R.choice(LUNGS)),)
            lung = torch.isin(labels, torch.tensor(sides, dtype=labels.dtype))
            if lung.any():
                kind = str(self.R.choice(self.kinds))
                # With or without the rim of partly air-filled voxels around a healthy lung.
                rim = _rim(lung, labels, hu, self.spacing_mm) if self.R.uniform() < 0.6 else lung
                hu = getattr(self, f"_{kind}")(hu, lung | rim)
        return (hu + 1024) / self.hu_per_unit

    def _consolidation(self, hu: torch.Tensor, lung: torch.Tensor) -> torch.Tensor:
        """Dense patches, or all lung on one side of an uneven plane, as in a lobe."""
        if self.R.uniform() < 0.5:
            patches = self._noise(hu.shape, self.R.uniform(16, 60)) + 0.3 * self._noise(hu.shape, 8)
            weight = (patches - self.R.uniform(-0.6, 1.0)) / self.R.uniform(0.05, 0.5)
        else:
            weight = self._beyond(lung, self._direction(), self.R.uniform(0.1, 0.9), self.R.uniform(0, 8))
        return self._denser(hu, lung * weight.clamp(0, 1), self._tissue(hu.shape))

    def _effusion(self, hu: torch.Tensor, lung: torch.Tensor) -> torch.Tensor:
        """Fluid up to a level, in most cases posterior; the lung above it is compressed."""
        down = np.array([0.0, -1.0, -self.R.uniform(0, 0.8)]) + self.R.normal(0, 0.15, 3)
        if self.R.uniform() < 0.15:
            down = self._direction()
        share, rough = self.R.uniform(0.05, 0.8), self.R.uniform(0, 5)
        fluid = self._beyond(lung, down, share, rough, self.R.uniform(1, 4)).clamp(0, 1)
        pressed = self._beyond(lung, down, min(0.95, share + self.R.uniform(0, 0.25)), rough, 4).clamp(0, 1)
        hu = self._denser(hu, lung * pressed * self.R.uniform(0.5, 1), self._tissue(hu.shape))
        level = self.R.uniform(-10, 45) + 3 * self._noise(hu.shape, 5)
        return torch.lerp(hu, level, lung * fluid)

    def _white_out(self, hu: torch.Tensor, lung: torch.Tensor) -> torch.Tensor:
        """A whole lung without air, or with a little air left."""
        rest = self.R.uniform(0.75, 1.0) + 0.2 * self._noise(hu.shape, 12)
        return self._denser(hu, lung * rest.clamp(0, 1), self._tissue(hu.shape))

    def _filled(self, hu: torch.Tensor, lung: torch.Tensor) -> torch.Tensor:
        """All lung beyond a plane, vessels included, at one density plus noise."""
        down = np.array([0.0, 0.0, -1.0]) + self.R.normal(0, 0.05, 3)
        if self.R.uniform() < 0.5:
            down = self._direction()
        beyond = self._beyond(lung, down, self.R.uniform(0.2, 1.0), 0, 1.0).clamp(0, 1)
        density = self.R.uniform(-20, 90) + self.R.uniform(0, 25) * torch.as_tensor(
            self.R.standard_normal(hu.shape), dtype=torch.float32
        )
        return torch.lerp(hu, density, lung * beyond)

    def _mass(self, hu: torch.Tensor, lung: torch.Tensor) -> torch.Tensor:
        """Solid ellipsoids of 5 to 55 mm radius with an uneven border, in the lung or at the pleura."""
        places = torch.nonzero(lung)
        for _ in range(self.R.randint(1, 4)):
            centre = places[self.R.randint(len(places))]
            radius_mm = float(np.exp(self.R.uniform(np.log(5), np.log(55))))
            away = [
                (torch.arange(size) - int(at)) * self.spacing_mm / self.R.uniform(0.7, 1.4)
                for size, at in zip(hu.shape, centre, strict=True)
            ]
            distance = (away[0][:, None, None] ** 2 + away[1][:, None] ** 2 + away[2] ** 2).sqrt()
            bumps = self.R.uniform(0, 0.25) * radius_mm * self._noise(hu.shape, max(6.0, radius_mm / 2))
            weight = ((radius_mm + bumps - distance) / 2 + 0.5).clamp(0, 1)
            hu = self._denser(hu, lung * weight, self._tissue(hu.shape))
        return hu

    def _ground_glass(self, hu: torch.Tensor, lung: torch.Tensor) -> torch.Tensor:
        patches = self._noise(hu.shape, self.R.uniform(20, 80)) + 0.3 * self._noise(hu.shape, 8)
        weight = ((patches - self.R.uniform(-1.5, 0.8)) / self.R.uniform(0.2, 1.2)).clamp(0, 1)
        haze = self.R.uniform(-700, -250) + 40 * self._noise(hu.shape, 5)
        return self._denser(hu, lung * weight * self.R.uniform(0.6, 1), haze)

    def _reticulation(self, hu: torch.Tensor, lung: torch.Tensor) -> torch.Tensor:
        """A network of thick septa, as in fibrosis, in parts of the lung."""
        net = self._noise(hu.shape, self.R.uniform(6, 12)).abs()
        walls = (1.2 - net / self.R.uniform(0.1, 0.4)).clamp(0, 1)
        where = (self._noise(hu.shape, 50) - self.R.uniform(-1.5, 0.5)).clamp(0, 1)
        return self._denser(hu, lung * walls * where, torch.full_like(hu, self.R.uniform(-400, 20)))

    def _pneumothorax(self, hu: torch.Tensor, lung: torch.Tensor) -> torch.Tensor:
        """Air without vessels in the upper part of the cavity."""
        up = np.array([0.0, 1.0, self.R.uniform(-0.3, 0.8)]) + self.R.normal(0, 0.15, 3)
        air = self._beyond(lung, up, self.R.uniform(0.05, 0.5), self.R.uniform(0, 4), 1.5).clamp(0, 1)
        return torch.lerp(hu, torch.full_like(hu, self.R.uniform(-1005, -960)), lung * air)

    def _denser(self, hu: torch.Tensor, weight: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return torch.maximum(hu, torch.lerp(hu, wanted, weight))

    def _tissue(self, shape: torch.Size) -> torch.Tensor:
        grain = self._noise(shape, self.R.uniform(5, 15))
        return self.R.uniform(-60, 110) + self.R.uniform(0, 25) * grain

    def _direction(self) -> np.ndarray:
        return self.R.normal(size=3)

    def _beyond(
        self, lung: torch.Tensor, direction: np.ndarray, share: float, rough_mm: float, soft_mm: float = 3.0
    ) -> torch.Tensor:
        """A ramp, above 0 beyond a plane that is uneven by `rough_mm`, with `share` of the lung beyond."""
        unit = direction / np.linalg.norm(direction) * self.spacing_mm
        along = [
            torch.arange(size, dtype=torch.float32) * float(u)
            for size, u in zip(lung.shape, unit, strict=True)
        ]
        height = along[0][:, None, None] + along[1][:, None] + along[2]
        inside = height[lung]
        some = inside[:: max(1, len(inside) // 20_000)]
        plane = torch.quantile(some, 1 - share)
        return (height - plane + rough_mm * self._noise(lung.shape, 25)) / soft_mm + 0.5

    def _noise(self, shape: Sequence[int], scale_mm: float) -> torch.Tensor:
        """Smooth noise of about unit standard deviation that varies over `scale_mm`; (x, y, z) float32."""
        nodes = [max(2, round(size * self.spacing_mm / scale_mm) + 1) for size in shape]
        lattice = torch.as_tensor(self.R.standard_normal(nodes), dtype=torch.float32)[None, None]
        noise = functional.interpolate(lattice, size=tuple(shape), mode="trilinear", align_corners=True)
        return noise[0, 0] * 1.6  # interpolation lowers the standard deviation by this factor


def _rim(lung: torch.Tensor, labels: torch.Tensor, hu: torch.Tensor, spacing_mm: float) -> torch.Tensor:
    """Voxels around a lung that are partly air, bool: unchanged, they would still show the lung's border."""
    turns = max(1, round(RIM_MM / spacing_mm))
    near_airway = _grown(labels == AIRWAY, turns)
    return _grown(lung, turns) & (labels == 0) & ~near_airway & (hu < PARTLY_AIR_HU)


def _grown(mask: torch.Tensor, turns: int) -> torch.Tensor:
    """The mask, (x, y, z) bool, dilated by a cube of `turns` voxels on each side."""
    grown = mask[None].float()
    for axis in range(3):  # one axis after the other takes an eighth of the time
        size, border = (
            [width if n == axis else rest for n in range(3)]
            for width, rest in ((2 * turns + 1, 1), (turns, 0))
        )
        grown = functional.max_pool3d(grown, size, stride=1, padding=border)
    return grown[0] > 0
