"""The similarity table of one dataset and metric, as the workflow makes it."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from consilience import __version__
from consilience.features.versions import say_mixed
from consilience.files import read_table, write_table
from consilience.similarity.all_pairs import similarity_table
from consilience.similarity.copies import warn_of_copies
from consilience.similarity.engine.blocks import pair_key
from consilience.similarity.engine.wanted import Wanted, pairs_of
from consilience.similarity.items import list_items, with_null
from consilience.similarity.shards import check_shards, discard_shards, join
from consilience.similarity.task import Engine

logger = logging.getLogger(__name__)


def make_similarity(  # noqa: PLR0913 - all but the files by name
    manifest: str | Path,
    out: str | Path,
    *,
    dataset: str,
    metric_id: str,
    spec: Mapping[str, Any],
    samples: str | Path | None = None,
    store: str | Path | None = None,
    fresh: bool = False,
    engine: Engine | None = None,
    pairs: Mapping[str, Any] | None = None,
    shards: Sequence[str | Path] = (),
) -> None:
    """Writes results/similarity/{dataset}/{metric}.parquet from a features manifest.

    Args:
        manifest: the dataset's features manifest; features files lie beside it.
        out: the table to write.
        dataset: id of the dataset.
        metric_id: id of the metric variant.
        spec: {"metric": name, "parameters": {…}, "preprocessing": {…}, "layers": `all`, or
            `last` for the last layer of each model, "permutations": for the null of metrics
            without a closed form; 0: they have no null}. Metrics of logits take the output
            `logits` of every model, as it is.
        samples: samples/{dataset}.parquet, for metrics that need labels.
        store: path of the pair store.
        fresh: compute all pairs again, whatever the store holds.
        engine: threads, memory and checkpoints.
        pairs: fields of `Wanted`, the pairs that the table is to hold; None: all.
        shards: what `make_shard` wrote, one file for each shard, if the pairs were dealt to some;
            pairs that none of them computed are computed here.

    Raises:
        FeaturesError: a model has no logits, and the metric compares them.
        DataError: samples have no label, and the metric needs them; a file of a shard is another.
    """
    fresh_shards = check_shards(shards, dataset=dataset, metric_id=metric_id)
    listing = list_items(manifest, spec, dataset=dataset, metric_id=metric_id, samples=samples)
    if mixed := read_table(manifest).attrs.get("mixed_versions"):
        logger.warning("%s", say_mixed(mixed, dataset))
    task = with_null(listing.task, spec["permutations"])
    engine = engine or Engine()
    device = task.device_kind(engine.device, listing.n)
    pair_store = task.open_store(store, device=device, fresh=fresh)
    join(pair_store, task, fresh=fresh_shards if fresh else None)
    wanted = Wanted.of(pairs)
    listed = pairs_of(listing.items, wanted, symmetric=task.metric.facts.symmetric)
    unknown = sum(pair_key(task.metric, *pair) not in pair_store.outcomes for pair in listed)
    if shards and unknown:
        logger.warning(
            "%d of %d pairs are in no store of a shard, so they are computed here, one after the "
            "other: stores were deleted, damaged or of other code%s",
            *(unknown, len(listed), ", or not made with `fresh`" if fresh else ""),
        )
    elif task.groups is None and unknown:
        warn_of_copies(listing.items, dataset)
    table = similarity_table(task, listing.items, engine, pair_store, wanted)
    table.insert(0, "dataset", dataset)
    table.insert(1, "metric", metric_id)
    for row in table[table["value"].isna()].itertuples():
        logger.warning(
            "no value for %s (%s) and %s (%s): %s",
            *(row.model_x, row.layer_x, row.model_y, row.layer_y, row.failure),
        )
    for note, count in table["note"].value_counts().items():
        logger.warning("%d of %d pairs: %s", count, len(table), note)
    metadata = {
        "spec": listing.spec,
        "facts": task.metric.facts.as_dict(),
        "null": task.null_spec,
        "code": pair_store.code,
        "device": pair_store.device,
        "store": pair_store.spec,
        "tiled": task.is_tiled(listing.n),
        "shares": task.base(listing.n) is not None,
        "layers": listing.layers,
        "pairs": "all" if wanted is None else "grounding",
        "n": listing.n,
        "samples_hash": listing.samples_hash,
        **task.groups_given,
        "versions": {"consilience": __version__, "numpy": np.__version__},
    }
    write_table(table, out, metadata)
    discard_shards(store)
