"""What a text model of sentence-transformers declares: length, prompt, pooling, what follows.

`modules.json` lists the parts, each with a folder of its own: the network, `1_Pooling`, and what
makes the declared vector of the pooled one (`2_Dense`, `Normalize`). They are read, and no code in
them is run. What cannot be applied is refused: the states alone would not be the model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import normalizers
from torch import Tensor, nn

from consilience.errors import RefusedError
from consilience.limits.reading import parse_json, read_text
from consilience.models._pooling import MODES
from consilience.models._state import load_state
from consilience.models._weights import cell, fail, seeded

Find = Callable[[str], Path | None]
"""Returns the file of a name inside the folder or repository of the model; None: there is none."""

_PACKAGE = "sentence_transformers."
_VECTOR = "sentence_embedding"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# In the order in which their results stand side by side.
_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class Declared:
    """What a folder says about how its network makes a vector of a text."""

    modes: tuple[str, ...] = ()
    """Poolings whose results stand side by side; empty: none is declared."""
    after: nn.Sequential | None = None
    """What the pooled last state passes; None: nothing."""
    max_length: int = 0
    """Most tokens of a text; 0: not declared."""
    lower: bool = False
    """Whether texts are put in lower case before all else."""
    prompt: str = ""
    """What stands before every text by default."""
    prompt_pooled: bool = True
    """Whether the prompt's tokens count in pooling."""

    @property
    def learned(self) -> bool:
        """Whether the vector is another than a pooled state, but for its length."""
        return self.after is not None and any(True for _ in self.after.parameters())

    def __str__(self) -> str:
        parts = ["+".join(self.modes), *(map(repr, self.after or ()))]
        return ", then ".join(" ".join(part.split()) for part in parts)


class _Normalize(nn.Module):
    """Scales vectors to length 1."""

    def forward(self, vectors: Tensor) -> Tensor:
        return nn.functional.normalize(vectors, dim=-1)

    def __repr__(self) -> str:
        return "Normalize"


class _Dense(nn.Module):
    """A linear map, an activation, and what came in added again where a residual is wanted."""

    def __init__(self, config: Mapping[str, Any], activation: nn.Module) -> None:
        super().__init__()
        inner, outer = config["in_features"], config["out_features"]
        self.linear = nn.Linear(inner, outer, bias=config.get("bias", True))
        self.activation_function, self._again = activation, bool(config.get("use_residual"))
        if self._again and inner != outer:
            self.residual = nn.Linear(inner, outer, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        out = self.activation_function(self.linear(vectors))
        if not self._again:
            return out
        return out + (self.residual(vectors) if hasattr(self, "residual") else vectors)

    def __repr__(self) -> str:
        return f"Dense({self.linear.in_features}, {self.linear.out_features}, {self._name})"

    @property
    def _name(self) -> str:
        return type(self.activation_function).__name__


class _LayerNorm(nn.Module):
    """A layer norm of the vectors."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dimension)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.norm(vectors)

    def __repr__(self) -> str:
        return f"LayerNorm({self.norm.normalized_shape[0]})"


def read_declared(
    row: Mapping[str, Any],
    find: Find,
    config: Any,  # noqa: ANN401
    seed: str,
) -> Declared:
    """Returns what a folder or repository declares; nothing where it has no `modules.json`.

    The column `pool` overrules pooling and all that follows it, `max_length` the length.

    Args:
        row: row of models.tsv.
        find: looks up files of the model.
        config: the network's, which tells its kind and may tell the width of its states.
        seed: of untrained weights, which then are drawn for learned parts too; empty if trained.

    Raises:
        ModelError: a part cannot be applied, or its files are damaged or absent.
    """
    modules = _read(row, find("modules.json"))
    if not modules:
        return Declared()
    if not (isinstance(modules, list) and all(isinstance(part, dict) for part in modules)):
        _refuse(row, "is no list of parts")
    length, lower = _limits(row, find, config.model_type)
    if cell(row, "pool"):
        return Declared(max_length=length, lower=lower)
    parts = [(_kind(row, part), str(part.get("path", "")).strip("/")) for part in modules]
    kinds = [kind for kind, _ in parts]
    if kinds[:1] != ["Transformer"] or parts[0][1]:
        what = f"begins with {kinds[0] or 'nothing'} in {parts[0][1]!r}"
        _refuse(row, f"{what}, not with the network of the folder itself")
    if kinds == ["Transformer"]:
        return Declared(max_length=length, lower=lower)
    if kinds[1] != "Pooling" or kinds.count("Pooling") > 1:
        _refuse(row, f"has the parts {', '.join(kinds)}; one Pooling must follow the network")
    pooling = _part(row, find, parts[1][1])
    modes = _modes(row, pooling, getattr(config, "hidden_size", None))
    prompt = _prompt(row, find)
    with seeded(seed or "0", cell(row, "name")):
        after = [_module(row, find, kind, path, seed) for kind, path in parts[2:]]
    kept = [module for module in after if module is not None]
    return Declared(
        modes,
        nn.Sequential(*kept).eval() if kept else None,
        length,
        lower,
        prompt,
        bool(pooling.get("include_prompt", True)),
    )


def lower_case(tokenizer: Any) -> None:  # noqa: ANN401
    """Lets a tokenizer put texts in lower case before all else."""
    inner = tokenizer.backend_tokenizer
    rest = [inner.normalizer] if inner.normalizer is not None else []
    inner.normalizer = normalizers.Sequence([normalizers.Lowercase(), *rest])


def prompt_tokens(tokenizer: Any, prompt: str) -> int:  # noqa: ANN401
    """Returns how many leading tokens are of the prompt, its start token counted."""
    ids = tokenizer(prompt, verbose=False)["input_ids"]
    return len(ids) - (ids[-1] in tokenizer.all_special_ids)


def _refuse(row: Mapping[str, Any], what: str) -> None:
    fail(
        row,
        f"modules.json {what}. This cannot be applied; write `pool` (mean, cls or last) to take "
        "the network's states as they are",
    )


def _read(row: Mapping[str, Any], path: Path | None) -> Any:  # noqa: ANN401
    if path is None:
        return {}
    try:
        return parse_json(read_text(path), path)
    except (OSError, RefusedError) as error:
        fail(row, f"{path} cannot be read ({error}); fetch or save the model again")


def _kind(row: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    name = str(part.get("type", ""))
    if not name.startswith(_PACKAGE):
        _refuse(row, f"has the part {name!r}, which is code of the repository")
    return name.rpartition(".")[2]


def _part(row: Mapping[str, Any], find: Find, path: str) -> dict[str, Any]:
    found = find(f"{path}/config.json")
    if found is None:
        fail(row, f"{path}/config.json, which modules.json names, is not there; save it again")
    return _read(row, found)


def _limits(row: Mapping[str, Any], find: Find, kind: str) -> tuple[int, bool]:
    """Returns the declared length, and whether texts are put in lower case."""
    # Older versions named the file by the network's kind.
    names = [f"sentence_{part}_config.json" for part in ("bert", kind)]
    config = _read(row, next((found for name in names if (found := find(name))), None))
    task = config.get("transformer_task", "feature-extraction")
    reads = config.get("modality_config", {}).get("text", {})
    output = reads.get("method_output_name", "last_hidden_state")
    if not cell(row, "pool") and (task != "feature-extraction" or output != "last_hidden_state"):
        _refuse(row, f"has a network whose {output} of the task {task} is taken")
    arguments = config.get("processor_kwargs") or config.get("tokenizer_args") or {}
    length = config.get("max_seq_length") or arguments.get("model_max_length") or 0
    return int(length), bool(config.get("do_lower_case"))


def _modes(row: Mapping[str, Any], pooling: Mapping[str, Any], width: object) -> tuple[str, ...]:
    declared = pooling.get("embedding_dimension", pooling.get("word_embedding_dimension"))
    if isinstance(width, int) and declared and declared != width:
        _refuse(row, f"pools states of width {declared}, the network's have {width}")
    named = pooling.get("pooling_mode")
    if named is None:
        named = [mode for switch, mode in _SWITCHES.items() if pooling.get(switch)] or ["mean"]
    modes = (named,) if isinstance(named, str) else tuple(named)
    for mode in modes:
        if mode not in MODES:
            _refuse(row, f"has the pooling {mode!r}, which is unknown")
    return modes


def _prompt(row: Mapping[str, Any], find: Find) -> str:
    """Returns the prompt that stands before every text unless another is asked for."""
    config = _read(row, find("config_sentence_transformers.json"))
    name, prompts = config.get("default_prompt_name"), config.get("prompts") or {}
    if name is not None and name not in prompts:
        fail(row, f"config_sentence_transformers.json has no prompt {name!r}, which is its default")
    return prompts.get(name) or ""


def _module(
    row: Mapping[str, Any], find: Find, kind: str, path: str, seed: str
) -> nn.Module | None:
    """Returns a part that follows pooling, with its weights; None for what only training needs."""
    if kind == "Dropout":
        return None
    config = {} if kind == "Normalize" and not find(f"{path}/config.json") else None
    config = _part(row, find, path) if config is None else config
    for key in ("module_input_name", "module_output_name"):
        if (config.get(key) or _VECTOR) != _VECTOR:
            _refuse(row, f"has the part {path}, which works on {config[key]}")
    if kind == "Normalize":
        return _Normalize()
    if kind == "LayerNorm":
        module: nn.Module = _LayerNorm(config["dimension"])
    elif kind == "Dense":
        module = _Dense(config, _activation(row, path, config))
    else:
        _refuse(row, f"has the part {path} ({kind})")
    if not seed:
        _fill(row, find, path, module)
    return module


def _activation(row: Mapping[str, Any], path: str, config: Mapping[str, Any]) -> nn.Module:
    name = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    kind = getattr(nn, name.rpartition(".")[2], None) if name.startswith("torch.nn.") else None
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        _refuse(row, f"has the part {path} with the activation {name}, which is none of torch.nn")
    return kind()


def _fill(row: Mapping[str, Any], find: Find, path: str, module: nn.Module) -> None:
    found = next((file for name in _WEIGHTS if (file := find(f"{path}/{name}"))), None)
    if found is None:
        fail(row, f"{path} has none of {', '.join(_WEIGHTS)}, which modules.json needs")
    state = load_state({"model": row.get("model"), "name": path}, found)
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    if {name: tuple(tensor.shape) for name, tensor in state.items()} != shapes:
        fail(row, f"{found} does not hold the weights that {path}/config.json describes ({shapes})")
    module.load_state_dict(dict(state))
