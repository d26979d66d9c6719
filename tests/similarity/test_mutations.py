"""No edit of any module leaves an old value under a new name, or makes a new one without need.

The package is copied, every module of the copy is edited, one after the other, and tables are made
again beside the pair stores of before.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import mutants
import numpy as np
import pytest
from test_code import forget

from consilience import code
from consilience.features import write_features, write_manifest
from consilience.metrics import METRICS, Preprocessing, get_metric
from consilience.similarity.store import ENGINE, PairStore

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "consilience"
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
STATEMENT, REMARK = "_EDITED = True\n", "# edited\n"
TABLES = {name: METRICS[metric].__module__ for name, (_, metric, *_) in mutants.SPECS.items()}
LAYERS = {"small": 4, "large": 3}
REFUSING = {"consilience.places", "consilience.results"}
"""Modules that say whether a file lies in its place: they give nothing back."""
BOUNDS = ("errors.py", "leftovers.py", "limits/", "sums.py")
"""Beginnings of paths of modules that only refuse, which no value shows."""
HOLDING = ("similarity/engine/held.py", "similarity/engine/timing.py", "similarity/shelf.py")
"""Modules that only say what is held where, and how long it took: no value shows them either."""


def module_of(path):
    """Returns the dotted name of a module by its path in the package."""
    parts = path.with_suffix("").parts
    return ".".join(("consilience", *(part for part in parts if part != "__init__")))


def passes_on(path):
    """Whether a file is a package's `__init__.py` that only passes names on."""
    return path.name == "__init__.py" and code._exports(module_of(path)) is not None


def deciding(*metrics):
    """Returns the modules that decide values of metrics, given by their modules."""
    return set(code.closure(*ENGINE, *metrics))


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, folder / "consilience", ignore=ignored)
    for name in ("config", "workflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    return folder


@pytest.mark.parametrize("path", FILES, ids=str)
def test_the_key_of_a_store_knows_exactly_what_decides(path, copy, monkeypatch):
    """An appended statement changes the keys of those metrics that can reach the module."""
    monkeypatch.setattr(code, "PACKAGE", copy / "consilience")

    def keys():
        forget()
        return {module: code.code_of(*ENGINE, module) for module in metrics}

    metrics = sorted({cls.__module__ for cls in METRICS.values()})
    file, before = copy / "consilience" / path, keys()
    reached = {metric for metric in metrics if module_of(path) in deciding(metric)}
    holds = {m for m in metrics if any(d.startswith(module_of(path) + ".") for d in deciding(m))}
    transparent, original = passes_on(path), file.read_bytes()
    try:
        file.write_bytes(original + REMARK.encode())
        changed = {metric for metric, key in keys().items() if key != before[metric]}
        assert changed == reached
        file.write_bytes(original + STATEMENT.encode())
        changed = {metric for metric, key in keys().items() if key != before[metric]}
        # a package that begins to do more than pass on can do anything to what it holds
        assert changed == (holds if transparent else reached)
    finally:
        file.write_bytes(original)
        forget()


def test_the_key_of_a_store_is_made_of_this(monkeypatch):
    for name in ("cka", "mutual_knn"):
        metric = get_metric(name)
        keys = {PairStore.open(None, metric, Preprocessing()).code}
        for what in ("code_of", "metric_code"):
            with monkeypatch.context() as patched:
                patched.setattr(f"consilience.similarity.store.{what}", lambda *_: "other")
                keys.add(PairStore.open(None, metric, Preprocessing()).code)
        assert len(keys) == 3


@pytest.fixture(scope="module")
def runs(copy, tmp_path_factory):
    """What `mutants` finds, with each deciding module edited by itself, all others together."""
    work = tmp_path_factory.mktemp("work")
    for dataset, (count, n, d) in {"small": (4, 40, 6), "large": (3, 2048, 3)}.items():
        paths = []
        for number in range(count):
            rng = np.random.default_rng(number)
            x = {"layer": rng.normal(size=(n, d)).astype(np.float32)}
            logits = {"logits": rng.normal(size=(n, 5)).astype(np.float32)}
            header = {"model": {"model": f"m{number}"}, "dataset": dataset, "samples_hash": "s"}
            paths.append(work / "features" / dataset / f"m{number}.safetensors")
            ids = [str(i) for i in range(n)]
            write_features(paths[-1], x, header, ids, outputs=logits)
        write_manifest(paths, work / "features" / dataset / "manifest.parquet")
    forget()
    inside = deciding(*TABLES.values())
    noted, edited = {}, []
    for path in FILES:
        if module_of(path) in inside:
            edited.append(str(path))
        else:
            holds = any(m.startswith(module_of(path) + ".") for m in inside)
            noted[str(path)] = REMARK if passes_on(path) and holds else STATEMENT
    jobs, results = work / "jobs.json", work / "results.json"
    jobs.write_text(json.dumps({"noted": noted, "disturbed": edited}))
    subprocess.run(
        [sys.executable, mutants.__file__, copy, work, jobs, results], check=True, timeout=600
    )
    return json.loads(results.read_text())


def pairs_of(table):
    count = LAYERS[mutants.SPECS[table][0]]
    return count * (count + 1) // 2


def test_all_that_runs_is_known_to_decide(runs):
    """Whatever of the package runs between a manifest and a store is in the closure."""
    seen = set(runs["trace"]["seen"])
    assert {"consilience.similarity.task", "consilience.similarity.engine.tiles"} <= seen
    every = deciding(*{cls.__module__ for cls in METRICS.values()})
    assert seen - REFUSING <= every
    assert seen - REFUSING <= deciding(*TABLES.values())


def test_the_first_run_computes_all_pairs(runs):
    for table, (made, computed) in runs["base"]["made"].items():
        assert len(made) == 64, (table, made)
        assert computed == pairs_of(table)


def test_edits_elsewhere_compute_nothing(runs):
    base = runs["base"]["made"]
    assert {name: made for name, (made, _) in runs["noted"]["made"].items()} == {
        name: made for name, (made, _) in base.items()
    }
    assert {computed for _, computed in runs["noted"]["made"].values()} == {0}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_an_edit_that_disturbs_gives_what_a_fresh_run_gives(path, runs):
    """With an existing store: byte for byte, and exactly the tables that depend on the module."""
    if str(path) not in runs["disturbed"]:
        assert module_of(path) not in deciding(*TABLES.values())
        return
    found = runs["disturbed"][str(path)]
    for attempt in found["tried"]:
        assert "error" not in attempt, attempt
        for table, (made, computed) in attempt["made"].items():
            assert made == attempt["fresh"][table][0], table
            depends = module_of(path) in deciding(TABLES[table])
            if len(made) == 64 and len(attempt["made"]["knn"][0]) == 64:
                assert computed == (pairs_of(table) if depends else 0), table
            if not depends:
                assert made == runs["base"]["made"][table][0], table
    assert all(module_of(path) in deciding(TABLES[table]) for table in found["changed"])


def test_most_edits_change_values(runs):
    """The test above would be worth little if no table changed."""
    changed = {path for path, found in runs["disturbed"].items() if found["changed"]}
    for metric in set(TABLES.values()):
        assert f"{metric.removeprefix('consilience.').replace('.', '/')}.py" in changed
    assert {"similarity/task.py", "forms/tiles.py", "similarity/engine/tiles.py"} <= changed
    values = {path for path in runs["disturbed"] if not path.startswith(BOUNDS + HOLDING)}
    assert len(changed) > len(values) / 2, ", ".join(sorted(values - changed))
