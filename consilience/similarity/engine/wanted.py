"""Which pairs a table holds: all, or those that a study needs."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consilience.similarity.engine.blocks import all_pairs
from consilience.similarity.task import Item

Pairs = list[tuple[Item, Item]]


@dataclass(frozen=True)
class Wanted:
    """Pairs of different items that somebody asks for, of all that could be made."""

    sets: Sequence[Collection[str]] = ()
    """Models of which every two are compared, by their last layers."""
    layered: Collection[str] = ()
    """Models of which every two layers are compared."""

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> "Wanted | None":
        """Returns what a plan says in plain JSON types; None: all pairs are wanted."""
        return None if given is None else cls(**given)

    def pairs(self, items: Sequence[Item], *, symmetric: bool) -> Pairs:
        """Returns the wanted pairs, in the order in which all would stand.

        Args:
            items: layers, those of a model in their order; models that are not there have none.
            symmetric: either order of a pair once; else both.
        """
        places: dict[str, list[int]] = {}
        for place, item in enumerate(items):
            places.setdefault(item.model, []).append(place)
        together = [[places[m][-1] for m in models if m in places] for models in self.sets]
        together += [places[model] for model in self.layered if model in places]
        found = {pair for own in together for pair in itertools.combinations(sorted(own), 2)}
        if not symmetric:
            found |= {(j, i) for i, j in found}
        return [(items[i], items[j]) for i, j in sorted(found)]


def pairs_of(items: Sequence[Item], wanted: Wanted | None, *, symmetric: bool) -> Pairs:
    """Returns the pairs of a table: those that are wanted, or all, items with themselves too."""
    if wanted is None:
        return all_pairs(items, symmetric=symmetric)
    return wanted.pairs(items, symmetric=symmetric)
