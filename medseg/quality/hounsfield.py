"""Check that values are Hounsfield units; if not, name the probable scale."""

from __future__ import annotations

import numpy as np

from medseg.errors import UnsuitableError

# Constants that programs add so that no value is below 0. With each, the smallest value is far above that of
# an MR, which begins at 0.
OFFSETS = (32768, 16384, 10000, 8192, 4096)
PADDING_HU = -1400.0  # below noisy air: scanners write -2000 or -3024 outside the round field of view
AIR_HU = -650.0  # room air and most of any lung are below; measured: 12% or more of each scan


def require_numbers(array: np.ndarray) -> None:
    if array.ndim != 3 or not array.size or array.dtype.kind not in "biuf":
        raise UnsuitableError(
            "a volume with three axes of real numbers",
            got=f"an array of shape {array.shape} and type {array.dtype}",
            advice="Give one volume, without a channel or time axis.",
        )


def require_hounsfield(array: np.ndarray) -> None:
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        raise UnsuitableError(
            "a CT with finite values",
            got="a volume with infinite values or NaN",
            advice="Replace values that are no measurement with -1024.",
        )
    # A regular sample is large enough, and saves time.
    sample = array[tuple(slice(None, None, max(1, size // 64)) for size in array.shape)].ravel()
    # The lowest value may be padding, which has no meaning on the scale.
    air = np.count_nonzero((sample > max(low, PADDING_HU)) & (sample < AIR_HU))
    if air <= 0.001 * sample.size:
        cause, advice = _other_scale(sample, low, high, array.dtype)
        raise UnsuitableError(
            "a CT in Hounsfield units (air near -1000)",
            got=f"values from {low:g} to {high:g} of which hardly any is air: {cause}",
            advice=advice,
        )


def _other_scale(sample: np.ndarray, low: float, high: float, dtype: np.dtype) -> tuple[str, str]:
    """The probable cause of values without air near -1000, as a noun phrase, and the advice."""
    again = "Use the CT series itself, as the scanner sent it."
    values = np.unique(sample)
    if len(values) <= 1:
        return "a blank volume", "Check the export."
    if low >= 0 and len(values) <= 64 and (dtype.kind != "f" or (values == values.round()).all()):
        return f"a mask ({len(values)} different values)", "Use the CT and not its segmentation."
    if high - low <= 20:
        return "a normalised image", "Use the values before they were normalised."
    if dtype.kind == "u" and high > 64000:
        return "HU below zero wrapped around in an unsigned type", "Read it as signed 16-bit integers."
    if low >= 0 and high <= 255:
        return "an 8-bit picture", again
    offset = _offset(sample, low, high)
    if offset:
        return offset
    # Without the intercept, soft tissue is near 1024 and is most of what is not air.
    tissue = np.count_nonzero((sample > 850) & (sample < 1250))
    if tissue > max(0.01 * sample.size, 0.5 * np.count_nonzero(sample > 500)):
        return "the rescale intercept was not applied", "Add it to each value: for most scanners, add -1024."
    if low < 0 and np.count_nonzero(sample == low) > 0.02 * sample.size:
        return f"values below {low:g} were cut off", again
    return "probably another modality, such as MR", again


def _offset(sample: np.ndarray, low: float, high: float) -> tuple[str, str] | None:
    """The cause and the advice where a constant was added to all values; None where there is none.

    The constant is reported and not subtracted: a file whose values were changed may have other changes.
    """
    if high < PADDING_HU:
        return f"a constant was subtracted: no value is above {high:g}", "Add it, so that air is near -1000."
    if np.mean(np.abs(sample) > 2**15 - 4096) > 0.9 and low < 0 < high:
        return (
            "HU with 32768 added, read as signed numbers",
            "Read it as unsigned 16-bit integers and subtract 32768 from each value.",
        )
    values = sample[sample > low]  # the lowest value may be padding
    lowest = float(values.min())
    for added in OFFSETS:
        hu = values - np.float64(added)
        air, tissue = np.mean((hu > PADDING_HU) & (hu < AIR_HU)), np.mean((hu > -200) & (hu < 200))
        if lowest - added > PADDING_HU and air > 0.01 and tissue > 0.05:
            return f"all HU have {added} added to them", f"Subtract {added} from each value."
    if lowest > 2 * -PADDING_HU:
        return (
            f"a constant was added: no value is below {lowest:g}",
            "Subtract it, so that air is near -1000.",
        )
    return None
