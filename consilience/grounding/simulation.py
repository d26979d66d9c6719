"""Data that a model might have generated: on which stimuli, and how a recording sees features."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from consilience.errors import ConfigError
from consilience.files import derive_seed
from consilience.forms.groups import whole_groups
from consilience.pairs.correlations import Floats


@dataclass(frozen=True)
class Simulation:
    """How data are made, and of what.

    Attributes:
        stimuli: numbers of stimuli; numbers beyond the dataset stand for all of it.
        draws: data sets of each model at each number.
        units: channels.
        mixing: whether a channel is a random mixture of all units, or one unit.
        noise: variance of the noise of a channel over that of the signal. By default channels are
            so few and noisy that eight small networks on digits are told apart from 200 stimuli on
            by CKA and Procrustes distances; with 100 channels and a noise of 1, from 20 on.
        bound: share of data sets that are to be recovered.
        models: if there are more, so many are drawn.
    """

    stimuli: Sequence[int] = (20, 50, 100, 200, 500)
    draws: int = 10
    units: int = 20
    mixing: bool = True
    noise: float = 10.0
    bound: float = 0.95
    models: int = 20

    def __post_init__(self) -> None:
        if min([self.draws, self.units, *self.stimuli], default=0) < 1 or self.noise < 0:
            raise ConfigError(
                "grounding.recovery: stimuli, draws and units are whole numbers from 1, noise is "
                f"not below 0; they are {list(self.stimuli)}, {self.draws}, {self.units}, "
                f"{self.noise}"
            )


def simulate(x: Floats, simulation: Simulation, generator: np.random.Generator) -> Floats:
    """Returns data (n, units) of features x: (n, d), of the same size in expectation.

    Mixtures have normal weights of variance 1 / units, so that distances of stimuli stay what they
    are on average; single units, drawn without replacement as far as there are enough, are scaled
    by √(d / units).
    """
    d, units = x.shape[1], simulation.units
    if simulation.mixing:
        data = x @ generator.normal(scale=units**-0.5, size=(d, units))
    else:
        chosen = generator.permutation(np.arange(max(d, units)) % d)[:units]
        data = x[:, chosen] * np.sqrt(d / units)
    signal = float(data.var(axis=0).mean())
    return data + generator.normal(scale=np.sqrt(simulation.noise * signal), size=data.shape)


class Draw(NamedTuple):
    """Data of all models on some stimuli."""

    n: int
    draw: int
    rows: np.ndarray


def draw_stimuli(
    ids: Sequence[str], groups: np.ndarray | None, simulation: Simulation, salt: Sequence[str | int]
) -> Iterator[Draw]:
    """Yields stimuli of every number and draw; those of a smaller number are among them.

    They are drawn by their ids, not by their positions; groups of samples are kept whole, by the id
    of their first sample.

    Args:
        ids: (N,) of all samples.
        groups: (N,) which are of one group, or None.
        simulation: numbers and draws.
        salt: what draws depend on.
    """
    size = len(ids)
    first = np.arange(size) if groups is None else np.unique(groups, return_index=True)[1]
    counts = np.ones(size, dtype=int) if groups is None else np.bincount(groups)
    for draw in range(simulation.draws):
        start = str(derive_seed(*salt, "stimuli", draw))
        order = np.array(order_by_hash([str(ids[i]) for i in first], start))
        ends = counts[order].cumsum()
        for n in sorted({min(n, size) for n in simulation.stimuli}):
            most = max(1, int(np.searchsorted(ends, n, side="right")))
            yield Draw(n, draw, whole_groups(groups, np.sort(order[:most])))


def order_by_hash(names: Sequence[str], start: str) -> list[int]:
    """Returns the places of names in an order that depends on each name alone."""
    marks = [hashlib.sha256(f"{start} {name}".encode()).digest() for name in names]
    return sorted(range(len(names)), key=marks.__getitem__)
