"""Text networks of transformers that tell classes, by type (Wolf et al. 2020): `transformers:bert`.

With `weights`, a local folder of the library as in models.tsv, or `hf-hub:OWNER/REPOSITORY` for one
of the hub (`all_prefetch` fetches it), the network is what its config.json says, but for the head:
it reads texts by the folder's tokenizer, at most `input.tokens` tokens, and begins at the folder's
weights; what they lack, such as the head, is drawn. Without, the options are those of the type's
configuration, such as `hidden_size`, and texts are read by words, as in `small:transformer`. The
features are what enters the last linear map of the head.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PretrainedConfig
from transformers.utils import logging

from consilience.errors import ConfigError
from consilience.limits.pickles import explained
from consilience.networks import Task
from consilience.networks.classifier import Parts, expect
from consilience.networks.hub import find_folder
from consilience.networks.symbols import PADDING, vocabulary_of

PACKAGES = ("transformers", "tokenizers")
REFUSED = (
    "trust_remote_code", "auto_map", "code_revision", "attn_implementation",
    "experts_implementation", "quantization_config", "name_or_path",
    "pretrained_model_name_or_path", "cache_dir", "force_download", "local_files_only", "proxies",
    "revision", "subfolder", "token", "return_unused_kwargs",
)  # fmt: skip
"""Options that are not free, as they fetch files or let a folder's own code run."""
_SPARE = 8
"""Positions beside those of the words: some types leave the first ones out."""


def build(name: str, options: Mapping[str, Any], task: Task) -> nn.Module:
    """Returns the network of a type.

    Raises:
        ConfigError: there is no such type, the folder is of another one, or it has no head for
            classes that ends in a linear map.
    """
    expect(task, ("text",))
    config = _config(name, options, task)
    try:
        network = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    except ValueError as error:
        raise ConfigError(f"transformers has no classifier of texts of type {name!r}") from error
    network.register_forward_pre_hook(_Inputs(config.pad_token_id), with_kwargs=True)
    network.register_forward_hook(_scores)
    maps = [part for part in network.modules() if isinstance(part, nn.Linear)]
    if not maps or maps[-1].out_features != task.classes:
        raise ConfigError("its head does not end in a linear map; name another type")
    start = partial(_start, network, task.tokenizer) if task.tokenizer else None
    network.parts = Parts(maps[-1], _blocks(network, config), start=start)
    _read_once(network, task)
    return network


def _config(name: str, options: Mapping[str, Any], task: Task) -> PretrainedConfig:
    given = {"num_labels": task.classes, **options}
    if task.tokenizer:
        folder = find_folder(task.tokenizer)
        config = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **given
        )
        if config.model_type != name:
            raise ConfigError(f"{task.tokenizer} is of type {config.model_type!r}, not {name!r}")
        return config
    own = {
        "vocab_size": task.vocabulary,
        "pad_token_id": PADDING,
        "max_position_embeddings": task.shape[0] + _SPARE,
    }
    return AutoConfig.for_model(name, **own, **given)


def _start(network: nn.Module, tokenizer: str, folder: Path) -> dict[str, Tensor]:
    """Returns the weights of a folder by the names of a network, without those that it lacks.

    Args:
        network: of `build`.
        tokenizer: the folder whose tokenizer reads texts.
        folder: with the weights.

    Raises:
        ConfigError: they are those of another network, or texts are read otherwise there.
    """
    if vocabulary_of(tokenizer) != vocabulary_of(str(folder)):
        raise ConfigError(f"{folder} has another vocabulary than {tokenizer}")
    try:
        with _quiet():
            loaded, found = type(network).from_pretrained(
                folder,
                config=network.config,
                local_files_only=True,
                weights_only=True,  # nothing in pickles runs
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError, UnpicklingError) as error:
        raise ConfigError(f"{folder} cannot be loaded: {explained(error) or error}") from error
    lacking = {*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])}
    inner = f"{network.base_model_prefix}."
    for name in sorted(lacking):
        if name.startswith(inner) and ".pooler." not in name:
            raise ConfigError(f"{folder} lacks {name!r}, or has it of another shape")
    return {name: tensor for name, tensor in loaded.state_dict().items() if name not in lacking}


@contextmanager
def _quiet() -> Iterator[None]:
    """Leaves out the library's table of what is new, which is checked here."""
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _read_once(network: nn.Module, task: Task) -> None:
    """Raises ConfigError if a network cannot read a text of as many tokens as it may get."""
    network.eval()
    try:
        with torch.no_grad():
            network(torch.full((1, task.shape[0]), task.vocabulary - 1))
    except (IndexError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"it reads no texts of {task.shape[0]} tokens of {task.vocabulary} ({error}); set "
            "input.tokens to fewer"
        ) from error
    network.train()


class _Inputs:
    """Gives a network the mask of padding beside the symbols."""

    def __init__(self, padding: int) -> None:
        self._padding = padding

    def __call__(
        self, _: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not inputs:
            return inputs, named
        (symbols,) = inputs
        return (), {"input_ids": symbols, "attention_mask": (symbols != self._padding).long()}


def _scores(_: nn.Module, _inputs: tuple[Any, ...], output: Any) -> Tensor:  # noqa: ANN401
    return output.logits


def _blocks(network: nn.Module, config: PretrainedConfig) -> tuple[str, ...]:
    """Returns the names of the blocks: the members of the list that is as long as the network."""
    for name, part in network.named_modules():
        if isinstance(part, nn.ModuleList) and len(part) == config.num_hidden_layers:
            return tuple(f"{name}.{place}" for place in range(len(part)))
    return ()
