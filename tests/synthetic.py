"""Studies of any size with planted groups of models: real tables of small random features."""

from pathlib import Path

import numpy as np
import pandas as pd

from consilience.behavior import accuracy_gaps, answers_apart, make_relation
from consilience.consistency import make_consistency
from consilience.files import digest, write_table
from consilience.metrics import Preprocessing, get_metric, metric_code
from consilience.reliability import halves_of
from consilience.results import RESULT_FILES
from consilience.similarity import pairwise

STEPS = ("similarity", "consistency", "differences", "behavior", "relation", "sensitivity", "probe")
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
    tables, halved = {step: [] for step in STEPS}, {}
    accuracy = _accuracy(folder, names, sets)
    tables["probe"].append(folder / "probe" / "accuracy.parquet")
    for place, dataset in enumerate(sets):
        features = plant(rows, n, layers, np.random.default_rng([seed, place]))
        for metric, spec in specs.items():
            path = folder / "similarity" / dataset / f"{metric}.parquet"
            write_similarity(path, features, spec, digest([dataset, n]), layers)
            tables["similarity"].append(path)
            halved.setdefault(metric, []).append(_halves(folder, dataset, metric, features, spec))
            tables["sensitivity"].append(_curves(folder, dataset, metric, features, spec))
        tables["behavior"].append(_behavior(folder, dataset, features, accuracy))
    frame = pd.DataFrame.from_dict(rows, orient="index")
    for metric in specs:
        found = [path for path in tables["similarity"] if path.stem == metric]
        where = folder / "consistency"
        outs = {"table": where / f"{metric}.parquet",
                "differences": where / "differences" / f"{metric}.parquet"}  # fmt: skip
        drawn = {"bootstrap": bootstrap, "permutations": 99, "seed": seed}
        groups = ["objective", "family"]
        make_consistency(
            found, frame, outs, reliability_paths=halved[metric], groups=groups, **drawn
        )
        tables["consistency"].append(outs["table"])
        tables["differences"].append(outs["differences"])
        tables["relation"].append(folder / "behavior" / "relation" / f"{metric}.parquet")
        make_relation(
            found, tables["behavior"], tables["relation"][-1], folder / "domains.parquet",
            domains=dict.fromkeys(sets, "planted"), **drawn,
        )  # fmt: skip
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


def _halves(folder, dataset, metric, features, spec):
    n = len(next(iter(next(iter(features.values())).values())))
    last = {model: {max(own): own[max(own)]} for model, own in features.items()}
    parts = [
        similarities(last, spec, rows).assign(split=split, half=half, n=len(rows))
        for split, halves in enumerate(halves_of(n, 2, seed=0, dataset=dataset))
        for half, rows in zip("ab", halves, strict=True)
    ]
    table = pd.concat(parts).assign(dataset=dataset, metric=metric)
    table = table[list(RESULT_FILES["reliability"].columns)]
    path = folder / "reliability" / dataset / f"{metric}.parquet"
    write_table(table, path, {})
    return path


def _behavior(folder, dataset, features, accuracy):
    """Writes gaps in accuracy of all models, and the answers of every second one apart."""
    of = accuracy[(accuracy["dataset"] == dataset) & (accuracy["kind"] == "linear")]
    rows = list(accuracy_gaps(dict(zip(of["model"], of["accuracy"], strict=True))))
    readout = np.random.default_rng(2).normal(size=(6, 3))
    logits = {m: own[max(own)] @ readout for m, own in list(features.items())[::2]}
    labels = next(iter(logits.values())).argmax(axis=1)
    labels[::3] = 0  # no model is right everywhere
    rows += answers_apart(logits, labels)
    table = pd.DataFrame(rows, columns=["measure", "model_x", "model_y", "value"])
    table.insert(0, "dataset", dataset)
    path = folder / "behavior" / f"{dataset}.parquet"
    write_table(table, path, {})
    return path


def _accuracy(folder, models, datasets):
    rng = np.random.default_rng(1)
    rows = [
        {"dataset": d, "model": m, "layer": "layer_0", "accuracy": rng.uniform(0.3, 1),
         "balanced_accuracy": rng.uniform(0.3, 1), "seeds": 3, "kind": kind, "k": k}
        for d in datasets for m in models for kind, k in (("linear", None), ("few_shot", 5))
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    write_table(table, folder / "probe" / "accuracy.parquet", {})
    return table
