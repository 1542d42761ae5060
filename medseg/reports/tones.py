"""Grey values as codes of 8 bits that hold several windows, for a page on which the reader chooses one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.volume import Window

# Values and their codes; straight in between. In HU a code is 8 HU in air-filled tissue, 4 in soft tissue and
# 25 in bone: with even steps either soft tissue would show bands, or bone and air were cut off.
_HU = ((-1024.0, -150.0, 250.0, 1500.0), (0, 110, 205, 255))
# Centre and width in HU that radiology workstations preset, after Hofer, CT Teaching Manual, 2007.
_HU_WINDOWS = (Window("Soft tissue", 40, 400, "HU"), Window("Bone", 400, 1800, "HU"))


@dataclass(frozen=True)
class Tones:
    """How values become codes.

    Attributes:
        values: ascending, in the unit of the image.
        codes: for each of them, from 0 to 255.
    """

    values: tuple[float, ...]
    codes: tuple[int, ...]

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Values as codes, uint8; those beyond the ends become the ends, NaN the lowest."""
        codes = np.interp(np.nan_to_num(values, nan=self.values[0]), self.values, self.codes)
        return codes.round().astype(np.uint8)

    def table(self, window: Window) -> list[float]:
        """The grey from 0 to 1 of each code in a window."""
        values = np.interp(np.arange(256), self.codes, self.values)
        return ((values - window.centre) / window.width + 0.5).clip(0, 1).round(4).tolist()


def tones_of(window: Window) -> Tones:
    """Codes for the whole range of HU, or for the range of a window in any other unit."""
    if window.unit == "HU":
        return Tones(*_HU)
    return Tones((window.centre - window.width / 2, window.centre + window.width / 2), (0, 255))


def window_choices(window: Window, tones: Tones) -> list[dict[str, Any]]:
    """The windows that a reader can choose from, the task's own first, each with its table as text."""
    others = _HU_WINDOWS if window.unit == "HU" else ()
    shown: Sequence[Window] = [window, *(other for other in others if other.centre != window.centre)]
    return [
        {
            "name": each.name,
            "text": str(each),
            "centre": f"{each.centre:g}",
            "width": f"{each.width:g}",
            "table": " ".join(f"{grey:g}" for grey in tones.table(each)),
        }
        for each in shown
    ]
