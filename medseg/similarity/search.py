"""The cases of an index that are most like an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import DataError, UsageError
from medseg.io import Input, case_name
from medseg.similarity.build import content_digest
from medseg.similarity.descriptors import Describer, Recipe
from medseg.similarity.hashing import candidate_count, candidates, read_hashes
from medseg.similarity.index import Index, IndexedCase, read_index, require_same

EXACT, HASHING = "exact", "hashing"


@dataclass(frozen=True)
class Neighbour:
    """A case of the index.

    Attributes:
        rank: from 1, the nearest.
        case: what the index knows of it.
        distance: 1 - cosine of the angle between the descriptors, from 0 (alike) to 2.
    """

    rank: int
    case: IndexedCase
    distance: float


@dataclass(frozen=True)
class SimilarCases:
    """The answer to a query.

    Attributes:
        query: the case name of the image.
        neighbours: the nearest first.
        recipe: how the images were described.
        search: exact, or hashing: candidates by hashing, then compared exactly.
        compared: with how many cases the image was compared exactly.
        cases: how many the index has.
        notes: sentences about the answer.
    """

    query: str
    neighbours: Sequence[Neighbour]
    recipe: Recipe
    search: str
    compared: int
    cases: int
    notes: Sequence[str] = field(default_factory=tuple)


def find_similar(
    source: Input,
    folder: str | Path,
    k: int = 10,
    *,
    exact: bool = False,
    task: str | None = None,
    weights: str | Path | None = None,
    weights_fold: int | None = None,
    device: str = "auto",
) -> SimilarCases:
    """The cases of an index that are most like an image. For many images, build one Finder and call it for
    each.

    Cases are compared by the cosine of their descriptors; see medseg.similarity.index.Index.units. Candidates
    come from locality-sensitive hashing (medseg.similarity.hashing) and are then compared exactly, so that
    the distances are exact, and a near case may be missed. The image itself, known by its content, is left
    out.

    Args:
        source: an image, as for medseg.segment.
        folder: the index.
        k: how many cases; an index with fewer gives all, and a note says so.
        exact: compare with all cases instead.
        task: the bundle, by its path, where it is none of the shipped ones.
        weights, weights_fold: of the network, where the index was made with others than the method's own.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        UsageError: k is below 1, there is no index, it was made with other weights or another version of the
            bundle, or faiss is not installed.
        DataError: the index is damaged, or holds no case.
        InputError: the image can't be read, or the task's checks refuse it.
    """
    require_count(k)
    finder = Finder(folder, task=task, weights=weights, weights_fold=weights_fold, device=device)
    return finder(source, k, exact=exact)


class Finder:
    """Finds similar cases in one index; arguments and errors as for find_similar."""

    def __init__(
        self,
        folder: str | Path,
        *,
        task: str | None = None,
        weights: str | Path | None = None,
        weights_fold: int | None = None,
        device: str = "auto",
    ) -> None:
        self.index = read_index(folder)
        if not self.index.cases:
            raise DataError(
                "an index with cases", got="none", advice="Add some with `medseg index MANIFEST`."
            )
        made = self.index.recipe
        self.describer = Describer(
            task or made.task, made.method, made.descriptor, weights, weights_fold, device
        )
        require_same(self.describer.recipe, made, Path(folder))

    def __call__(self, source: Input, k: int = 10, *, exact: bool = False) -> SimilarCases:
        require_count(k)
        hashes = None if exact else self._hashes
        unit = self.index.units(self.describer(source))
        own = content_digest(source)
        found = nearest(
            self.index, unit, k + 1, hashes
        )  # one more, because the image itself may be among them
        kept = [(number, cosine) for number, cosine in found if self.index.cases[number].sha256 != own][:k]
        neighbours = [
            Neighbour(rank, self.index.cases[number], max(0.0, 1 - cosine))
            for rank, (number, cosine) in enumerate(kept, start=1)
        ]
        notes = []
        if self.index.cases.has(own):
            notes.append("the image itself is in the index and was left out")
        if len(neighbours) < k:
            notes.append(f"{k} cases were asked for, and the index has {len(neighbours)} others")
        count = len(self.index.cases)
        return SimilarCases(
            case_name(source),
            neighbours,
            self.index.recipe,
            EXACT if exact else HASHING,
            count if exact else candidate_count(count, k + 1),
            count,
            notes,
        )

    @cached_property
    def _hashes(self) -> Any:
        return read_hashes(self.index.hashes, len(self.index.cases))


def nearest(index: Index, unit: np.ndarray, k: int, hashes: Any = None) -> list[tuple[int, float]]:
    """The k nearest cases to a unit vector, as (number, cosine), the nearest first; ties in the index's
    order.

    Args:
        index: the cases.
        unit: (D,).
        k: how many.
        hashes: their codes, for the search by hashing; None compares with all.
    """
    numbers = np.arange(len(index.cases)) if hashes is None else np.sort(candidates(hashes, unit, k))
    units = index.all_units if hashes is None else index.units(index.rows(numbers))
    cosines = units @ unit
    k = min(k, len(cosines))
    least = np.partition(cosines, -k)[-k]
    best = np.flatnonzero(cosines >= least)  # k, and more where several are as near as the last
    order = best[np.argsort(-cosines[best], kind="stable")][:k]
    return [(int(numbers[n]), float(cosines[n])) for n in order]


def require_one(sources: Sequence[Input]) -> Input:
    """The only one of several sources.

    Raises:
        UsageError: there are more.
    """
    if len(sources) != 1:
        raise UsageError("one image", got=f"{len(sources)}", advice="Ask for one after the other.")
    return sources[0]


def require_count(k: int) -> None:
    if k < 1:
        raise UsageError("1 or more similar cases", got=str(k), advice="Set k (-k) to 1 or more.")
