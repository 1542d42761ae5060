"""Whether the image of a result is among some images: by the hash that the result holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from medseg.bundle import sha256
from medseg.deferred import import_monai
from medseg.errors import error_text
from medseg.io import Input, case_name, find_inputs, read_volume, require_file
from medseg.provenance import input_sha256

# A sentence about the image, empty if it is there; and whether it is known to be another.
Answer = tuple[str, bool]


def image_checker(images: Sequence[str | Path]) -> Callable[[Mapping[str, Any]], Answer]:
    """A function from the provenance of a result to what is known of its image.

    An image that is one file is known by its content, whatever it is called; a DICOM series by its name and
    its voxels.

    Args:
        images: files, folders or patterns.

    Raises:
        InputError: there is no image, or one can't be read.
    """
    inputs = find_inputs(images)
    single = [source for source in inputs if isinstance(source, str | Path) and not os.path.isdir(source)]
    digests = {sha256(require_file(file)) for file in single}

    def check(provenance: Mapping[str, Any]) -> Answer:
        digest, name = str(provenance.get("input_sha256")), str(provenance.get("input"))
        if digest in digests:
            return "", False
        named = [source for source in inputs if case_name(source) == name]
        series = [source for source in named if not _is_file(source)]
        try:
            if any(_voxels_sha256(source, str(provenance.get("task"))) == digest for source in series):
                return "", False
        except Exception as error:
            return f"the image {name} can't be compared: {error_text(error)}", False
        if named:
            return f"the image {name} is not the one that was segmented", True
        return "its image is not among those that were named", False

    return check


def _is_file(source: Input) -> bool:
    return isinstance(source, str | Path) and os.path.isfile(source)


def _voxels_sha256(source: Input, task: str) -> str:
    load = _loader(task)
    image = read_volume(source).array if load is None else np.asarray(load({"image": source})["image"])
    return input_sha256("", image)


@lru_cache(maxsize=4)
def _loader(task: str) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    """The step by which a task's bundle reads an image; None for what no bundle has made."""
    import_monai()
    from medseg.bundle import built_from, inference_files, open_bundle, parse, tasks

    if task not in tasks():
        return None
    bundle = open_bundle(task)
    parser = parse(bundle, *inference_files(bundle), overrides={"device": "$torch.device('cpu')"})
    with built_from(bundle):
        steps: Any = parser.get_parsed_content("preprocessing")
    first: Callable[[dict[str, Any]], dict[str, Any]] = steps.transforms[0]
    return first
