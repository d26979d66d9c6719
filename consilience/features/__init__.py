"""Features: what each layer of a model makes of a dataset's samples, one file per pair.

Reading imports no deep-learning library; `extract_features` does, when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

from consilience.features.manifest import write_manifest
from consilience.features.store import (
    check_samples,
    content_hash,
    read_header,
    read_layer,
    write_features,
)

if TYPE_CHECKING:
    from consilience.features.extract import extract_features

EXTRACTION_CODE = tuple(
    f"features/{module}"
    for module in ("extract", "batches", "forward", "shards", "store", "container")
)
"""The modules of this package that decide what is in a features file."""

__all__ = [
    "EXTRACTION_CODE",
    "check_samples",
    "content_hash",
    "extract_features",
    "read_header",
    "read_layer",
    "write_features",
    "write_manifest",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name == "extract_features":
        from consilience.features.extract import extract_features  # noqa: PLC0415 - imports torch

        return extract_features
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
