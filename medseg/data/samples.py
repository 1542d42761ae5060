"""Training samples: deterministic transforms are cached by content, random ones are seeded for each sample.

A sample depends only on the seed, the epoch and its index in the data set; not on the number of workers or
processes, nor on whether the training was interrupted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from monai.transforms import Compose, RandomizableTrait, Transform
from torch.utils.data import Dataset, Sampler

from medseg.bundle import typed_errors
from medseg.data.cache import Cache, FileDigests, combine, transform_digest
from medseg.errors import DataError, MedsegError, UsageError
from medseg.inference.distributed import gather, share

logger = logging.getLogger(__name__)

Draw = tuple[int, int]  # epoch, index


class SampleError(DataError):
    """An item can't be loaded or transformed.

    It takes a single text, because torch rebuilds an error of a worker from one: a traceback that ends with
    the error's message.
    """

    def __init__(self, text: str) -> None:
        own = text.strip().rpartition(f"{type(self).__name__}: ")[2].removeprefix("expected ")
        expected, _, rest = own.partition("; got ")
        got, _, advice = rest.partition(". ")
        super().__init__(expected, got=got, advice=advice)


class PreparedDataset(Dataset):
    """Transformed items; the entry `seconds` of each holds the time of loading and of random transforms.

    The transforms before the first random one are cached. The random generator is seeded by seed, epoch and
    index.

    Args:
        data: items; an item that occurs several times is augmented differently each time.
        transform: MONAI's Compose of dictionary transforms.
        seed: seed of the random transforms.
        cache_dir: folder of the cache; None runs all transforms every time.
        repeats: the number of times that each item occurs.
        at_least: the least number of items, such as a batch; fewer items are repeated.
        otherwise: the items to use if `data` is empty.
        shared: whether the items are divided among several processes.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, str]],
        transform: Compose,
        seed: int = 0,
        cache_dir: str | Path | None = None,
        repeats: int = 1,
        at_least: int = 1,
        otherwise: Sequence[Mapping[str, str]] = (),
        shared: bool = False,
    ) -> None:
        if not data and otherwise:
            logger.warning(
                "no validation cases: training cases are scored instead, so the scores are optimistic"
            )
        items = list(data or otherwise)
        if shared:
            items = share(items)
        self.data = items * max(repeats, -(-at_least // max(len(items), 1)))
        self.transform = transform
        self.seed = seed
        self.fixed, self.varied = _split(transform)
        self.files = FileDigests()
        digests = [self.files.of_item(item) for item in self.data]
        self.digests = digests
        prefix = transform_digest(self.fixed) if cache_dir else None
        self.cache = Cache(cache_dir) if cache_dir and prefix else None
        # The paths are part of the key, because the meta data holds them.
        self.keys = [
            combine([prefix or "", digest, str(item)])
            for digest, item in zip(digests, self.data, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, draw: Draw | int) -> Any:
        """A sample, or a list of samples if a transform such as RandCropByPosNegLabeld makes several.

        Args:
            draw: (epoch, index) from EpochBatches; an index alone stands for epoch 0.

        Raises:
            SampleError: an item that can't be loaded or transformed.
        """
        epoch, index = draw if isinstance(draw, tuple) else (0, draw)
        try:
            with typed_errors(), _one_thread():
                return self._sample(epoch, index)
        except MedsegError as error:
            raise SampleError(str(error)) from error

    def _sample(self, epoch: int, index: int) -> Any:
        start = time.perf_counter()
        item = self._prepared(index)
        loaded = time.perf_counter()
        # Compose seeds each of its transforms from this seed.
        self.varied.set_random_state(seed=_sample_seed(self.seed, epoch, index))
        varied = self.varied(item)
        seconds = torch.tensor([loaded - start, time.perf_counter() - loaded])
        samples = varied if isinstance(varied, list) else [varied]
        for sample in samples:
            sample["seconds"] = seconds / len(samples)
        return varied

    def _prepared(self, index: int) -> dict[str, Any]:
        item = self.data[index]
        if self.cache is None:
            return self.fixed(dict(item))

        def prepare() -> dict[str, Any]:
            prepared = self.fixed(dict(item))
            self.files.require_unchanged(item)
            return prepared

        return self.cache.get(self.keys[index], prepare)


def data_digest(dataset: PreparedDataset) -> str:
    """A digest of the content of a data set's files, independent of their order and repetitions.

    It covers the shares of all processes, so every process must call it.
    """
    return combine(sorted(set(gather(dataset.digests))))


class EpochBatches(Sampler[list[Draw]]):
    """Batches of (epoch, index) in an order that seed and epoch determine.

    Each of several processes gets its share of every batch, so that together they train on the same batches
    as a single process would. An incomplete last batch is dropped.

    Args:
        length: number of items in the data set.
        batch_size: number of items in a batch, summed over all processes.
        seed: seed of the order.

    Raises:
        UsageError: there are fewer items than one batch, or the batch can't be divided evenly.
    """

    def __init__(self, length: int, batch_size: int, seed: int = 0) -> None:
        if not 0 < batch_size <= length:
            raise UsageError(
                f"a batch_size from 1 to the number of training samples ({length})",
                got=str(batch_size),
                advice="Lower batch_size, or take more patches of each image.",
            )
        if batch_size % idist.get_world_size():
            raise UsageError(
                "a batch_size that the processes share evenly",
                got=f"{batch_size} for {idist.get_world_size()} processes",
                advice="Change batch_size or the number of processes.",
            )
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.batch_size

    def __iter__(self) -> Iterator[list[Draw]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        for batch in order[: len(self) * self.batch_size].reshape(-1, self.batch_size):
            share = batch[idist.get_rank() :: idist.get_world_size()]
            yield [(self.epoch, int(index)) for index in share]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, as torch's workers do: with several threads, sums are rounded differently."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _split(transform: Compose) -> tuple[Compose, Compose]:
    """Split a transform into the part before its first random step, and the rest."""
    # OneOf and similar classes derive from Compose, but their steps don't follow each other.
    whole = transform.flatten() if type(transform) is Compose else Compose([transform])
    steps = whole.transforms
    first = next((i for i, step in enumerate(steps) if _varies(step)), len(steps))
    options = {name: getattr(whole, name) for name in ("map_items", "unpack_items", "lazy", "overrides")}
    return Compose(steps[:first], **options), Compose(steps[first:], **options)


def _varies(step: Any) -> bool:
    """Whether a step is random, or may be: a plain function doesn't declare it."""
    return isinstance(step, RandomizableTrait) or not isinstance(step, Transform)


def _sample_seed(seed: int, epoch: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, index]).generate_state(1)[0])
