"""LoadVolumed: the one reader of training, evaluation and inference."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch.utils.data._utils.collate import default_collate_fn_map

from medseg.case import Origin
from medseg.errors import LabelError, UnsuitableError
from medseg.io import read_mask, read_volume

Data = dict[Hashable, Any]

LOWEST_HU = -1024  # of the usual 12 bits; lower ones are padding or the ringing of a resampling

# A loader puts what it knows of several images into a list, as it does with texts.
default_collate_fn_map[Origin] = lambda batch, **_: list(batch)


class LoadVolumed(MapTransform):
    """Read images and labels by medseg.io into MetaTensors of (C, spatial...).

    An image keeps its data type and leaves `origin` (medseg.case.Origin), `filename_or_obj`, `source_shape`
    and `source_affine` (volumes) in its meta data. A label becomes float32, its value the label.

    Args:
        keys: images.
        label_keys: label images; a key that an item lacks is passed over.
        channels: channels that the network takes; one channel is repeated to reach it.
        spatial_dims: 2 for pictures, 3 for volumes.
        modality: DICOM's word for the kind of images, such as CT, to choose a series by. Values of a CT
            below -1024 HU, which are no measurement, become -1024.
        labels: value to name, for the labels.
        passed_channels: other numbers of channels that are let through as they are, for a transform that
            reduces them and says so, as FindScand does with colours.

    Raises:
        UnreadableError: a file that can't be read.
        UnsuitableError: an image with other channels or with three spatial axes where 2 are needed.
        LabelError: a label with unknown values or of another size than the first image.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_keys: Sequence[str] = (),
        channels: int = 3,
        spatial_dims: int = 2,
        modality: str | None = None,
        labels: Mapping[int | str, str] | None = None,
        passed_channels: Sequence[int] = (),
    ) -> None:
        super().__init__(keys)
        self.label_keys = tuple(label_keys)
        self.channels = channels
        self.passed_channels = tuple(passed_channels)
        self.spatial_dims = spatial_dims
        self.modality = modality
        self.labels = {int(value): name for value, name in (labels or {}).items()}

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        loaded = dict(data)
        for key in self.key_iterator(loaded):
            loaded[key] = self._load_image(loaded[key])
        shape = loaded[self.keys[0]].shape[1:]
        for key in self.label_keys:
            if key in loaded:
                loaded[key] = self._load_label(loaded[key], shape)
        return loaded

    def _load_image(self, path: Any) -> MetaTensor:
        volume = read_volume(path, self.modality)
        array = volume.array
        known = {1, self.channels, *self.passed_channels}
        if array.ndim - 1 != self.spatial_dims or array.shape[0] not in known:
            raise UnsuitableError(
                _kind_of_image(self.spatial_dims, known),
                came=_kind_of_image(array.ndim - 1, {array.shape[0]}),
                do="Choose the task that fits the image.",
            )
        origin = Origin(volume.source, volume.headers, volume.pixel_spacing_mm, volume.region_box).warned(
            "reader", *volume.warnings
        )
        if array.shape[0] != self.channels and array.shape[0] not in self.passed_channels:
            array = np.repeat(array, self.channels, axis=0)
            grey = f"the picture is grey: {self.channels} colour channels were expected"
            origin = origin.warned(type(self).__name__, grey)
        if array.dtype == np.uint16:
            array = array.astype(np.int32)  # torch computes little on uint16
        if self.modality == "CT" and array.min() < LOWEST_HU:
            array = np.maximum(array, LOWEST_HU)
        meta: dict[str, Any] = {
            "filename_or_obj": volume.source,
            "source_shape": torch.tensor(array.shape[1:]),
            "origin": origin,
        }
        if volume.affine is None:
            return MetaTensor(torch.as_tensor(array), meta=meta)
        affine = torch.as_tensor(volume.affine, dtype=torch.float64)
        return MetaTensor(torch.as_tensor(array), affine=affine, meta=meta | {"source_affine": affine})

    def _load_label(self, path: str, shape: torch.Size) -> MetaTensor:
        mask = read_mask(path, self.labels)
        if mask.array.shape != tuple(shape):
            raise LabelError(
                f"a label of the image's size {tuple(shape)}",
                came=f"{mask.array.shape}",
                do="Pair the image with its own label.",
            )
        return MetaTensor(torch.as_tensor(mask.array[None].astype(np.float32)))


def _kind_of_image(spatial_dims: int, channels: set[int]) -> str:
    """Such as "a picture (2 axes) with 1 or 3 channels"."""
    kind = {2: "a picture", 3: "a volume"}.get(spatial_dims, "an image")
    count = " or ".join(map(str, sorted(channels)))
    return f"{kind} ({spatial_dims} axes) with {count} channel{'' if count == '1' else 's'}"
