"""What infinitely many units would give, beside the value of those that there are."""

from consilience.forms.units import UnitSample, over_units
from consilience.metrics import Facts
from consilience.similarity.store import Outcome

UNITS = ["value_units", "low_units", "high_units"]
"""Columns of a table: the value without its bias in units, and its 95 % interval over units."""


def with_units(
    outcome: Outcome, a: UnitSample | None, b: UnitSample | None, facts: Facts
) -> Outcome:
    """Returns the outcome of a pair with what its units say, as far as they say something.

    Units are taken for independent draws, on either side, of what a wider network would have. Where
    the same units stand on both sides, as in a network and its fine-tuned copy, the value is too
    large; above the best possible one as a whole, `note` says so, and nothing is cut.

    Args:
        outcome: with its value.
        a: units of one side; None: nothing is known of them.
        b: units of the other.
        facts: of the metric.
    """
    if a is None or b is None:
        return outcome
    found = over_units(outcome.value, a, b, normalised=facts.self_value is not None)
    if found is None:
        return _noted(outcome, _NOTHING)
    outcome = outcome._replace(**dict(zip(UNITS, found, strict=True)))
    return _noted(outcome, _ABOVE) if found.low > facts.bounds[1] else outcome


_NOTHING = "no value_units: the units of a side have no more in common than by chance"
_ABOVE = "value_units is above the best value: units of both sides are not independent draws"


def _noted(outcome: Outcome, text: str) -> Outcome:
    return outcome._replace(note="; ".join(filter(None, (outcome.note, text))))
