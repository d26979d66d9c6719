"""Names that a package offers and another one has, loaded when they are first used.

It does what a `__getattr__` of the package would (PEP 562), and one thing more: where a room is
called like a function, as `consilience.consistency` is, importing the room puts it in the place of
the function. Such a room can be called, and then does what the function does.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from inspect import Signature


def hand_over(package: str, home: str, names: Sequence[str]) -> None:
    """Makes a package offer names of a module that is imported when one of them is asked for.

    Args:
        package: name of the package, which is being imported.
        home: name of the module that has them.
        names: what it offers.
    """
    module = sys.modules[package]
    module.__class__ = _Package
    vars(module).update(_home=home, _names=frozenset(names))


class _Package(ModuleType):
    """A package with names of another one."""

    _home: str
    _names: frozenset[str]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        if name in self._names:
            return getattr(importlib.import_module(self._home), name)
        from difflib import get_close_matches  # noqa: PLC0415 - `import consilience` is light

        close = get_close_matches(name, self._names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close and not name.startswith("_") else ""
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}{hint}")

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401
        """Binds a name, as imports of rooms do; a room that is called like a function is one."""
        if name in self._names and type(value) is ModuleType:
            vars(value)["_function"] = (self._home, name)
            value.__class__ = _Room
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._names})


class _Room(ModuleType):
    """A module that can be called, as the function of its name."""

    _function: tuple[str, str]

    @property
    def __wrapped__(self) -> Any:  # noqa: ANN401
        home, name = self._function
        return getattr(importlib.import_module(home), name)

    @property
    def __signature__(self) -> Signature:
        from inspect import signature  # noqa: PLC0415 - as above

        return signature(self.__wrapped__)

    def __call__(self, *arguments: Any, **settings: Any) -> Any:  # noqa: ANN401
        return self.__wrapped__(*arguments, **settings)
