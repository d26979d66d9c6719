"""A study of models in families, planted: what near-duplicates fake, and who drives a value.

64 models in 8 families, 4 datasets, 2 metrics. Similarities are a_i + a_j + noise; most of what
models have in common on two datasets is their family's. Two models of one family are nearly
equal, on every dataset. On `far`, family f7 is far from all others on two datasets.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from consilience.behavior import make_relation
from consilience.consistency import make_consistency
from consilience.files import write_table

FAMILIES, EACH = 8, 8
DATASETS = ("birds", "digits", "flowers", "textures")
METRICS = ("cka", "far")
GROUPS = ("objective", "maker")
KINDS = {"table": "consistency", "means": "consistency/means",
         "differences": "consistency/differences"}  # fmt: skip


def metadata(families=FAMILIES, each=EACH):
    """The models: objectives hold half of the families each, makers two, sizes cut across."""
    codes = np.repeat(np.arange(families), each)
    rows = {
        f"f{f}_{k % each:02d}": {
            "family": f"f{f}",
            "objective": ("image-text", "supervised")[int(f >= families // 2)],
            "maker": f"maker {f // 2}",
            "size": ("base", "large")[k % 2],
        }
        for k, f in enumerate(codes)
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def similarities(codes, metric, rng):
    """Yields the values of all pairs on every dataset."""
    i, j = np.triu_indices(len(codes), 1)
    common = rng.normal(size=codes.max() + 1)
    alike = 5.0 * (codes[i] == codes[j])
    for place, _ in enumerate(DATASETS):
        family = 0.9 * common + 0.44 * rng.normal(size=len(common))
        own = 0.4 * rng.normal(size=len(codes))
        far = 6.0 * (codes == codes.max()) if metric == "far" and place < 2 else 0
        a = family[codes] + own + far
        near = 0.1 if metric == "far" else 1.0
        yield 0.3 + 0.05 * (a[i] + a[j] + near * alike + 0.5 * rng.normal(size=len(i)))


def table_of(values, names, dataset, metric):
    """A similarity table, with every model with itself."""
    i, j = np.triu_indices(len(names))
    square = np.eye(len(names))
    square[np.triu_indices(len(names), 1)] = values
    ends = {"model_x": np.array(names)[i], "layer_x": "last", "model_y": np.array(names)[j],
            "layer_y": "last", "value": square[i, j]}  # fmt: skip
    rest = dict.fromkeys(("null_mean", "null_sd", "z", "p", "calibrated"), np.nan)
    said = {"failure": None, "note": None}
    return pd.DataFrame({"dataset": dataset, "metric": metric} | ends | rest | said)


def write_families(
    folder, *, families=FAMILIES, each=EACH, clusters="family", seed=3, bootstrap=60, **settings
):
    """Writes the tables as the workflow does, and returns (tables by step, study)."""
    folder, models = Path(folder), metadata(families, each)
    names, codes = list(models.index), np.repeat(np.arange(families), each)
    rng, tables = np.random.default_rng(seed), {"similarity": [], "behavior": [], "relation": []}
    facts = {"bounds": [-1, 1], "larger_is_more_similar": True, "symmetric": True}
    attrs = {"facts": facts, "layers": {name: ["last"] for name in names}, "n": 500,
             "samples_hash": "0" * 64, "spec": {"metric": "cka", "parameters": {}},
             "null": None}  # fmt: skip
    for metric in METRICS:
        for dataset, values in zip(DATASETS, similarities(codes, metric, rng), strict=True):
            path = folder / "similarity" / dataset / f"{metric}.parquet"
            write_table(table_of(values, names, dataset, metric), path, attrs)
            tables["similarity"].append(path)
    tables["behavior"] = [_gaps(folder, dataset, names, codes, rng) for dataset in DATASETS]
    drawn = {"bootstrap": bootstrap, "permutations": 199, "seed": 0, "clusters": clusters}
    for where in KINDS.values():
        tables[where.rpartition("/")[2]] = [folder / where / f"{m}.parquet" for m in METRICS]
    for k, metric in enumerate(METRICS):
        found = [path for path in tables["similarity"] if path.stem == metric]
        outs = {step: tables[where.rpartition("/")[2]][k] for step, where in KINDS.items()}
        groups = {"groups": list(GROUPS), "methods": ("pearson", "spearman")}
        make_consistency(found, models, outs, **groups | drawn | settings)
        tables["relation"].append(folder / "behavior" / "relation" / f"{metric}.parquet")
        make_relation(
            found, tables["behavior"], tables["relation"][-1], folder / "domains.parquet",
            domains=dict.fromkeys(DATASETS, "planted"), models=models, **drawn,
        )  # fmt: skip
    rows = {name: {"model": name, **row} for name, row in models.to_dict("index").items()}
    spec = {"metric": "cka", "parameters": {}}
    study = {
        "settings": {"models": names}, "models": rows,
        "datasets": {name: {"dataset": name} for name in DATASETS},
        "metrics": dict.fromkeys(METRICS, spec), "labels": {name: name for name in METRICS},
    }  # fmt: skip
    return tables, study


def _gaps(folder, dataset, names, codes, rng):
    """Gaps of accuracies; on `birds` only 24 models of three families have one."""
    of_families, own = rng.normal(size=codes.max() + 1), rng.normal(size=len(codes))
    share = dict(zip(names, 0.5 + 0.07 * of_families[codes] + 0.04 * own, strict=True))
    if dataset == DATASETS[0]:
        share = {name: share[name] for name in names if name[:2] in ("f0", "f1", "f2")}
    known = list(share)
    rows = [
        (dataset, "accuracy_gap", x, y, abs(share[x] - share[y]))
        for k, x in enumerate(known)
        for y in known[k + 1 :]
    ]
    path = folder / "behavior" / f"{dataset}.parquet"
    write_table(
        pd.DataFrame(rows, columns=["dataset", "measure", "model_x", "model_y", "value"]), path, {}
    )
    return path
