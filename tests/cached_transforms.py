"""Transforms of every kind for the tests of the cache, whose other processes import them too."""

import math
from enum import Enum
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from fundus_pictures import write_png
from monai.bundle import ConfigParser
from monai.transforms import (
    Compose,
    CropForegroundd,
    EnsureTyped,
    Lambdad,
    MapTransform,
    NormalizeIntensityd,
    Orientationd,
    RandomizableTransform,
    Resized,
    ScaleIntensityRanged,
    Spacingd,
    ThresholdIntensityd,
)

from medseg.bundle import open_bundle, parse
from medseg.data.cache import Cache
from medseg.data.samples import PreparedDataset
from medseg.transforms import (
    LoadVolumed,
)

LABELS = {0: "background", 1: "vessel"}


class Add(MapTransform):
    def __init__(self, keys, value=1):
        super().__init__(keys)
        self.value = value

    def __call__(self, data):
        return data | {key: data[key] + self.value for key in self.keys}

    def add(self, tensor):
        return tensor + self.value

    def subtract(self, tensor):
        return tensor - self.value


class Subtract(Add):
    def __call__(self, data):
        return data | {key: data[key] - self.value for key in self.keys}


class WriteInPlace(MapTransform):
    def __call__(self, data):
        for key in self.keys:
            data[key] += 100
            data[key].meta["affine"] *= 0
            data[key].meta["notes"].append("touched")
        return data


class RandomInPlace(RandomizableTransform, MapTransform):
    """Random by its class alone."""

    def __init__(self, keys):
        MapTransform.__init__(self, keys)

    def __call__(self, data):
        data[self.keys[0]] += 1
        return data


class Overwrite(Add):
    """Another picture in the place of the file that was read."""

    def __call__(self, data):
        write_png(Path(self.value), np.ones((64, 64), np.uint8))
        return data


class MadeByReduce:
    """Pickled as if it were a plain set."""

    def __reduce__(self):
        return set, ()


class MadeAlike(MadeByReduce):
    pass


class Colour(Enum):
    RED = "red"


class Quiet:
    """Two of these differ in nothing."""


def halved(tensor, by=2):
    return tensor / by


def scaled(by):
    return lambda tensor: tensor * by


def scaled_by_default(by):
    def scale(tensor, by=by):
        return tensor * by

    return scale


def from_configuration(**values):
    """A function as MONAI makes it of an expression in a configuration."""
    expression = "$lambda x: [v * @factor for v in x]"
    return ConfigParser({"f": expression, "other": 1, **values}).get_parsed_content("f")


def transforms():
    """Of every kind that prepares an image: each process must describe them alike."""
    return [
        *parse(open_bundle("retinal_vessel"), "train.yaml").get_parsed_content(
            "train::deterministic_transforms"
        ),
        Orientationd("image", axcodes="RAS", labels=None),
        Spacingd("image", pixdim=(1.0, 1.0, 2.0), mode="bilinear"),
        ScaleIntensityRanged("image", -100, 200, 0.0, 1.0, clip=True),
        NormalizeIntensityd("image", subtrahend=np.array([1.0, 2.0]), channel_wise=True),
        Resized("image", (8, 8), mode="area"),
        CropForegroundd("image", source_key="image", select_fn=scaled(3)),
        ThresholdIntensityd("image", 0.5),
        EnsureTyped("image", dtype=torch.float32, device=torch.device("cpu")),
        *[Lambdad("image", f) for f in (partial(halved, by=3), torch.sqrt, np.sqrt, math.sqrt, abs)],
        *[
            Lambdad("image", f)
            for f in (Add("a", 2).add, lambda x: [y + 1 for y in x], from_configuration(factor=2))
        ],
        Lambdad("image", torch.nn.BatchNorm2d(3).to(torch.bfloat16)),
        Lambdad("image", {"set": {"b", "a", "c"}, "path": PurePosixPath("a"), "kind": Colour.RED}.get),
    ]


def load(**options):
    return LoadVolumed("image", ["label"], labels=LABELS, **options)


def dataset(item, folder, *steps):
    return PreparedDataset([item], Compose(steps or [load()]), cache_dir=folder)


def key(item, folder, *steps):
    (found,) = dataset(item, folder, *steps).keys
    return found


def store_all(folder, start, number):
    start.wait()
    for key in range(20):
        value = torch.full((100, 100), float(key))
        assert torch.equal(Cache(folder).get(str(key), lambda value=value: {"a": value})["a"], value)
        if key == number:  # another file in its place: to shorten one that others have mapped kills them
            damaged = folder.parent / f"{number}.damaged"
            damaged.write_bytes(b"")
            damaged.replace(folder / f"{key}.pt")
