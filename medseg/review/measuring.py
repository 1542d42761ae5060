"""A corrected mask measured as its bundle measures its own, without the network and its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.deferred import import_monai
from medseg.errors import MedsegError, UnsuitableError
from medseg.io import Input
from medseg.io.nifti_affine import furthest_mm
from medseg.volume import Mask

if TYPE_CHECKING:
    from medseg.outputs import SegmentationResult

MODES = ("semantic", "object")
_MOST_APART = 0.01  # of a voxel: what the float32 of a NIfTI header loses is far less


def require_measurable(record: Mapping[str, Any]) -> None:
    """Check, before anything is written, that corrected masks of such a result can be measured.

    Raises:
        UnsuitableError: the mask's values are no labels, or the bundle or its method is no longer there.
    """
    about = record.get("provenance")
    mode = about.get("mode", MODES[0]) if isinstance(about, dict) else None
    if not isinstance(about, dict) or mode not in MODES:
        raise UnsuitableError(
            f"a result whose mask holds labels (mode {' or '.join(MODES)}), to correct it",
            got=f"one of the mode {mode}, whose values are numbers of objects",
            advice="Segment the image in the mode semantic, and correct that.",
        )
    try:
        _steps(str(record.get("task")), str(about.get("method")))
    except MedsegError as error:
        raise UnsuitableError(
            "the bundle and the method of the result, to measure the corrected mask",
            got=f"{record.get('task')} with {about.get('method')} ({error})",
            advice="Apply the decisions where that bundle is, or segment the image anew.",
        ) from error


def require_same_grid(mask: Mask, other: Mask, what: str) -> None:
    """Check that two masks lie on one grid.

    Args:
        mask: on any grid.
        other: the one that it must match.
        what: the names of the file and the case, for the message.

    Raises:
        UnsuitableError: another shape, or voxels at other places.
    """
    if mask.array.shape != other.array.shape:
        got = f"{what} with {_sizes(mask)}"
    elif mask.affine is not None and other.affine is not None and _apart(mask, other) > _MOST_APART:
        got = f"{what} with voxels that lie up to {_apart(mask, other):.2g} voxels away"
    else:
        return
    raise UnsuitableError(
        f"an edited mask on the grid of the image, {_sizes(other)}",
        got=got,
        advice="Save the mask on the image's own grid: neither resample nor reorient it.",
    )


def measured(record: Mapping[str, Any], source: Input, mask: Mask) -> SegmentationResult:
    """The result with another mask: measured, checked and described anew.

    Numbers about the whole image, such as a probability of malignancy, are the network's: they stay.

    Args:
        record: the measurements.json of the result.
        source: the image.
        mask: the corrected labels, on the image's grid.

    Returns:
        A result whose provenance is that of the record, and whose quality is that of the automatic mask.

    Raises:
        UnsuitableError: the image is not the one that was segmented, or lies on another grid.
        InputError: the image can't be read.
    """
    from medseg.bundle import typed_errors

    about = record["provenance"]
    preprocessing, build = _steps(str(record["task"]), str(about["method"]))
    spacing = about.get("pixel_spacing_mm")
    with typed_errors():
        data = preprocessing({"image": source})
        data["pred"] = mask.array[None]
        case = build.case(data | _told(record, build.extras), None if spacing is None else tuple(spacing))
    grid = dataclasses.replace(case.mask, array=case.image[0])
    require_same_grid(mask, grid, "the mask")
    result: SegmentationResult = build(
        dataclasses.replace(case, mask=dataclasses.replace(case.mask, labels=mask.labels))
    )
    if result.provenance["input_sha256"] != about.get("input_sha256"):
        raise UnsuitableError(
            "the image that was segmented",
            got="one with other voxels",
            advice="Name the image, or its folder, by --images.",
        )
    return dataclasses.replace(result, quality=dict(record.get("quality") or {}), provenance=dict(about))


@lru_cache(maxsize=4)
def _steps(task: str, method: str) -> tuple[Any, Any]:
    """The preprocessing and the ResultBuilder of a task's method; no weights are looked for."""
    import_monai()
    from medseg.bundle import built_from, inference_files, open_bundle, parse

    bundle = open_bundle(task)
    files = inference_files(bundle, method)
    config: Any = parse(bundle, *files).config
    needless = {key: None for key in ("weights", "weights_sha256", "weights_fold") if key in config}
    if "quality" in config["result"]:  # it is predicted from what the network does, for automatic masks alone
        needless["result::quality"] = None
    parser = parse(bundle, *files, overrides={"device": "$torch.device('cpu')", **needless})
    with built_from(bundle):
        return parser.get_parsed_content("preprocessing"), parser.get_parsed_content("result")


def _told(record: Mapping[str, Any], extras: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The outputs about the whole image that the record holds, by the names that the bundle gives them."""
    measurements = record.get("measurements") or {}
    found = {}
    for name in extras:
        values = [measurements.get(key, {}).get("value") for key in (name, f"{name}_probability")]
        number = next((value for value in values if isinstance(value, int | float)), None)
        if number is not None:
            found[name] = np.array([number], np.float64)
    return found


def _apart(mask: Mask, other: Mask) -> float:
    """The largest distance between the same voxel of two masks, in sides of the smallest voxel."""
    one, two = np.asarray(mask.affine), np.asarray(other.affine)
    side_mm = float(np.linalg.norm(two[:3, :3], axis=0).min())
    return furthest_mm(one, two, other.array.shape) / side_mm


def _sizes(mask: Mask) -> str:
    kind = "px" if mask.affine is None else "voxels"
    return f"{' x '.join(map(str, mask.array.shape))} {kind}"


def read_labels(path: Path, record: Mapping[str, Any]) -> Mask:
    """Read a label map with the labels of a record.

    Raises:
        UnreadableError, LabelError: see medseg.io.read_mask.
    """
    from medseg.io import read_mask

    return read_mask(path, {int(value): str(name) for value, name in record["labels"].items()})
