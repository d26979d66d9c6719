"""From a model and a dataset's samples to a features file, in one pass over the dataset."""

import logging
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from consilience import __version__
from consilience.datasets import Sample, open_dataset
from consilience.errors import ConsilienceError, FeaturesError
from consilience.features.store import (
    check_block,
    check_dtype,
    check_finite,
    store_as,
    write_features,
)
from consilience.models import Extractor, load_model
from consilience.registry import did_you_mean
from consilience.samples import iterate, read_samples

logger = logging.getLogger(__name__)

AUTOCAST = {"none": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "status_alloc_failed",  # of CUDA's libraries
)


def extract_features(  # noqa: PLR0913 - the settings of one job, all but the files by keyword
    model_row: Mapping[str, Any],
    dataset_row: Mapping[str, Any],
    samples_path: str | Path,
    out: str | Path,
    *,
    dtype: str = "float32",
    autocast: str = "none",
    device: str = "auto",
    batch_size: int = 8,
    workers: int = 0,
) -> None:
    """Writes features/{dataset}/{model}.safetensors: every layer of a model on every sample.

    On a CPU one thread computes, so that the numbers do not depend on how many there are; the
    workflow runs several jobs instead.

    Args:
        model_row: row of models.tsv.
        dataset_row: row of datasets.tsv.
        samples_path: samples/{dataset}.parquet.
        out: the file to write; its header says what made it (see `store.write_features`).
        dtype: `float32` or `float16`, how features are stored.
        autocast: `none`, `bfloat16` or `float16`, how the network computes.
        device: `auto` (CUDA if there is any), or a name that PyTorch knows.
        batch_size: samples per forward pass; halved when memory runs out.
        workers: processes that decode and preprocess; 0: this one does. The order of the samples
            and the features do not depend on it.

    Raises:
        DataError: samples that cannot be read.
        ModelError: a model that cannot be loaded.
        FeaturesError: features that are not finite or not one row per sample, a setting that
            cannot be used, or no memory even for one sample.
    """
    check_dtype(dtype)
    _check_settings(autocast, batch_size, workers)
    device = choose_device(device)
    samples = read_samples(samples_path)
    ids = samples.table["id"].tolist()
    with _steady(device):
        extractor = load_model(model_row, device)
        dataset = open_dataset({**dataset_row, **samples.pin})
        stream = _Stream(
            lambda: iterate(dataset, samples), extractor.preprocess, batch_size, workers
        )
        place = f"model {model_row['model']!r}, dataset {dataset_row['dataset']!r}"
        forward = Forward(extractor, batch_size, _autocast(autocast, device), place)
        features = _run(stream, forward, Collector(extractor.layers, ids, dtype, place), place)
    _report_truncated(extractor, len(ids), place)
    header = {
        "model": dict(model_row),
        "dataset": dataset_row["dataset"],
        "samples_hash": samples.hash,
        "provenance": dict(extractor.provenance),
        "autocast": autocast,
        "device": _device_name(device),
        "consilience": __version__,
    }
    write_features(out, features, header, ids, dtype)


def _check_settings(autocast: str, batch_size: int, workers: int) -> None:
    if autocast not in AUTOCAST:
        raise FeaturesError(f"unknown autocast {autocast!r}{did_you_mean(autocast, AUTOCAST)}")
    if batch_size < 1 or workers < 0:
        raise FeaturesError(f"batch_size is {batch_size}, workers {workers}; the least are 1 and 0")


def choose_device(device: str) -> str:
    """Returns the device to compute on; `auto` is CUDA if there is any.

    Raises:
        FeaturesError: PyTorch does not know the device, or this machine does not have it.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise FeaturesError(f"device {device!r} cannot be used: {reason}; try auto") from error
    return device


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


@contextmanager
def _steady(device: str) -> Iterator[None]:
    """Computes on one thread if on the CPU, whose sums depend on how they are parted."""
    threads = torch.get_num_threads()
    if torch.device(device).type == "cpu":
        torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)


def _autocast(name: str, device: str) -> Callable[[], AbstractContextManager[Any]]:
    dtype = AUTOCAST[name]
    if dtype is None:
        return nullcontext
    return lambda: torch.autocast(torch.device(device).type, dtype=dtype)


def _report_truncated(extractor: Extractor, n: int, place: str) -> None:
    count = int(extractor.provenance.get("truncated", 0))
    if count:
        logger.warning("%s: %d of %d texts were longer than the model reads", place, count, n)


@dataclass(frozen=True)
class Batch:
    """Preprocessed samples that follow one another."""

    number: int
    start: int
    """Row of the first sample."""
    inputs: Sequence[Any]


def make_batches(
    rows: Iterable[tuple[int, Sample]],
    preprocess: Callable[[Sample], Any],
    batch_size: int,
    worker: int = 0,
    workers: int = 1,
) -> Iterator[Batch]:
    """Yields the batches number worker, worker + workers, …; pictures of others stay unopened.

    Args:
        rows: (row, sample) in samples order, rows counted from 0.
        preprocess: makes a model's input of a sample.
        batch_size: samples per batch.
        worker: number of this worker.
        workers: how many share the work.

    Raises:
        FeaturesError: the rows are not 0, 1, 2, …
    """
    rows, start, number = iter(rows), 0, 0
    while chunk := list(islice(rows, batch_size)):
        found = [row for row, _ in chunk]
        if found != list(range(start, start + len(chunk))):
            raise FeaturesError(f"samples came as rows {found[:8]}, expected them from {start}")
        if number % workers == worker:
            yield Batch(number, start, _together([preprocess(sample) for _, sample in chunk]))
        start, number = start + len(chunk), number + 1


def _together(inputs: list[Any]) -> Sequence[Any]:
    """Returns one tensor for tensors of one shape: a batch then crosses processes in one piece."""
    if all(isinstance(x, Tensor) and x.shape == inputs[0].shape for x in inputs):
        return torch.stack(inputs)
    return inputs


class _Stream(IterableDataset):
    """The batches of a dataset, in order, made by worker processes or in this one."""

    def __init__(
        self,
        rows: Callable[[], Iterable[tuple[int, Sample]]],
        preprocess: Callable[[Sample], Any],
        batch_size: int,
        workers: int,
    ) -> None:
        super().__init__()
        self._rows, self._preprocess = rows, preprocess
        self._batch_size, self._workers = batch_size, workers

    def __iter__(self) -> Iterator[Batch | ConsilienceError]:
        info = get_worker_info()
        share = (info.id, info.num_workers) if info else (0, 1)
        try:
            yield from make_batches(self._rows(), self._preprocess, self._batch_size, *share)
        except ConsilienceError as error:
            # As a value: an exception that leaves a worker arrives wrapped in its traceback.
            yield error

    def batches(self) -> Iterator[Batch]:
        """Yields every batch once, by number; raises what a worker met."""
        # Worker w makes batches w, w + W, …, and the loader asks the workers in turn.
        forks = self._workers > 0 and "fork" in multiprocessing.get_all_start_methods()
        loader = DataLoader(
            self,
            batch_size=None,
            num_workers=self._workers,
            collate_fn=_as_is,
            multiprocessing_context="fork" if forks else None,
        )
        for number, batch in enumerate(loader):
            if isinstance(batch, ConsilienceError):
                raise batch
            if batch.number != number:
                raise FeaturesError(f"batch {batch.number} came as number {number}; use workers 0")
            yield batch


def _as_is(batch: Any) -> Any:  # noqa: ANN401
    return batch


class Forward:
    """Runs an extractor, on fewer samples at a time once memory has run out.

    Args:
        extractor: the model.
        limit: the most samples per pass.
        context: what to compute under, such as autocast.
        place: model and dataset, for messages.
    """

    def __init__(
        self,
        extractor: Extractor,
        limit: int,
        context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        place: str = "",
    ) -> None:
        self.limit = limit
        self._extractor, self._context, self._place = extractor, context, place

    def __call__(self, inputs: Sequence[Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yields b and {layer: (b, d)} for consecutive parts of `inputs`.

        Raises:
            FeaturesError: memory does not suffice for one sample.
        """
        start = 0
        while start < len(inputs):
            part = inputs[start : start + self.limit]
            try:
                with self._context():
                    outputs = self._extractor.extract(part)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(len(part), error)
                continue
            yield len(part), outputs
            start += len(part)

    def _halve(self, tried: int, error: Exception) -> None:
        if tried == 1:
            raise FeaturesError(
                f"{self._place}: memory runs out with a single sample; use a device or a job with "
                "more memory, or a smaller input_size"
            ) from error
        self.limit = tried // 2
        logger.warning("%s: out of memory at %d, now %d a time", self._place, tried, self.limit)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error of PyTorch or Python means that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(text in str(error).lower() for text in _OUT_OF_MEMORY)


class Collector:
    """Takes outputs in samples order and checks them as they come, not after hours.

    Args:
        layers: the layers to expect, in order.
        ids: the n sample ids.
        dtype: how features are stored.
        place: model and dataset, for messages.
    """

    def __init__(self, layers: Sequence[str], ids: Sequence[str], dtype: str, place: str) -> None:
        self._layers, self._ids, self._dtype, self._place = layers, ids, dtype, place
        self._features: dict[str, np.ndarray] = {}
        self.done = 0

    def add(self, outputs: Mapping[str, Any], count: int) -> None:
        """Takes {layer: (count, d)} for the next `count` samples; tensors or arrays.

        Raises:
            FeaturesError: a layer is absent, of another shape than before, or not finite.
        """
        outputs = {name: outputs[name] for name in outputs if name != "logits"}
        if tuple(outputs) != tuple(self._layers):
            raise FeaturesError(f"{self._place}: layers {list(outputs)} for {list(self._layers)}")
        ids = self._ids[self.done : self.done + count]
        for layer, output in outputs.items():
            place = f"{self._place}, layer {layer!r}"
            block = _as_array(output)
            check_block(block, ids, place)
            block = store_as(block, self._dtype)
            check_finite(block, ids, place)
            target = self._target(layer, block.shape[1], place)
            target[self.done : self.done + count] = block
        self.done += count

    def _target(self, layer: str, width: int, place: str) -> np.ndarray:
        if layer not in self._features:
            self._features[layer] = np.empty((len(self._ids), width), self._dtype)
        if (known := self._features[layer].shape[1]) != width:
            raise FeaturesError(
                f"{place}: {width} values for sample {self._ids[self.done]!r}, {known} before; "
                "set pool to mean or cls, or a fixed input_size"
            )
        return self._features[layer]

    def features(self) -> dict[str, np.ndarray]:
        """Returns {layer: (n, d)}; raises FeaturesError unless every sample was seen."""
        if self.done != len(self._ids):
            raise FeaturesError(f"{self._place}: {self.done} samples came, of {len(self._ids)}")
        return self._features


def _as_array(output: Any) -> np.ndarray:  # noqa: ANN401
    if isinstance(output, Tensor):
        return output.float().cpu().numpy()
    return np.asarray(output, np.float32)


def _run(
    stream: _Stream, forward: Forward, collector: Collector, place: str
) -> dict[str, np.ndarray]:
    began = time.monotonic()
    with tqdm(desc=place, unit="sample", disable=not sys.stderr.isatty()) as progress:
        for batch in stream.batches():
            for count, outputs in forward(batch.inputs):
                collector.add(outputs, count)
                progress.update(count)
    seconds = time.monotonic() - began
    rate = collector.done / max(seconds, 1e-9)
    logger.info("%s: %d samples in %.1f s, %.1f a second", place, collector.done, seconds, rate)
    return collector.features()
