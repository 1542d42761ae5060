"""Load the weights of one network or of all networks of a cross-validation, and check their SHA-256."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.errors import WeightsError

if TYPE_CHECKING:
    import torch


def load_network(
    network: torch.nn.Module,
    weights: str | Path | None,
    pinned_sha256: str | None = None,
    fold: int | None = None,
) -> torch.nn.Module:
    """Load weights into a network and set it to evaluation mode.

    Args:
        network: built as for training.
        weights: a file; the output_dir of a cross-validation, whose networks are averaged; None for a method
            without weights.
        pinned_sha256: see load_weights; only checked for a single file.
        fold: with the output_dir of a cross-validation, the number (from 0) of the one network to use.

    Raises:
        WeightsError: see weights_files and load_weights.
    """
    from medseg.bundle.ensemble import Ensemble

    files = weights_files(weights, fold)
    if not files:
        return network.eval()
    if len(files) == 1:
        return load_weights(network, files[0], None if Path(str(weights)).is_dir() else pinned_sha256)
    return Ensemble([load_weights(copy.deepcopy(network), file) for file in files]).eval()


def weights_files(weights: str | Path | None, fold: int | None = None) -> list[Path]:
    """The files that a network is loaded from; arguments as for load_network.

    Raises:
        WeightsError: the folder has no fold_*/models/model.pt, or not that of the fold; or a fold was given
            for a single file.
    """
    if weights is None:
        return []
    folder = Path(weights)
    if not folder.is_dir():
        if fold is not None:
            raise WeightsError(
                "the output_dir of a cross-validation, to choose a fold from",
                got=str(weights),
                advice="Name that folder, or leave the fold out.",
            )
        return [folder]
    pattern = f"fold_{'*' if fold is None else fold}/models/model.pt"
    files = sorted(folder.glob(pattern))
    if not files:
        raise WeightsError(
            f"the output_dir of a cross-validation, with {pattern}",
            got=f"{weights}, which has no such file",
            advice="Run `medseg train TASK --folds 5 --output_dir DIR` first.",
        )
    return files


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_weights(
    network: torch.nn.Module, path: str | Path, pinned_sha256: str | None = None
) -> torch.nn.Module:
    """Load a state dictionary (tensors only) into a network and set it to evaluation mode.

    Args:
        network: built as for training.
        path: a file written by torch.save: a state dictionary, or a checkpoint with one in its entry "model".
        pinned_sha256: the SHA-256 that the file must have; None skips the check, for weights of your own.

    Raises:
        WeightsError: the file is missing, has another SHA-256, holds more than tensors, or does not fit the
            network.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise WeightsError(
            "the method's trained weights",
            got=f"no file {path}",
            advice="Restore it, or run `medseg train TASK --method NAME` and give its model.pt by --weights.",
        )
    if pinned_sha256 is not None and sha256(path) != pinned_sha256:
        raise WeightsError(
            f"weights with the SHA-256 {pinned_sha256}",
            got=f"{path.name} with {sha256(path)}",
            advice="Restore the file; for weights of your own, set weights_sha256 to null.",
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state.get("model", state))
    except Exception as error:  # torch raises a dozen kinds, those of pickle and zip included
        raise WeightsError(
            "weights that fit the network",
            got=f"{path.name} ({type(error).__name__}: {str(error)[:300]})",
            advice="Use weights that were trained with this bundle's network_def.",
        ) from error
    return network.eval()
