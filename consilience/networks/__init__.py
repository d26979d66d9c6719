"""Networks that recipes name: `LIBRARY:NAME`, one module of `libraries` for each library.

A library has `build(name, options, task)`, which returns a network of PyTorch with weights as
PyTorch's generator draws them. What a plan asks (names and options) is answered without PyTorch.

A network has `parts`, which says what of it features are read from: its head, what enters which
are the features, and the modules that the column `layers` means by `all`; see
`consilience.networks.classifier`.
"""

import ast
import importlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consilience.errors import ConfigError
from consilience.registry import did_you_mean, submodules

if TYPE_CHECKING:
    from torch import Tensor, nn

CLASSES, TOKENS, NOISE = "classes", "tokens", "noise"
"""What a network learns: the class of a sample, the next token, the noise in a picture."""
CONTRASTIVE, MASKED, ROTATION, IMAGE_TEXT = OF_PICTURES = (
    "contrastive",
    "masked",
    "rotation",
    "image_text",
)
"""What any network of ours on pictures can learn instead of classes: see `networks.objectives`."""
OBJECTIVES = (CLASSES, TOKENS, NOISE, *OF_PICTURES)

_LIBRARIES = f"{__name__}.libraries"
_FOLDER = Path(__file__).parent / "libraries"


@dataclass(frozen=True)
class Task:
    """What a network takes and what it is to say."""

    modality: str
    shape: tuple[int, ...]
    """Of one input: (d,) of vectors and nodes, (channels, h, w) of pictures, (tokens,) of texts:
    the most that are read."""
    classes: int
    """Of samples, or symbols of the vocabulary where the next token is learnt; 0: none."""
    vocabulary: int = 0
    """Symbols of texts."""
    objective: str = CLASSES
    words: tuple[str, ...] = ()
    """Those of the training texts that have a symbol of their own; see `networks.symbols`."""
    tokenizer: str = ""
    """A folder of transformers (see `networks.hub`), whose tokenizer reads texts instead."""

    def as_dict(self) -> dict[str, Any]:
        """Returns the task in plain JSON types."""
        return {**asdict(self), "shape": list(self.shape), "words": list(self.words)}

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Task":
        """Returns the task that `as_dict` made plain."""
        lists = {name: tuple(found[name]) for name in ("shape", "words") if name in found}
        return cls(**{**found, **lists})


def list_libraries() -> list[str]:
    """Returns the known libraries, without importing any."""
    return submodules(_LIBRARIES)


def split_name(architecture: str) -> tuple[str, str]:
    """Returns library and name of `LIBRARY:NAME`.

    Raises:
        ConfigError: there is no such library, or it is our own and has no such network.
    """
    library, _, name = architecture.partition(":")
    if not name or library not in list_libraries():
        known = ", ".join(f"{one}:NAME" for one in list_libraries())
        raise ConfigError(f"architecture {architecture!r} is none of {known}")
    if (ours := _names_in(library)) and name not in ours:
        hint = did_you_mean(name, ours)
        raise ConfigError(f"architecture {architecture!r}: no network {name!r}{hint}")
    return library, name


def _names_in(library: str) -> list[str]:
    """Returns the networks of a library that is a package of ours; [] of other libraries."""
    folder = _FOLDER / library
    return submodules(f"{_LIBRARIES}.{library}") if folder.is_dir() else []


def modules_of(architecture: str) -> tuple[str, ...]:
    """Returns the names of the modules that build an architecture, which are found by name."""
    library, name = split_name(architecture)
    base = f"{_LIBRARIES}.{library}"
    return (base, f"{base}.{name}") if _names_in(library) else (base,)


def versions_of(architecture: str) -> dict[str, str]:
    """Returns the installed versions of what builds an architecture besides PyTorch, by package.

    That is `PACKAGES` of the library's module, read off its source; "" where one is not installed.
    """
    base = modules_of(architecture)[0].rpartition(".")[2]
    path = _FOLDER / base / "__init__.py" if _names_in(base) else _FOLDER / f"{base}.py"
    found = {}
    for package in _constant(path, "PACKAGES", ()):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = ""
    return found


def _constant(path: Path, name: str, default: Any) -> Any:  # noqa: ANN401
    """Returns what a module assigns to a name, read off its source."""
    for node in ast.parse(path.read_text(encoding="utf8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == [name]:
            return ast.literal_eval(node.value)
    return default


def check_options(architecture: str, options: Mapping[str, Any]) -> None:
    """Raises ConfigError if a network of ours has no option of such a name, or of another type.

    Of other libraries' options those are refused that would fetch, open or run something.
    """
    library, name = split_name(architecture)
    if not _names_in(library):
        refused = _constant(_FOLDER / f"{library}.py", "REFUSED", ())
        for option in options:
            if option in refused or option.startswith("_"):
                raise ConfigError(
                    f"architecture {architecture!r}: the option {option!r} is not free, as it says "
                    "where files or code come from; leave it out, and name weights by `weights`"
                )
        return
    known = _options_of(_FOLDER / library / f"{name}.py")
    for option, value in options.items():
        if option not in known:
            hint = did_you_mean(option, known)
            raise ConfigError(f"architecture {architecture!r} has no option {option!r}{hint}")
        kind = type(known[option])
        wider = {float: (int, float), tuple: (list, tuple)}
        fits = isinstance(value, wider.get(kind, kind))
        if not fits or isinstance(value, bool) is not (kind is bool):
            raise ConfigError(
                f"architecture {architecture!r}: option {option} is {value!r}, and it is "
                f"{_TYPES[kind]}"
            )


@cache
def _options_of(path: Path) -> dict[str, Any]:
    """Returns {option: default}: the keyword arguments of a module's `build`, off its source."""
    for node in ast.parse(path.read_text(encoding="utf8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == "build":
            given = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            return {option.arg: ast.literal_eval(value) for option, value in given if value}
    raise ValueError(f"{path} has no function build")


_TYPES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list",
    str: "a word",
}
"""What an option is, by the type of its default."""


def list_architectures() -> dict[str, tuple[str, dict[str, Any]]]:
    """Returns the module and the options of each network of ours, without importing any.

    Of another library one entry stands for all: `LIBRARY:NAME`, without options.
    """
    found = {}
    for library in list_libraries():
        base = f"{_LIBRARIES}.{library}"
        for name in _names_in(library):
            options = _options_of(_FOLDER / library / f"{name}.py")
            found[f"{library}:{name}"] = f"{base}.{name}", options
        if not _names_in(library):
            found[f"{library}:NAME"] = base, {}
    return found


def build(
    architecture: str, options: Mapping[str, Any], task: Task, seed: int | None = None
) -> "nn.Module":
    """Returns a network; with a seed, its weights are those drawn under `torch.manual_seed(seed)`.

    PyTorch's own generator is left as it was.

    Raises:
        ConfigError: unknown architecture or option, or one that cannot do the task.
    """
    import torch  # noqa: PLC0415 - a plan loads no deep-learning library

    from consilience.limits.networks import building  # noqa: PLC0415 - as above

    library, name = split_name(architecture)
    check_options(architecture, options)
    module = importlib.import_module(f"{_LIBRARIES}.{library}")
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        try:
            with building(f"architecture {architecture!r}"):
                return module.build(name, options, task)
        except (ConfigError, AssertionError, RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(f"architecture {architecture!r}: {error}") from error


def unembedding_of(head: "nn.Module") -> "Tensor | None":
    """Returns the weights (classes, d) of a head, without its bias.

    None if its scores are not f · w + b of its own weights: the head of a graph network takes
    neighbours in.
    """
    if hasattr(head, "unembedding"):
        return head.unembedding()
    weight = getattr(head, "weight", None)
    if weight is None or weight.ndim < 2 or weight[0].numel() != weight.shape[1]:
        return None
    return weight.flatten(1)
