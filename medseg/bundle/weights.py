"""Weights: of one network or of a cross-validation's, pinned by their SHA-256."""

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
    """A network with its weights, set to evaluation.

    Args:
        network: built as at training time.
        weights: a file; the output_dir of a cross-validation, for the mean of its networks; None for a
            method that has no weights.
        pinned_sha256: see load_weights; of a file alone.
        fold: of a cross-validation, the number of one network to take, from 0.

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
    """The files that a network is loaded from: see load_network.

    Raises:
        WeightsError: a folder without fold_*/models/model.pt, or without that of the fold.
    """
    if weights is None:
        return []
    folder = Path(weights)
    if not folder.is_dir():
        if fold is not None:
            raise WeightsError(
                "the output_dir of a cross-validation, to choose a fold of",
                got=str(weights),
                advice="Name that folder, or leave the fold out.",
            )
        return [folder]
    pattern = f"fold_{'*' if fold is None else fold}/models/model.pt"
    files = sorted(folder.glob(pattern))
    if not files:
        raise WeightsError(
            f"the output_dir of a cross-validation, with {pattern}",
            got=str(weights),
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
    """Load a state dictionary, tensors only, into a network and set it to evaluation.

    Args:
        network: built as at training time.
        path: written by torch.save; a checkpoint with a "model" entry is fine too.
        pinned_sha256: what the file must hash to; None for weights of one's own.

    Raises:
        WeightsError: the file is missing, hashes otherwise, holds more than tensors or does not fit.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise WeightsError("the bundle's weights", got=f"no file {path}", advice="Restore or train them.")
    if pinned_sha256 is not None and sha256(path) != pinned_sha256:
        raise WeightsError(
            f"weights with the SHA-256 {pinned_sha256}",
            got=f"{path.name} with {sha256(path)}",
            advice="Restore the file; for weights of your own, set weights_sha256 to null.",
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state.get("model", state))
    except Exception as error:  # torch raises a dozen kinds, pickle's and zip's among them
        raise WeightsError(
            "weights that fit the network",
            got=f"{path.name} ({type(error).__name__}: {str(error)[:300]})",
            advice="Use weights that were trained with this bundle's network_def.",
        ) from error
    return network.eval()
