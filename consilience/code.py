"""Which code decides a result: the modules that it imports, those that they import, and so on.

The closure is read off the sources, so that a plan loads no deep-learning library, and it follows
names: `from consilience.similarity import Engine` leads to the module that defines `Engine`, not to
all that the package offers. That holds for a package whose `__init__.py` does nothing but import;
with one statement more, it is itself part of the closure of everything in its package.

What is imported by name at run time cannot be seen and is given by the caller: the module of a
metric, of a source, of a figure.
"""

import ast
import hashlib
import re
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
        if module not in found:
            found.add(module)
            new.extend(_imports(module))
    return tuple(sorted(found))


@cache
def code_of(*modules: str) -> str:
    """Returns the SHA-256 of the sources of `closure(*modules)`."""
    code = hashlib.sha256()
    for module in closure(*modules):
        code.update(f"{module}\n".encode() + _source(module))
    return code.hexdigest()


@cache
def code_of_script(path: str | Path, *more: str) -> str:
    """Returns the SHA-256 of a script, which is no module of the package, and of its closure.

    Args:
        path: the script.
        *more: modules that it imports by name at run time.
    """
    source = Path(path).read_bytes()
    named = {t for m, names in _statements(source) for t in _targets(m, names)}
    modules = sorted(named | set(more))
    return hashlib.sha256(source + code_of(*modules).encode()).hexdigest()


def modules_of_row(kind: str, row: Mapping[str, str]) -> list[str]:
    """Returns the modules that a catalogue row names: its source's, and a library's in its name.

    Args:
        kind: `models` or `datasets`.
        row: with the columns `source` and `name` (such as `timm:resnet50`).
    """
    source = f"{NAME}.{kind}.{row['source']}"
    found = [source, f"{NAME}.{kind}.{row.get('name', '').partition(':')[0]}"]
    if _is_package(source):
        found += [f"{source}.{path.stem}" for path in sorted(path_of(source).parent.glob("*.py"))]
    return [module for module in found if _exists(module)]


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


@cache
def _source(module: str) -> bytes:
    return path_of(module).read_bytes()


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Returns the modules that a module leads to, with the packages that hold them."""
    source = _source(module)
    return tuple({t for m, names in _statements(source) for t in _targets(m, names)})


def _statements(source: bytes) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields (module, names) of the imports from this package; no names for `import module`."""
    for module, names, plain in _IMPORT.findall(source.decode()):
        if plain:
            for part in plain.partition("#")[0].split(","):
                yield part.split()[0], ()
        else:
            bare = re.sub(r"#[^\n]*", "", names).strip("() \t\n")
            yield module, tuple(part.split()[0] for part in bare.split(",") if part.strip())


def _targets(module: str, names: tuple[str, ...]) -> Iterator[str]:
    if not names:
        yield from _with_packages(module)
    for name in names:
        for target in _definition(module, name):
            yield from _with_packages(target)


@cache
def _definition(module: str, name: str) -> tuple[str, ...]:
    """Returns the module that defines what `from module import name` gives; none for constants."""
    if _is_package(module):
        if (exports := _exports(module)) is not None:
            if name in exports:
                return _definition(*exports[name])
            return (f"{module}.{name}",) if _exists(f"{module}.{name}") else ()
        if _exists(f"{module}.{name}"):
            return (module, f"{module}.{name}")
    return (module,)


def _with_packages(module: str) -> Iterator[str]:
    """Yields a module and those packages above it whose `__init__.py` does more than import."""
    if not _is_package(module) or _exports(module) is None:
        yield module
    parts = module.split(".")
    for depth in range(1, len(parts)):
        package = ".".join(parts[:depth])
        if _exports(package) is None:
            yield package


def _is_package(module: str) -> bool:
    return path_of(module).name == "__init__.py"


def _exists(module: str) -> bool:
    try:
        return path_of(module).is_file()
    except ValueError:
        return False


@cache
def _exports(package: str) -> dict[str, tuple[str, str]] | None:
    """Returns {name: (module, name there)} of a package that only imports; None: it does more."""
    exports: dict[str, tuple[str, str]] = {}
    for number, node in enumerate(ast.parse(_source(package)).body):
        match node:
            case ast.Expr(value=ast.Constant(value=str())) if number == 0:
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
