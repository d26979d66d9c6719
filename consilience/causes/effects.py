"""Effects: how value follows overlap, for each kind of it, network, training set and dataset."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from consilience.causes import statistics
from consilience.files import derive_seed

OWN = "this study"
"""As `source`: models that the study trained."""
GROUP = ["source", "file", "kind", "family", "train_set", "dataset", "metric"]
EFFECTS = (
    dict.fromkeys(GROUP, "str")
    | dict.fromkeys(["n", "n_missing", "n_draws", "levels"], "int64")
    | dict.fromkeys(
        ["entropy_x", "slope", "slope_low", "slope_high", "spearman", "p", "p_least", "omega2",
         "mi_held_out", "mi_held_out_linear", "share", "mi_published", "r2_published",
         "at_0", "at_1", "untrained", "twin", "slope_calibrated", "slope_calibrated_low",
         "slope_calibrated_high", "parameters"],
        "float64",
    )
    | {"status": "str", "note": "str"}
)  # fmt: skip
"""Columns of a table of effects, with their types."""
PAIRS = {
    **dict.fromkeys(["dataset", "metric", "kind", "family", "train_set", "draw", "block"], "str"),
    **dict.fromkeys(["overlap", "overlap_reached"], "float64"),
    **dict.fromkeys(["control", "model_x", "layer_x", "model_y", "layer_y"], "str"),
    **dict.fromkeys(["value", "null_mean", "z", "calibrated"], "float64"),
    "n_train": "Int64",
    **dict.fromkeys(
        ["accuracy_x", "accuracy_y", "train_loss_x", "train_loss_y", "parameters"], "float64"
    ),
    "failure": "str",
}
"""Columns of a table of pairs of one dataset and metric, with their types."""
OK, NOT_FITTED, ONE_DRAW, TOO_FEW, UNDEFINED = (
    "ok", "not fitted", "one draw", "too few rows", "undefined",
)  # fmt: skip
"""What a row of effects may say of itself. From the third on, an interval or more is missing."""
CONTROLS = ("untrained", "twin", "same_init", "self")
"""Pairs that show what values there are without any cause, or with every one."""
MAX_LOSS = 0.1
"""Mean training loss, in nats, from which on a model counts as not fitted."""


def effects(
    pairs: pd.DataFrame,
    *,
    permutations: int = 999,
    max_loss: float = MAX_LOSS,
    seed: int = 0,
) -> pd.DataFrame:
    """Returns one row per group of `GROUP`, with the columns of `EFFECTS`.

    Args:
        pairs: one row per pair of models: `kind`, `family`, `train_set`, `dataset`, `metric`,
            `draw`, `overlap` and `value` must be there; `source`, `file`, `block`, `control`,
            `calibrated`, `train_loss_x`, `train_loss_y`, `parameters`, `note`, and
            `published` (whether the publication counted the row, with `as_published` for its
            value) may be. Rows without a value count as missing, those of `CONTROLS` only in
            their own columns.
        permutations: of the p-value.
        max_loss: of training; a group with a model above it says `not fitted`.
        seed: of the study.
    """
    table = pairs.assign(**{c: pairs.get(c, "") for c in ("control", "note")})
    table = table.assign(source=table.get("source", OWN), file=table.get("file", ""))
    rows = [
        dict(zip(GROUP, key, strict=True))
        | effect(group, permutations=permutations, max_loss=max_loss, seed=derive_seed(seed, *key))
        for key, group in table.groupby(GROUP, sort=True)
    ]
    return pd.DataFrame(rows, columns=list(EFFECTS)).astype(EFFECTS)


def effect(
    group: pd.DataFrame, *, permutations: int = 999, max_loss: float = MAX_LOSS, seed: int = 0
) -> dict[str, Any]:
    """Returns the statistics of one group, by column; arguments as of `effects`."""
    control = group["control"].fillna("")
    rows = group[control == ""]
    known = rows[np.isfinite(rows["value"].to_numpy(float))]
    draw, overlap, value = _arrays(known, "value")
    steep = statistics.slope(draw, overlap, value)
    block = known.get("block", known["draw"]).to_numpy(str)
    permuted = statistics.permute(
        draw, overlap, value, permutations=permutations, seed=seed, block=_both(draw, block)
    )
    found: dict[str, Any] = {
        "n": len(known),
        "n_missing": len(rows) - len(known),
        "n_draws": len(set(draw)),
        "levels": len(set(overlap)),
        "slope": steep.value,
        "slope_low": steep.low,
        "slope_high": steep.high,
        "p": permuted.p,
        "p_least": permuted.least,
        "at_0": _mean(value[overlap == 0]),
        "at_1": _mean(value[overlap == 1]),
        "parameters": _mean(rows.get("parameters", pd.Series(dtype=float)).to_numpy(float)),
    }
    for name in ("untrained", "twin"):
        found[name] = _mean(group.loc[control == name, "value"].to_numpy(float))
    if len(known):
        found |= _information(draw, overlap, value)
    found |= _as_published(rows)
    found |= _calibrated(known)
    status, notes = _status(rows, known, found, steep, permuted, max_loss)
    notes += sorted(set(rows["note"].fillna("")) - {""})
    return found | {"status": status, "note": "; ".join(dict.fromkeys(notes))}


def _arrays(rows: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        rows["draw"].to_numpy(str),
        rows["overlap"].to_numpy(float),
        rows[column].to_numpy(float),
    )


def _both(draw: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Returns blocks that are parts of draws."""
    return np.array([f"{own}\n{part}" for own, part in zip(draw, block, strict=True)], dtype=str)


def _mean(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else np.nan


def _information(draw: np.ndarray, overlap: np.ndarray, value: np.ndarray) -> dict[str, float]:
    total = statistics.entropy(overlap)
    held_out = statistics.held_out_information(draw, overlap, value)
    return {
        "entropy_x": total,
        "spearman": statistics.spearman(overlap, value),
        "omega2": statistics.omega2(overlap, value),
        "mi_held_out": held_out,
        "mi_held_out_linear": statistics.held_out_information(draw, overlap, value, linear=True),
        "share": held_out / total if total > 0 else np.nan,
    }


def _as_published(rows: pd.DataFrame) -> dict[str, float]:
    """Returns the publication's own statistics, of the rows that it would count."""
    values = rows.get("as_published", rows["value"]).to_numpy(float)
    counted = rows.get("published", pd.Series(True, rows.index)).to_numpy(bool)
    counted = counted & np.isfinite(values)
    overlap, value = rows["overlap"].to_numpy(float)[counted], values[counted]
    return {
        "mi_published": statistics.published_information(overlap, value),
        "r2_published": statistics.published_r2(overlap, value),
    }


def _calibrated(known: pd.DataFrame) -> dict[str, float]:
    """Returns the slope of calibrated values; of other datasets these are on one scale."""
    if "calibrated" not in known:
        return {}
    draw, overlap, value = _arrays(known[known["calibrated"].notna()], "calibrated")
    steep = statistics.slope(draw, overlap, value)
    return {
        "slope_calibrated": steep.value,
        "slope_calibrated_low": steep.low,
        "slope_calibrated_high": steep.high,
    }


def _status(
    rows: pd.DataFrame,
    known: pd.DataFrame,
    found: Mapping[str, Any],
    steep: statistics.Slope,
    permuted: statistics.Permuted,
    max_loss: float,
) -> tuple[str, list[str]]:
    """Returns the status of a group and what is to be known of it."""
    notes, status = [], OK
    losses = rows.reindex(columns=["train_loss_x", "train_loss_y"]).to_numpy(float)
    loose = int((losses >= max_loss).any(axis=1).sum())
    if loose:
        status = NOT_FITTED
        notes.append(
            f"{loose} of {len(rows)} pairs have a model whose training loss is {max_loss:g} or more"
        )
    missing = found["n_missing"]
    if missing:
        at = ", ".join(f"{a:g}" for a in sorted(set(rows.drop(known.index)["overlap"])))
        notes.append(f"{missing} of {len(rows)} pairs have no value, at overlap {at}")
    if not len(known):
        return UNDEFINED, [*notes, "no pair has a value"]
    if not len(steep.per_draw):
        return TOO_FEW, [*notes, "no draw has pairs of two overlaps, so there is no slope"]
    if len(steep.per_draw) == 1:
        status = ONE_DRAW
        notes.append("one draw with two overlaps: no interval and no held-out information")
    elif np.isnan(found["mi_held_out"]):
        notes.append(_why_no_information(known))
    elif np.isnan(found["mi_held_out_linear"]):
        notes.append("no linear held-out information: too few rows, or no variance about the line")
    apart = found["n_draws"] - len(steep.per_draw)
    if apart and len(steep.per_draw):
        notes.append(f"{apart} draws have pairs of one overlap only, and no slope")
    if permuted.drawn == 0 and np.isfinite(permuted.p):
        notes.append(
            f"p of all {permuted.arrangements:.0f} arrangements, at the least {permuted.least:.2g}"
        )
    return status, notes


def _why_no_information(known: pd.DataFrame) -> str:
    if np.ptp(known["value"].to_numpy(float)) == 0:
        return "no held-out information: all values are the same"
    return (
        "no held-out information: without some draw a level has no pair, or no variance is left "
        "to estimate"
    )


def as_lines(table: pd.DataFrame) -> list[str]:
    """Returns effects as lines to print, one per row, in columns."""
    keys = ["source", "kind", "family", "train_set", "dataset", "metric"]
    cells = [[*map(str, row)] for row in table[keys].itertuples(index=False)]
    for cell, row in zip(cells, table.itertuples(), strict=True):
        interval = f"[{row.slope_low:.4f}, {row.slope_high:.4f}]"
        cell += [
            str(row.n), _number(row.slope, 4), "" if np.isnan(row.slope_low) else interval,
            _number(row.p, 3), _number(row.share, 2), _number(row.mi_published, 3), row.status,
        ]  # fmt: skip
    head = [*keys, "n", "slope", "95 %", "p", "share of H", "published MI", "status"]
    widths = [max(len(line[k]) for line in [head, *cells]) for k in range(len(head))]
    return [
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
        for line in [head, *cells]
    ]


def _number(value: float, digits: int) -> str:
    return "" if np.isnan(value) else f"{value:.{digits}f}"
