"""What figures of attacks share: their table, their groups, and what is measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd

from consilience.causes.selection import SELF
from consilience.errors import DataError
from consilience.plots.facts import Condition
from consilience.plots.sources import from_tables

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

GROUP = ["kind", "family", "train_set", "dataset"]
"""What pairs of one panel have in common."""
ATTACK = ["eps", "steps", "momentum"]
ATTACKED = Condition("attacks (`causes.transfer`)", lambda plan: plan.transfers)
SUCCESSES = from_tables("successes")


def attacks_of(successes: pd.DataFrame) -> Iterator[tuple[tuple[Hashable, ...], pd.DataFrame]]:
    """Yields (values of `GROUP` and `ATTACK`, rows) of all pairs, those of a model itself included.

    Args:
        successes: rows of results/transfer/successes.

    Raises:
        DataError: no attack on another model has a value.
    """
    others = successes[successes["control"] != SELF]
    if not others["success"].notna().any():
        why = others["failure"].dropna()
        raise DataError(
            "no attack on another model has a success"
            + (f": {why.iloc[0]} ({len(why)} pairs in all)" if len(why) else "")
        )
    yield from successes.groupby([*GROUP, *ATTACK], sort=True)


def split_title(title: str, keys: Sequence[tuple[Hashable, ...]]) -> tuple[str, list[str]]:
    """Returns a title, and for each of `attacks_of` the line of its label that names its attack.

    Where all attacks are one, it stands in the title alone.
    """
    names = [attack_name(*key[len(GROUP) :]) for key in keys]
    if len(set(names)) == 1:
        return f"{title} ({names[0]})", [""] * len(names)
    return title, [f"\n{name}" for name in names]


def attack_name(eps: float, steps: int, momentum: float) -> str:
    """Returns what an attack is called."""
    levels = 255 * eps
    size = f"{levels:.0f}/255" if abs(levels - round(levels)) < 1e-6 else f"{eps:g}"
    kind = f"momentum {momentum:g}" if momentum else "PGD"
    return f"ε {size}, {steps} steps, {kind}"
