"""The graph of imports: floors as docs/design.md says, no private modules of others, no circles."""

import ast
import re

import pytest
from clones import ROOT

PACKAGE = "consilience"
DESIGN = ROOT / "docs" / "design.md"


def read_sources():
    """Returns {module: (source, whether it is a package)} of the package as it stands."""
    sources = {}
    for path in (ROOT / PACKAGE).rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        name = module.removesuffix(".__init__")
        sources[name] = (path.read_text(encoding="utf8"), name != module)
    return sources


SOURCES = read_sources()


def imports(sources, module, *, at_start=False):
    """Returns (module, name) of all imports from the package: whole modules have the name "".

    Imports in functions and for type checkers count; `at_start` leaves out those that do not
    happen while the module itself is imported.
    """
    found = set()
    todo = [ast.parse(sources[module][0])]
    while todo:
        node = todo.pop()
        if at_start and (_is_function(node) or _is_for_checkers(node)):
            continue
        match node:
            case ast.ImportFrom(module=str(source), names=names, level=0):
                found |= {_target(sources, source, alias.name) for alias in names}
            case ast.ImportFrom(level=level) if level:
                pytest.fail(f"{module}: relative import; write the whole name")
            case ast.Import(names=names):
                found |= {(alias.name, "") for alias in names}
        todo.extend(ast.iter_child_nodes(node))
    return {(m, n) for m, n in found if m.partition(".")[0] == PACKAGE and m != module}


def _is_function(node):
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def _is_for_checkers(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _target(sources, source, name):
    whole = f"{source}.{name}"
    return (whole, "") if whole in sources else (source, name)


def room(module):
    return module.split(".")[1] if "." in module else PACKAGE


def private_imports(sources):
    """Returns imports of a `_private` module, or name, from outside the package that holds it."""
    found = []
    for module, (_, is_package) in sources.items():
        own = module if is_package else module.rpartition(".")[0]
        for target, name in imports(sources, module):
            parts = f"{target}.{name}".strip(".").split(".")
            for depth, part in enumerate(parts):
                holder = ".".join(parts[:depth])
                if re.match(r"_(?!_)", part) and not f"{own}.".startswith(f"{holder}."):
                    # a private name of a public module: its package is its home
                    home = holder.rpartition(".")[0] if _is_module(sources, holder) else holder
                    if not f"{own}.".startswith(f"{home}."):
                        found.append(f"{module} imports {'.'.join(parts)}")
    return sorted(found)


def _is_module(sources, name):
    return name in sources and not sources[name][1]


def read_floors(text):
    """Returns {room: floor} of the table under the heading "Rooms and floors"."""
    section = re.split(r"(?m)^## ", text.partition("\n## Rooms and floors\n")[2])[0]
    rows = re.findall(r"(?m)^\| (\d+) \| `(\w+)` \|", section)
    assert len({name for _, name in rows}) == len(rows), "a room stands twice"
    return {name: int(floor) for floor, name in rows}


def climbing_imports(sources, floors):
    """Returns arrows between rooms that do not go down, with one import that makes each."""
    arrows = {}
    for module in sorted(sources):
        for target, _ in sorted(imports(sources, module)):
            start, end = room(module), room(target)
            if PACKAGE not in (start, end) and start != end and floors[end] >= floors[start]:
                arrows.setdefault(f"{start} -> {end}", f"{module} imports {target}")
    return arrows


def circles(sources):
    """Returns modules that, through others, import themselves while they are imported."""
    graph = {
        module: {_loaded(sources, target) for target, _ in imports(sources, module, at_start=True)}
        for module in sources
    }
    found = set()
    for start, first in graph.items():
        seen, todo = set(), list(first)
        while todo:
            if (module := todo.pop()) not in seen:
                seen.add(module)
                todo.extend(graph.get(module, ()))
        if start in seen:
            found.add(start)
    return sorted(found)


def _loaded(sources, target):
    """Returns the module that `import target` runs; the packages above it run too but are thin."""
    return target if target in sources else target.rpartition(".")[0]


def test_no_private_module_of_another_package_is_imported():
    assert private_imports(SOURCES) == []


def test_imports_go_down():
    floors = read_floors(DESIGN.read_text(encoding="utf8"))
    assert climbing_imports(SOURCES, floors) == {}


def test_every_room_stands_in_the_table():
    floors = read_floors(DESIGN.read_text(encoding="utf8"))
    assert set(floors) == {room(module) for module in SOURCES} - {PACKAGE}


def test_no_circle():
    assert circles(SOURCES) == []


PLANTED = {
    "consilience": ("", True),
    "consilience.low": ("", True),
    "consilience.low._hidden": ("def _own(): ...\n", False),
    "consilience.low.open": ("def _own(): ...\n", False),
    "consilience.low.sub": ("", True),
    "consilience.low.sub.deep": ("from consilience.low._hidden import x\n", False),
    "consilience.high": ("", True),
}
FLOORS = {"low": 1, "beside": 1, "high": 2}


@pytest.mark.parametrize(
    "line",
    [
        "from consilience.low import _hidden",
        "import consilience.low._hidden",
        "from consilience.low._hidden import x",
        "from consilience.low.open import _own",
        "def f():\n    from consilience.low import _hidden",
    ],
)
def test_private_imports_are_found(line):
    assert private_imports(PLANTED) == []
    for module in ("consilience.high.x", "consilience.x"):
        assert len(private_imports(PLANTED | {module: (line, False)})) == 1
    assert private_imports(PLANTED | {"consilience.low.x": (line, False)}) == []


@pytest.mark.parametrize(
    "line",
    [
        "from consilience.high import x",
        "def f():\n    import consilience.high",
        "if TYPE_CHECKING:\n    from consilience.high import X",
        "from consilience import high",
    ],
)
def test_climbing_imports_are_found(line):
    for own in ("low", "beside"):
        found = climbing_imports(PLANTED | {f"consilience.{own}.x": (line, False)}, FLOORS)
        assert list(found) == [f"{own} -> high"]
    beside = {"consilience.beside": ("from consilience.low import open", False)}
    assert list(climbing_imports(PLANTED | beside, FLOORS)) == ["beside -> low"]
    fine = {"consilience.high.x": ("from consilience import low", False)}
    assert climbing_imports(PLANTED | fine, FLOORS) == {}


def test_circles_are_found():
    forth, back = "from consilience.low import b", "from consilience.low.a import x"
    both = {"consilience.low.a": (forth, False), "consilience.low.b": (back, False)}
    assert circles(PLANTED | both) == ["consilience.low.a", "consilience.low.b"]
    for later in (f"def f():\n    {back}", f"if TYPE_CHECKING:\n    {back}"):
        assert circles(PLANTED | both | {"consilience.low.b": (later, False)}) == []


def test_the_table_is_read():
    text = "# x\n\n## Rooms and floors\n\n| floor | room | holds |\n| --- | --- | --- |\n"
    text += "| 1 | `low` | a |\n| 2 | `high` | b |\n\n## Words\n\n| 3 | `none` | c |\n"
    assert read_floors(text) == {"low": 1, "high": 2}
