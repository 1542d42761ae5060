"""medseg: clinical segmentation on MONAI.

    import medseg
    result = medseg.segment("photo.jpg", task="retinal_vessel")
    result.save("out")

The names below load on first use, so that `import medseg` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Mask": "medseg.volume",
    "MedsegError": "medseg.errors",
    "Segmenter": "medseg.pipeline",
    "SegmentationResult": "medseg.outputs",
    "Volume": "medseg.volume",
    "read_mask": "medseg.io",
    "read_volume": "medseg.io",
    "segment": "medseg.pipeline",
    "write_mask": "medseg.io",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'medseg' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
