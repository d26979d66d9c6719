"""What the page shows of grounding: every metric in every test, and their ranks."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from consilience.explorer.answers import all_rows, pack_rows
from consilience.explorer.contents import Contents
from consilience.grounding.cases import OUTPUTS, TESTS
from consilience.grounding.overview import KEY, from_best, headline

ROWS = 20_000
"""Most values on a page; the rest stays in the tables."""
NUMBERS = ["value", "chance", "lift", "low", "high", "p", "behind", "behind_low", "behind_high"]
COUNTS = ["n_models", "n_groups", "n_pairs", "n_failed"]
TEXTS = ["domain", *KEY, "score", "same_seed", "status", "note", "told", "best"]
RANKS = ["place", "mean_rank", "median_rank", "low", "high", "coverage", "best_share",
         "critical_difference"]  # fmt: skip
EMPTY = ["recipe", "test", "measure", "score", "metric_x", "metric_y", "low", "high"]


def add_grounding(
    contents: Contents,
    scored: Iterable[str | Path],
    ranks: Iterable[str | Path],
    differences: Iterable[str | Path],
) -> None:
    """Adds what every metric finds in every test, and its ranks by modality.

    Args:
        contents: where to.
        scored: results/grounding/{metric}.parquet.
        ranks: results/grounding/ranks/domains.parquet, if it is there.
        differences: results/grounding/ranks/differences.parquet, if it is there.
    """
    rows = all_rows(scored)
    if rows.empty:
        return
    between = all_rows(differences)
    found = from_best(headline(rows), between if len(between) else pd.DataFrame(columns=EMPTY))
    found = _as_many_as_fit(contents, found[found["metric"].isin(contents.metrics)])
    if found.empty:
        return
    coded = {"metric": pd.Index(contents.metrics).get_indexer(found["metric"])}
    coded |= {name: found[name] for name in COUNTS}
    view = pack_rows(contents, "grounding", found, coded, TEXTS, NUMBERS)
    contents.views["grounding"] = view | {
        "cases": sorted(found[["domain", *KEY]].drop_duplicates().to_numpy().tolist(), key=_order),
        "ranks": _add_ranks(contents, all_rows(ranks)),
    }


def _order(case: list[str]) -> tuple[Any, ...]:
    """Returns where a test stands: by modality, test, measure and recipe."""
    domain, recipe, test, measure = case
    return domain, TESTS.index(test), OUTPUTS.index(measure) if measure in OUTPUTS else 0, recipe


def _add_ranks(contents: Contents, rows: pd.DataFrame) -> dict[str, Any]:
    """Packs the ranks by modality; returns what the script must know of them."""
    if rows.empty:
        return {"columns": [], "texts": {}}
    rows = rows[rows["metric"].isin(contents.metrics)]
    rows = rows.assign(place=rows["place"].astype(float))
    coded = {
        "metric": pd.Index(contents.metrics).get_indexer(rows["metric"]),
        "n_cases": rows["n_cases"],
    }
    return pack_rows(contents, "ranks", rows, coded, ["domain"], RANKS)


def _as_many_as_fit(contents: Contents, rows: pd.DataFrame) -> pd.DataFrame:
    """Keeps whole recipes, in their order."""
    if len(rows) <= ROWS:
        return rows
    sizes = rows.groupby("recipe", sort=False).size().cumsum()
    left = sizes.index[sizes > ROWS].tolist()
    contents.left_out.append(
        f"Grounding on {', '.join(left)}, to keep the page small: see results/grounding."
    )
    return rows[~rows["recipe"].isin(left)]
