"""PyTorch files of tensors: read with weights only, so that nothing in them is run."""

from pathlib import Path
from typing import Any

from consilience.errors import FeaturesError, RefusedError
from consilience.limits.arrays import check_tensors, check_zip
from consilience.limits.pickles import reason


def load_tensors(path: Path) -> Any:  # noqa: ANN401
    """Returns what a file of PyTorch holds.

    Raises:
        FeaturesError: it is damaged, or holds more than tensors.
        RefusedError: a tensor is no plain one, or larger than the file can hold.
    """
    import torch  # noqa: PLC0415 - the other formats do without

    check_zip(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except RefusedError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        raise FeaturesError(
            f"{path} cannot be read as tensors ({reason(error)}); files that hold anything else "
            "can execute code and are refused: save the tensors alone"
        ) from None
    check_tensors(found, path.stat().st_size, path)
    return found
