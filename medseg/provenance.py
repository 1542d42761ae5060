"""What made a result and from what, as measurements.json tells it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from medseg import __version__
from medseg.bundle import Bundle, Method, configs_sha256, sha256
from medseg.io import case_name


def maker_of(bundle: Bundle, method: Method, weights_sha256: str | Sequence[str] | None) -> dict[str, Any]:
    """What makes results, as their provenance tells it.

    Args:
        bundle, method: opened now: a configuration that changes later is another maker.
        weights_sha256: of the files of weights: several for an ensemble, None for a method without.
    """
    return {
        "task": bundle.task,
        "bundle_version": bundle.metadata["version"],
        "bundle_sha256": configs_sha256(bundle),
        "method": method.name,
        "algorithm_family": method.algorithm_family,
        "weights_sha256": weights_sha256,
    }


def provenance_of(
    maker: Mapping[str, Any], settings: Mapping[str, Any], source: str, image: np.ndarray
) -> dict[str, Any]:
    """The provenance of a result that is made now.

    Args:
        maker: see maker_of.
        settings: what the user has changed.
        source: the image's path.
        image: (C, row, column) or (C, i, j, k), the image as it was read.
    """
    return {
        **maker,
        **({"settings": settings} if settings else {}),
        "input": case_name(source),
        "input_sha256": input_sha256(source, image),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"medseg": __version__, "monai": version("monai"), "torch": version("torch")},
    }


def input_sha256(source: str | Path, image: np.ndarray) -> str:
    """The digest of an image: that of its file, or of its voxels if it is no single file.

    A series has many files, whose names and order mean nothing; its voxels are the same in any.

    Args:
        source: the path; of an image in memory any text that is no file.
        image: (C, row, column) or (C, i, j, k), as it was read.
    """
    if os.path.isfile(source):
        return sha256(source)
    return hashlib.sha256(np.ascontiguousarray(image.T).data).hexdigest()
