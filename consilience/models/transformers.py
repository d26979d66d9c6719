"""Models of the transformers library, local or from the hub: texts, pictures, and both.

Texts: encoders and causal language models; pictures: image networks; models with two towers serve
the side that the column `modality` names. `weights` may be a GGUF file of a Llama-like model; its
values are unpacked to float32.

Layers are hidden states: `layer_0` (or `0`) is what enters the first block, `layer_3` (or `3`) what
leaves the third, compared with the blocks themselves when a network is loaded; `last`, `all`,
patterns such as `layer_1*`, and for models with two towers (CLIP, SigLIP, ALIGN) `embedding`, the
space that both towers share. `last` lies behind the final norm, where there is one. Of texts it is
the same as the last `layer_…`, but for networks whose list of states is not that of their blocks
(Mamba): there `layer_…` is read off the blocks, or `last` is the only layer. Networks of pictures
that do not list what enters their first stage begin with `layer_1`.

Where the model is one of sentence-transformers (`modules.json`), blank `pool` is its own pooling,
of all layers; what it has behind pooling (Dense, LayerNorm, Normalize) makes the declared vector of
the last state alone, which is `embedding` if it learns something, else the last layer. Blank
`max_length` is its own length; its default prompt stands before every text. `pool` takes the states
as they are. What cannot be applied is refused.

A causal language model also stores `loss`: for every text the sum of the negative log-likelihoods
of its tokens (all but the first) and their number, unless its predictions move when a later token
changes (XLNet). Texts are given as the model's tokenizer makes them: without a start token the
second token is predicted from one alone, so losses of texts of two or three words are high.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForTextEncoding,
    AutoTokenizer,
    PretrainedConfig,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from consilience import files
from consilience.errors import ModelError
from consilience.limits.networks import check_config
from consilience.models import Extractor, _weights
from consilience.models._blocks import StateList, list_states
from consilience.models._images import ImageExtractor, read_pooling
from consilience.models._report import check_report, quiet
from consilience.models._selftest import SHORT, tested
from consilience.models._sentences import Declared, lower_case, read_declared
from consilience.models._texts import (
    EMBEDDING,
    POOLS,
    TextExtractor,
    TextRules,
    TextTower,
    text_limit,
)
from consilience.models._towers import ImageTower, Processor
from consilience.registry import did_you_mean

# Otherwise the library has the hub convert the pickled weights of other people's repositories.
os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "true")

PACKAGES = ("transformers", "tokenizers", "torch")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Parts that encoders have but hidden states do not pass through.
_UNUSED = ("pooler", "lm_head", "cls.")
# Classes that leave out a part of what `AutoModel` would make of the configuration.
_ENCODERS = set(MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES.values()) - set(MODEL_MAPPING_NAMES.values())
# Trained on texts padded to one length, without a mask; the embedding is read at the last place.
_FIXED_WIDTH = ("siglip", "siglip2", "fnet")


def load(row: Mapping[str, Any], device: str = "cpu") -> Extractor:
    """Returns the extractor of a row with source `transformers`.

    `name` is a hub id, a local folder or `package:NAME/folder`; `weights` is blank, such a folder
    too, a GGUF file, or `random` (the architecture of `name`, untrained). Layers are hidden states:
    `layer_0` (or `0`) is what enters the first block, `layer_i` (or `i`) what leaves block i;
    `last`, `all`, and `embedding` for models with two towers; patterns such as `layer_*`.

    Raises:
        ModelError: unknown name, layer or pool; weights that cannot be had or do not fit.
    """
    _check_cells(row)
    weights, place = _place(row)
    if Path(place).suffix == ".gguf":
        from consilience.models import _gguf  # noqa: PLC0415 - kept beside its only use

        model, tokenizer = _gguf.load(row, Path(place), weights.seed)
        return _text_extractor(row, weights, model.to(_dtype(row)), tokenizer, device)
    access = _weights.local if Path(place).is_dir() else _weights.hub
    options = {"trust_remote_code": _weights.cell(row, "trust_remote_code") == "yes"}
    if access is _weights.hub and _weights.cell(row, "revision"):
        options["revision"] = _weights.cell(row, "revision")
    images = _weights.cell(row, "modality", "text") == "image"
    with access(row, place):
        check_config(PretrainedConfig.get_config_dict(place, **options)[0], place)
        config = AutoConfig.from_pretrained(place, **options)
        if hasattr(config, "mask_ratio"):  # of masked autoencoders, in evaluation too
            config.mask_ratio = 0.0
        reader = AutoImageProcessor if images else AutoTokenizer
        reads = reader.from_pretrained(place, **options)
        declared = Declared() if images else _declared(row, weights, place, config)
    options |= {"config": config, **_mapped(row, device)}
    model = _build(row, weights, place, access, options)
    if images:
        return _image_extractor(row, weights, model, reads, device)
    return _text_extractor(row, weights, model, reads, device, declared)


def _declared(
    row: Mapping[str, Any],
    weights: _weights.Weights,
    place: str,
    config: Any,  # noqa: ANN401
) -> Declared:
    """Returns what a text model says of its own pooling and length (see `read_declared`)."""
    pool, length = _weights.cell(row, "pool"), _weights.cell(row, "max_length")
    if (pool and length) or hasattr(config, "text_config"):
        return Declared()
    find: Callable[[str], Path | None]
    if Path(place).is_dir():
        find = lambda name: next((p for p in [Path(place) / name] if p.is_file()), None)  # noqa: E731
    else:
        commit = getattr(config, "_commit_hash", None) or _weights.cell(row, "revision")
        find = _weights.hub_finder(row, place, commit, strict=not pool)
    return read_declared(row, find, config, weights.seed or "")


def _check_cells(row: Mapping[str, Any]) -> None:
    dtype, length = _weights.cell(row, "dtype", "float32"), _weights.cell(row, "max_length")
    if dtype not in DTYPES:
        _weights.fail(row, f"unknown dtype {dtype!r}{did_you_mean(dtype, DTYPES)}")
    if length and (not length.isdecimal() or int(length) < 1):
        _weights.fail(row, f"max_length is {length!r}; write a number of tokens, such as 512")
    if _weights.cell(row, "modality", "text") == "image":
        for column in ("input_size", "device_map", "max_length"):
            if _weights.cell(row, column):
                _weights.fail(row, f"leave {column} blank for image models of transformers")
    elif (pool := _weights.cell(row, "pool", "mean")) not in POOLS:
        _weights.fail(row, f"unknown pool {pool!r}{did_you_mean(pool, POOLS)}")


def _dtype(row: Mapping[str, Any]) -> torch.dtype:
    return DTYPES[_weights.cell(row, "dtype", "float32")]


def _mapped(row: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Returns the library's option that parts a network among devices, if the row wants it."""
    wanted = _weights.cell(row, "device_map")
    if not wanted:
        return {}
    if importlib.util.find_spec("accelerate") is None:
        _weights.fail(row, "device_map needs the package accelerate: pip install accelerate")
    return {"device_map": wanted if device.startswith("cuda") else {"": device}}


def _place(row: Mapping[str, Any]) -> tuple[_weights.Weights, str]:
    """Returns the weights asked for, and the folder or hub id that config and tokenizer are in."""
    weights, name = _weights.read_weights(row), _weights.cell(row, "name")
    if weights.tag:
        _weights.fail(row, f"weights {weights.tag!r} is neither `random` nor a local folder")
    if weights.path is None and _looks_local(name):
        found = _weights.local_weights(row, name, _weights.cell(row, "sha256"))
        place = found.path
        weights = weights if weights.seed is not None else found
    else:
        place = weights.path
    if place is None:
        return weights, name
    if not place.is_dir() and place.suffix != ".gguf":
        _weights.fail(row, f"{place} is a file; transformers needs the folder with config.json")
    return weights, str(place)


def _looks_local(name: str) -> bool:
    return name.startswith(("package:", "/", "./", "../", "~")) or Path(name).is_dir()


def predicts_tokens(config: Any) -> bool:  # noqa: ANN401
    """Returns whether a model's config says that it was saved as a causal language model."""
    heads = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
    known = {head for name in heads for head in ([name] if isinstance(name, str) else name)}
    return bool(known & set(config.architectures or ()))


def _kind(config: Any) -> Any:  # noqa: ANN401
    """Returns the library's class that holds what a text model was saved with, and no more."""
    if predicts_tokens(config):
        return AutoModelForCausalLM
    # Of encoder and decoder, such as T5's, the first alone.
    half = set(config.architectures or ()) & _ENCODERS
    return AutoModelForTextEncoding if half else AutoModel


def _build(
    row: Mapping[str, Any],
    weights: _weights.Weights,
    place: str,
    access: Callable[..., AbstractContextManager[None]],
    options: Mapping[str, Any],
) -> nn.Module:
    """Returns the network; parts absent from the weights are drawn from a seed."""
    seed, config = weights.seed or "0", options["config"]
    text = _weights.cell(row, "modality", "text") == "text"
    kind = _kind(config) if text else AutoModel
    with access(row, place), _weights.seeded(seed, _weights.cell(row, "name")), quiet():
        if weights.seed is not None:
            remote = {"trust_remote_code": options["trust_remote_code"]}
            return kind.from_config(config, **remote).float().to(_dtype(row))
        # Safetensors are preferred; pickles are read as tensors only, so nothing in them runs.
        model, report = kind.from_pretrained(
            place, dtype=_dtype(row), output_loading_info=True, weights_only=True, **options
        )
        check_report(row, place, model, report, () if kind is AutoModelForCausalLM else _UNUSED)
    _check_placed(row, model)
    return model


def _check_placed(row: Mapping[str, Any], model: nn.Module) -> None:
    """Raises if weights did not fit the devices, so that each text would load them again."""
    left = [name for name, weight in model.named_parameters() if weight.is_meta]
    if left:
        _weights.fail(
            row,
            f"{len(left)} weights do not fit the GPUs of this machine ({', '.join(left[:3])}); "
            "ask for more or larger GPUs, or set dtype to bfloat16",
        )


def _provenance(
    row: Mapping[str, Any], weights: _weights.Weights, model: nn.Module
) -> dict[str, str]:
    found = _weights.provenance(row, weights, model, PACKAGES)
    found["revision"] = getattr(model.config, "_commit_hash", None) or found["revision"]
    found["dtype"] = _weights.cell(row, "dtype", "float32")
    devices = getattr(model, "hf_device_map", None)
    if devices:
        found["device_map"] = files.canonical_json({k: str(v) for k, v in devices.items()})
    return found


def _text_extractor(
    row: Mapping[str, Any],
    weights: _weights.Weights,
    model: nn.Module,
    tokenizer: Any,  # noqa: ANN401
    device: str,
    declared: Declared = Declared(),  # noqa: B008 - frozen
) -> TextExtractor:
    provenance = _provenance(row, weights, model)
    predicts = model.get_output_embeddings() is not None and predicts_tokens(model.config)
    if declared.lower:
        lower_case(tokenizer)
    towers = hasattr(model, "get_text_features")
    placed = model if hasattr(model, "hf_device_map") else model.to(device)
    network = TextTower(placed) if towers else placed
    if getattr(network.config, "is_encoder_decoder", False):
        network = network.get_encoder()
        network.config = getattr(network, "config", model.config)
    network.config.use_cache = False  # of earlier tokens, which nothing here would take up
    wanted = int(_weights.cell(row, "max_length", "0"))
    if wanted and wanted <= (special := tokenizer.num_special_tokens_to_add()):
        _weights.fail(
            row,
            f"max_length is {wanted}, and {special} special tokens stand in every text, so that "
            "nothing of it is left; write more",
        )
    limit = text_limit(network, tokenizer, wanted, 0 if wanted else declared.max_length)
    states = _states(row, network, tokenizer, limit)
    names = list(states.names)
    also = {"last": names[-1], **{name.removeprefix("layer_"): name for name in names}}
    embedding = towers or declared.learned
    known = [*names, EMBEDDING] if embedding else names
    chosen = _choose(row, known, also, EMBEDDING if embedding else "last", states.note)
    rules = TextRules(
        pool=_weights.cell(row, "pool", "mean"),
        limit=limit,
        width=limit if model.config.model_type in _FIXED_WIDTH else 0,
        predicts=predicts and not declared.prompt,  # a prompt's tokens are not the text's
        declared=declared,
        vector=known[-1] if declared.modes else "",
    )
    layers = {name: states.names.get(name) for name in chosen}
    if EMBEDDING in layers:
        layers[EMBEDDING] = None if towers else states.names[names[-1]]
    provenance["blocks"] = states.note
    inputs = next(network.parameters()).device
    extractor = TextExtractor(network, tokenizer, layers, rules, provenance, inputs, states.blocks)
    return tested(row, extractor)


def _states(
    row: Mapping[str, Any],
    network: nn.Module,
    tokenizer: Any,  # noqa: ANN401
    limit: int,
) -> StateList:
    """Returns the states that a text network offers; raises ModelError if it fails on a text."""
    device = next(network.parameters()).device
    ids = tokenizer(SHORT, verbose=False)["input_ids"][: limit or None]
    depth = getattr(network.config, "num_hidden_layers", None)
    if not isinstance(depth, int):
        _weights.fail(row, f"{type(network).__name__} does not say how many layers it has")
    with _running(row, network, f"a text of {len(ids)} tokens, {SHORT!r},"):
        return list_states(network, {"input_ids": torch.tensor([ids], device=device)}, depth)


@contextmanager
def _running(row: Mapping[str, Any], network: nn.Module, what: str) -> Iterator[None]:
    """Turns what a network raises on its first input into one ModelError."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except ModelError as error:
        _weights.fail(row, str(error))
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        _weights.fail(
            row,
            f"{type(network).__name__} fails on {what} alone: {type(error).__name__}: {reason}; "
            "only networks that take single texts or single pictures can be extracted",
        )


def _image_extractor(
    row: Mapping[str, Any],
    weights: _weights.Weights,
    model: nn.Module,
    processor: Any,  # noqa: ANN401
    device: str,
) -> ImageExtractor:
    provenance, transform = _provenance(row, weights, model), Processor(processor)
    with _running(row, model, "a picture"):
        tower = ImageTower(model, transform)
    names = list(tower.taps)
    also = {name.removeprefix("layer_"): name for name in names}
    chosen = _choose(row, names, also, EMBEDDING if tower.two_towers else "last")
    pooling = read_pooling(row, prefix=tower.prefix)
    taps = {name: tower.taps[name] for name in names if name in chosen}
    extractor = ImageExtractor(
        tower, taps, transform, pooling, provenance, device, first=tower.first
    )
    return tested(row, extractor)


def _choose(
    row: Mapping[str, Any],
    names: Sequence[str],
    also: Mapping[str, str],
    default: str,
    note: str = "",
) -> list[str]:
    """Returns the layers of the column `layers` among `names`, in the network's order.

    Raises:
        ModelError: an entry names nothing.
    """
    chosen: set[str] = set()
    for entry in _weights.names_in(row, "layers") or [default]:
        pattern = "layer_*" if entry == "all" else also.get(entry, entry)
        found = [name for name in names if fnmatchcase(name, pattern)]
        if not found:
            depth = sum(name.startswith("layer_") for name in names) - 1
            if depth < 0:
                _weights.fail(row, f"no hidden state {entry!r}: {note}; write last")
            _weights.fail(row, f"no hidden state {entry!r}; write 0 to {depth}, last or all")
        chosen.update(found)
    return [name for name in names if name in chosen]
