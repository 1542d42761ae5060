"""medseg: clinical segmentation on MONAI.

    import medseg
    result = medseg.segment("photo.jpg", task="retinal_vessel")
    result.save("out")

The names below load on first use, so that `import medseg` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a type checker can't follow __getattr__
    from medseg.errors import MedsegError
    from medseg.io import read_mask, read_volume, write_mask
    from medseg.outputs import SegmentationResult
    from medseg.pipeline import Segmenter, segment
    from medseg.propagation import propagate, track
    from medseg.volume import Mask, Volume

__version__ = "0.1.0"

_HOME = {
    "Mask": "medseg.volume",
    "MedsegError": "medseg.errors",
    "Segmenter": "medseg.pipeline",
    "SegmentationResult": "medseg.outputs",
    "Volume": "medseg.volume",
    "propagate": "medseg.propagation",
    "read_mask": "medseg.io",
    "read_volume": "medseg.io",
    "segment": "medseg.pipeline",
    "track": "medseg.propagation",
    "write_mask": "medseg.io",
}

__all__ = [
    "Mask",
    "MedsegError",
    "SegmentationResult",
    "Segmenter",
    "Volume",
    "propagate",
    "read_mask",
    "read_volume",
    "segment",
    "track",
    "write_mask",
]

if not TYPE_CHECKING:  # else a misspelt name would be Any

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'medseg' has no attribute {name!r}")
        return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
