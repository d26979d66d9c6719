"""From a model and a dataset's samples to a features file, in one pass over the dataset."""

import importlib
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from consilience import __version__
from consilience.code import code_of, sources_of
from consilience.datasets import open_dataset
from consilience.errors import FeaturesError
from consilience.features.batches import CHUNK, TOKENS, Stream, make_batches, wanted_rows
from consilience.features.container import Entry
from consilience.features.forward import (
    AUTOCAST,
    Forward,
    as_array,
    autocast,
    choose_device,
    device_name,
    steady,
    tune,
)
from consilience.features.kept import KEPT
from consilience.features.language import language_figures
from consilience.features.lock import sole_maker
from consilience.features.shards import Part, Shards, delete_strays
from consilience.features.store import (
    OUTPUT_DTYPE,
    check_block,
    check_dtype,
    check_finite,
    store_as,
    stored_unembedding,
    write_features,
    write_filled,
)
from consilience.files import digest
from consilience.models import Extractor, load_model
from consilience.networks.weights import read_header
from consilience.registry import did_you_mean
from consilience.samples import Samples, iterate, read_samples

logger = logging.getLogger(__name__)

SHARD_BYTES = 256 * 2**20
"""What is held in memory at most before it is written to a shard."""


@dataclass(frozen=True)
class Settings:
    """How one extraction is done."""

    dtype: str = "float32"
    autocast: str = "none"
    device: str = "auto"
    batch_size: int = 8
    workers: int = 0
    checkpoint: float = 30.0
    learnt: str = ""
    compile: bool = False

    def check(self) -> None:
        """Raises FeaturesError if a setting cannot be used."""
        check_dtype(self.dtype)
        if self.autocast not in AUTOCAST:
            hint = did_you_mean(self.autocast, AUTOCAST)
            raise FeaturesError(f"unknown autocast {self.autocast!r}{hint}")
        if self.batch_size < 1 or self.workers < 0:
            raise FeaturesError(
                f"batch_size is {self.batch_size}, workers {self.workers}; the least are 1 and 0"
            )


def extract_features(
    model_row: Mapping[str, Any],
    dataset_row: Mapping[str, Any],
    samples_path: str | Path,
    out: str | Path,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Writes features/{dataset}/{model}.safetensors: every layer of a model on every sample.

    On a CPU one thread computes, so that the numbers do not depend on how many there are; the
    workflow runs several jobs instead. A killed job leaves shards, from which the next one goes
    on; the file then has the same bytes as without the kill.

    Args:
        model_row: row of models.tsv.
        dataset_row: row of datasets.tsv.
        samples_path: samples/{dataset}.parquet.
        out: the file to write; its header says what made it (see `store.write_features`).
        **settings: dtype: `float32` (default) or `float16`, how features are stored.
            autocast: `none` (default), `bfloat16` or `float16`, how the network computes.
            device: `auto` (default; CUDA if there is any), or a name that PyTorch knows.
            batch_size: samples per forward pass (default 8); of texts, 128 tokens count as one
            sample. Halved when memory runs out.
            workers: processes that decode and preprocess; 0 (default): this one does. The bytes of
            the file do not depend on it.
            checkpoint: seconds between two shards (default 30).
            learnt: hash of what the trained weights are to be of.
            compile: whether a GPU gets the network compiled (default no).

    Raises:
        DataError: samples that cannot be read.
        ModelError: a model that cannot be loaded.
        FeaturesError: features that are not finite or not one row per sample, a setting that
            cannot be used, no memory even for one sample, no room on the disk, or another job at
            work on the same file.
    """
    chosen = Settings(**settings)
    chosen.check()
    device = choose_device(chosen.device)
    samples = read_samples(samples_path)
    with sole_maker(out), steady(device):
        delete_strays(out)
        if chosen.learnt:
            read_header(model_row["weights"], chosen.learnt)
        extractor = KEPT.model(model_row, device, load_model)
        header = {
            "model": dict(model_row),
            "dataset": dataset_row["dataset"],
            "samples_hash": samples.hash,
            "autocast": chosen.autocast,
            "device": device_name(device),
            "consilience": __version__,
        }
        if hasattr(extractor, "read"):
            aligned = importlib.import_module(extractor.reader).aligned
            layers, provenance = extractor.read(dataset_row["dataset"], samples, aligned)
            header["provenance"] = provenance
            ids = samples.table["id"].tolist()
            write_features(out, layers, header, ids, chosen.dtype)
            return
        if tune(extractor, device, precision=chosen.autocast, compiled=chosen.compile):
            header["compiled"] = True
        job = _Job(extractor, dataset_row, samples, header, chosen)
        job.run(Path(out), device)


_KEPT = ("dtype", "autocast", "learnt")


def extract_together(
    extractions: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    weights: Sequence[str],
    samples: str | Path,
    outs: Sequence[str | Path],
    **settings: Any,  # noqa: ANN401
) -> None:
    """Writes the features of several trained models on one dataset, one after the other.

    Args:
        extractions: for each model what decides its features: its `row`, `dtype`, `autocast` and
            `learnt`, and the dataset's `row`.
        weights: for each model the file of its weights.
        samples: samples/{dataset}.parquet.
        outs: for each model the file to write.
        **settings: see `extract_features`.

    Raises:
        ConsilienceError: see `extract_features`.
    """
    for (model, dataset), path, out in zip(extractions, weights, outs, strict=True):
        row, kept = {**model["row"], "weights": path}, {k: model[k] for k in _KEPT}
        extract_features(row, dataset["row"], samples, out, **kept, **settings)


class _Job:
    """One extraction by a network."""

    def __init__(
        self,
        extractor: Extractor,
        dataset_row: Mapping[str, Any],
        samples: Samples,
        header: Mapping[str, Any],
        settings: Settings,
    ) -> None:
        self.extractor, self.dataset_row, self.samples = extractor, dataset_row, samples
        self.header, self.settings = header, settings
        self.place = f"model {header['model']['model']!r}, dataset {header['dataset']!r}"
        self.size: Callable[[Any], int] | None = getattr(extractor, "size", None)
        self.limit = settings.batch_size * (TOKENS if self.size else 1)

    def key(self) -> str:
        """Returns the hash of all that decides the features, before any was made."""
        settings = asdict(self.settings)
        for name in ("device", "workers", "checkpoint", "learnt", "compile"):
            del settings[name]
        models = sources_of("models", self.header["model"])
        code = code_of(__name__, *models, *sources_of("datasets", self.dataset_row))
        versions = [torch.__version__, np.__version__]
        provenance, row = dict(self.extractor.provenance), dict(self.dataset_row)
        return digest([self.header, row, provenance, settings, versions, code])[:32]

    def run(self, out: Path, device: str) -> None:
        """Makes what is missing and writes the features file."""
        unembedding = stored_unembedding(
            getattr(self.extractor, "unembedding", None), self.settings.dtype, self.place
        )
        ids = self.samples.table["id"].tolist()
        shards = Shards(out, self.key(), len(ids))
        collector = Collector(self.extractor, ids, self.settings.dtype, self.place, shards)
        limit = min([self.limit, *(note["limit"] for note in shards.notes)])
        context = autocast(self.settings.autocast, device)
        self._make(Forward(self.extractor, limit, context, self.place), collector)
        collector.finish()
        header = {**self.header, **self._findings(collector, len(ids))}
        entries = collector.entries()
        entries |= {name: Entry(x.dtype, x.shape) for name, x in unembedding.items()}

        def fill(tensors: dict[str, np.ndarray]) -> None:
            collector.fill(tensors)
            for name, x in unembedding.items():
                tensors[name][:] = x

        write_filled(out, self.extractor.layers, entries, header, fill)
        shards.delete()

    def _make(self, forward: Forward, collector: "Collector") -> None:
        """Runs the network on every sample that no shard holds."""
        done = collector.done.copy()
        if done.all():
            return
        row = {**self.dataset_row, **self.samples.pin}
        opened = cache(lambda: open_dataset(row))
        if hasattr(self.extractor, "begin"):
            self.extractor.begin(opened())
        KEPT.turn_to(digest([row, self.samples.hash]))
        keeps, size = not self.settings.workers, self.settings.batch_size
        given = KEPT.rows if keeps else iter
        if not keeps:
            opened()  # once, and not by each of the workers
        wanted = wanted_rows(done, self.size is not None)
        stream = Stream(
            lambda: given(iterate(opened(), self.samples)),
            self.extractor.preprocess,
            wanted,
            CHUNK if self.size else size,
            self.settings.workers,
        )
        same = getattr(self.extractor, "same_inputs", None) if keeps and wanted.all() else None
        chunks = KEPT.chunks(same and (same, size), stream.chunks)
        began = written = time.monotonic()
        with tqdm(desc=self.place, unit="sample", disable=not sys.stderr.isatty()) as progress:
            for batch in make_batches(chunks, self.size, self.limit):
                if done[batch.rows].all():
                    continue
                start = 0
                for count, outputs in forward(batch.inputs, batch.cost):
                    collector.add(outputs, batch.rows[start : start + count])
                    start += count
                progress.update(len(batch.rows))
                late = time.monotonic() - written >= self.settings.checkpoint
                if late or collector.pending_bytes >= SHARD_BYTES:
                    collector.save(forward.limit)
                    written = time.monotonic()
        seconds, count = time.monotonic() - began, int((~done).sum())
        rate = count / max(seconds, 1e-9)
        logger.info("%s: %d samples in %.1f s, %.1f a second", self.place, count, seconds, rate)

    def _findings(self, collector: "Collector", n: int) -> dict[str, Any]:
        """Returns the part of the header that is known only now."""
        provenance = dict(self.extractor.provenance)
        found: dict[str, Any] = {"provenance": provenance}
        if "truncated" in provenance:
            count = found["truncated"] = collector.truncated()
            provenance["truncated"] = str(count)
            if count:
                logger.warning(
                    "%s: %d of %d texts were longer than the model reads", self.place, count, n
                )
        if (loss := collector.column("loss")) is not None:
            found["language"] = language_figures(loss, self.samples.table["text"].tolist())
        return found


_UNSOUND = "set features.autocast to none, or check the weights and this sample"


class Collector:
    """Takes what the model gives and checks it as it comes, not after hours.

    Args:
        extractor: says which layers and outputs to expect, in order.
        ids: the n sample ids.
        dtype: how features are stored.
        place: model and dataset, for messages.
        shards: where they go from time to time, and what is there already.
    """

    def __init__(
        self, extractor: Extractor, ids: Sequence[str], dtype: str, place: str, shards: Shards
    ) -> None:
        outputs = tuple(getattr(extractor, "outputs", ()))
        self._types = dict.fromkeys(extractor.layers, dtype) | dict.fromkeys(outputs, OUTPUT_DTYPE)
        self._extractor, self._ids, self._place, self._shards = extractor, ids, place, shards
        self._pending: list[Part] = []
        self._widths = shards.widths
        self._truncated = self._count_truncated()
        self.done = shards.done.copy()
        self.pending_bytes = 0

    def add(self, outputs: Mapping[str, Any], rows: np.ndarray) -> None:
        """Takes {name: (b, d)} for the samples in `rows`: (b,); tensors or arrays.

        Raises:
            FeaturesError: a layer is absent, of another shape than before, or not finite.
        """
        if tuple(outputs) != tuple(self._types):
            raise FeaturesError(f"{self._place}: layers {list(outputs)} for {list(self._types)}")
        ids = [self._ids[row] for row in rows]
        blocks = {}
        for name, output in outputs.items():
            place = f"{self._place}, layer {name!r}"
            came = as_array(output)
            check_block(came, ids, place)
            block = store_as(came, self._types[name])
            check_finite(block, ids, place, came, _UNSOUND)
            self._check_width(block.shape[1], name, ids[0], place)
            blocks[name] = block
            self.pending_bytes += block.nbytes
        self._pending.append(Part(rows, blocks))
        self.done[rows] = True

    def _check_width(self, width: int, name: str, first: str, place: str) -> None:
        if (known := self._widths.setdefault(name, width)) != width:
            raise FeaturesError(
                f"{place}: {width} values for sample {first!r}, {known} before; "
                "set pool to mean or cls, or a fixed input_size"
            )

    def save(self, limit: int) -> None:
        """Writes what is pending to a shard; `limit` is what the next pass may cost."""
        count = self._count_truncated()
        note = {"limit": limit, "truncated": count - self._truncated}
        self._shards.write(self._pending, note)
        self._pending, self._truncated, self.pending_bytes = [], count, 0

    def _count_truncated(self) -> int:
        return int(self._extractor.provenance.get("truncated", 0))

    def truncated(self) -> int:
        """Returns how many texts were cut, in this run and in earlier ones."""
        earlier = sum(note["truncated"] for note in self._shards.notes)
        return earlier + self._count_truncated() - self._truncated

    def finish(self) -> None:
        """Raises FeaturesError unless every sample was seen."""
        if not self.done.all():
            count = int(self.done.sum())
            raise FeaturesError(f"{self._place}: {count} samples came, of {len(self._ids)}")

    def entries(self) -> dict[str, Entry]:
        """Returns type and shape of every tensor."""
        n = len(self._ids)
        return {
            name: Entry(np.dtype(dtype), (n, self._widths[name]))
            for name, dtype in self._types.items()
        }

    def fill(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Puts all that was taken into arrays {name: (n, d)}."""
        for parts in (self._shards.parts(), self._pending):
            for part in parts:
                for name, block in part.blocks.items():
                    if name in tensors:
                        tensors[name][part.rows] = block

    def column(self, name: str) -> np.ndarray | None:
        """Returns one output (n, d), or None if the model does not have it."""
        if name not in self._types:
            return None
        tensor = np.empty((len(self._ids), self._widths[name]), self._types[name])
        self.fill({name: tensor})
        return tensor
