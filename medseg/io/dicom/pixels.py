"""Pixels of a stack as one array: decoded, sign-extended, rescaled and cleared of padding."""

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
# Threads share the wait for a drive. Decoders hold the interpreter, so more cores decode no faster: measured
# by tests/benchmarks/dicom_decoding.py.
MOST_WORKERS = 4
# Over a whole slice the mean of a chest CT changes by less than 50 HU to the next one.
MOST_JUMP_HU = 100
# What padding stands for is no tissue: below fat and lung, or beyond metal.
_TISSUE_HU = (-950, 3000)
# Units of RescaleType (0028,1054) that are Hounsfield units: US is "unspecified", as old scanners have it.
_HOUNSFIELD = {"HU", "US", "HU_MOD", ""}
RESCALE = "RescaleSlope (0028,1053) and RescaleIntercept (0028,1052)"


def read_pixels(ordered: Sequence[Slice], modality: str) -> tuple[np.ndarray, list[str]]:
    """Decode all slices into one array.

    Args:
        ordered: slices as the grid has them, all of one size.
        modality: CT values are Hounsfield units, limited to AIR_HU from below, padding becomes AIR_HU.

    Returns:
        The array (k, row, column), int16 where slopes and intercepts are whole numbers that fit, else
        float32; and warnings.

    Raises:
        UnreadableError: pixel data is truncated, damaged, or in a syntax that no decoder reads.
        UnsuitableError: values without a rescale to Hounsfield units.
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
            f"PixelPaddingValue (0028,0120) is a value of tissue; {share:.1%} of the voxels are padding "
            f"by it and were set to {AIR_HU} HU"
        )
    if modality == "CT" and ordered[0].values["PhotometricInterpretation"] == "MONOCHROME1":
        warnings.append(_upright_values(array, ordered[0], scales))
    return array, warnings


def worker_count() -> int:
    """How many threads read and decode: the cores that this process may use, within MOST_WORKERS."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_WORKERS, cores)


def same_pixels(a: Slice, b: Slice) -> bool:
    """Whether two slices of one size hold the same values on the same scale."""
    scale = ("RescaleSlope", "RescaleIntercept")
    if any(a.values.get(keyword) != b.values.get(keyword) for keyword in scale):
        return False
    first, second = (stored_values(s, frame())[1] for s, frame in zip((a, b), _frames((a, b)), strict=True))
    return bool(np.array_equal(first, second))


def stored_values(found: Slice, encoded: bytes | memoryview) -> tuple[np.ndarray, np.ndarray]:
    """One slice as the pixel data has it, and with its unused bits cleared and its sign extended.

    Returns:
        Both (row, column) integers as wide as BitsAllocated; the second signed as PixelRepresentation says.
    """
    values = found.values
    raw = decode(found, encoded)
    allocated, stored = raw.dtype.itemsize * 8, int(values["BitsStored"])
    high = int(values["HighBit"])
    signed = int(values["PixelRepresentation"]) == 1
    typed = raw.view(np.dtype(f"{'i' if signed else 'u'}{raw.dtype.itemsize}"))
    if stored == allocated:
        return raw, typed
    # Left until the sign bit is on top, then right again: an arithmetic shift if signed.
    return raw, (typed << (allocated - 1 - high)) >> (allocated - stored)


def _frames(ordered: Sequence[Slice]) -> list[Callable[[], bytes | memoryview]]:
    """One function per slice that gives its encoded pixels; a multi-frame file is loaded once."""
    if ordered[0].frame is None:
        return [partial(_only_frame, s) for s in ordered]
    loaded = {s.file: frames_of(s) for s in {s.file: s for s in ordered}.values()}
    return [partial(_frame, loaded[s.file], s.frame or 0) for s in ordered]


def _frame(frames: Sequence[bytes | memoryview], number: int) -> bytes | memoryview:
    return frames[number]


def _only_frame(found: Slice) -> bytes | memoryview:
    return frames_of(found)[0]


def require_scales(slices: Sequence[Slice]) -> None:
    """Check the rescale of each slice, by its own modality.

    Raises:
        UnsuitableError: it is missing in a CT, damaged, or to another unit than Hounsfield's.
    """
    for found in slices:
        _scale(found, str(found.values.get("Modality")))


def _scale(found: Slice, modality: str) -> tuple[float, float]:
    """Slope and intercept; (1, 0) where a modality other than CT has none."""
    slope, intercept = found.values.get("RescaleSlope"), found.values.get("RescaleIntercept")
    if modality == "CT" and (slope is None or intercept is None):
        raise unsuitable(
            f"{RESCALE} in every slice of a CT, without which its values are in no known unit",
            f"none in {found.name}",
        )
    unit = str(found.values.get("RescaleType") or "")
    if modality == "CT" and unit not in _HOUNSFIELD:
        raise unsuitable(
            "Hounsfield units in RescaleType (0028,1054)",
            f"another unit in {found.name}, as a spectral or material map has",
            "Choose the series of the plain CT.",
        )
    try:
        scale = float(1 if slope is None else slope), float(0 if intercept is None else intercept)
    except (TypeError, ValueError):
        scale = (np.nan, 0.0)
    if not np.isfinite(scale).all() or scale[0] == 0 or abs(scale[0]) > 1e6 or abs(scale[1]) > 1e6:
        raise unsuitable(f"numbers other than 0 in {RESCALE}", f"others in {found.name}")
    return scale


def _data_type(
    ordered: Sequence[Slice], scales: Sequence[tuple[float, float]], modality: str
) -> type[np.int16] | type[np.float32]:
    """int16 for whole numbers that fit; CT is limited to it, for no value beyond it means a thing."""
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
    """Where a slice is padding: (row, column) bool; None when it declares none."""
    value = _integer(values.get("PixelPaddingValue"))
    if value is None:
        return None
    limit = _integer(values.get("PixelPaddingRangeLimit"))
    if limit is None:
        # Some scanners write padding that needs all allocated bits, or its sign as an unsigned number.
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
    """The number that the bits of `value` are in another integer type (63536 is -2000 in int16)."""
    whole = 2 ** (8 * dtype.itemsize)
    value %= whole
    return value - whole if dtype.kind == "i" and value >= whole // 2 else value


def _tissue_like(found: Slice, scale: tuple[float, float]) -> bool:
    signed = int(found.values["PixelRepresentation"]) == 1
    width = max(int(found.values["BitsAllocated"]) // 8, 1)
    value = _as_type(int(found.values["PixelPaddingValue"]), np.dtype(f"{'i' if signed else 'u'}{width}"))
    return _TISSUE_HU[0] < value * scale[0] + scale[1] < _TISSUE_HU[1]


def _varying_scale(
    ordered: Sequence[Slice], scales: Sequence[tuple[float, float]], array: np.ndarray, modality: str
) -> list[str]:
    """CT slices rarely differ in scale: allowed with a warning where the values go on smoothly."""
    usual = max(set(scales), key=scales.count)
    odd = [k for k, scale in enumerate(scales) if scale != usual]
    if modality != "CT" or not odd:
        return []
    means = {k: float(array[k].mean()) for o in odd for k in (o - 1, o, o + 1) if 0 <= k < len(scales)}
    for k in odd:
        beside = [means[n] for n in (k - 1, k + 1) if n in means]
        if min(abs(means[k] - mean) for mean in beside) > MOST_JUMP_HU:
            raise unsuitable(
                f"{RESCALE} that fit the slices beside",
                f"{scales[k][0]:g} and {scales[k][1]:g} instead of {usual[0]:g} and {usual[1]:g} at "
                f"{place(ordered, k)}, whose mean is {means[k]:.0f} HU beside {beside[0]:.0f} HU",
            )
    return [
        f"{RESCALE} vary: {len(odd)} slices differ from the others, the first is {place(ordered, odd[0])}"
    ]


def _upright_values(array: np.ndarray, first: Slice, scales: Sequence[tuple[float, float]]) -> str:
    """Turn inverted CT values round, and say what was done.

    MONOCHROME1 concerns the display alone (PS3.3 C.7.6.3.1.2), but some programs store inverted values
    with it. What surrounds a body in a CT is air, so its border says which of the two it is.

    Raises:
        UnsuitableError: neither way is the border air.
    """
    border = np.concatenate([array[:, :2].ravel(), array[:, -2:].ravel()])
    if np.median(border) < -500:
        return (
            "PhotometricInterpretation (0028,0004) is MONOCHROME1; the values are Hounsfield units as stored"
        )
    bits, signed = int(first.values["BitsStored"]), int(first.values["PixelRepresentation"])
    ends = -1 if signed else 2**bits - 1  # lowest plus highest stored value
    if len(set(scales)) == 1:
        total = ends * scales[0][0] + 2 * scales[0][1]
        if total - np.median(border) < -500:
            array[:] = np.clip(total - array.astype(np.float32), AIR_HU, _INT16.max)
            return (
                "PhotometricInterpretation (0028,0004) is MONOCHROME1, and inverted values were turned round"
            )
    raise unsuitable(
        "air around the body in a CT with MONOCHROME1 (0028,0004)",
        f"a border of {np.median(border):.0f} HU",
    )
