"""SqueezeNet 1.1 as the Caffe and Keras ports keep it: a pickled table of arrays."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from consilience.errors import ModelError
from consilience.models import _weights

SQUEEZENET_FIRES = dict(zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True))
"""Position in `features` of each fire module of SqueezeNet 1.1."""


def read_caffe(row: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Returns the state dict of SqueezeNet 1.1 from a table {layer: [kernel, bias]}.

    Raises:
        ModelError: the file is damaged, holds anything but arrays, or other layers.
    """
    try:
        with path.open("rb") as stream:
            table = _ArrayUnpickler(stream, encoding="latin1").load()
    except ModelError:
        raise
    except Exception as error:
        _weights.fail(row, f"{path} cannot be read as a table of arrays: {error}")
    state: dict[str, Tensor] = {}
    try:
        for layer, (kernel, bias) in table.items():
            target = _squeezenet_name(layer)
            # Keras keeps (h, w, in, out), PyTorch (out, in, h, w).
            state[f"{target}.weight"] = torch.from_numpy(
                np.ascontiguousarray(kernel.transpose(3, 2, 0, 1), np.float32)
            )
            state[f"{target}.bias"] = torch.from_numpy(np.ascontiguousarray(bias, np.float32))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        _weights.fail(row, f"{path} does not hold the layers of SqueezeNet 1.1 ({error})")
    return state


def _squeezenet_name(layer: str) -> str:
    if layer in ("conv1", "conv10"):
        return {"conv1": "features.0", "conv10": "classifier.1"}[layer]
    fire, part = layer.split("/")
    part = "squeeze" if part == "squeeze1x1" else part
    return f"features.{SQUEEZENET_FIRES[int(fire.removeprefix('fire'))]}.{part}"


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds NumPy arrays and nothing else: no other name in the file is looked up."""

    _ALLOWED = frozenset(
        [("numpy", "ndarray"), ("numpy", "dtype")]
        + [(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")]
    )

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        """Returns one of the three allowed names; raises ModelError for any other."""
        if (module, name) not in self._ALLOWED:
            raise ModelError(f"the weights file asks for {module}.{name}; only arrays are allowed")
        # NumPy 2 renamed the module; the old name would warn.
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
