"""A test of every loaded network: is what it gives a function of the sample alone?

One picture or text is extracted alone and beside another one. What differs is drawn at random, or
depends on the neighbours; no table would show either. A network that fails is refused, or, where
that mends it, gets only texts of one length at a time; a language model whose predictions see later
tokens keeps its states and loses its `loss`. What was found is recorded in the header.

The network computes in its own precision, without autocast. Differences of norms, as shares of the
norm, may reach `LIMITS`; where one does not, both passes are repeated in the next wider type, so
that rounding condemns no network.
"""

import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from consilience import files
from consilience.code import code_of, sources_of
from consilience.datasets import Sample
from consilience.errors import ConsilienceError, DataError, ModelError, StorageError
from consilience.models import _weights
from consilience.models._texts import LOSS
from consilience.notes import keep, kept

logger = logging.getLogger(__name__)

LIMITS = {
    torch.float64: 1e-8,
    torch.float32: 1e-5,
    torch.float16: 2e-3,
    torch.bfloat16: 2e-2,
}
"""What rounding may do to features, as a share of their norm, by the type of the weights."""
WIDER = {
    torch.float32: torch.float64,
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
}
SHORT = "Two dogs run on the beach."
LONG = "A man in a red jacket rides his old bicycle past the station."
NOTE = "self_test"
"""The entry of the provenance."""


TOGETHER, APART = "same", "texts of one length only"


class Tested(Protocol):
    """What the test needs of an extractor, beside what `Extractor` says."""

    layers: tuple[str, ...]
    provenance: dict[str, str]
    inputs: str
    apart: bool
    """Whether only texts of one length go through the network together."""

    @property
    def network(self) -> nn.Module:
        """The network."""
        ...

    def preprocess(self, sample: Sample) -> Any:  # noqa: ANN401
        """Returns the network's own input."""
        ...

    def extract(self, batch: Sequence[Any]) -> Mapping[str, Tensor]:
        """Returns {layer: (b, d)}."""
        ...


E = TypeVar("E", bound=Tested)


def tested(row: Mapping[str, Any], extractor: E, widths: Mapping[str, int] | None = None) -> E:
    """Returns the extractor once it is known that its features depend on the sample alone.

    Once per row and code: what was found is kept in the cache folder, by a hash of the row, the
    weights, the code, the libraries and the device.

    Args:
        row: row of models.tsv.
        extractor: the network, loaded.
        widths: units that layers have by what the network says of itself.

    Raises:
        ModelError: features differ between two passes, or with the samples beside a sample; or a
            layer has another width than is said.

    Cost: passes of three pictures, or of some 60 tokens; more where the network draws random
    numbers or a difference has to be looked at in a wider type.
    """
    cut = extractor.provenance.get("truncated")
    place = files.cache_folder() / "selftests" / f"{_key(row, extractor)}.json"
    test = _SelfTest(row, extractor)
    test.fit()
    if _device(extractor) == "meta":  # shapes without numbers, of which there is nothing to test
        return extractor
    try:
        if (found := _read(place)) is None:
            found = test.run(widths or {})
            _keep(place, found)
    finally:
        if cut is not None:
            extractor.provenance["truncated"] = cut
    extractor.apart = found.get("beside", "") == APART
    if found.get("loss", "").startswith("none"):
        extractor.drop_loss()
    extractor.provenance[NOTE] = files.canonical_json(found)
    return extractor


def _key(row: Mapping[str, Any], extractor: Tested) -> str:
    code = code_of(__name__, *sources_of("models", row))
    known = [dict(row), dict(extractor.provenance), code, torch.__version__, _device(extractor)]
    return files.digest(known)


def _device(extractor: Tested) -> str:
    return str(next(extractor.network.parameters(), torch.zeros(0)).device)


def _read(place: Path) -> dict[str, str] | None:
    return kept(place, place.stem)


def _keep(place: Path, found: Mapping[str, str]) -> None:
    try:
        keep(place, place.stem, found)
    except (StorageError, DataError) as error:
        logger.debug("%s cannot be kept, so the test is made again: %s", place, error)


class _SelfTest:
    """The test of one extractor."""

    def __init__(self, row: Mapping[str, Any], extractor: Tested) -> None:
        self.row, self.extractor, self.samples = row, extractor, _samples(extractor)
        self.one = extractor.inputs.removesuffix("s")

    def fit(self) -> None:
        """Finds how the activations of an image network are laid out."""
        if hasattr(self.extractor, "fit_layouts"):
            self._guard(lambda: self.extractor.fit_layouts(self.samples[:1]))

    def run(self, widths: Mapping[str, int]) -> dict[str, str]:
        """Returns what was found, by the name of the test."""
        first, second = self.samples
        with torch.random.fork_rng():
            torch.manual_seed(1)
            before = _random_state()
            alone = self._features([first])
            self._check_widths(alone, widths)
            drawn = _random_state() != before
            if drawn:
                self._check_drawn(first, alone)
            found = {"repeated": "the same, though random numbers are drawn" if drawn else "same"}
            found["beside"] = self._beside(first, second, alone)
            if LOSS in getattr(self.extractor, "outputs", ()):
                found["loss"] = self._loss(second)
        return found

    def _check_widths(self, features: Mapping[str, np.ndarray], widths: Mapping[str, int]) -> None:
        """Raises if a mean over positions, or a token, has other units than the network says."""
        if self.extractor.provenance.get("pooling") == "flatten":
            return
        for layer, width in widths.items():
            if layer in features and len(features[layer]) != width:
                _weights.fail(
                    self.row,
                    f"layer {layer!r} has {len(features[layer])} units when pooled, and {width} by "
                    "what the network says of itself, so that the mean was taken over other axes "
                    "than positions; name another layer, or set pool to flatten",
                )

    def _features(self, batch: Sequence[Any]) -> dict[str, np.ndarray]:
        """Returns the first sample's features by layer, in float64."""
        found = self._guard(lambda: self.extractor.extract(batch))
        return {name: x[0].detach().double().cpu().numpy() for name, x in found.items()}

    def _guard(self, run: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Returns what `run` does; whatever a network raises is one sentence."""
        try:
            return run()
        except ConsilienceError as error:
            _weights.fail(self.row, f"self-test: {error}")
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            _weights.fail(
                self.row,
                f"the network fails in its self-test: {type(error).__name__}: "
                f"{_first_line(error)}; it cannot be extracted as it is",
            )

    def _check_drawn(self, first: Any, alone: Mapping[str, np.ndarray]) -> None:  # noqa: ANN401
        """Raises if the random numbers that a network draws enter its features."""
        for seed in (2, 3):
            torch.manual_seed(seed)
            layer, distance = _farthest(alone, self._features([first]))
            if distance > self._limit():
                self._fail_random(layer, distance)

    def _fail_random(self, layer: str, distance: float) -> NoReturn:
        _weights.fail(
            self.row,
            f"the same {self.one} gives other features each time: layer {layer!r} moved by "
            f"{distance:.2g} of its norm (limit {self._limit():g}); the network draws random "
            "numbers in evaluation (dropout, masks, sampled patches): switch that off in its "
            "config, or extract it yourself from a fixed seed and use source imported",
        )

    def _limit(self) -> float:
        return LIMITS.get(_type(self.extractor.network), max(LIMITS.values()))

    def _beside(self, first: Any, second: Any, alone: Mapping[str, np.ndarray]) -> str:  # noqa: ANN401
        """Returns which samples may go through the network together."""
        layer, distance = _farthest(alone, self._features([first, second]))
        if self._fits(first, second, distance):
            return TOGETHER
        again = _farthest(alone, self._features([first]))
        if again[1] > self._limit():
            self._fail_random(*again)
        if self.extractor.inputs == "texts" and not self.extractor.apart:
            self.extractor.apart = True
            _, distance = _farthest(alone, self._features([first, second]))
            if distance <= self._limit():
                logger.warning(
                    "model %r: features depend on padding, so that only texts of one length go "
                    "through it together",
                    self.row.get("model"),
                )
                return APART
        return _weights.fail(
            self.row,
            f"the features of a {self.one} depend on the {self.extractor.inputs} beside it: layer "
            f"{layer!r} moved by {distance:.2g} of its norm (limit {self._limit():g}); a "
            "normalisation over the batch or a mask without effect: extract one at a time "
            "yourself and use source imported",
        )

    def _fits(self, first: Any, second: Any, distance: float) -> bool:  # noqa: ANN401
        """Returns whether a distance is that of rounding: small, or small in a wider type."""
        if distance <= self._limit():
            return True
        wide = WIDER.get(_type(self.extractor.network))
        if wide is None or hasattr(self.extractor.network, "hf_device_map"):
            return False
        with _in_type(self.extractor.network, wide):
            try:
                pair = [_cast(one, wide) for one in (first, second)]
                alone = self._features(pair[:1])
                finite = all(np.isfinite(x).all() for x in alone.values())
                return finite and _farthest(alone, self._features(pair))[1] <= self._limit()
            except (ModelError, MemoryError, torch.OutOfMemoryError):
                # Some networks compute in one type only, and some are too large for another.
                return False

    def _loss(self, text: Any) -> str:  # noqa: ANN401
        """Returns whether predictions depend on tokens that come later."""
        distance = self.extractor.looks_ahead(text)
        if distance <= self._limit():
            return "kept: predictions do not depend on later tokens"
        logger.warning(
            "model %r: predictions change with the tokens that they are to predict; no loss",
            self.row.get("model"),
        )
        return "none: predictions change with the tokens that they are to predict"


def _samples(extractor: Tested) -> tuple[Any, Any]:
    """Returns two inputs of the extractor's kind, the second the longer one."""
    if hasattr(extractor, "examples"):
        return extractor.examples()
    if extractor.inputs == "texts":
        texts = [Sample(id="t", origin="self-test", text=text) for text in (SHORT, LONG)]
        return tuple(extractor.preprocess(text) for text in texts)
    noise = np.random.default_rng(0).integers(0, 256, (2, 320, 320, 3), np.uint8)
    made = [Image.fromarray(values) for values in noise]
    samples = [Sample(id="p", origin="self-test", image=lambda x=x: x) for x in made]
    return tuple(extractor.preprocess(sample) for sample in samples)


def _random_state() -> bytes:
    """Returns the state of all generators that networks draw from."""
    states = [torch.get_rng_state().numpy().tobytes(), repr(random.getstate()).encode()]
    states.append(repr(np.random.get_state()).encode())  # noqa: NPY002 - the one that others use
    if torch.cuda.is_initialized():
        states += [state.numpy().tobytes() for state in torch.cuda.get_rng_state_all()]
    return b"".join(states)


def distance_of(x: np.ndarray, y: np.ndarray) -> float:
    """Returns ‖x − y‖ / ‖x‖; 0 where x is not finite, which extraction tells with its sample."""
    if not np.isfinite(x).all():
        return 0.0
    if x.shape != y.shape:
        return float("inf")
    norm = np.linalg.norm(x)
    return float(np.nan_to_num(np.linalg.norm(x - y) / (norm or 1.0), nan=np.inf))


def _farthest(x: Mapping[str, np.ndarray], y: Mapping[str, np.ndarray]) -> tuple[str, float]:
    """Returns the layer that differs most, and by how much."""
    distances = {name: distance_of(values, y[name]) for name, values in x.items()}
    name = max(distances, key=distances.__getitem__)
    return name, distances[name]


def _type(network: nn.Module) -> torch.dtype:
    """Returns the narrowest type among the weights."""
    types = {weight.dtype for weight in network.parameters() if weight.is_floating_point()}
    return max(types or {torch.float32}, key=lambda dtype: torch.finfo(dtype).eps)


def _cast(value: Any, dtype: torch.dtype) -> Any:  # noqa: ANN401
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


@contextmanager
def _in_type(network: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Computes in a wider type; weights and buffers come back as they were."""
    held = [x for x in (*network.parameters(), *network.buffers()) if x.is_floating_point()]
    before = [(x, x.dtype) for x in held]
    try:
        for x in held:
            x.data = x.data.to(dtype)
        yield
    finally:
        for x, kind in before:
            x.data = x.data.to(kind)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
