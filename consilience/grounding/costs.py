"""What metrics cost, beside what they find: CPU seconds of a pair, measured as it is computed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from consilience.files import read_table, write_table
from consilience.grounding.ranks import ALL
from consilience.similarity.store import read_seconds

CALL, PASS = "call", "pass"
COSTS = [
    "metric", "domain", "seconds", "total", "n_pairs", "n_timed", "measured", "shared_by",
]  # fmt: skip


def make_costs(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    store: str,
    domains: Mapping[str, Sequence[str]],
    sharers: Mapping[str, int] | None = None,
) -> None:
    """Writes grounding/ranks/costs.parquet: CPU seconds per pair of every metric.

    Seconds are those of one core: of comparing two models with the null of their value, and of
    preparing each, which is divided equally among the pairs that it was prepared for. They come
    from the pair stores, so a run that finds its pairs there knows them too. Times are measured:
    this table is not the same to the byte in two runs.

    Args:
        paths: results/similarity/{dataset}/{metric}.parquet.
        out: the table, with the columns of `COSTS`.
        store: where the pairs of a table are kept, a pattern of dataset and metric.
        domains: for each dataset those that it counts for.
        sharers: for each metric that may share work, such as neighbour lists, the number of those
            that share it; none: each is alone.
    """
    parts = [_of_table(Path(path), store, sharers or {}) for path in paths]
    found = []
    for domain in [ALL, *sorted({name for names in domains.values() for name in names})]:
        chosen = [part for part in parts if domain in (ALL, *domains[part["dataset"]])]
        for metric in dict.fromkeys(part["metric"] for part in chosen):
            own = [part for part in chosen if part["metric"] == metric]
            found.append({"metric": metric, "domain": domain, **_joined(own)})
    write_table(pd.DataFrame(found, columns=COSTS), out, {"store": store})


def _of_table(path: Path, store: str, sharers: Mapping[str, int]) -> dict:
    """Returns what the pairs of one similarity table took."""
    table, dataset, metric = read_table(path), path.parent.name, path.stem
    facts = table.attrs
    known = read_seconds(store.format(dataset=dataset, metric=metric), facts["store"])
    keys = zip(table["hash_x"], table["hash_y"], strict=True)
    spent = [known.get((x, y), known.get((y, x), np.nan)) for x, y in keys]
    timed = np.isfinite(spent)
    return {
        "dataset": dataset,
        "metric": metric,
        "n_pairs": len(table),
        "n_timed": int(timed.sum()),
        "total": float(np.sum(spent, where=timed)),
        "measured": (PASS if facts["tiled"] else CALL) if timed.any() else "",
        "shared_by": sharers.get(metric, 1) if facts["shares"] else 1,
    }


def _joined(parts: Sequence[Mapping]) -> dict:
    """Returns what a metric's tables took together."""
    total, n_timed = (sum(part[key] for part in parts) for key in ("total", "n_timed"))
    ways = sorted({part["measured"] for part in parts} - {""})
    return {
        "seconds": total / n_timed if n_timed else np.nan,
        "total": total,
        "n_pairs": sum(part["n_pairs"] for part in parts),
        "n_timed": n_timed,
        "measured": ", ".join(ways),
        "shared_by": max(part["shared_by"] for part in parts),
    }
