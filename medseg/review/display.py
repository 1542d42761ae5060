"""How the images of a task are shown: its own window, and the usual ones of its modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from medseg.bundle import find
from medseg.errors import MedsegError

# Centre and width in HU that radiology workstations preset, after Hofer, CT Teaching Manual, 2007.
CT_WINDOWS = (
    {"name": "Lung", "centre": -600, "width": 1500},
    {"name": "Mediastinum", "centre": 40, "width": 400},
    {"name": "Bone", "centre": 400, "width": 1800},
)


@dataclass(frozen=True)
class Display:
    """Of one task.

    Attributes:
        modality: the DICOM modality that is read; None for any.
        windows: {"name", "centre", "width", "unit"}, the task's own first; none for pictures.
    """

    modality: str | None = None
    windows: tuple[Mapping[str, Any], ...] = ()


@cache
def display_of(task: str) -> Display:
    """How a task is shown; without any preference where its bundle is not installed."""
    import yaml

    try:
        text = (find(task) / "configs" / "inference.yaml").read_text("utf-8")
        content = yaml.safe_load(text)
        own = content["result"].get("window")
        modality = content["preprocessing"].get("load", {}).get("modality")
    except (MedsegError, OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return Display()
    usual = [{**window, "unit": "HU"} for window in CT_WINDOWS] if modality == "CT" else []
    given = [{"unit": "", **own}] if isinstance(own, dict) and {"name", "centre", "width"} <= set(own) else []
    shown = [(window["centre"], window["width"]) for window in given]
    others = [window for window in usual if (window["centre"], window["width"]) not in shown]
    return Display(modality, (*given, *others))
