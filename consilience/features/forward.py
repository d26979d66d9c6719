"""The forward pass: on which device, under what precision, and on fewer samples if memory lacks."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NoReturn

import numpy as np
import torch

from consilience.errors import ConsilienceError, FeaturesError, ModelError, is_out_of_memory
from consilience.models import Extractor

logger = logging.getLogger(__name__)

AUTOCAST = {"none": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: str) -> str:
    """Returns the device to compute on; `auto` is CUDA if there is any.

    Raises:
        FeaturesError: PyTorch does not know the device, or this machine does not have it.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise FeaturesError(f"device {device!r} cannot be used: {reason}; try auto") from error
    return device


def device_name(device: str) -> str:
    """Returns what the device is called in a header."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


@contextmanager
def steady(device: str) -> Iterator[None]:
    """Computes on one thread if on the CPU, whose sums depend on how they are parted."""
    threads = torch.get_num_threads()
    if torch.device(device).type == "cpu":
        torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)


def autocast(name: str, device: str) -> Callable[[], AbstractContextManager[Any]]:
    """Returns what a pass is computed under."""
    dtype = AUTOCAST[name]
    if dtype is None:
        return nullcontext
    return lambda: torch.autocast(torch.device(device).type, dtype=dtype)


def as_array(output: Any) -> np.ndarray:  # noqa: ANN401
    """Returns a layer's output, a tensor or an array, as a float32 array."""
    if isinstance(output, torch.Tensor):
        return output.float().cpu().numpy()
    return np.asarray(output, np.float32)


def tune(extractor: Extractor, device: str, *, precision: str, compiled: bool) -> bool:
    """Makes a network faster on a device other than the CPU, where nothing is changed.

    Convolutions under autocast take channels last, for which such devices have their kernels; in
    float32 that gains nothing. What PyTorch's compiler cannot compile runs as it is.

    Args:
        extractor: the model.
        device: where it computes.
        precision: of `AUTOCAST`.
        compiled: whether to compile the network, which takes up to minutes before the first batch.

    Returns:
        Whether the network is compiled.
    """
    if torch.device(device).type == "cpu":
        if compiled:
            logger.info("features.compile is for GPUs; on the CPU networks run as they are")
        return False
    if AUTOCAST[precision] is not None and hasattr(extractor, "lay_out"):
        extractor.lay_out(torch.channels_last)
    network = getattr(extractor, "network", None)
    if not compiled or not isinstance(network, torch.nn.Module):
        return False
    compile_network(network)
    return True


def compile_network(network: torch.nn.Module, backend: str = "inductor") -> None:
    """Compiles a network in place, for batches of any size; what cannot be runs as it is."""
    import torch._dynamo  # noqa: PLC0415 - slow to import

    torch._dynamo.config.suppress_errors = True
    network.compile(backend=backend, dynamic=True)


class Forward:
    """Runs an extractor, on fewer samples at a time once memory has run out.

    Args:
        extractor: the model.
        limit: the most that a pass may cost: samples, or tokens where inputs have sizes.
        context: what to compute under, such as autocast.
        place: model and dataset, for messages.
    """

    def __init__(
        self,
        extractor: Extractor,
        limit: int,
        context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        place: str = "",
    ) -> None:
        self.limit = limit
        self._extractor, self._context, self._place = extractor, context, place

    def __call__(
        self, inputs: Sequence[Any], cost: int = 1
    ) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yields b and {name: (b, d)} for consecutive parts of `inputs`, each of the cost given.

        Raises:
            FeaturesError: memory does not suffice for one sample, or the network fails.
            ModelError: the network cannot read a sample.
        """
        start = 0
        while start < len(inputs):
            part = inputs[start : start + max(1, self.limit // cost)]
            try:
                with self._context():
                    outputs = self._extractor.extract(part)
            except ModelError as error:
                raise ModelError(f"{self._place}: {error}") from error
            except ConsilienceError:
                raise
            except Exception as error:
                if not is_out_of_memory(error):
                    self._fail(len(part), cost, error)
                self._halve(len(part), cost, error)
                continue
            yield len(part), outputs
            start += len(part)

    def _fail(self, count: int, cost: int, error: Exception) -> NoReturn:
        size = f" of up to {cost} tokens" if cost > 1 else ""
        reason = (str(error).strip().splitlines() or [""])[0]
        raise FeaturesError(
            f"{self._place}: the network fails on {count} samples{size}: {type(error).__name__}: "
            f"{reason}; if it cannot take inputs of this size, set max_length or input_size in its "
            "row, else leave it out"
        ) from error

    def _halve(self, tried: int, cost: int, error: Exception) -> None:
        if tried == 1:
            raise FeaturesError(
                f"{self._place}: memory runs out with a single sample; use a device or a job with "
                "more memory, or a smaller input_size"
            ) from error
        now = tried // 2
        self.limit = now * cost
        logger.warning("%s: out of memory at %d, now %d a time", self._place, tried, now)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
