"""LoadVolumed, the reader of images and labels for training, evaluation and inference."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch.utils.data._utils.collate import default_collate_fn_map

from medseg.case import Origin
from medseg.errors import LabelError, UnsuitableError, UsageError
from medseg.io import read_mask, read_volume
from medseg.volume import Volume

Data = dict[Hashable, Any]

LOWEST_HU = -1024  # of the usual 12 bits; lower values are padding or overshoot of resampling

# Let a DataLoader collate the origins of a batch into a list, as it does with strings.
default_collate_fn_map[Origin] = lambda batch, **_: list(batch)


class LoadVolumed(MapTransform):
    """Read images and labels with medseg.io into MetaTensors of (C, spatial...).

    An image keeps its data type and leaves `origin` (medseg.case.Origin), `filename_or_obj`, `source_shape`
    and `source_affine` (volumes) in its meta data. A label becomes float32 with the label's value.

    An item may also hold an image in memory: see as_volume.

    Args:
        keys: images: paths, or what as_volume takes.
        label_keys: paths of label images; a key that an item lacks is skipped.
        channels: number of channels of the network's input; a single channel is repeated, with a warning.
        spatial_dims: 2 for pictures, 3 for volumes.
        modality: DICOM's Modality, such as CT, by which a series is chosen. In a CT, values below -1024 HU
            are no measurement and become -1024.
        labels: value to name, for the labels.
        passed_channels: further numbers of channels that are accepted and kept, for a transform that reduces
            them, as FindUltrasoundRegiond does with colours.

    Raises:
        UnreadableError: a file that can't be read.
        UnsuitableError: an image with another number of channels or spatial axes, or an array of a volume
            without an affine.
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
        volume = as_volume(path, self.spatial_dims) or read_volume(path, self.modality)
        array = volume.array
        known = {1, self.channels, *self.passed_channels}
        if array.ndim - 1 != self.spatial_dims or array.shape[0] not in known:
            last = array.ndim - 1 == self.spatial_dims and array.shape[-1] in known
            raise UnsuitableError(
                _kind_of_image(self.spatial_dims, known),
                got=_kind_of_image(array.ndim - 1, {array.shape[0]}),
                advice="Put the channels first." if last else "Choose the task that fits the image.",
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
                got=f"a label of {mask.array.shape}",
                advice="Pair the image with its own label.",
            )
        return MetaTensor(torch.as_tensor(mask.array[None].astype(np.float32)))


def as_volume(source: Any, spatial_dims: int) -> Volume | None:
    """Convert an image in memory to a Volume; None for a path.

    Args:
        source: a Volume; or a MetaTensor, tensor or array of (C, spatial...) or (spatial...). The spatial
            axes of a picture are (row, column); its channels come last where the meta data's
            `original_channel_dim` is no_channel, as in MONAI Deploy. A volume needs a MetaTensor, whose
            affine maps voxel indices to millimetres in RAS+, or in LPS+ where the meta data's `space` is LPS.
        spatial_dims: 2 for pictures, 3 for volumes.

    Raises:
        UnsuitableError: a volume without an affine, or other axes.
        UsageError: any other kind of object.
    """
    if isinstance(source, Volume):
        return source
    if isinstance(source, (str, Path, list, tuple)):
        return None
    if not isinstance(source, (torch.Tensor, np.ndarray)):
        raise UsageError(
            "a path, several DICOM files, a medseg.Volume, a MetaTensor or the array of a picture",
            got=f"a {type(source).__name__}",
            advice="Pass the path, or an array with its affine as a medseg.Volume.",
        )
    array = np.asarray(source.as_tensor() if isinstance(source, MetaTensor) else source)
    if array.ndim not in (spatial_dims, spatial_dims + 1):
        raise UnsuitableError(
            f"an array of (C, {', '.join(('row', 'column') if spatial_dims == 2 else 'ijk')})",
            got=f"shape {array.shape}",
            advice="Put the channels first, and remove the batch axis.",
        )
    array = array[None] if array.ndim == spatial_dims else array
    if spatial_dims == 2:
        if (
            _says_no_channel(source) and array.shape[0] != 1
        ):  # MONAI may have put an axis of length 1 in front
            array = np.ascontiguousarray(np.moveaxis(array, -1, 0))
        return Volume(array, source="array")
    if not isinstance(source, MetaTensor):
        raise UnsuitableError(
            "a volume with an affine, without which neither sides nor sizes are known",
            got="an array without one",
            advice="Pass a MetaTensor, or a medseg.Volume with its affine in RAS+ mm.",
        )
    affine = np.asarray(source.affine, dtype=np.float64)
    if str(source.meta.get("space")) in ("LPS", "SpaceKeys.LPS"):
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    identity = ("the affine is the identity: voxels of 1 mm in RAS order were assumed",)
    return Volume(
        array, affine, source="array", warnings=identity if np.array_equal(affine, np.eye(4)) else ()
    )


def _says_no_channel(source: Any) -> bool:
    return isinstance(source, MetaTensor) and str(source.meta.get("original_channel_dim")) == "no_channel"


def _kind_of_image(spatial_dims: int, channels: set[int]) -> str:
    """A noun phrase such as "a picture (2 axes) with 1 or 3 channels"."""
    kind = {2: "a picture", 3: "a volume"}.get(spatial_dims, "an image")
    count = " or ".join(map(str, sorted(channels)))
    return f"{kind} ({spatial_dims} axes) with {count} channel{'' if count == '1' else 's'}"
