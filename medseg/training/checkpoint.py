"""The checkpoint: all state that a killed training needs to resume, in one file, written atomically."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medseg.errors import MedsegError, UsageError, WeightsError
from medseg.io.atomic import atomic_path
from medseg.tracking.run_list import FREE_TO_CHANGE

NAME = "checkpoint.pt"
MODEL_NAME = "model.pt"


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint, in full or not at all; objects with a state_dict are saved as that.

    Raises:
        MedsegError: it can't be written; an earlier checkpoint is kept.
    """
    stored = {name: _state(value) for name, value in content.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Through a file object: torch would write the temporary name into the file.
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            torch.save(stored, file)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError if the disk is full
        raise MedsegError(
            "a checkpoint that can be written",
            got=f"{path} ({str(error)[:100]})",
            advice="Make room in its folder, then continue with --resume.",
        ) from error


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint, which may hold only tensors and plain values.

    Raises:
        WeightsError: the file can't be read.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds
        raise WeightsError(
            "a checkpoint that can be read",
            got=f"{path.name} ({type(error).__name__})",
            advice="Train again in another output_dir.",
        ) from error
    return content


def require_same(saved: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Check that a training is resumed with the parameters that it was started with.

    Raises:
        UsageError: parameters differ; the message names the first of them.
    """
    names = {*saved, *now} - FREE_TO_CHANGE
    changed = sorted(name for name in names if saved.get(name) != now.get(name))
    if changed:
        got = "; ".join(f"{name} {saved.get(name)} then, {now.get(name)} now" for name in changed[:5])
        raise UsageError(
            "the parameters that the training began with",
            got=f"{len(changed)} that differ: {got}",
            advice="Give the same parameters, or start a new training in another output_dir.",
        )


def generators() -> dict[str, Any]:
    """The states of all global random generators, in a form that torch.load accepts with weights_only."""
    # NumPy's global generator is included because libraries may draw from it.
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [kind, torch.from_numpy(np.asarray(keys, np.int64)), *rest],
        "python": list(random.getstate()),
    }


def restore_generators(state: Mapping[str, Any]) -> None:
    """Restore the states that `generators` returned."""
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))


def _state(value: Any) -> Any:
    return value.state_dict() if hasattr(value, "state_dict") else value
