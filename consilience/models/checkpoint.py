"""Your own weights: a local checkpoint in an architecture of timm or torchvision.

`name` is `timm:NAME` or `torchvision:NAME`, `weights` a .safetensors file or a PyTorch file of
tensors (pickles with code are refused), `keys` says how its names become the library's (see the
column). A classifier may be missing or of another size; then there are no logits, and the header
says so. `layers`, `pool`, `input_size` and preprocessing are as in the source of that library:
where they differ between the weights that it publishes, `name` is `timm:NAME.TAG` or
`torchvision:NAME/TAG`, or `transform` says it.
"""

from collections.abc import Mapping
from typing import Any

from consilience.models import _weights
from consilience.models._architecture import LIBRARIES, fill, is_architecture
from consilience.models._images import ImageExtractor


def load(row: Mapping[str, Any], device: str = "cpu") -> ImageExtractor:
    """Returns the extractor of a row with source `checkpoint`.

    Raises:
        ModelError: unknown architecture, layer or pool; a file that is not there, cannot be read
            without running code, or does not fit.
    """
    if not is_architecture(row):
        known = " or ".join(f"{library}:NAME" for library in LIBRARIES)
        _weights.fail(row, f"name {_weights.cell(row, 'name')!r} is no architecture; write {known}")
    return fill(row, device)
