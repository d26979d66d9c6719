"""Which samples go through the network together.

Workers preprocess chunks of consecutive samples. Inputs of one size are batched as they come.
Inputs of many sizes, such as texts, are sorted by size within a window of `WINDOW` samples, so that
little is padded, and batched by the tokens that a batch takes with its padding. What is batched
with what depends on the samples and on the batch size alone: not on workers, not on what an
earlier job left behind.
"""

import itertools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from consilience.datasets import Sample
from consilience.errors import ConsilienceError, FeaturesError

WINDOW = 8192
"""Samples that are sorted by size together; a multiple of `CHUNK`."""
CHUNK = 64
"""Inputs of many sizes that a worker hands over at a time."""
TOKENS = 128
"""Tokens that count as one sample of the batch size."""


@dataclass(frozen=True)
class Chunk:
    """Preprocessed samples that follow one another."""

    number: int
    start: int
    """Row of the first sample."""
    inputs: Sequence[Any]


@dataclass(frozen=True)
class Batch:
    """Samples that go through the network together."""

    rows: np.ndarray
    inputs: Sequence[Any]
    cost: int = 1
    """What the largest input costs; a batch costs its number of inputs times this."""


def make_chunks(
    rows: Iterable[tuple[int, Sample]],
    preprocess: Callable[[Sample], Any],
    wanted: np.ndarray,
    size: int,
    worker: int = 0,
    workers: int = 1,
) -> Iterator[Chunk]:
    """Yields the chunks number worker, worker + workers, …; pictures of others stay unopened.

    Args:
        rows: (row, sample) in samples order, rows counted from 0.
        preprocess: makes a model's input of a sample.
        wanted: (n,) booleans; chunks without a wanted row are passed over, uncounted.
        size: samples per chunk.
        worker: number of this worker.
        workers: how many share the work.

    Raises:
        FeaturesError: the rows are not 0, 1, 2, …
    """
    rows, start, number = iter(rows), 0, 0
    while chunk := list(itertools.islice(rows, size)):
        found = [row for row, _ in chunk]
        if found != list(range(start, start + len(chunk))):
            raise FeaturesError(f"samples came as rows {found[:8]}, expected them from {start}")
        if wanted[start : start + len(chunk)].any():
            if number % workers == worker:
                yield Chunk(number, start, _together([preprocess(sample) for _, sample in chunk]))
            number += 1
        start += len(chunk)


def _together(inputs: list[Any]) -> Sequence[Any]:
    """Returns one tensor for tensors of one shape: a batch then crosses processes in one piece."""
    if all(isinstance(x, Tensor) and x.shape == inputs[0].shape for x in inputs):
        return torch.stack(inputs)
    return inputs


class Stream(IterableDataset):
    """The chunks of a dataset, in order, made by worker processes or in this one.

    Args:
        rows: begins a pass over (row, sample).
        preprocess: makes a model's input of a sample.
        wanted: (n,) booleans, see `make_chunks`.
        size: samples per chunk.
        workers: processes that preprocess; 0: this one does.
    """

    def __init__(
        self,
        rows: Callable[[], Iterable[tuple[int, Sample]]],
        preprocess: Callable[[Sample], Any],
        wanted: np.ndarray,
        size: int,
        workers: int,
    ) -> None:
        super().__init__()
        self._rows, self._preprocess, self._wanted = rows, preprocess, wanted
        self._size, self._workers = size, workers

    def __iter__(self) -> Iterator[Chunk | ConsilienceError]:
        info = get_worker_info()
        share = (info.id, info.num_workers) if info else (0, 1)
        try:
            yield from make_chunks(self._rows(), self._preprocess, self._wanted, self._size, *share)
        except ConsilienceError as error:
            # As a value: an exception that leaves a worker arrives wrapped in its traceback.
            yield error

    def chunks(self) -> Iterator[Chunk]:
        """Yields every wanted chunk once, by number; raises what a worker met."""
        # Worker w makes chunks w, w + W, …, and the loader asks the workers in turn.
        forks = self._workers > 0 and "fork" in multiprocessing.get_all_start_methods()
        loader = DataLoader(
            self,
            batch_size=None,
            num_workers=self._workers,
            collate_fn=_as_is,
            multiprocessing_context="fork" if forks else None,
        )
        for number, chunk in enumerate(loader):
            if isinstance(chunk, ConsilienceError):
                raise chunk
            if chunk.number != number:
                raise FeaturesError(f"chunk {chunk.number} came as number {number}; use workers 0")
            yield chunk


def _as_is(chunk: Any) -> Any:  # noqa: ANN401
    return chunk


def wanted_rows(done: np.ndarray, sized: bool) -> np.ndarray:
    """Returns which rows must be preprocessed, given which are done, both (n,).

    Sorting takes the sizes of a whole window, so one missing row asks for all of its window.
    """
    if not sized:
        return ~done
    missing = np.logical_or.reduceat(~done, np.arange(0, len(done), WINDOW))
    return np.repeat(missing, WINDOW)[: len(done)]


def make_batches(
    chunks: Iterable[Chunk], size: Callable[[Any], int] | None, limit: int
) -> Iterator[Batch]:
    """Yields batches of chunks: as they are, or by size.

    Args:
        chunks: preprocessed samples, in order.
        size: what an input costs; None: all cost the same.
        limit: the most that a sorted batch may cost, padding included.
    """
    if size is None:
        for chunk in chunks:
            yield Batch(np.arange(chunk.start, chunk.start + len(chunk.inputs)), chunk.inputs)
        return
    for _, window in itertools.groupby(chunks, key=lambda chunk: chunk.start // WINDOW):
        yield from _by_size(list(window), size, limit)


def _by_size(chunks: Sequence[Chunk], size: Callable[[Any], int], limit: int) -> Iterator[Batch]:
    """Yields batches from the largest inputs to the smallest: if memory lacks, it does at once."""
    inputs = [one for chunk in chunks for one in chunk.inputs]
    rows = np.concatenate([np.arange(c.start, c.start + len(c.inputs)) for c in chunks])
    sizes = np.array([size(one) for one in inputs])
    order = np.argsort(-sizes, kind="stable")
    start = 0
    while start < len(order):
        cost = max(1, int(sizes[order[start]]))
        picked = order[start : start + max(1, limit // cost)]
        yield Batch(rows[picked], [inputs[i] for i in picked], cost)
        start += len(picked)
