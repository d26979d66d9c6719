"""Sharing: metrics whose pairs are made of the same products or neighbour lists, made once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from consilience.files import digest, write_table
from consilience.metrics import metric_of, without_file
from consilience.similarity.copies import warn_of_copies
from consilience.similarity.engine.blocks import fill_together
from consilience.similarity.engine.wanted import Wanted, pairs_of
from consilience.similarity.items import list_items, with_null
from consilience.similarity.store import PairStore
from consilience.similarity.task import Engine, Item, Task


def sharing_of(specs: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Returns {what is shared: metric ids} for a study's metrics that share, two at least.

    Args:
        specs: {metric id: what `make_similarity` takes}.

    They share if they work on the same products (linear kernels; kernels of distances with fixed
    widths) or neighbour lists (one distance, any k), and take the same layers and preprocessing.
    """
    found: dict[str, list[str]] = {}
    for id_, spec in specs.items():
        if base := metric_of(spec).base:
            rows = [spec["group_rows"]] if "group_rows" in spec else []
            mark = digest([spec["preprocessing"], spec["layers"], *rows])[:8]
            found.setdefault(f"{base}-{mark}", []).append(id_)
    return {shared: ids for shared, ids in found.items() if len(ids) > 1}


def fill_shared(
    stores: Mapping[str, PairStore],
    tasks: Mapping[str, Task],
    items: Sequence[Item],
    engine: Engine,
    folder: Path | None = None,
    wanted: Wanted | None = None,
) -> None:
    """Fills the stores of those tasks that share a pass over the items; leaves the others.

    Args:
        stores: by metric id.
        tasks: by metric id.
        items: the layers to compare.
        engine: threads and memory.
        folder: where neighbour lists are kept for models that come later; None: not at all.
        wanted: the pairs; None: all.
    """
    together: dict[tuple, list[str]] = {}
    for id_, task in tasks.items():
        if base := task.base(items[0].shape[0]):
            together.setdefault(base, []).append(id_)
    for ids in together.values():
        if len(ids) > 1:
            # all ordered pairs if one of them tells x from y; symmetric ones take each once
            symmetric = all(tasks[id_].metric.facts.symmetric for id_ in ids)
            pairs = pairs_of(items, wanted, symmetric=symmetric)
            work = [stores[id_] for id_ in ids], [tasks[id_] for id_ in ids]
            fill_together(*work, pairs, engine, folder)


def make_shared(  # noqa: PLR0913 - all but the files by name
    manifest: str | Path,
    out: str | Path,
    *,
    dataset: str,
    specs: Mapping[str, Mapping[str, Any]],
    stores: Mapping[str, str | Path],
    shelf: str | Path | None = None,
    fresh: bool = False,
    engine: Engine | None = None,
    pairs: Mapping[str, Any] | None = None,
) -> None:
    """Fills the stores of metrics that share, and writes how many pairs of each were computed.

    Inner products share a pass from 2,048 samples on; below it nothing is done, and each metric
    computes its own pairs in `make_similarity`.

    Args:
        manifest: the dataset's features manifest; features files lie beside it.
        out: the table to write: metric, pairs, computed.
        dataset: id of the dataset.
        specs: for each metric id what `make_similarity` takes.
        stores: for each the path of its pair store.
        shelf: folder where lists are kept between runs (default: one beside the table).
        fresh: compute all pairs again, whatever the stores hold.
        engine: threads and memory.
        pairs: fields of `Wanted`; None: all pairs.

    Raises:
        FeaturesError: features are missing or damaged.
    """
    engine = engine or Engine()
    tasks, listing = {}, None
    for id_, spec in specs.items():
        listing = list_items(manifest, spec, dataset=dataset, metric_id=id_)
        tasks[id_] = with_null(listing.task, spec["permutations"])
    opened = {
        id_: task.open_store(
            stores[id_], device=task.device_kind(engine.device, listing.n), fresh=fresh
        )
        for id_, task in tasks.items()
    }
    if tasks[id_].groups is None and not any(store.outcomes for store in opened.values()):
        warn_of_copies(listing.items, dataset)
    before = {id_: len(store.outcomes) for id_, store in opened.items()}
    folder = Path(shelf or Path(out).with_suffix("")) if engine.shelf else None
    fill_shared(opened, tasks, listing.items, engine, folder, Wanted.of(pairs))
    rows = [
        (id_, len(store.outcomes), len(store.outcomes) - before[id_])
        for id_, store in opened.items()
    ]
    described = {id_: without_file(spec) for id_, spec in specs.items()}
    metadata = {"dataset": dataset, "specs": described}
    write_table(pd.DataFrame(rows, columns=["metric", "pairs", "computed"]), out, metadata)
