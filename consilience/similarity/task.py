"""What is computed for a pair of layers, and with what means."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

import numpy as np

from consilience.calibration import (
    EXACT,
    TILED,
    Null,
    NullKind,
    Permutations,
    closed_form,
    monte_carlo,
    null_of_draws,
)
from consilience.errors import ConfigError, MetricError
from consilience.features import content_hash
from consilience.files import digest
from consilience.forms.groups import GroupRows, describe, fingerprint, means_of, subset, unit_count
from consilience.forms.heavy import heavy_rows
from consilience.forms.inputs import INPUTS, as_features, check_rows, model_inputs, own_rows
from consilience.forms.moments import Moments
from consilience.forms.tiles import Centring, TileForm, TileSide, centring_of
from consilience.forms.units import LEAST, UnitSample, units_of
from consilience.metrics import InnerProductMetric, Metric, Preprocessing
from consilience.registry import did_you_mean
from consilience.similarity.over_units import with_units
from consilience.similarity.store import Outcome, PairStore


@dataclass(frozen=True)
class Item:
    """One layer of one model: a row and a column of the similarity matrix."""

    model: str
    layer: str
    shape: tuple[int, int]
    """Of the main input."""
    hash: str
    """Of the contents of all its inputs."""
    loads: Mapping[str, Callable[[], np.ndarray]] = field(compare=False, repr=False)
    """For each input that the metric takes of a model what reads it; the main one first."""
    origin: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Dataset and samples hash of features files; empty for arrays."""

    @property
    def main(self) -> str:
        """The input that the shape is of."""
        return next(iter(self.loads))

    def input(self, name: str) -> np.ndarray:
        """Returns one input, checked.

        Raises:
            FeaturesError: it is not sound.
            MetricError: the model has none.
        """
        return INPUTS[name].check(self.loads[name](), self._place(name))

    def features(self, *, widen: bool = True) -> np.ndarray:
        """Returns the finite features (n, d), float64 if `widen`."""
        return as_features(self.loads[self.main](), self._place(self.main), widen=widen)

    def _place(self, name: str) -> str:
        return f"{name} of model {self.model!r}, layer {self.layer!r}"

    def subset(self, rows: np.ndarray, mark: str) -> "Item":
        """Returns the item of some of its samples; the mark tells them from others of them."""
        loads = {
            name: partial(_rows_of, load, rows) if INPUTS[name].per_sample else load
            for name, load in self.loads.items()
        }
        n = len(rows) if INPUTS[self.main].per_sample else self.shape[0]
        return replace(self, shape=(n, self.shape[1]), hash=self.hash + mark, loads=loads)

    def pooled(self, groups: np.ndarray) -> "Item":
        """Returns the item with one row for each group: the mean of its rows."""
        loads = {
            name: partial(_means_of, load, groups) if INPUTS[name].per_sample else load
            for name, load in self.loads.items()
        }
        return replace(self, shape=(unit_count(groups, len(groups)), self.shape[1]), loads=loads)


class Offer(NamedTuple):
    """One input that a model has."""

    shape: tuple[int, int]
    hash: str
    load: Callable[[], np.ndarray]


def make_item(metric: Metric, model: str, layer: str, offers: Mapping[str, Offer]) -> Item:
    """Returns the item of a model for a metric; an input that is not offered fails when read.

    Args:
        metric: decides which inputs are taken.
        model: its id.
        layer: the layer's name, or that of the output that is compared.
        offers: by input; the metric's main input must be among them.
    """
    names = model_inputs(metric.facts.inputs)
    main = offers[names[0]]
    loads = {
        name: offers[name].load if name in offers else partial(_absent, model, name)
        for name in names
    }
    hashes = [offers[name].hash if name in offers else None for name in names]
    return Item(
        model, layer, tuple(main.shape), digest(hashes) if len(names) > 1 else main.hash, loads
    )


def _absent(model: str, name: str) -> np.ndarray:
    raise MetricError(f"model {model!r} has no {name}, which the metric takes")


def _means_of(load: Callable[[], np.ndarray], groups: np.ndarray) -> np.ndarray:
    return means_of(load(), groups)


def _rows_of(load: Callable[[], np.ndarray], rows: np.ndarray) -> np.ndarray:
    return load()[rows]


@dataclass(frozen=True)
class Engine:
    """How pairs are computed; none of it but the device changes a value."""

    threads: int = 1
    max_memory: int = 2 * 1024**3
    """Bytes that prepared forms may take together; at least two are held."""
    checkpoint: float = 60.0
    """Seconds between two writes of the pair store."""
    scratch: str | None = None
    """Folder for features that exceed the memory in the tiled pass (default: the system's)."""
    shelf: int = 2 * 1024**3
    """Bytes on disk for neighbour lists and ranks kept beside a pair store, for later models."""
    device: str = "cpu"
    """Where the tiled pass computes: `cpu`, or a name that PyTorch knows, such as `cuda`. Elsewhere
    than on the CPU values differ in digits that float32 does not hold."""

    @classmethod
    def of(cls, settings: Mapping[str, Any], threads: int) -> "Engine":
        """Returns the engine that a study's settings `similarity` ask for."""
        return cls(
            threads=threads,
            max_memory=settings["max_memory_mb"] * 2**20,
            checkpoint=settings["checkpoint"],
            shelf=settings["shelf_mb"] * 2**20,
            device=settings["device"],
        )


TILED_SAMPLES = 2048
"""From so many samples on, inner products over pairs of samples are computed in tiles."""


@dataclass(frozen=True)
class Task:
    """What is computed for every pair: all that decides its row of the table."""

    metric: Metric
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    null: NullKind | None = None
    permutations: Permutations = field(default_factory=Permutations)
    shared: Mapping[str, np.ndarray] = field(default_factory=dict, hash=False)
    """Those inputs of the metric that belong to the samples and so are the same for all models."""
    groups: np.ndarray | None = field(default=None, hash=False, compare=False)
    """(n,) which samples are of one group, see `consilience.forms.groups`; None: all are single."""
    group_rows: GroupRows = "apart"
    """What samples of one group are to each other; whole groups are permuted all the same."""
    pooled: tuple[str, int] | None = None
    """Of items with one row for each group the hash of the groups, and how many there are."""

    def __post_init__(self) -> None:
        facts = self.metric.facts
        if self.null and not facts.paired:
            raise ConfigError(
                f"metric {facts.name!r} takes each side alone, so permuting the samples changes "
                "nothing: it has no null; use null=None"
            )
        if self.null == "closed_form" and not self.metric.has_closed_form:
            raise ConfigError(
                f"metric {facts.name!r} has no closed-form null with these parameters; use "
                "null='monte_carlo'"
            )
        if self.group_rows not in (known := get_args(GroupRows)):
            hint = did_you_mean(str(self.group_rows), known)
            raise ConfigError(f"group_rows cannot be {self.group_rows!r}{hint}")
        independent = self.groups is None or self.group_rows == "mean"
        if self.null == "closed_form" and not independent:
            raise ConfigError(
                f"{describe(self.groups)}: the closed-form null holds for independent samples "
                "only; use null='monte_carlo', which permutes whole groups"
            )

    @property
    def apart(self) -> np.ndarray | None:
        """The groups within which pairs are left out; None: none are."""
        apart = self.group_rows == "apart" and self.metric.leaves_out
        return self.groups if apart else None

    @property
    def groups_given(self) -> dict[str, Any]:
        """What groups decide of values, for the pair store and the table's metadata, if any."""
        if self.pooled:
            return {"groups": dict(zip(("hash", "n"), self.pooled, strict=True), rows="mean")}
        if self.groups is None:
            return {}
        rows = "within" if self.apart is None else "apart"
        n = unit_count(self.groups, len(self.groups))
        return {"groups": {"hash": fingerprint(self.groups), "n": n, "rows": rows}}

    @property
    def null_spec(self) -> dict[str, Any] | None:
        """How values are calibrated, for the pair store and the table's metadata."""
        if self.null == "monte_carlo":
            return {"kind": self.null, **vars(self.permutations)}
        return {"kind": self.null} if self.null else None

    def subset(self, rows: np.ndarray) -> "Task":
        """Returns the task for some of the samples."""
        shared = {name: x[rows] for name, x in self.shared.items()}
        return replace(self, shared=shared, groups=subset(self.groups, rows))

    def open_store(
        self, path: str | Path | None, *, device: str = "cpu", fresh: bool = False
    ) -> PairStore:
        """Returns the pair store of this task.

        Args:
            path: its file; None: in memory.
            device: the kind that pairs are computed on, see `device_kind`.
            fresh: whatever the file holds is not taken.
        """
        given = {"null": self.null_spec}
        given |= {name: content_hash(x) for name, x in self.shared.items()}
        given |= self.groups_given
        return PairStore.open(
            path, self.metric, self.preprocessing, given, device=device, fresh=fresh
        )

    def is_tiled(self, n: int) -> bool:
        """Whether pairs of n samples are computed in the tiled pass, to float32 precision."""
        inner = isinstance(self.metric, InnerProductMetric) and self.metric.centring
        inner = inner and self.metric.facts.inputs == ("features",)
        drawn = self.null == "monte_carlo" and self.groups is None
        return bool(inner) and n >= TILED_SAMPLES and not drawn

    def is_on_device(self, n: int) -> bool:
        """Whether a device can take part in what is computed pair by pair of n samples."""
        return bool(self.metric.on_device) and self.null is None and n >= TILED_SAMPLES

    def precision(self, n: int) -> float:
        """Returns the share of a value of n samples below which differences may be rounding."""
        return TILED if self.is_tiled(n) else EXACT

    def device_kind(self, device: str, n: int) -> str:
        """Returns what kind of device computes pairs of n samples if the engine's is `device`.

        `cpu`: this package, as it does all but the tiled pass and rotations; otherwise what
        PyTorch calls the type, such as `cuda`, of which its own CPU is one too, `torch-cpu`.
        """
        if device == "cpu" or not (self.is_tiled(n) or self.is_on_device(n)):
            return "cpu"
        kind = device.partition(":")[0]
        return "torch-cpu" if kind == "cpu" else kind

    def base(self, n: int) -> tuple | None:
        """Returns what the products or neighbour lists depend on; None: they are its own."""
        shared = self.is_tiled(n) or not isinstance(self.metric, InnerProductMetric)
        base = self.metric.base if shared else ""
        apart = ("between groups",) if self.apart is not None else ()
        return (base, *vars(self.preprocessing).values(), *apart) if base else None

    def tile_form(self, x: np.ndarray) -> TileForm:
        """Returns what the tiled pass needs of features x: (n, d), and of its null."""
        rows = self.preprocessing.rows(x)
        form = self.metric.tile_form(rows)
        if self.metric.facts.of_units and self.apart is None and x.shape[1] >= LEAST:
            form = replace(form, units=units_of(form.rows, diagonal=self.metric.has_diagonal))
        if self.null != "closed_form":
            return form
        by_rows = self.metric.centring in ("debiased", "biased")
        heavy = None if form.ranked else heavy_rows(form, centred=by_rows)
        return replace(form, cubes=self.metric.tile_cubes(rows), heavy=heavy)

    @property
    def centring(self) -> Centring:
        """How the tiled pass centres entries."""
        return centring_of(self.metric.centring, self.apart)

    def tiled_value(self, n: int, product: float, a: TileSide, b: TileSide) -> float:
        """Returns the value of two models from the sums of the tiled pass."""
        return float(self.centring.product(n, product, a.sums, b.sums) / (a.length * b.length))

    def tiled_outcome(
        self, n: int, product: float, a: TileSide, b: TileSide, draws: np.ndarray | None = None
    ) -> Outcome:
        """Returns the value and the null of two models from the sums of the tiled pass.

        Args:
            n: number of samples.
            product: of the entries of both, over the pairs that count.
            a: one model.
            b: the other.
            draws: (K,) values with whole groups of samples permuted; None: there are none.
        """
        value = self.tiled_value(n, product, a, b)
        if not np.isfinite(value):
            return Outcome(failure=f"the metric gave {value}")
        null = None
        if draws is not None:
            null = null_of_draws(value, draws, self.metric.facts, rounding=TILED)
        elif self.null:
            null = closed_form(self.metric, value, a.moments, b.moments, TILED)
        return with_units(_outcome(value, null), a.units, b.units, self.metric.facts)

    def prepare(self, item: Item) -> "Form":
        """Returns the prepared form of a layer, with the sums of its null.

        Raises:
            MetricError: the model lacks an input, or the metric is not defined for it.
        """
        found = {}
        for name in self.metric.facts.inputs:
            x = self.shared[name] if name in self.shared else item.input(name)
            found[name] = self.preprocessing(x) if name == item.main else x
        prepared = self.metric.prepare_in_groups(*found.values(), groups=self.apart)
        form = self.form(prepared, len(found[item.main]))
        units = None if self.apart is not None else self.metric.units(found[item.main], prepared)
        return form._replace(rows=own_rows(found), units=units)

    def form(self, prepared: Any, n: int) -> "Form":  # noqa: ANN401
        """Returns the form that the metric prepared of n samples, with the sums of its null."""
        closed = self.null == "closed_form"
        return Form(prepared, self.metric.moments(prepared) if closed else None, n)

    def compare(self, a: "Form", b: "Form", *known: Any) -> Outcome:  # noqa: ANN401
        """Returns the value of two prepared forms and its null; `known`: what a device made."""
        check_rows(a.rows, b.rows)
        return self._with_null(self.metric.compare(a.prepared, b.prepared, *known), a, b)

    def compare_both(self, a: "Form", b: "Form") -> tuple[Outcome, Outcome]:
        """Returns `compare` of a and b, and of b and a, for a metric that `shares_orders`."""
        check_rows(a.rows, b.rows)
        forth, back = self.metric.compare_both(a.prepared, b.prepared)
        return self._with_null(forth, a, b), self._with_null(back, b, a)

    def _with_null(self, value: float, a: "Form", b: "Form") -> Outcome:
        if not np.isfinite(value := float(value)):
            return Outcome(failure=f"the metric gave {value}")
        ties, null = self._ties(a, b), None
        if self.null == "closed_form":
            null = closed_form(self.metric, value, a.moments, b.moments)
        elif self.null:
            orders = self.permutations.orders(a.n, self.groups)
            null = monte_carlo(self.metric, value, a.prepared, b.prepared, orders)
        return with_units(_outcome(value, null, ties), a.units, b.units, self.metric.facts)

    def _ties(self, a: "Form", b: "Form") -> float | None:
        """Returns the share of samples whose k-th neighbour ties, of the side with more."""
        shares = [self.metric.ties(form.prepared) for form in (a, b)]
        return None if None in shares else max(shares)


def _outcome(value: float, null: Null | None, ties: float | None = None) -> Outcome:
    if null is None:
        return Outcome(value, ties=ties)
    return Outcome(value, None, null.mean, null.sd, null.p, ties, null.note)


class Form(NamedTuple):
    """The prepared form of one layer."""

    prepared: Any
    moments: Moments | None
    n: int
    rows: Mapping[str, int] = MappingProxyType({})
    """How many rows those inputs have whose rows are no samples."""
    seconds: float | None = None
    """CPU seconds that it took, where others share them; None: as long as it was waited for."""
    units: UnitSample | None = None
    """Its units as a sample; None: nothing is said of them."""
