"""Similarities of all pairs of models on one dataset: prepare each once, compare, reuse.

The result does not depend on threads, on the order of models, or on what was computed in earlier
runs: every pair is a function of its two features alone, computed in one order of arguments.
"""

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from consilience import __version__
from consilience.errors import FeaturesError, MetricError
from consilience.features import content_hash, read_header, read_layer
from consilience.files import read_table, write_table
from consilience.metrics import Metric, Preprocessing, as_features, get_metric
from consilience.pairs import Outcome, PairStore

logger = logging.getLogger(__name__)

ARRAY_LAYER = "features"
"""The layer name of features given as an array."""


@dataclass(frozen=True)
class Item:
    """One layer of one model: a row and a column of the similarity matrix."""

    model: str
    layer: str
    shape: tuple[int, int]
    hash: str
    load: Callable[[], np.ndarray] = field(compare=False, repr=False)

    def features(self) -> np.ndarray:
        """Returns the finite float64 features (n, d)."""
        return as_features(self.load(), f"features of model {self.model!r}, layer {self.layer!r}")


@dataclass(frozen=True)
class Engine:
    """How pairs are computed; none of it changes a value."""

    threads: int = 1
    max_memory: int = 2 * 1024**3
    """Bytes that prepared forms may take together; at least two are held."""
    checkpoint: float = 60.0
    """Seconds between two writes of the pair store."""


def pairwise(
    metric: Metric,
    features: Mapping[str, Any],
    *,
    preprocessing: Preprocessing | None = None,
    engine: Engine | None = None,
    store: PairStore | None = None,
) -> pd.DataFrame:
    """Returns the similarities of all pairs of models as a long table.

    Args:
        metric: from `consilience.metrics.get_metric`.
        features: {model: (n, d) array, torch tensor, or path of a features file}; a file
            contributes all its layers.
        preprocessing: centring and row normalisation before the metric (default: neither).
        engine: threads, memory and checkpoints.
        store: values of earlier runs, extended by what is computed now.

    Returns:
        Columns model_x, layer_x, model_y, layer_y, value, failure, hash_x, hash_y. Symmetric
        metrics have one row per unordered pair, others one per ordered pair; self pairs are
        included. Where `value` is null, `failure` says why the metric is not defined.

    Raises:
        FeaturesError: features that are not finite or not over the same samples.

    Cost: one `prepare` per layer if all prepared forms fit into `max_memory`, one `compare` per
    pair that the store does not know.
    """
    items = [item for model in sorted(features) for item in _items(model, features[model])]
    return similarity_table(metric, items, preprocessing, engine, store)


def similarity_table(
    metric: Metric,
    items: Sequence[Item],
    preprocessing: Preprocessing | None = None,
    engine: Engine | None = None,
    store: PairStore | None = None,
) -> pd.DataFrame:
    """Returns the long table of `pairwise` for items in the order given."""
    preprocessing = preprocessing or Preprocessing()
    store = store or PairStore.open(None, metric, preprocessing, fresh=True)
    _check_same_samples(items)
    if metric.facts.symmetric:
        pairs = list(itertools.combinations_with_replacement(items, 2))
    else:
        pairs = list(itertools.product(items, repeat=2))
    _fill(store, metric, preprocessing, pairs, engine or Engine())
    rows = [_row(x, y, store.outcomes[_key(metric, x, y)]) for x, y in pairs]
    columns = ["model_x", "layer_x", "model_y", "layer_y", "value", "failure", "hash_x", "hash_y"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({"value": "float64", "failure": "string"})


def make_similarity(
    manifest: str | Path,
    out: str | Path,
    *,
    dataset: str,
    metric_id: str,
    spec: Mapping[str, Any],
    store: str | Path | None = None,
    fresh: bool = False,
    engine: Engine | None = None,
) -> None:
    """Writes results/similarity/{dataset}/{metric}.parquet from a features manifest.

    Args:
        manifest: the dataset's features manifest; features files lie beside it.
        out: the table to write.
        dataset: id of the dataset.
        metric_id: id of the metric variant.
        spec: {"metric": name, "parameters": {…}, "preprocessing": {…}, "layers": `all`, or
            `last` for the last layer of each model}.
        store: path of the pair store.
        fresh: compute all pairs again, whatever the store holds.
        engine: threads, memory and checkpoints.
    """
    metric = get_metric(spec["metric"], **spec["parameters"])
    preprocessing = Preprocessing(**spec["preprocessing"])
    pair_store = PairStore.open(store, metric, preprocessing, fresh=fresh)
    listed = read_table(manifest)
    if spec["layers"] == "last":
        listed = listed.groupby("model", as_index=False, sort=True).tail(1)
    items = [_listed_item(Path(manifest).parent, row) for row in listed.to_dict("records")]
    table = similarity_table(metric, items, preprocessing, engine, pair_store)
    table.insert(0, "dataset", dataset)
    table.insert(1, "metric", metric_id)
    for row in table[table["value"].isna()].itertuples():
        logger.warning(
            "no value for %s (%s) and %s (%s): %s",
            *(row.model_x, row.layer_x, row.model_y, row.layer_y, row.failure),
        )
    layer_names = listed.groupby("model", sort=True)["layer"].agg(list).to_dict()
    metadata = {
        "spec": spec,
        "facts": metric.facts.as_dict(),
        "code": pair_store.code,
        "layers": layer_names,
        "n": int(listed["n"].iloc[0]),
        "samples_hash": listed["samples_hash"].iloc[0],
        "versions": {"consilience": __version__, "numpy": np.__version__},
    }
    write_table(table, out, metadata)


def _items(model: str, source: Any) -> list[Item]:  # noqa: ANN401
    if not isinstance(source, str | Path):
        x = as_features(source, f"features of model {model!r}")
        return [Item(model, ARRAY_LAYER, x.shape, content_hash(x), lambda: x)]
    header = read_header(source)
    return [
        Item(
            model,
            layer,
            tuple(header["shapes"][layer]),
            header["hashes"][layer],
            partial(read_layer, source, layer),
        )
        for layer in header["layers"]
    ]


def _listed_item(folder: Path, row: Mapping[str, Any]) -> Item:
    load = partial(read_layer, folder / row["file"], row["layer"])
    return Item(row["model"], row["layer"], (row["n"], row["d"]), row["hash"], load)


def _check_same_samples(items: Sequence[Item]) -> None:
    if not items:
        raise FeaturesError("there are no features to compare; give at least one model")
    first = items[0]
    for item in items:
        if item.shape[0] != first.shape[0]:
            raise FeaturesError(
                f"model {item.model!r} has features of {item.shape[0]} samples, model "
                f"{first.model!r} of {first.shape[0]}; only features of the same samples compare"
            )


def _row(x: Item, y: Item, outcome: Outcome) -> tuple:
    return (x.model, x.layer, y.model, y.layer, *outcome, x.hash, y.hash)


def _ordered(metric: Metric, x: Item, y: Item) -> tuple[Item, Item]:
    """Returns the order in which a pair is computed: by content if the metric is symmetric."""
    if metric.facts.symmetric and y.hash < x.hash:
        return y, x
    return x, y


def _key(metric: Metric, x: Item, y: Item) -> tuple[str, str]:
    x, y = _ordered(metric, x, y)
    return x.hash, y.hash


def _fill(
    store: PairStore,
    metric: Metric,
    preprocessing: Preprocessing,
    pairs: Sequence[tuple[Item, Item]],
    engine: Engine,
) -> None:
    """Computes the pairs that the store does not know and writes the store as it goes."""
    wanted = {_key(metric, x, y): _ordered(metric, x, y) for x, y in pairs}
    missing = [pair for key, pair in wanted.items() if key not in store.outcomes]
    logger.info(
        "%d pairs: %d reused, %d to compute", len(pairs), len(pairs) - len(missing), len(missing)
    )
    if not missing:
        return
    written = time.monotonic()
    with threadpool_limits(1), ThreadPoolExecutor(engine.threads) as pool:
        for batch in _compute(metric, preprocessing, missing, engine, pool):
            store.outcomes.update(batch)
            if time.monotonic() - written > engine.checkpoint:
                store.write()
                written = time.monotonic()
    store.write()


def _compute(
    metric: Metric,
    preprocessing: Preprocessing,
    missing: Sequence[tuple[Item, Item]],
    engine: Engine,
    pool: ThreadPoolExecutor,
) -> Iterator[dict[tuple[str, str], Outcome]]:
    """Yields outcomes in batches, holding prepared forms of two blocks of items at a time."""
    items = list({item.hash: item for pair in missing for item in pair}.values())
    blocks = _blocks(metric, items, engine.max_memory // 2)
    block_of = {item.hash: number for number, block in enumerate(blocks) for item in block}
    by_blocks: dict[tuple[int, int], list[tuple[Item, Item]]] = {}
    for x, y in missing:
        low, high = sorted((block_of[x.hash], block_of[y.hash]))
        by_blocks.setdefault((low, high), []).append((x, y))
    prepared: dict[str, Any] = {}
    for numbers in sorted(by_blocks):
        needed = {item.hash: item for pair in by_blocks[numbers] for item in pair}
        prepared = {key: form for key, form in prepared.items() if key in needed}
        new = [item for key, item in needed.items() if key not in prepared]
        prepare = partial(_prepare, metric, preprocessing)
        prepared.update(zip([i.hash for i in new], pool.map(prepare, new), strict=True))
        yield from _compare(metric, by_blocks[numbers], prepared, pool, 16 * engine.threads)


def _blocks(metric: Metric, items: Sequence[Item], budget: int) -> list[list[Item]]:
    """Returns the items in blocks whose prepared forms fit into `budget` bytes, one at least."""
    largest = max(metric.prepared_bytes(*item.shape) for item in items)
    size = max(1, int(budget // largest))
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _prepare(metric: Metric, preprocessing: Preprocessing, item: Item) -> Any:  # noqa: ANN401
    try:
        return metric.prepare(preprocessing(item.features()))
    except MetricError as error:  # all pairs of this layer fail, and the table says why
        logger.warning("model %s, layer %s: %s", item.model, item.layer, error)
        return error


def _compare(
    metric: Metric,
    pairs: Sequence[tuple[Item, Item]],
    prepared: Mapping[str, Any],
    pool: ThreadPoolExecutor,
    size: int,
) -> Iterator[dict[tuple[str, str], Outcome]]:
    for batch in _batched(pairs, size):
        forms = [(prepared[x.hash], prepared[y.hash]) for x, y in batch]
        outcomes = pool.map(partial(_outcome, metric), *zip(*forms, strict=True))
        keys = [(x.hash, y.hash) for x, y in batch]
        yield dict(zip(keys, outcomes, strict=True))


def _batched(pairs: Iterable, size: int) -> Iterator[list]:
    iterator = iter(pairs)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _outcome(metric: Metric, a: Any, b: Any) -> Outcome:  # noqa: ANN401
    for form in (a, b):
        if isinstance(form, MetricError):
            return None, str(form)
    try:
        value = float(metric.compare(a, b))
    except MetricError as error:
        return None, str(error)
    if not np.isfinite(value):
        return None, f"the metric gave {value}"
    return value, None
