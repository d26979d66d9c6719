"""Metrics in files of the user's own, outside the package: loaded when a study names them.

A file that a study names runs only if the user names it too (`consilience.config.trust`), since
studies are handed on. What decides a value of such a metric
is the content of its file and what it imports of this package (`consilience.code.code_of_class`);
where the file lies decides nothing.
"""

import linecache
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from consilience.errors import ConfigError
from consilience.files import digest, find
from consilience.metrics._base import METRICS, Metric, get_metric
from consilience.registry import RegisteredTwiceError


class _Loaded(NamedTuple):
    content: bytes
    names: tuple[str, ...]


_LOADED: dict[Path, _Loaded] = {}
"""The files that were run in this process, and the metrics that each registered."""


def load_metrics(name: str) -> tuple[str, ...]:
    """Returns the names of the metrics that a Python file registers; it is run, once per content.

    Args:
        name: the file, relative to the working folder or else to the project.

    Raises:
        ConfigError: there is no such file, it cannot be run, it registers nothing, or a metric
            that is called like another one or cannot be made without parameters.

    Cost: that of running the file.
    """
    path = find(name).resolve()
    if path.suffix != ".py" or not path.is_file():
        there = "it is no .py file" if path.exists() else "there is no such file"
        raise ConfigError(f"{name}: {there}; give the path of a Python file with a metric")
    content = path.read_bytes()
    if path in _LOADED and _LOADED[path].content == content:
        return _LOADED[path].names
    _forget(path)
    before = set(METRICS)
    try:
        _run(name, path, content)
        names = tuple(sorted(set(METRICS) - before))
        _check(name, names)
    except BaseException:
        METRICS.forget(set(METRICS) - before)
        raise
    _LOADED[path] = _Loaded(content, names)
    return names


def keep_metrics(names: Iterable[str]) -> None:
    """Forgets the metrics of all files that were loaded before but these."""
    kept = {find(name).resolve() for name in names}
    for path in [path for path in _LOADED if path not in kept]:
        _forget(path)


def metric_of(spec: Mapping[str, Any]) -> Metric:
    """Returns the metric of a resolved variant; if it is of a file of its own, that is loaded.

    Args:
        spec: {"metric": name, "parameters": {…}}, with "file" for a metric outside the package.

    Raises:
        ConfigError: as `load_metrics` and `get_metric` say.
    """
    if "file" in spec:
        load_metrics(spec["file"])
    return get_metric(spec["metric"], **spec["parameters"])


def without_file(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a resolved variant is, wherever its file lies: what tables say of it."""
    return {key: value for key, value in spec.items() if key != "file"}


def _forget(path: Path) -> None:
    loaded = _LOADED.pop(path, None)
    METRICS.forget(loaded.names if loaded else ())


def _run(name: str, path: Path, content: bytes) -> None:
    """Runs a file as a module of a name that nothing else has, so that its classes find it."""
    module = ModuleType(f"metric_file_{digest(str(path))[:16]}")
    module.__file__ = str(path)
    linecache.checkcache(str(path))  # a file that was edited shows its new lines in messages
    sys.modules[module.__name__] = module
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)
    except SyntaxError as error:
        raise ConfigError(f"{name} line {error.lineno}: {error.msg}; correct it") from None
    except RegisteredTwiceError as error:
        raise ConfigError(
            f"{_place(name, path, error)}: {error}; give yours another name"
        ) from None
    except (Exception, SystemExit) as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ConfigError(f"{_place(name, path, error)}: {text}; correct it") from None


def _place(name: str, path: Path, error: BaseException) -> str:
    """Returns the file and its line that an error comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f"{name} line {lines[-1]}" if lines else name


def _check(name: str, names: Iterable[str]) -> None:
    """Refuses a file whose metrics cannot be used.

    Raises:
        ConfigError: says what is wrong with which.
    """
    if not names:
        raise ConfigError(
            f"{name}: it registers no metric; put @metric(…) above a class, see README, My metric"
        )
    for metric in names:
        cls = METRICS[metric]
        if not (isinstance(cls, type) and issubclass(cls, Metric)):
            raise ConfigError(f"{name}: the metric {metric!r} is no subclass of Metric")
        try:
            cls()
        except Exception as error:
            raise ConfigError(
                f"{name}: the metric {metric!r} cannot be made without parameters ({error}); give "
                "each field a default, and @dataclass(frozen=True) to the class"
            ) from None
