"""Shards: the pairs of one table dealt to several jobs, each with a pair store of its own.

A shard's store lies beside the table's own one, and is joined into it before the table is made. As
outcomes are found by the content of both features and by what computed them, a store that is lost,
exchanged or of another deal costs time, never a wrong value: what no store knows is computed when
the table is made.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from consilience.errors import DataError
from consilience.files import read_table, write_table
from consilience.leftovers import discard
from consilience.places import check_file
from consilience.similarity.copies import warn_of_copies
from consilience.similarity.engine.blocks import fill_store, ordered
from consilience.similarity.engine.wanted import Pairs, Wanted, pairs_of
from consilience.similarity.items import list_items, with_null
from consilience.similarity.store import PairStore
from consilience.similarity.task import Engine, Task

logger = logging.getLogger(__name__)

FOLDER = ".shards"
"""Beside the pair stores of a dataset: a folder for each metric with the stores of its shards."""


def folder_of(store: str | Path) -> Path:
    """Returns where the stores of the shards of a pair store lie; no id begins with a dot."""
    return Path(store).parent / FOLDER / Path(store).stem


def deal(pairs: Pairs, task: Task, shard: int, shards: int) -> Pairs:
    """Returns the pairs of one shard: every pair is in one, and their sizes differ by 1 at most.

    Items, ordered by their content so that large ones are spread, stand in √(2 shards) blocks; a
    shard is a run of the pairs in the order of the blocks of both, so it prepares the items of two
    to four blocks.

    Args:
        pairs: of the whole table.
        task: decides the order of arguments.
        shard: from 1.
        shards: how many there are.
    """
    dealt = {(x.hash, y.hash): (x, y) for x, y in (ordered(task.metric, *pair) for pair in pairs)}
    hashes = sorted({key for both in dealt for key in both})
    place = {key: number for number, key in enumerate(hashes)}
    size = max(1, math.ceil(len(hashes) / math.ceil(math.sqrt(2 * shards))))

    def where(key: tuple[str, str]) -> tuple:
        low, high = sorted((place[key[0]], place[key[1]]))
        return low // size, high // size, low, high, key

    keys = sorted(dealt, key=where)
    begin, end = (number * len(keys) // shards for number in (shard - 1, shard))
    return [dealt[key] for key in keys[begin:end]]


def make_shard(  # noqa: PLR0913 - all but the files by name
    manifest: str | Path,
    out: str | Path,
    *,
    dataset: str,
    metric_id: str,
    spec: Mapping[str, Any],
    shard: int,
    shards: int,
    store: str | Path,
    samples: str | Path | None = None,
    fresh: bool = False,
    engine: Engine | None = None,
    pairs: Mapping[str, Any] | None = None,
) -> None:
    """Computes the pairs of one shard that no store knows, and writes how many they were.

    Args:
        manifest: the dataset's features manifest; features files lie beside it.
        out: the table to write: metric, pairs, computed.
        dataset: id of the dataset.
        metric_id: id of the metric variant.
        spec: what `make_similarity` takes.
        shard: which one, from 1.
        shards: how many there are.
        store: path of the table's pair store, which is only read.
        samples: samples/{dataset}.parquet, for metrics that need labels.
        fresh: compute all pairs again, whatever the stores hold.
        engine: threads, memory and checkpoints.
        pairs: fields of `Wanted`; None: all pairs.

    Raises:
        FeaturesError: a model has no logits, and the metric compares them.
        DataError: samples have no label, and the metric needs them.
    """
    listing = list_items(manifest, spec, dataset=dataset, metric_id=metric_id, samples=samples)
    task = with_null(listing.task, spec["permutations"])
    engine = engine or Engine()
    device = task.device_kind(engine.device, listing.n)
    own = task.open_store(folder_of(store) / f"{shard}.parquet", device=device, fresh=fresh)
    known: set[tuple[str, str]] = set()
    if not fresh:
        own.shelf = Path(store).with_suffix("")
        for path in (Path(store), *_stores(store)):
            known |= task.open_store(path, device=device).outcomes.keys()
    listed = pairs_of(listing.items, Wanted.of(pairs), symmetric=task.metric.facts.symmetric)
    dealt = deal(listed, task, shard, shards)
    missing = [(x, y) for x, y in dealt if (x.hash, y.hash) not in known]
    logger.info(
        "shard %d of %d: %d of %d pairs, of which %d are known",
        *(shard, shards, len(dealt), len(listed), len(dealt) - len(missing)),
    )
    if shard == 1 and task.groups is None and not known:
        warn_of_copies(listing.items, dataset)
    fill_store(own, task, missing, engine)
    row = (metric_id, len(dealt), len(missing))
    said = {"dataset": dataset, "metric": metric_id, "shard": shard, "shards": shards}
    said |= {"fresh": fresh, "store": own.spec}
    write_table(pd.DataFrame([row], columns=["metric", "pairs", "computed"]), out, said)


def join(store: PairStore, task: Task, *, fresh: Sequence[int] | None = None) -> None:
    """Takes the outcomes of all shards into the store of their table, and writes that.

    Args:
        store: of the table; nothing happens if it is in memory.
        task: what is computed.
        fresh: the shards that took nothing from earlier runs, for a table that may take from these
            alone; None: it may take from all.
    """
    if store.path is None:
        return
    before = len(store.outcomes)
    for path in _stores(store.path):
        if fresh is None or path.stem in map(str, fresh):
            store.take(task.open_store(path, device=store.device))
    if len(store.outcomes) > before:
        logger.info("%d pairs come from shards", len(store.outcomes) - before)
        store.write()


def discard_shards(store: str | Path | None) -> None:
    """Removes the stores of shards, once all that they know is in the table's store."""
    if store is not None:
        discard(folder_of(store))


def check_shards(records: Sequence[str | Path], *, dataset: str, metric_id: str) -> list[int]:
    """Returns which shards took nothing from earlier runs, by what `make_shard` wrote.

    Args:
        records: of all shards of a table, in their order.
        dataset: id of the dataset.
        metric_id: id of the metric variant.

    Raises:
        DataError: one is of another dataset, metric, shard or number of shards.
    """
    fresh = []
    for shard, path in enumerate(records, 1):
        said = read_table(path).attrs
        check_file(path, said, dataset=dataset, metric=metric_id)
        found = said.get("shard"), said.get("shards")
        if found != (shard, len(records)):
            raise DataError(
                f"{path} is of shard {found[0]} of {found[1]}, and would be taken for shard "
                f"{shard} of {len(records)}: it was put there by other means; delete it and run "
                "snakemake again"
            )
        if said["fresh"]:
            fresh.append(shard)
    return fresh


def _stores(store: str | Path) -> Iterator[Path]:
    """Yields the stores of shards that there are, also of an earlier deal."""
    yield from sorted(folder_of(store).glob("*.parquet"))
