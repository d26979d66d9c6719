"""Planted grounding of any size: metrics of known quality, scored by the project's own code."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from consilience.files import write_table
from consilience.grounding import make_grounding, make_ranks
from consilience.grounding.cases import Case

LAYERS = [f"block_{k}" for k in range(5)]
GROUPS = {
    "labels": ("standard", "labels_25", "labels_100"),
    "shortcuts": ("shortcut_0", "shortcut_50", "shortcut_100"),
    "augmentation": ("standard", "noise_1000", "noise_4000"),
}
VARIANTS = tuple(dict.fromkeys(v for names in GROUPS.values() for v in names))
THRESHOLDS = {"min_labels": 0.03, "min_shortcuts": 0.05, "min_augmentation": 0.03}
RECIPES = {"fashion_vgg": "image"}
MANY = {
    "cora_gcn": "graph", "cora_sage": "graph", "cora_gat": "graph", "fashion_vgg": "image",
    "fashion_resnet": "image", "fashion_vit": "image", "gloss_transformer": "text",
}  # fmt: skip
METRICS = {
    "cka_debiased": ("CKA (linear, debiased)", "cka"),
    "mutual_knn_k10": ("mutual kNN (k = 10)", "neighbors"),
    "procrustes": ("Procrustes", "procrustes"),
    "magnitude_difference": ("magnitude difference", "statistics"),
    "jsd": ("Jensen–Shannon divergence", "outputs"),
}
SMALLER = ("procrustes", "magnitude_difference", "jsd")
"""Metrics of which a smaller value is more similar."""


def cases_of(recipes=RECIPES, seeds=5, matched=(), lacking=()):
    """The tests of recipes, as a plan hands them over.

    Args:
        recipes: {recipe: modality}.
        seeds: models of a variant.
        matched: recipes whose variants start from the same weights.
        lacking: (recipe, test) that are not there.
    """
    found = []
    for recipe, domain in recipes.items():
        members = {v: [f"{recipe}.{v}.{k}" for k in range(seeds)] for v in VARIANTS}
        every = [model for models in members.values() for model in models]
        starts = {m: m.rpartition(".")[2] if recipe in matched else m for m in every}
        clean, odd = f"{recipe}_clean", f"{recipe}_odd"
        gates = {
            "shortcuts": {"informative": f"{recipe}_dots", "uninformative": odd},
            "augmentation": {"altered": f"{recipe}_noise"},
        }
        for test in ("accuracy", "output", "labels", "shortcuts", "augmentation", "layers"):
            if (recipe, test) in lacking:
                continue
            names = GROUPS.get(test, ("standard",))
            found.append(
                {"recipe": recipe, "test": test, "domain": domain,
                 "dataset": odd if test == "shortcuts" else clean,
                 "groups": {name: members[name] for name in names},
                 "starts": {m: starts[m] for name in names for m in members[name]},
                 "measures": ["jsd", "disagreement"] if test == "output" else [],
                 "gate": gates.get(test, {})}
            )  # fmt: skip
    return found


def accuracies_of(cases, shut=()):
    """How right models are on what gates look at; those of `shut` (recipe, test) do not differ."""
    generator, rows = np.random.default_rng(1), {}
    for case in map(lambda fields: Case(**fields), cases):
        steps = {v: k for k, v in enumerate(case.groups)}
        closed = (case.recipe, case.test) in shut
        for variant, models in case.groups.items():
            k = 0 if closed else steps[variant]
            levels = {case.dataset: 0.8 - 0.3 * k if case.test == "labels" else 0.8}
            if case.test == "shortcuts":
                levels |= {case.gate["informative"]: 0.8 + 0.09 * k, case.dataset: 0.8 - 0.1 * k}
            if case.test == "augmentation":
                levels[case.gate["altered"]] = 0.5 + 0.15 * k
            for dataset, level in levels.items():
                for model in models:
                    value = level + generator.normal(0, 0.01)
                    rows.setdefault((dataset, model), value)
    return pd.DataFrame(
        [{"dataset": d, "model": m, "n": 600, "accuracy": a, "accuracy_a": a + 0.004,
          "accuracy_b": a - 0.004} for (d, m), a in rows.items()]
    )  # fmt: skip


def answers_of(cases, accuracies):
    """How far the answers of the standard models differ: in line with their places."""
    known = accuracies.set_index(["dataset", "model"])["accuracy"]
    rows = []
    for case in cases:
        if case["test"] not in ("accuracy", "output"):
            continue
        models = [m for group in case["groups"].values() for m in group]
        for x, y in combinations(sorted(models), 2):
            gap = abs(_place(x) - _place(y))
            values = {"jsd": 0.1 * gap, "disagreement": 0.2 * gap**2}
            if case["test"] == "accuracy":
                values = {"accuracy_difference": abs(known[case["dataset"], x]
                                                     - known[case["dataset"], y])}  # fmt: skip
            rows += [
                {
                    "dataset": case["dataset"],
                    "measure": name,
                    "model_x": x,
                    "model_y": y,
                    "value": v,
                }
                for name, v in values.items()
            ]
    return pd.DataFrame(rows)


def _place(model):
    """Where a model stands by its seed, between 0 and 1."""
    return (int(model.rpartition(".")[2]) * 0.37) % 1


def similarity_of(metric, quality, dataset, cases, *, failing=0.0, constant=False, seed=0):
    """A metric's similarity table of one dataset: what is true, and noise.

    Args:
        metric: its id; of those in `SMALLER` a smaller value is more similar.
        quality: 1: it is the truth, 0: noise.
        dataset: the dataset.
        cases: whose models and layers count.
        failing: share of pairs without a value.
        constant: whether all values are equal.
        seed: of the noise.
    """
    generator, sign = np.random.default_rng([seed, len(dataset)]), -1 if metric in SMALLER else 1
    here = [case for case in cases if case["dataset"] == dataset]
    models = list(dict.fromkeys(m for c in here for group in c["groups"].values() for m in group))
    rows = []
    for x, y in combinations(sorted(models), 2):
        same = x.split(".")[1] == y.split(".")[1]
        near = 0.6 * same + 0.4 * (1 - abs(_place(x) - _place(y)))
        rows.append((x, LAYERS[-1], y, LAYERS[-1], near))
    layered = [m for c in here if c["test"] == "layers" for g in c["groups"].values() for m in g]
    for model in layered:
        rows += [
            (model, LAYERS[i], model, LAYERS[j], 1 - (j - i) / len(LAYERS))
            for i, j in combinations(range(len(LAYERS)), 2)
        ]
    table = pd.DataFrame(rows, columns=["model_x", "layer_x", "model_y", "layer_y", "value"])
    noise = generator.uniform(0, 1, len(table))
    value = quality * table["value"] + (1 - quality) * noise
    table["value"] = 0.5 if constant else (value if sign > 0 else 2 * (1 - value))
    table.loc[generator.uniform(size=len(table)) < failing, "value"] = np.nan
    table.insert(0, "dataset", dataset)
    table.insert(1, "metric", metric)
    bounds = [0, 1] if sign > 0 else [0, None]
    facts = {"larger_is_more_similar": sign > 0, "bounds": bounds, "symmetric": True}
    table.attrs = {"facts": facts, "layers": {model: LAYERS for model in models}}
    return table.assign(failure=None)


def quality_of(place, count):
    """The quality of a metric by its place: from noise to nearly the truth."""
    return 0.85 * place / max(count - 1, 1)


def write_grounding(folder, metrics=tuple(METRICS), recipes=RECIPES, *, seeds=5, matched=(),
                    shut=(), lacking=(), failing=(), constant=(), draws=100):  # fmt: skip
    """Writes the tables of a planted study; the later a metric stands, the more it finds.

    Args:
        folder: results.
        metrics: their ids.
        recipes: {recipe: modality}.
        seeds: models of a variant.
        matched: see `cases_of`; so `lacking`.
        shut: (recipe, test) whose groups do not behave differently.
        failing: metrics of which half of the pairs fail.
        constant: metrics with one value for all.
        draws: resamples and relabellings.

    Returns:
        the tests, and {kind: paths} of the tables.
    """
    folder, cases = Path(folder), cases_of(recipes, seeds, matched, lacking)
    grounding = folder / "grounding"
    accuracies = accuracies_of(cases, shut)
    answers = answers_of(cases, accuracies)
    paths = {"similarity": [], "grounding": [], "grounding_accuracies": []}
    for dataset, part in accuracies.groupby("dataset"):
        paths["grounding_accuracies"].append(grounding / "accuracies" / f"{dataset}.parquet")
        write_table(part, paths["grounding_accuracies"][-1], {})
    write_table(answers, grounding / "apart.parquet", {})
    for k, metric in enumerate(metrics):
        tables = []
        for dataset in dict.fromkeys(case["dataset"] for case in cases):
            table = similarity_of(
                metric, quality_of(k, len(metrics)), dataset, cases, seed=k,
                failing=0.5 if metric in failing else 0.0, constant=metric in constant,
            )  # fmt: skip
            tables.append(folder / "similarity" / dataset / f"{metric}.parquet")
            write_table(table, tables[-1], table.attrs)
        out = grounding / f"{metric}.parquet"
        make_grounding(
            tables, paths["grounding_accuracies"], [grounding / "apart.parquet"], out,
            grounding / "models" / out.name, grounding / "samples" / out.name, metric_id=metric,
            cases=cases, thresholds=THRESHOLDS, bootstrap=draws, permutations=draws - 1,
        )  # fmt: skip
        paths["similarity"] += tables
        paths["grounding"].append(out)
    names = {"grounding_ranks": "cases", "grounding_summary": "domains",
             "grounding_differences": "differences", "grounding_costs": "costs"}  # fmt: skip
    paths |= {kind: [grounding / "ranks" / f"{name}.parquet"] for kind, name in names.items()}
    make_ranks(
        [grounding / "samples" / f"{metric}.parquet" for metric in metrics],
        *(paths[kind][0] for kind in list(names)[:3]),
    )
    write_table(costs_of(metrics, recipes), paths["grounding_costs"][0], {})
    return cases, paths


def costs_of(metrics, recipes=RECIPES):
    """What metrics took: a factor of three from one to the next, the third without a time."""
    rows = [
        {"metric": metric, "domain": domain, "seconds": np.nan if k == 2 else 3.0 ** (k % 9) / 1e4,
         "total": 1.0, "n_pairs": 100, "n_timed": 0 if k == 2 else 100,
         "measured": "" if k == 2 else ("pass", "call")[k % 2], "shared_by": 1}
        for domain in ("all", *dict.fromkeys(recipes.values()))
        for k, metric in enumerate(metrics)
    ]  # fmt: skip
    return pd.DataFrame(rows)
