"""Which code decides a result: what imports lead to, and nothing else."""

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from consilience import code
from consilience.metrics import get_metric, metric_code
from consilience.similarity.store import ENGINE

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "consilience").rglob("*.py"))
SCRIPTS = sorted((ROOT / "workflow" / "scripts").glob("*.py"))
BY_NAME = {
    "datasets/__init__.py": "a dataset's source: `sources_of`",
    "lazy.py": "what a package hands over: named in its `if TYPE_CHECKING:`",
    "features/extract.py": "what reads features made elsewhere: `READER`, in `sources_of`",
    "metrics/_checks.py": "other people's packages only",
    "metrics/_files.py": "metrics outside the package: `code_of_class`",
    "models/__init__.py": "a model's source: `sources_of`",
    "models/_architecture.py": "the library that a row's name begins with: `sources_of`",
    "networks/__init__.py": "what builds a network: `modules_of`",
    "networks/libraries/small/__init__.py": "the network of a name: `modules_of`",
    "plots/mpl.py": "other people's packages only",
    "prefetch.py": "a dataset's source, asked whether it fetches: no result",
    "together.py": "what makes a job's files, in the quotes of its script: `code_of_script`",
    "registry.py": "metrics: `code_of_class`; figures: `Facts.module`; packaged data: `sources_of`",
}
"""Modules that import by name at run time, and what counts their targets as code."""
TOY = {
    "__init__.py": '"""Only passes on."""\n\n__version__ = "1"\n',
    "base.py": "X = 1\n",
    "other.py": "X = 2\n",
    "types_only.py": "class T: ...\n",
    "quiet.py": "DECIDES_NOTHING = True\n\n\ndef say() -> None: ...\n",
    "room/__init__.py": (
        '"""A room."""\n\nfrom consilience.room.door import knock\n'
        'from consilience.room.window import look as peek\n\n__all__ = ["knock", "peek"]\n'
    ),
    "room/door.py": "def knock(): ...\n",
    "room/window.py": "from consilience.base import X\n\n\ndef look(): ...\n",
    "hall/__init__.py": "from consilience.room import knock\n",
    "lazy.py": "def hand_over(*names): ...\n",
    "late/__init__.py": (
        "from typing import TYPE_CHECKING\n\nfrom consilience.lazy import hand_over\n\n"
        "if TYPE_CHECKING:\n    from consilience.room import knock, peek\n\n"
        '__all__ = ["knock", "peek"]\n__version__ = "1"\n\n'
        'hand_over(__name__, "consilience.room", __all__)\n'
    ),
    "busy/__init__.py": "import os\nfrom consilience.base import X\nY = X\n",
    "busy/inner.py": "Z = 1\n",
}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Writes a package of that name, and returns a function that adds modules to it."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / "consilience" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf8")
        forget()

    monkeypatch.setattr(code, "PACKAGE", tmp_path / "consilience")
    write(TOY)
    yield write
    forget()


def forget():
    """Makes `code` read its files again."""
    for thing in vars(code).values():
        if hasattr(thing, "cache_clear"):
            thing.cache_clear()


def names(module):
    return [name.removeprefix("consilience.") for name in code.closure(f"consilience.{module}")]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from consilience.base import X\n", ["base"]),
        ("from consilience.base import X as Y  # a note, with a comma\n", ["base"]),
        ("import consilience.base\n", ["base"]),
        ("import consilience.base as b, consilience.other  # and why\n", ["base", "other"]),
        ("from consilience import base, other as o\n", ["base", "other"]),
        ("from consilience import __version__\n", []),
        ("from consilience.base import (\n    X,  # of (all) these\n    Y,\n)\n", ["base"]),
        ("def f():\n    from consilience.base import X  # noqa\n    return X\n", ["base"]),
        ("if True:\n\timport consilience.other\n", ["other"]),
        ("from consilience.room import knock\n", ["room.door"]),
        ("from consilience.room import peek\n", ["base", "room.window"]),
        ("from consilience.room import window\n", ["base", "room.window"]),
        ("from consilience.room.door import knock\n", ["room.door"]),
        ("from consilience.hall import knock\n", ["room.door"]),
        ("from consilience.late import knock\n", ["room.door"]),
        ("from consilience.late import peek, __version__\n", ["base", "room.window"]),
        ("from consilience.late import hand_over\n", ["lazy"]),
        ("from consilience.busy import Y\n", ["base", "busy"]),
        ("from consilience.busy import inner\n", ["base", "busy", "busy.inner"]),
        ("import consilience.busy.inner\n", ["base", "busy", "busy.inner"]),
        ("import os, sys\nfrom pathlib import Path\n", []),
        ("from consilience.quiet import say\n", []),
        (
            "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n"
            "    from consilience.types_only import T\n\n    import consilience.other\n\n"
            "from consilience.base import X\n",
            ["base"],
        ),
        ("# from consilience.base import X\n", []),
    ],
)
def test_imports_lead_to_modules(toy, source, expected):
    toy({"start.py": source})
    assert names("start") == sorted([*expected, "start"])


def test_an_edit_counts_where_imports_lead_to_it(toy):
    toy({"start.py": "from consilience.room import peek\n", "alone.py": "A = 1\n"})
    before = code.code_of("consilience.start"), code.code_of("consilience.alone")
    toy({"base.py": "X = 3\n"})
    after = code.code_of("consilience.start"), code.code_of("consilience.alone")
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_a_package_that_passes_on_another_thing_counts(toy):
    """Both are in the closure before and after: only what the name means is another."""
    start = "from consilience.room import knock, peek\n"
    toy({"start.py": start, "room/window.py": "def look(): ...\n\n\ndef knock(): ...\n"})
    before = code.code_of("consilience.start")
    text = TOY["room/__init__.py"].replace("room.door import knock", "room.window import knock")
    toy({"room/__init__.py": text + "from consilience.room.door import knock as other\n"})
    assert code.code_of("consilience.start") != before


def test_a_package_that_does_more_than_pass_on_counts_itself(toy):
    toy({"start.py": "from consilience.room import knock\n"})
    assert names("start") == ["room.door", "start"]
    before = code.code_of("consilience.start")
    toy({"room/__init__.py": TOY["room/__init__.py"] + "# a note\n"})
    assert code.code_of("consilience.start") == before
    toy({"room/__init__.py": TOY["room/__init__.py"] + "knock.x = 1\n"})
    assert names("start") == ["base", "room", "room.door", "room.window", "start"]


def test_a_module_that_is_not_there(toy):
    with pytest.raises(ValueError, match=r"there is no module 'consilience\.nowhere'"):
        code.closure("consilience.nowhere")


def test_scripts_and_what_they_import_by_name(toy, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from consilience.room import knock\n")
    first, more = code.code_of_script(script), code.code_of_script(script, "consilience.base")
    assert first != more
    toy({"base.py": "X = 3\n"})
    assert code.code_of_script(script) == first
    assert code.code_of_script(script, "consilience.base") != more
    toy({"room/door.py": "def knock(): return 1\n"})
    assert code.code_of_script(script) != first
    changed = code.code_of_script(script)
    script.write_text("from consilience.room import knock\n\nknock()\n")
    forget()
    assert code.code_of_script(script) != changed


def test_what_a_script_names_in_quotes_is_imported(toy, tmp_path):
    script = tmp_path / "script.py"
    script.write_text('make_each("consilience.base", "consilience.logs!", "room")\n')
    first = code.code_of_script(script)
    toy({"other.py": "X = 3\n"})
    assert code.code_of_script(script) == first
    toy({"base.py": "X = 3\n"})
    assert code.code_of_script(script) != first


def test_sources_of_a_row(toy):
    toy({
        "models/__init__.py": "", "models/own.py": 'READER = "consilience.base"\n',
        "models/lib.py": "", "data/__init__.py": "", "data/many/__init__.py": "Y = 1\n",
        "data/many/one.py": "", "data/many/two.py": "from consilience.other import X\n",
    })  # fmt: skip
    assert code.sources_of("models", {"source": "own", "name": "lib:resnet"}) == (
        "consilience.models.lib", "consilience.models.own", "consilience.base",
    )  # fmt: skip
    many = code.sources_of("data", {"source": "many", "name": "two:48"})
    assert code.closure(*many) == (
        "consilience.data.many", "consilience.data.many.one", "consilience.data.many.two",
        "consilience.other",
    )  # fmt: skip
    assert code.sources_of("data", {"parent": "x", "view": "half=a"}) == ()


# The package itself.


def _found_by_ast(tree):
    """Yields (module, names) of imports from the package, but those for types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not seen"
            if node.module.partition(".")[0] == "consilience":
                yield node.module, tuple(alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "consilience":
                    yield alias.name, ()
        yield from _found_by_ast(node)


def test_what_is_imported_by_name_is_counted_by_somebody():
    """An import that the closure cannot see must be given by a caller: say here by which."""
    sign = re.compile(r"\b(import_module|__import__|spec_from_file_location|exec)\(")
    found = [path for path in MODULES if sign.search(path.read_text(encoding="utf8"))]
    assert {p.relative_to(ROOT / "consilience").as_posix() for p in found} == set(BY_NAME)
    text = "".join(path.read_text(encoding="utf8") for path in MODULES)
    assert re.findall(r'= Registry\("([\w ]+)"', text) == ["packaged dataset", "metric", "figure"]


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_are_those_that_python_sees(path):
    source = path.read_bytes()
    assert sorted(code._statements(source)) == sorted(_found_by_ast(ast.parse(source)))


def test_modules_that_decide_nothing_give_nothing_back():
    quiet = [p for p in MODULES if "\nDECIDES_NOTHING = True\n" in p.read_text(encoding="utf8")]
    assert [path.name for path in quiet] == ["logs.py", "places.py"]
    for path in quiet:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.FunctionDef):
                assert ast.unparse(node.returns) == "None", node.name


def test_rooms_that_no_value_depends_on():
    rooms = {name.split(".")[1] for name in code.closure(*ENGINE)}
    assert not rooms & {
        "datasets", "models", "config", "plots", "explorer", "docs", "cli", "bundle", "probe",
        "consistency", "pairs", "alignment", "behavior", "sensitivity", "reliability", "logs",
    }  # fmt: skip
    assert "consilience.samples.draw" not in code.closure(*ENGINE)
    assert "consilience.features.extract" not in code.closure(*ENGINE)


def test_what_reads_features_does_not_decide_them():
    extraction = code.closure("consilience.features.extract")
    assert "consilience.features.reading" not in extraction
    assert not {name for name in extraction if ".similarity" in name or ".metrics" in name}


MINE = """
from dataclasses import dataclass
from consilience.forms.kernels import unit
from consilience.metrics import Metric, metric

@metric("mine_{name}", symmetric=True, bounds=(0.0, 1.0), self_value=1.0, is_metric=False,
        larger_is_more_similar=True, citation="me2026", invariant_to=())
@dataclass(frozen=True)
class Mine(Metric):
    def prepare(self, x):
        return x

    def compare(self, a, b):
        return float({value})
"""


def test_a_metric_of_ones_own(tmp_path, monkeypatch):
    """Its file counts, and all that the file imports of the package."""
    from consilience.metrics import METRICS  # noqa: PLC0415

    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._fill()))
    path = tmp_path / "mine.py"

    def load(value):
        path.write_text(MINE.format(name=value.replace(".", "_"), value=value))
        forget()
        spec = importlib.util.spec_from_file_location("mine", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "mine", module)
        spec.loader.exec_module(module)
        return module.Mine()

    first = metric_code(load("0.5"))
    assert metric_code(load("0.25")) != first
    again = load("0.125")
    before = metric_code(again)
    original = code._source

    def edited(module):
        return original(module) + b"# edited\n" * (module == "consilience.forms.kernels")

    forget()
    monkeypatch.setattr(code, "_source", edited)
    assert metric_code(again) != before
    assert metric_code(get_metric("cka")) != metric_code(again)
    forget()


def test_a_metric_typed_by_hand_is_never_the_same_again():
    cls = type("Typed", (), {"__module__": "nowhere_to_be_found"})
    assert code.code_of_class(cls) != code.code_of_class(cls)
