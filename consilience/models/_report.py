"""What the transformers library reports of weights that it could not use, and only warns about."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn
from transformers.utils.logging import (
    disable_progress_bar,
    enable_progress_bar,
    is_progress_bar_enabled,
)

from consilience.models._weights import fail


def check_report(
    row: Mapping[str, Any],
    place: str,
    model: nn.Module,
    report: Mapping[str, Any],
    unused: Sequence[str],
) -> None:
    """Raises if weights were left at random values, or if blocks lost some that the file has.

    Args:
        row: row of models.tsv.
        place: folder or repository.
        model: as it was loaded.
        report: the library's, with `missing_keys`, `mismatched_keys` and `unexpected_keys`.
        unused: parts of names that hidden states do not pass through and that may be missing.

    Raises:
        ModelError: says how many, and names the first.
    """
    missing = sorted(map(str, report.get("missing_keys", ())))
    lost = [key for key in missing if not any(part in key for part in unused)]
    lost += sorted(str(k) for k in report.get("mismatched_keys", ()))
    if lost:
        fail(
            row,
            f"{place} lacks {len(lost)} weights of its own architecture ({', '.join(lost[:3])}); "
            "the file is damaged or belongs to another config.json",
        )
    if over := surplus(model, report.get("unexpected_keys", ())):
        fail(
            row,
            f"{place} holds {len(over)} weights inside its blocks for which its config.json has no "
            f"place ({', '.join(over[:3])}), as of more blocks or of adapters; correct it or merge "
            "the adapters into the weights",
        )


def surplus(model: nn.Module, keys: Iterable[str]) -> list[str]:
    """Returns the names among `keys` that belong inside a network; others are of its heads."""
    prefix = getattr(model, "base_model_prefix", "")
    own = f"{prefix}." if prefix and not hasattr(model, prefix) else ""
    return sorted(key for key in map(str, keys) if _inside(model, key.removeprefix(own)))


def _inside(model: nn.Module, name: str) -> bool:
    """Returns whether a tensor is of a block that there is not, or of a new part of a block.

    Tensors that older versions kept beside the weights, such as `masked_bias`, are no parts.
    """
    module, in_block = model, False
    for part in name.split("."):
        child = dict(module.named_children()).get(part)
        if child is None:
            beyond = isinstance(module, nn.ModuleList) and part.isdigit()
            return beyond or (in_block and name.endswith(".weight"))
        module, in_block = child, in_block or part.isdigit()
    return False


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps the library's progress bars out of logs; a terminal still shows them."""
    silence = is_progress_bar_enabled() and not sys.stderr.isatty()
    if silence:
        disable_progress_bar()
    try:
        yield
    finally:
        if silence:
            enable_progress_bar()
