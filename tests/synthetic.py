"""Studies of any size with planted groups of models: real tables of small random features."""

from pathlib import Path

import numpy as np
import pandas as pd

from consilience.consistency import make_consistency
from consilience.files import digest, read_table, write_table
from consilience.metrics import Preprocessing, get_metric, metric_code
from consilience.similarity import pairwise

METRICS = {
    "cka": {"metric": "cka", "parameters": {}},
    "mutual_knn_k5": {"metric": "mutual_knn", "parameters": {"k": 5}},
    "procrustes": {"metric": "procrustes", "parameters": {}},
    "linear_regression": {"metric": "linear_regression", "parameters": {}},
}
"""Bounded and closed form, neighbours, smaller is more similar, and one that is not symmetric."""
GROUPS = ("ssl", "supervised", "image-text", "")
FAMILIES = ("convolutional", "transformer")


def write_study(folder, *, models=6, datasets=3, metrics=2, n=40, layers=1, seed=0, bootstrap=100):
    """Writes the tables of a study and returns (tables by step, study)."""
    folder, names = Path(folder), [f"model_{k:02}" for k in range(models)]
    rows = {
        name: {"model": name, "source": "raw", "name": name, "modality": "image", "seed": str(seed),
               "objective": GROUPS[k % 4], "family": FAMILIES[k % 2]}
        for k, name in enumerate(names)
    }  # fmt: skip
    sets = [f"data_{k:02}" for k in range(datasets)]
    specs = {name: _spec(METRICS[name]) for name in sorted(list(METRICS)[:metrics])}
    tables = {"similarity": [], "consistency": [], "sensitivity": [], "probe": []}
    for place, dataset in enumerate(sets):
        features = plant(rows, n, layers, np.random.default_rng([seed, place]))
        for metric, spec in specs.items():
            path = folder / "similarity" / dataset / f"{metric}.parquet"
            write_similarity(path, features, spec, digest([dataset, n]), layers)
            tables["similarity"].append(path)
            tables["sensitivity"].append(_curves(folder, dataset, metric, features, spec))
    frame = pd.DataFrame.from_dict(rows, orient="index")
    for metric in specs:
        found = [path for path in tables["similarity"] if path.stem == metric]
        tables["consistency"].append(folder / "consistency" / f"{metric}.parquet")
        make_consistency(
            found, frame, {"table": tables["consistency"][-1]}, groups=["objective"],
            bootstrap=bootstrap, permutations=99, seed=seed,
        )  # fmt: skip
        _add_further(tables["consistency"][-1])
    tables["probe"].append(_accuracy(folder, names, sets))
    study = {
        "settings": {"seed": seed, "models": names, "datasets": sets, "metrics": list(specs)},
        "models": rows,
        "datasets": {name: {"dataset": name, "modality": "image"} for name in sets},
        "metrics": specs,
        "labels": {metric: f"{metric} (label)" for metric in specs},
    }
    return tables, study


def _spec(variant):
    return variant | {
        "preprocessing": {"center": False, "row_normalize": False},
        "layers": "all",
        "permutations": 0,
    }


def plant(rows, n, layers, rng):
    """Returns {model: {layer: (n, 6)}}: models of one group share half of their features."""
    shared = {group: rng.normal(size=(n, 6)) for group in GROUPS}
    return {
        model: {
            f"layer_{k}": shared[row["objective"]] + rng.normal(size=(n, 6)) for k in range(layers)
        }
        for model, row in rows.items()
    }


def write_similarity(path, features, spec, samples_hash, layers=1):
    """Writes a similarity table as the workflow does."""
    table = similarities(features, spec)
    table.insert(0, "dataset", path.parent.name)
    table.insert(1, "metric", path.stem)
    metric = get_metric(spec["metric"], **spec["parameters"])
    metadata = {
        "spec": spec, "facts": metric.facts.as_dict(), "code": metric_code(metric), "n": 40,
        "layers": {model: sorted(own) for model, own in features.items()},
        "samples_hash": samples_hash, "null": None, "versions": {},
    }  # fmt: skip
    write_table(table, path, metadata)


def similarities(features, spec, rows=slice(None)):
    """Returns the similarity table of features by model and layer."""
    metric = get_metric(spec["metric"], **spec["parameters"])
    flat = {f"{m} {layer}": x[rows] for m, own in features.items() for layer, x in own.items()}
    null = "closed_form" if metric.has_closed_form else None
    table = pairwise(metric, flat, null=null, preprocessing=Preprocessing(**spec["preprocessing"]))
    for side in "xy":
        ends = table[f"model_{side}"].str.split(" ", expand=True)
        table[f"model_{side}"], table[f"layer_{side}"] = ends[0], ends[1]
    return table


def _curves(folder, dataset, metric, features, spec):
    n = len(next(iter(next(iter(features.values())).values())))
    last = {model: {max(own): own[max(own)]} for model, own in features.items()}
    parts = [
        similarities(last, spec, np.random.default_rng(draw).permutation(n)[:size]).assign(
            axis="n", setting=float(size), draw=draw
        )
        for size in (n // 2, n)
        for draw in range(2)
    ]
    columns = ["axis", "setting", "draw", "model_x", "layer_x", "model_y", "layer_y", "value"]
    table = pd.concat(parts)[columns]
    table.insert(0, "dataset", dataset)
    table.insert(1, "metric", metric)
    path = folder / "sensitivity" / dataset / f"{metric}.parquet"
    write_table(table, path, {"layers": {model: list(own) for model, own in last.items()}})
    return path


def _add_further(path):
    """Adds what consistency tables have where stimuli were resampled too."""
    table = read_table(path)
    for name, values in {"low_joint": table["low"] - 0.01, "high_joint": table["high"]}.items():
        table[name] = table.get(name, values).fillna(values)
    write_table(table, path, table.attrs)


def _accuracy(folder, models, datasets):
    rng = np.random.default_rng(1)
    rows = [
        {"dataset": d, "model": m, "layer": "layer_0", "accuracy": rng.uniform(0.3, 1),
         "balanced_accuracy": rng.uniform(0.3, 1), "seeds": 3, "kind": kind, "k": k}
        for d in datasets for m in models for kind, k in (("linear", None), ("few_shot", 5))
    ]  # fmt: skip
    path = folder / "probe" / "accuracy.parquet"
    write_table(pd.DataFrame(rows), path, {})
    return path
