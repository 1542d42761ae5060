"""Read the pixels of a stack into one array: decode, extend the sign, rescale, and replace padding by air."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from medseg.io.dicom.decoding import decode, frames_of
from medseg.io.dicom.slices import Slice, place, unsuitable

AIR_HU = -1024
_INT16 = np.iinfo(np.int16)
# Threads that read and decode. They wait for a network drive together and decode in parallel; see `decoding`.
MOST_WORKERS = 4
# The means of neighbouring slices of a chest CT differ by less than 50 HU.
MOST_JUMP_HU = 100
# A padding value outside this range can't be tissue: it is below lung or above bone and metal.
_TISSUE_HU = (-950, 3000)
# Values of RescaleType (0028,1054) that stand for Hounsfield units; old scanners write US, "unspecified".
_HOUNSFIELD = {"HU", "US", "HU_MOD", ""}
RESCALE = "RescaleSlope (0028,1053) and RescaleIntercept (0028,1052)"


def read_pixels(ordered: Sequence[Slice], modality: str) -> tuple[np.ndarray, list[str]]:
    """Decode all slices into one array.

    Args:
        ordered: the slices of a grid in its order, all of one size.
        modality: for CT, values are Hounsfield units of at least AIR_HU, and padding becomes AIR_HU.

    Returns:
        The array (k, row, column), int16 where slopes and intercepts are whole numbers and the values fit,
        else float32; and warnings.

    Raises:
        UnreadableError: pixel data is truncated, damaged, or in a syntax that no decoder reads.
        UnsuitableError: a CT has no rescale to Hounsfield units.
    """
    scales = [_scale(found, modality) for found in ordered]
    shape = (len(ordered), int(ordered[0].values["Rows"]), int(ordered[0].values["Columns"]))
    array = np.empty(shape, dtype=_data_type(ordered, scales, modality))
    padded = np.zeros(len(ordered), dtype=np.int64)

    def fill(k: int, frame: Callable[[], bytes | memoryview]) -> None:
        raw, stored = stored_values(ordered[k], frame())
        padding = _padding(raw, stored, ordered[k].values) if modality == "CT" else None
        _rescale(stored, scales[k], array[k], modality == "CT")
        if padding is not None:
            array[k][padding] = AIR_HU
            padded[k] = _tissue_like(ordered[k], scales[k]) * padding.sum()

    with ThreadPoolExecutor(worker_count()) as pool:
        for future in [pool.submit(fill, k, frame) for k, frame in enumerate(_frames(ordered))]:
            future.result()
    warnings = _varying_scale(ordered, scales, array, modality)
    if padded.any():
        share = padded.sum() / array.size
        warnings.append(
            f"PixelPaddingValue (0028,0120) is also a value of tissue; {share:.1%} of the voxels have it and "
            f"were set to {AIR_HU} HU as padding"
        )
    if modality == "CT" and ordered[0].values["PhotometricInterpretation"] == "MONOCHROME1":
        warnings.append(_upright_values(array, ordered[0], scales))
    return array, warnings


def worker_count() -> int:
    """The number of threads that read and decode: the cores of this process, at most MOST_WORKERS."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_WORKERS, cores)


def same_pixels(a: Slice, b: Slice) -> bool:
    """Whether two slices of one size have the same stored values and the same rescale."""
    scale = ("RescaleSlope", "RescaleIntercept")
    if any(a.values.get(keyword) != b.values.get(keyword) for keyword in scale):
        return False
    first, second = (stored_values(s, frame())[1] for s, frame in zip((a, b), _frames((a, b)), strict=True))
    return bool(np.array_equal(first, second))


def stored_values(found: Slice, encoded: bytes | memoryview) -> tuple[np.ndarray, np.ndarray]:
    """Decode one slice.

    Returns:
        The decoded integers, and the same with unused bits cleared and the sign extended, signed according to
        PixelRepresentation. Both are (row, column) and as wide as BitsAllocated.
    """
    values = found.values
    raw = decode(found, encoded)
    allocated, stored = raw.dtype.itemsize * 8, int(values["BitsStored"])
    high = int(values["HighBit"])
    signed = int(values["PixelRepresentation"]) == 1
    typed = raw.view(np.dtype(f"{'i' if signed else 'u'}{raw.dtype.itemsize}"))
    if stored == allocated:
        return raw, typed
    # Shift left until the sign bit is the top bit, then right; that shift is arithmetic for signed types.
    return raw, (typed << (allocated - 1 - high)) >> (allocated - stored)


def _frames(ordered: Sequence[Slice]) -> list[Callable[[], bytes | memoryview]]:
    """One function per slice that returns its encoded pixels; a multi-frame file is loaded once."""
    if ordered[0].frame is None:
        return [partial(_only_frame, s) for s in ordered]
    loaded = {s.file: frames_of(s) for s in {s.file: s for s in ordered}.values()}
    return [partial(_frame, loaded[s.file], s.frame or 0) for s in ordered]


def _frame(frames: Sequence[bytes | memoryview], number: int) -> bytes | memoryview:
    return frames[number]


def _only_frame(found: Slice) -> bytes | memoryview:
    return frames_of(found)[0]


def require_scales(slices: Sequence[Slice]) -> None:
    """Check the rescale of each slice, by the slice's own modality.

    Raises:
        UnsuitableError: the rescale is damaged, or a CT has none or one to another unit than HU.
    """
    for found in slices:
        _scale(found, str(found.values.get("Modality")))


def _scale(found: Slice, modality: str) -> tuple[float, float]:
    """Slope and intercept; (1, 0) where they are missing in a modality other than CT."""
    slope, intercept = found.values.get("RescaleSlope"), found.values.get("RescaleIntercept")
    if modality == "CT" and (slope is None or intercept is None):
        raise unsuitable(
            f"{RESCALE} in every slice of a CT",
            f"none in {found.name}, so that its values are in no known unit",
        )
    unit = str(found.values.get("RescaleType") or "")
    if modality == "CT" and unit not in _HOUNSFIELD:
        raise unsuitable(
            "Hounsfield units in RescaleType (0028,1054)",
            f"another unit in {found.name}, as in a spectral or material map",
            "Choose the series of the conventional CT.",
        )
    try:
        scale = float(1 if slope is None else slope), float(0 if intercept is None else intercept)
    except (TypeError, ValueError):
        scale = (np.nan, 0.0)
    if not np.isfinite(scale).all() or scale[0] == 0 or abs(scale[0]) > 1e6 or abs(scale[1]) > 1e6:
        raise unsuitable(
            f"finite numbers up to 1e6, the slope not 0, in {RESCALE}",
            f"other values in {found.name}",
        )
    return scale


def _data_type(
    ordered: Sequence[Slice], scales: Sequence[tuple[float, float]], modality: str
) -> type[np.int16] | type[np.float32]:
    """int16 where all values are whole numbers that fit, else float32.

    CT values are clipped to int16: larger ones have no meaning in HU.
    """
    if any(not float(number).is_integer() for number in {n for scale in scales for n in scale}):
        return np.float32
    if modality == "CT":
        return np.int16
    bits, signed = int(ordered[0].values["BitsStored"]), int(ordered[0].values["PixelRepresentation"])
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    ends = [slope * end + intercept for slope, intercept in scales for end in (low, high)]
    return np.int16 if min(ends) >= _INT16.min and max(ends) <= _INT16.max else np.float32


def _rescale(stored: np.ndarray, scale: tuple[float, float], out: np.ndarray, is_ct: bool) -> None:
    slope, intercept = scale
    if out.dtype == np.float32:
        out[:] = stored * np.float64(slope) + intercept
        if is_ct:
            np.maximum(out, AIR_HU, out=out)
        return
    values = stored.astype(np.int64 if stored.dtype.itemsize > 2 else np.int32)
    if slope != 1:
        np.multiply(values, int(slope), out=values)
    np.add(values, int(intercept), out=values)
    out[:] = np.clip(values, AIR_HU if is_ct else _INT16.min, _INT16.max, out=values)


def _padding(raw: np.ndarray, stored: np.ndarray, values: dict[str, Any]) -> np.ndarray | None:
    """The mask of the padding in a slice, (row, column) bool; None when the slice declares no padding."""
    value = _integer(values.get("PixelPaddingValue"))
    if value is None:
        return None
    limit = _integer(values.get("PixelPaddingRangeLimit"))
    if limit is None:
        # Some scanners use all allocated bits for padding, or write a negative value as an unsigned number.
        whole = 2 ** (8 * raw.dtype.itemsize)
        return (raw.view(f"u{raw.dtype.itemsize}") == value % whole) | (
            stored == _as_type(value, stored.dtype)
        )
    ends = sorted(_as_type(end, stored.dtype) for end in (value, limit))
    return (stored >= ends[0]) & (stored <= ends[1])


def _integer(value: Any) -> int | None:
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        return None


def _as_type(value: int, dtype: np.dtype[Any]) -> int:
    """The number that the bits of `value` represent in another integer type (63536 is -2000 in int16)."""
    whole = 2 ** (8 * dtype.itemsize)
    value %= whole
    return value - whole if dtype.kind == "i" and value >= whole // 2 else value


def _tissue_like(found: Slice, scale: tuple[float, float]) -> bool:
    """Whether the padding value of a slice lies in the range of tissue."""
    signed = int(found.values["PixelRepresentation"]) == 1
    width = max(int(found.values["BitsAllocated"]) // 8, 1)
    value = _as_type(int(found.values["PixelPaddingValue"]), np.dtype(f"{'i' if signed else 'u'}{width}"))
    return _TISSUE_HU[0] < value * scale[0] + scale[1] < _TISSUE_HU[1]


def _varying_scale(
    ordered: Sequence[Slice], scales: Sequence[tuple[float, float]], array: np.ndarray, modality: str
) -> list[str]:
    """A warning for a CT whose slices differ in scale, which is rare; refused where the values jump.

    Raises:
        UnsuitableError: the mean of a slice differs from both neighbours by more than MOST_JUMP_HU.
    """
    usual = max(set(scales), key=scales.count)
    odd = [k for k, scale in enumerate(scales) if scale != usual]
    if modality != "CT" or not odd:
        return []
    means = {k: float(array[k].mean()) for o in odd for k in (o - 1, o, o + 1) if 0 <= k < len(scales)}
    for k in odd:
        beside = [means[n] for n in (k - 1, k + 1) if n in means]
        if min(abs(means[k] - mean) for mean in beside) > MOST_JUMP_HU:
            raise unsuitable(
                f"{RESCALE} that fit the neighbouring slices",
                f"{scales[k][0]:g} and {scales[k][1]:g} instead of {usual[0]:g} and {usual[1]:g} at "
                f"{place(ordered, k)}, whose mean is {means[k]:.0f} HU next to {beside[0]:.0f} HU",
            )
    return [
        f"{RESCALE} vary: {len(odd)} slices differ from the others, the first is {place(ordered, odd[0])}"
    ]


def _upright_values(array: np.ndarray, first: Slice, scales: Sequence[tuple[float, float]]) -> str:
    """Invert the values of a CT in place where they were stored inverted; the warning about it.

    MONOCHROME1 concerns only the display (PS3.3 C.7.6.3.1.2), but some programs store inverted values with
    it. A body in a CT is surrounded by air, so that the border of the image shows whether they are inverted.

    Raises:
        UnsuitableError: the border is not air, inverted or not.
    """
    border = np.concatenate([array[:, :2].ravel(), array[:, -2:].ravel()])
    if np.median(border) < -500:
        return (
            "PhotometricInterpretation (0028,0004) is MONOCHROME1; the values were Hounsfield units already"
        )
    bits, signed = int(first.values["BitsStored"]), int(first.values["PixelRepresentation"])
    ends = -1 if signed else 2**bits - 1  # lowest plus highest stored value
    if len(set(scales)) == 1:
        total = ends * scales[0][0] + 2 * scales[0][1]
        if total - np.median(border) < -500:
            array[:] = np.clip(total - array.astype(np.float32), AIR_HU, _INT16.max)
            return (
                "PhotometricInterpretation (0028,0004) is MONOCHROME1; the inverted values were inverted back"
            )
    raise unsuitable(
        "air around the body in a CT with MONOCHROME1 (0028,0004)",
        f"a median of {np.median(border):.0f} HU at the border of the image",
    )
