"""Which code decides a result: the modules that it imports, those that they import, and so on.

The closure is read off the sources, so that a plan loads no deep-learning library, and it follows
names: `from consilience.similarity import Engine` leads to the module that defines `Engine`, not to
all that the package offers. That holds for a package whose `__init__.py` does nothing but import,
or names under `if TYPE_CHECKING:` what `consilience.lazy` imports when it is needed; with one
statement more, it is itself part of the closure of everything in its package.

What is imported by name at run time cannot be seen and is given by the caller: the module of a
metric (`code_of_class`), of a source (`sources_of`), of a figure. What is imported for the sake of
types alone (`if TYPE_CHECKING:`) decides nothing and does not count, and neither does a module that
says of itself `DECIDES_NOTHING = True`: its functions give nothing back.
"""

import ast
import hashlib
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
NAME = PACKAGE.name
_IMPORT = re.compile(
    rf"^[ \t]*(?:from[ \t]+({NAME}(?:\.\w+)*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)"
    rf"|import[ \t]+({NAME}\b[^\n]*))",
    re.MULTILINE,
)
"""An import at any depth of a module's source: of names from a module, or of modules."""
_READER = re.compile(rf'^READER = "({NAME}[\w.]+)"$', re.MULTILINE)
_DECIDES_NOTHING = re.compile(rb"^DECIDES_NOTHING = True$", re.MULTILINE)
_QUOTED = re.compile(rf'"({NAME}(?:\.\w+)+)"')
"""A module that a script has imported when it is needed."""
_FOR_TYPES = re.compile(r"^if TYPE_CHECKING:[^\n]*\n(?:[ \t]+[^\n]*\n|\n)*", re.MULTILINE)


def closure(*modules: str) -> tuple[str, ...]:
    """Returns the names of all modules of this package that the given ones lead to, sorted.

    Args:
        modules: dotted names such as "consilience.similarity.engine.blocks".

    Raises:
        ValueError: there is no such module.

    Cost: each file is read once per process; the whole package takes some hundredths of a second.
    """
    found: set[str] = set()
    new = [part for module in modules for part in _with_packages(module)]
    while new:
        module = new.pop()
        if module not in found and not _DECIDES_NOTHING.search(_source(module)):
            found.add(module)
            new.extend(_imports(module))
    return tuple(sorted(found))


@cache
def code_of(*modules: str) -> str:
    """Returns the SHA-256 of the sources of `closure(*modules)`, and of what their names mean.

    The second counts where a package passes a name on: that it now is another one's stands in no
    module of the closure.
    """
    code = hashlib.sha256()
    for module in closure(*modules):
        code.update(_content(module))
    return code.hexdigest()


@cache
def code_of_script(path: str | Path, *modules: str) -> str:
    """Returns the SHA-256 of a file that is no module of the package, and of its closure.

    Modules whose dotted names stand in quotes in it count as imported.

    Args:
        path: the script.
        modules: what else it imports by name at run time, as dotted names.
    """
    source = Path(path).read_bytes()
    return _code_of_source(source, *_QUOTED.findall(source.decode()), *modules)


def _code_of_source(source: bytes, *modules: str) -> str:
    found = {target for m, names in _statements(source) for target in _targets(m, names)}
    code = code_of(*sorted(found.union(modules)))
    return hashlib.sha256(f"{_passed_on(source)} {code}\n".encode() + source).hexdigest()


def code_of_class(cls: type) -> str:
    """Returns the SHA-256 of the module that a class is defined in, and of its closure.

    The module may be a file of the user's own, such as one of a metric outside the package. Of a
    class without a file, typed by hand, nothing tells whether it is still the same: its code is
    another one at every call.
    """
    module = cls.__module__
    if module.partition(".")[0] == NAME:
        return code_of(module)
    path = getattr(sys.modules.get(module), "__file__", None)
    if path and Path(path).is_file():
        return _code_of_source(Path(path).read_bytes())  # it may be edited while this runs
    return secrets.token_hex(32)


def sources_of(kind: str, row: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the modules that are imported by name for a row of a catalogue.

    Args:
        kind: `models` or `datasets`.
        row: with `source`, whose module (or package, with all that is in it) is taken, and `name`,
            which may begin with the library that it is of, as in `timm:resnet50`. A view has no
            source, and nothing is imported. A source may name one more module of the package, in
            a line `READER = "…"`. With an `alteration`, what alters datasets is taken too.
    """
    parts = {row.get("source", ""), row.get("name", "").partition(":")[0]}
    bases = [f"{NAME}.{kind}.{part}" for part in sorted(parts) if part.isidentifier()]
    modules = [module for base in bases if _exists(base) for module in _with_inner(base)]
    if row.get("alteration"):
        modules.append(f"{NAME}.{kind}._altered")
    return (
        *modules,
        *(name for module in modules for name in _READER.findall(_source(module).decode())),
    )


@cache
def path_of(module: str) -> Path:
    """Returns the file of a module or package.

    Raises:
        ValueError: there is none.
    """
    base = PACKAGE.joinpath(*module.split(".")[1:])
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    raise ValueError(f"there is no module {module!r}")


def _with_inner(module: str) -> Iterator[str]:
    """Yields a module, and if it is a package all modules in it."""
    yield module
    if _is_package(module):
        for path in sorted(path_of(module).parent.glob("*.py")):
            if path.stem != "__init__":
                yield f"{module}.{path.stem}"


@cache
def _source(module: str) -> bytes:
    return path_of(module).read_bytes()


@cache
def _content(module: str) -> bytes:
    """Returns a module's name, its source, and what the names that it imports mean."""
    source = _source(module)
    return f"{module} {_passed_on(source)}\n".encode() + source


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Returns the modules that a module leads to, with the packages that hold them."""
    source = _source(module)
    return tuple({t for m, names in _statements(source) for t in _targets(m, names)})


def _statements(source: bytes) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields (module, names) of the imports from this package; no names for `import module`."""
    for module, names, plain in _IMPORT.findall(_FOR_TYPES.sub("", source.decode())):
        if plain:
            for part in plain.partition("#")[0].split(","):
                yield part.split()[0], ()
        else:
            bare = re.sub(r"#[^\n]*", "", names).strip("() \t\n")
            yield module, tuple(part.split()[0] for part in bare.split(",") if part.strip())


def _passed_on(source: bytes) -> list[str]:
    """Returns what names that a source imports from packages are called where they are defined."""
    return sorted(
        f"{module}:{name}={':'.join(origin)}"
        for module, names in _statements(source)
        for name in names
        if (origin := _origin(module, name)) != (module, name)
    )


def _targets(module: str, names: tuple[str, ...]) -> Iterator[str]:
    if not names:
        yield from _with_packages(module)
    for name in names:
        for target in _definition(module, name):
            yield from _with_packages(target)


@cache
def _definition(module: str, name: str) -> tuple[str, ...]:
    """Returns the module that defines what `from module import name` gives; none for constants."""
    module, name = _origin(module, name)
    inner = (f"{module}.{name}",) if _is_package(module) and _exists(f"{module}.{name}") else ()
    transparent = _is_package(module) and _exports(module) is not None
    return inner if transparent else (module, *inner)


def _origin(module: str, name: str) -> tuple[str, str]:
    """Returns the module and the name that are meant, through packages that pass names on."""
    while _is_package(module) and name in (_exports(module) or {}):
        module, name = _exports(module)[name]
    return module, name


def _with_packages(module: str) -> Iterator[str]:
    """Yields a module and those packages above it whose `__init__.py` does more than import."""
    if not _is_package(module) or _exports(module) is None:
        yield module
    parts = module.split(".")
    for depth in range(1, len(parts)):
        package = ".".join(parts[:depth])
        if _exports(package) is None:
            yield package


@cache
def _is_package(module: str) -> bool:
    return path_of(module).name == "__init__.py"


@cache
def _exists(module: str) -> bool:
    try:
        return path_of(module).is_file()
    except ValueError:
        return False


@cache
def _exports(package: str) -> dict[str, tuple[str, str]] | None:
    """Returns {name: (module, name there)} of a package that only imports; None: it does more."""
    exports: dict[str, tuple[str, str]] = {}
    statements = ast.parse(_source(package)).body
    for number, node in enumerate(statements):
        match node:
            case ast.Expr(value=ast.Constant(value=str())) if number == 0:
                continue
            case ast.Expr(value=ast.Call(func=ast.Name(id="hand_over"))):
                continue
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=[]):
                statements += body  # what is handed over
            case ast.ImportFrom(module="typing", names=[ast.alias(name="TYPE_CHECKING")]):
                continue
            case ast.ImportFrom(module=str(module), names=names, level=0) if (
                module.partition(".")[0] == NAME
            ):
                exports |= {alias.asname or alias.name: (module, alias.name) for alias in names}
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                continue
            case ast.Assign(targets=[ast.Name(id="__version__")], value=ast.Constant()):
                continue
            case _:
                return None
    return exports
