"""Locality-sensitive hashing of unit vectors by random projections.

A bit says on which side of a random hyperplane a vector lies. Two vectors share it with the probability 1 -
angle / pi, so that the number of bits in which they differ (the Hamming distance) estimates the angle, and
with it the cosine. Source: Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002
(SimHash). faiss computes it; its hyperplanes are orthogonal, which estimates the angle better (Ji and others,
NIPS 2012).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import DataError, UsageError

# Chosen by tests/benchmarks/similarity_recall.py; docs/decisions.md has its table.
BITS = 512
CANDIDATES = 100  # that are compared exactly; more for a larger k
CANDIDATES_PER_NEIGHBOUR = 10
_AGAIN = "Run `medseg index` with any manifest on it once more, or search with --exact."


def is_installed() -> bool:
    """Whether faiss is there."""
    return find_spec("faiss") is not None


def write_hashes(units: np.ndarray, path: Path, bits: int = BITS) -> None:
    """Write the codes of unit vectors.

    Args:
        units: (n, D) float32.
        path: the file.
        bits: of a code, a multiple of 8.
    """
    import faiss

    faiss.write_index(hashed(units, bits), str(path))


def hashed(units: np.ndarray, bits: int = BITS) -> Any:
    """A faiss.IndexLSH of unit vectors; the hyperplanes depend on length and number of bits alone."""
    import faiss

    index = faiss.IndexLSH(units.shape[1], bits, True)
    index.add(np.ascontiguousarray(units, np.float32))
    return index


def read_hashes(path: Path | None, count: int) -> Any:
    """The codes of an index as a faiss.IndexLSH.

    Args:
        path: the file; None where the index has none.
        count: of its cases.

    Raises:
        UsageError: faiss is not installed, or was not when the index was written.
        DataError: the file is missing or damaged.
    """
    if not is_installed():
        raise UsageError(
            "the package faiss for the search by hashing",
            got="an environment without it",
            advice="Run pip install 'medseg[similarity]', or search with --exact.",
        )
    if path is None:
        raise UsageError(
            "an index with hashes",
            got="one that was written where faiss was not installed",
            advice=_AGAIN,
        )
    import faiss

    if not path.is_file():
        raise _damaged(f"no file {path.name}")
    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise _damaged(f"a damaged {path.name} that faiss can't read") from error
    if not isinstance(index, faiss.IndexLSH) or index.ntotal != count:
        raise _damaged(f"a damaged {path.name} with {index.ntotal} codes for {count} cases")
    return index


def candidate_count(cases: int, k: int) -> int:
    """How many candidates the k nearest cases are chosen from."""
    return min(cases, max(CANDIDATES, CANDIDATES_PER_NEIGHBOUR * k))


def candidates(hashes: Any, unit: np.ndarray, k: int) -> np.ndarray:
    """The numbers of the cases whose codes are nearest to that of one unit vector (D,)."""
    count = candidate_count(hashes.ntotal, k)
    _, numbers = hashes.search(np.ascontiguousarray(unit[None], np.float32), count)
    return np.asarray(numbers[0])


def _damaged(got: str) -> DataError:
    return DataError("the hashes of the index", got=got, advice=_AGAIN)
