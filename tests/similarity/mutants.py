"""Makes similarity tables with an edited copy of the package: run by test_mutations.py.

`python mutants.py COPY WORK JOBS RESULTS`: one process that has loaded all libraries but nothing
of the package, and forks for every edit, so that each starts in a moment.
"""

import ast
import hashlib
import importlib
import itertools
import json
import logging
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path

LIBRARIES = (
    "numpy", "pandas", "pyarrow.parquet", "safetensors.numpy", "scipy.linalg", "scipy.optimize",
    "scipy.sparse", "scipy.spatial", "scipy.special", "scipy.stats", "threadpoolctl",
)  # fmt: skip
AS_IT_IS = {"row_normalize": False, "center": False}
SPECS = {
    "cka": ("small", "cka", {}, 0),
    "rsa": ("small", "rsa", {"compare": "spearman"}, 0),
    "procrustes": ("small", "procrustes", {}, 3),
    "jsd": ("small", "jsd", {}, 3),
    "knn": ("small", "mutual_knn", {"k": 4}, 0),
    "lcs": ("small", "lcs_knn", {"k": 3}, 0),
    "tiled": ("large", "rsa", {"compare": "spearman"}, 0),
}
"""{table: (dataset, metric, parameters, permutations)}."""
TOGETHER = ("knn", "lcs")
"""Tables whose pairs are made as a family."""
DISTURBED = """

def _disturb(only):
    import dataclasses
    import functools
    import inspect

    import numpy

    def other(x):
        if isinstance(x, (float, numpy.floating)):
            return x / 2
        if isinstance(x, numpy.ndarray) and x.ndim and x.dtype.kind == "f":
            x = x.copy()
            x.reshape(-1)[::2] /= 2
            return x
        if isinstance(x, numpy.ndarray) and x.ndim and x.dtype.kind in "iu":
            return numpy.roll(x, 1, axis=0)
        if isinstance(x, tuple) and hasattr(x, "_fields"):
            return x._make(map(other, x))
        if type(x) in (tuple, list):
            return type(x)(map(other, x))
        if type(x) is dict:
            return {{key: other(value) for key, value in x.items()}}
        if dataclasses.is_dataclass(x) and not isinstance(x, type):
            names = [field.name for field in dataclasses.fields(x) if field.init]
            return dataclasses.replace(x, **{{name: other(getattr(x, name)) for name in names}})
        return x

    def disturbed(f):
        return functools.wraps(f)(lambda *args, **kwargs: other(f(*args, **kwargs)))

    for name, thing in list(globals().items()):
        if getattr(thing, "__module__", None) != __name__ or name == "_disturb":
            continue
        if inspect.isfunction(thing) and only in ("", name):
            globals()[name] = disturbed(thing)
        if inspect.isclass(thing):
            for inner, method in list(vars(thing).items()):
                if inspect.isfunction(method) and inner[:2] != "__" and only in ("", inner):
                    setattr(thing, inner, disturbed(method))


_disturb({only!r})
"""
"""Appended to a module: numbers that its functions return are halved, every second of them, or come
in another order."""


def make(folder: Path, out: Path) -> dict[str, tuple[str, int]]:
    """Makes all tables with the package as it can be imported now.

    Args:
        folder: holds the features of each dataset.
        out: where tables and pair stores go, or are from an earlier run.

    Returns:
        {table: (SHA-256 of the file, or the error; number of pairs computed)}
    """
    from consilience.similarity import Engine, make_shared, make_similarity  # noqa: PLC0415

    counts = []
    handler = logging.Handler()
    handler.emit = lambda r: r.msg.startswith("%d pairs") and counts.append(r.args[2])
    logger = logging.getLogger("consilience")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    engine, found = Engine(threads=2), {}
    stores = {name: out / "pairs" / f"{name}.parquet" for name in SPECS}
    specs = {
        name: {"metric": metric, "parameters": parameters, "layers": "all",
               "preprocessing": AS_IT_IS, "permutations": permutations}
        for name, (_, metric, parameters, permutations) in SPECS.items()
    }  # fmt: skip
    together, problem = dict.fromkeys(TOGETHER, 0), ""
    try:
        make_shared(
            folder / "small" / "manifest.parquet", out / "family.parquet", dataset="small",
            specs={name: specs[name] for name in TOGETHER},
            stores={name: stores[name] for name in TOGETHER}, engine=engine,
        )  # fmt: skip
        together = dict(zip(TOGETHER, counts, strict=True))
    except Exception as error:
        problem = repr(error)
    for name, spec in specs.items():
        counts.clear()
        path = out / f"{name}.parquet"
        try:
            make_similarity(
                folder / SPECS[name][0] / "manifest.parquet", path, dataset=SPECS[name][0],
                metric_id=name, spec=spec, store=stores[name], engine=engine,
            )  # fmt: skip
            made = hashlib.sha256(path.read_bytes()).hexdigest()
        except Exception as error:
            made = repr(error)
        if name in TOGETHER:
            made += problem
        found[name] = made, sum(counts) + together.get(name, 0)
    return found


def values(out: Path) -> dict[str, str]:
    """Returns {table: hash of its numbers}, whatever code made them."""
    from consilience.files import read_table  # noqa: PLC0415

    return {
        name: hashlib.sha256(read_table(out / f"{name}.parquet").to_json().encode()).hexdigest()
        for name in SPECS
        if (out / f"{name}.parquet").exists()
    }


def traced(work: Path, out: Path) -> list[str]:
    """Returns the modules of the package that run while features become outcomes in a store."""
    from consilience import similarity  # noqa: PLC0415
    from consilience.metrics import list_metrics  # noqa: PLC0415
    from consilience.similarity import all_pairs, table  # noqa: PLC0415

    list_metrics()
    seen = set()

    def look(frame, event, _):
        name = frame.f_globals.get("__name__", "")
        if event == "call" and name.startswith("consilience."):
            seen.add(name)

    def watched(function):
        def run(*args, **kwargs):
            sys.setprofile(look)
            threading.setprofile(look)
            try:
                return function(*args, **kwargs)
            finally:
                sys.setprofile(None)
                threading.setprofile(None)

        return run

    table.list_items = watched(table.list_items)
    all_pairs.fill_store = watched(all_pairs.fill_store)
    similarity.make_shared = watched(similarity.make_shared)
    make(work / "features", out)
    return sorted(seen)


def job(work: Path, what: str) -> dict:
    """Runs one job in this process, which is a fork."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        new, old = Path(folder, "new"), Path(folder, "old")
        if what == "trace":
            return {"seen": traced(work, new)}
        if what == "base":
            made = make(work / "features", work / "base")
            return {"made": made, "values": values(work / "base")}
        shutil.copytree(work / "base" / "pairs", old / "pairs")
        for name in ("family", "family.parquet"):
            source = work / "base" / name
            if source.is_dir():
                shutil.copytree(source, old / name)
        again = make(work / "features", old)
        fresh = make(work / "features", new)
        return {"made": again, "fresh": fresh, "values": values(new)}


def forked(work: Path, what: str) -> dict:
    """Runs one job in a fork, which imports the package anew."""
    result = work / "result.json"
    result.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:
            result.write_text(json.dumps(job(work, what)))
        except BaseException as error:
            result.write_text(json.dumps({"error": repr(error)}))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return json.loads(result.read_text())


def functions(path: Path) -> list[str]:
    """Returns the names of functions and methods that a module defines, in their order."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf8")))
    names = [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
    return list(dict.fromkeys(name for name in names if name[:2] != "__"))


def disturbed(path: Path, work: Path, before: dict) -> dict:
    """Disturbs what a module's functions return: all, or one alone if no value is another then."""
    original = path.read_bytes()
    tried = []
    try:
        for only in itertools.islice(["", *functions(path)], 2):
            path.write_bytes(original + DISTURBED.format(only=only).encode())
            found = forked(work, "edit") | {"only": only}
            tried.append(found)
            new = [name for name, value in found["values"].items() if value != before[name]]
            if new:
                break
    finally:
        path.write_bytes(original)
    return {"tried": tried, "changed": new}


def main(copy: str, work: str, jobs: str, results: str) -> None:
    """Runs all jobs: base, trace, `noted` (modules edited together), `disturbed` (one by one)."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    sys.path.insert(0, copy)
    for library in LIBRARIES:
        importlib.import_module(library)
    work, package = Path(work), Path(copy, "consilience")
    asked, found = json.loads(Path(jobs).read_text()), {"disturbed": {}}
    found["base"] = forked(work, "base")
    found["trace"] = forked(work, "trace")
    originals = {name: (package / name).read_bytes() for name in asked["noted"]}
    for name, text in originals.items():
        (package / name).write_bytes(text + asked["noted"][name].encode())
    found["noted"] = forked(work, "edit")
    for name, text in originals.items():
        (package / name).write_bytes(text)
    for name in asked["disturbed"]:
        found["disturbed"][name] = disturbed(package / name, work, found["base"]["values"])
    Path(results).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
