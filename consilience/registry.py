"""Names that users type, looked up with a helpful error."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from consilience.errors import ConfigError

T = TypeVar("T")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns a hint such as "; did you mean 'cka'?", or a list of what exists."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    shown = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    return f"; known: {shown}" if known else "; nothing is known here"


class RegisteredTwiceError(ValueError):
    """A name is taken."""


class Registry(Mapping[str, T]):
    """Things registered by name, found by importing every module of a package when first asked."""

    def __init__(self, what: str, package: str) -> None:
        self._what, self._package = what, package
        self._entries: dict[str, T] = {}
        self._complete = False

    def register(self, name: str) -> Callable[[T], T]:
        """Returns a decorator that enters what it decorates under `name`."""

        def enter(entry: T) -> T:
            if name in self._entries:
                raise RegisteredTwiceError(f"{self._what} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return enter

    def forget(self, names: Iterable[str]) -> None:
        """Takes out what was registered under these names, as far as it is there."""
        for name in names:
            self._entries.pop(name, None)

    def _fill(self) -> dict[str, T]:
        if not self._complete:
            for module in submodules(self._package):
                importlib.import_module(f"{self._package}.{module}")
            self._complete = True
        return self._entries

    def __getitem__(self, name: str) -> T:
        entries = self._fill()
        if name not in entries:
            raise ConfigError(f"unknown {self._what} {name!r}{did_you_mean(name, entries)}")
        return entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._fill()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._fill()))

    def __len__(self) -> int:
        return len(self._fill())


def submodules(package: str) -> list[str]:
    """Returns the public module names of a package folder without importing any of them."""
    folder = Path(__file__).parent.joinpath(*package.split(".")[1:])
    return sorted(m.name for m in pkgutil.iter_modules([str(folder)]) if m.name[0] != "_")
