"""The tables of a consistency file: rows, means over dataset pairs, influence of each model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from consilience.consistency.clustering import warning
from consilience.consistency.sheets import Between, Data, SetResult, Settings, Sheet
from consilience.consistency.stimuli import LEAST_SPLITS, corrected, joint_variance
from consilience.pairs.correlations import Block, Floats
from consilience.pairs.families import variance_of
from consilience.pairs.inference import interval
from consilience.pairs.relate import FURTHER
from consilience.pairs.remarks import disagreement
from consilience.pairs.sets import pair_positions

COLUMNS = {
    "metric": "str",
    "dataset_x": "str",
    "dataset_y": "str",
    "grouping": "str",
    "group_x": "str",
    "group_y": "str",
    "method": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "p": "float64",
    "n_pairs": "int64",
    "n_models": "int64",
    "status": "str",
    "low_joint": "float64",
    "high_joint": "float64",
    "reliability_x": "float64",
    "reliability_y": "float64",
    "corrected": "float64",
    "corrected_status": "str",
    "sd_x": "float64",
    "sd_y": "float64",
    "matched_x": "float64",
    "matched_y": "float64",
    "overlap": "float64",
    **FURTHER,
}
MEANS = {
    "metric": "str",
    "grouping": "str",
    "group_x": "str",
    "group_y": "str",
    "method": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "low_joint": "float64",
    "high_joint": "float64",
    "mean": "float64",
    "median": "float64",
    "sd": "float64",
    "n_dataset_pairs": "int64",
    "n_models": "int64",
    "clusters": "str",
    "n_families": "int64",
    "value_between": "float64",
    "low_between": "float64",
    "high_between": "float64",
}
INFLUENCE = {
    "metric": "str",
    "dataset_x": "str",
    "dataset_y": "str",
    "method": "str",
    "model": "str",
    "value": "float64",
    "change": "float64",
}


def main_table(
    data: Data,
    results: Sequence[SetResult],
    settings: Settings,
    overlap: Mapping[tuple[str, str], float],
) -> pd.DataFrame:
    """Returns one row per dataset pair, model set and method; the first set is that of all."""
    pairs = data.pairs
    shared = np.array([overlap.get(pair, np.nan) for pair in pairs], dtype=float)
    parts = []
    for number, result in enumerate(results):
        for order, method in enumerate(settings.methods):
            frame = _frame(data, pairs, result, method, settings.permutations)
            frame["overlap"] = shared
            reference = results[0].sd_x, results[0].sd_y
            if method == "pearson":
                for side, sd, whole in zip(
                    "xy", (result.sd_x, result.sd_y), reference, strict=True
                ):
                    frame[f"matched_{side}"] = range_matched(frame["value"].to_numpy(), sd, whole)
            parts.append(frame.assign(_pair=np.arange(len(pairs)), _set=number, _method=order))
    table = pd.concat(parts).sort_values(["_pair", "_set", "_method"], ignore_index=True)
    return table.reindex(columns=list(COLUMNS)).astype(COLUMNS)


def _frame(
    data: Data,
    pairs: Sequence[tuple[str, str]],
    result: SetResult,
    method: str,
    permutations: int,
) -> pd.DataFrame:
    sheet, chosen = result.sheets[method], result.chosen
    values, notes = corrected(sheet.value, sheet.reliability_x, sheet.reliability_y)
    cells: dict[str, Any] = {
        "metric": data.metric,
        "dataset_x": [x for x, _ in pairs],
        "dataset_y": [y for _, y in pairs],
        "grouping": chosen.grouping,
        "group_x": chosen.group_x,
        "group_y": chosen.group_y,
        "method": method,
    }
    for name in ("value", "low", "high", "p", "low_joint", "high_joint"):
        cells[name] = getattr(sheet, name)
    least = np.full(len(pairs), np.nan)
    if permutations:
        least = np.maximum(1 / (permutations + 1), 1 / result.arrangements)
    cells |= {
        "n_pairs": result.n_pairs,
        "n_models": result.n_models,
        "status": _statuses(data, result, method, least),
        "reliability_x": sheet.reliability_x,
        "reliability_y": sheet.reliability_y,
        "corrected": values,
        "corrected_status": notes,
        "sd_x": result.sd_x,
        "sd_y": result.sd_y,
        "clusters": data.clusters.column,
        "n_families": result.n_families,
        "n_pairs_between": result.n_pairs_between,
        "arrangements": result.arrangements,
        "p_least": least,
        "outlier": [outlier.name for outlier in sheet.outliers],
        "value_without": [outlier.value for outlier in sheet.outliers],
    }
    for name in ("value", "low", "high", "p"):
        cells[f"{name}_between"] = getattr(sheet.between, name)
    return pd.DataFrame(cells)


def _statuses(data: Data, result: SetResult, method: str, least: Floats) -> list[str]:
    """Returns what each row says of itself."""
    sheet, between = result.sheets[method], result.sheets[method].between
    clustered = warning(result.clustering, data.clusters.column)
    said = []
    for row, status in enumerate(result.status):
        text = status + result.notes[method][row]
        if np.isfinite(sheet.value[row]):
            ends = sheet.p[row], sheet.low[row], sheet.high[row]
            text += disagreement(*ends, least[row], sheet.outliers[row])
            ends = between.p[row], between.low[row], between.high[row]
            other = disagreement(*ends, least[row])
            text += other.replace("; ", "; between families: ", 1) + clustered
        said.append(text)
    return said


def range_matched(r: Floats, sd: Floats, reference: Floats) -> Floats:
    """Returns r as it would be if the spread of one side were `reference` (Thorndike's case 2).

    A group whose similarities are all alike has a small r even where they carry over as well as
    elsewhere. With u = reference / sd: r u / sqrt(1 + r^2 (u^2 - 1)). It holds where the group
    was selected by that side alone, and the regression of the other side on it is linear with the
    same scatter in the group as in all.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        u = reference / sd
        return r * u / np.sqrt(1 + r**2 * (u**2 - 1))


LEAST_ROOM = 0.05
"""Means as low as this leaves of 1 + (D - 1) r have their intervals on Fisher's scale."""


def intraclass(z: Floats, datasets: float) -> Floats:
    """Returns means over all pairs of D datasets on the scale of intraclass correlations.

    1/2 ln((1 + (D - 1) r) / (1 - r)) with r = tanh(z) (Fisher 1925): a mean over all pairs cannot
    be below -1 / (D - 1), and is the surer the lower it is. Of two datasets it is z.

    Args:
        z: means of Fisher's z.
        datasets: D.
    """
    r = np.tanh(z)
    return z + np.log(np.maximum(1 + (datasets - 1) * r, LEAST_ROOM) / (1 + r)) / 2


def of_intraclass(scaled: Floats, datasets: float) -> Floats:
    """Returns the correlations r that `intraclass` gives these numbers for."""
    odds = np.exp(2 * scaled)
    return (odds - 1) / (odds + datasets - 1)


class Mean:
    """The mean of Fisher's z over all dataset pairs that have a value, with its variance.

    All dataset pairs share the models, or families, that are left out or resampled, so the mean's
    variance holds their dependence; nothing takes the dataset pairs for independent. With no value:
    `count` is 0.

    Intervals over families are those of the jackknife on the scale of `intraclass`. On Fisher's
    they leave out too many true values below which nothing can be (up to 12 % for 8 families and
    6 unrelated datasets); resampled models need none of it, for they show the shape.
    """

    def __init__(self, result: SetResult, sheet: Sheet, *, between: bool = False) -> None:
        single = result.families.codes is None
        part: Sheet | Between = sheet.between if between else sheet
        used = np.isfinite(part.z) & (np.isfinite(part.variance) | (not single))
        self.count = int(used.sum())
        if not self.count:
            return
        z = part.z[used]
        self.z = z.mean()
        left_out = sheet.left_out if single else part.by_family
        self.left_out = self.z + _mean_change(left_out[used], z)
        self.by_model = self.z + _mean_change(sheet.left_out[used], z)
        self.drawn = self.z + _mean_change(sheet.drawn[used], z)
        sizes = tuple(map(len, result.chosen.members))
        ends = np.empty((2, 0), int)
        design = Block(
            np.empty((0, 0)), *pair_positions(sizes), sizes, *ends, result.families.codes
        )
        h = sheet.influence[None] / self.count
        self.variance, self.freedom = variance_of(design, self.left_out[None], h)
        datasets = (1 + np.sqrt(1 + 8 * self.count)) / 2
        single |= 1 + (datasets - 1) * np.tanh(self.z) < LEAST_ROOM
        self.datasets = 2.0 if single else datasets
        scaled = self.left_out if single else intraclass(self.left_out, datasets)
        self.spread = variance_of(design, scaled[None], h)
        change = sheet.change[:, used]
        known = np.isfinite(change)
        splits = known.any(axis=1)
        each = np.where(known, change, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        self.splits = int(splits.sum())
        self.stimuli = (each[splits] ** 2).mean() / 4 if self.splits >= LEAST_SPLITS else np.nan

    def ends(self, *, joint: bool = False) -> tuple[float, float]:
        """Returns the 95 % interval over models, or over models and stimuli, as correlations."""
        spread, r = self.spread, np.tanh(self.z)
        if joint:  # the part that both hold is counted twice: on the safe side
            slope = self.datasets / 2 * (1 + r) / (1 + (self.datasets - 1) * r)
            stimuli = np.array([self.stimuli * slope**2])
            spread = joint_variance(*spread, stimuli, 0, np.array([self.splits]))
        if self.datasets == 2:
            low, high = interval(np.array([self.z]), self.drawn[None], *spread)
            return float(np.tanh(low[0])), float(np.tanh(high[0]))
        middle = intraclass(np.array([self.z]), self.datasets)
        low, high = interval(middle, self.drawn[None], *spread)
        return tuple(float(of_intraclass(end[0], self.datasets)) for end in (low, high))


def _mean_change(values: Floats, z: Floats) -> Floats:
    """Returns the mean of values (q, k) less z over dataset pairs; missing ones change nothing."""
    change = values - z[:, None]
    change = np.where(np.isfinite(change), change, 0).mean(axis=0)
    return np.where(np.isfinite(values).any(axis=0), change, np.nan)


def means_table(data: Data, results: Sequence[SetResult], settings: Settings) -> pd.DataFrame:
    """Returns the mean over all dataset pairs of every model set and method."""
    rows = [
        _mean_row(data, result, method, settings.bootstrap > 0)
        for result in results
        for method in settings.methods
    ]
    return pd.DataFrame(rows, columns=list(MEANS)).astype(MEANS)


def _mean_row(data: Data, result: SetResult, method: str, draws: bool) -> dict[str, Any]:
    sheet, chosen = result.sheets[method], result.chosen
    names = (data.metric, chosen.grouping, chosen.group_x, chosen.group_y, method)
    row = dict(zip(MEANS, names, strict=False))
    r = sheet.value[np.isfinite(sheet.value)]
    mean = Mean(result, sheet)
    row |= {"n_dataset_pairs": len(r), "n_models": int(result.n_models.max(initial=0))}
    row |= {"clusters": data.clusters.column, "n_families": int(result.n_families.max(initial=0))}
    if not mean.count:
        return row
    row |= {"value": np.tanh(mean.z), "mean": r.mean(), "median": np.median(r)}
    row["sd"] = r.std(ddof=1) if len(r) > 1 else np.nan
    if draws:
        row["low"], row["high"] = mean.ends()
        row["low_joint"], row["high_joint"] = mean.ends(joint=True)
    if result.families.codes is not None and (far := Mean(result, sheet, between=True)).count:
        row["value_between"] = np.tanh(far.z)
        if draws:
            row["low_between"], row["high_between"] = far.ends()
    return row


def influence_table(data: Data, result: SetResult) -> pd.DataFrame:
    """Returns the consistency of all models without each model in turn, and what that changes."""
    pairs, methods, models = data.pairs, list(result.sheets), result.chosen.members[0]
    sheets = result.sheets.values()
    shape = len(pairs), len(methods), len(models)
    values = np.stack([np.tanh(sheet.left_out) for sheet in sheets], axis=1).reshape(shape)
    change = values - np.stack([sheet.value for sheet in sheets], axis=1)[:, :, None]
    known = np.isfinite(values)
    row, method, model = np.nonzero(known)
    cells = {
        "metric": data.metric,
        "dataset_x": np.array([x for x, _ in pairs], dtype=object)[row],
        "dataset_y": np.array([y for _, y in pairs], dtype=object)[row],
        "method": np.array(methods, dtype=object)[method],
        "model": np.array(models, dtype=object)[model],
        "value": values[known],
        "change": change[known],
    }
    return pd.DataFrame(cells, columns=list(INFLUENCE)).astype(INFLUENCE)
