"""Features: what each layer of a model makes of a dataset's samples, one file per pair.

Reading imports no deep-learning library; `consilience.features.extract` does.
"""

from consilience.features.container import content_hash
from consilience.features.manifest import (
    check_listed,
    make_manifest,
    read_listed,
    read_manifest,
    write_manifest,
)
from consilience.features.reading import check_samples, read_header, read_layer
from consilience.features.store import write_features

__all__ = [
    "check_listed",
    "check_samples",
    "content_hash",
    "make_manifest",
    "read_header",
    "read_layer",
    "read_listed",
    "read_manifest",
    "write_features",
    "write_manifest",
]
