"""The draw: quotas of classes, priorities by hash, and the rules for a cap.

Where samples come in groups, groups are drawn (see `samples.groups`): a group has the label of its
first sample, and its priority is that of its name.
"""

import hashlib
import random
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from consilience import files
from consilience.alterations.spec import Derived, parse_cell
from consilience.errors import ConfigError, DataError
from consilience.forms.groups import unit_count, whole_groups
from consilience.samples.groups import (
    GROUP,
    NO_GROUPS,
    GroupRule,
    parse_group,
    samples_of,
    units_of,
)

TEST_SHARE = Fraction(1, 4)


@dataclass(frozen=True)
class Draw:
    """What a dataset row asks for."""

    dataset: str
    seed: int
    modalities: frozenset[str]
    cap: int | None
    test_share: Fraction
    skip_corrupt: bool
    rule: str = ""
    group: GroupRule = NO_GROUPS
    of: str = ""
    """Of a derived dataset: the one that it is of, by whose id things are drawn."""
    only: str = ""
    """Of a derived dataset: the split that it is made of, which then is one pool."""


def share_equally(sizes: Sequence[int], cap: int) -> list[int]:
    """Returns how many samples each class gives so that they sum to min(cap, Σ sizes).

    Water-filling: every class gives min(size, level) for the highest level that fits; what is left
    goes, one each, to the first classes that have more. A larger cap takes no less from any class.

    Args:
        sizes: Number of samples of each class, (C,).
        cap: Number of samples wanted.
    """
    if cap >= sum(sizes):
        return list(sizes)
    levels = range(max(sizes) + 1)
    level = bisect_right(levels, cap, key=lambda level: sum(min(n, level) for n in sizes)) - 1
    quotas = [min(n, level) for n in sizes]
    rest = cap - sum(quotas)
    larger = [i for i, n in enumerate(sizes) if n > level]
    for i in larger[:rest]:
        quotas[i] += 1
    return quotas


def share_test(sizes: Sequence[int], share: Fraction) -> list[int]:
    """Returns how many samples of each class go to test: share × Σ sizes in all, rounded half up.

    Each class gives its share rounded down; the largest remainders give one more, ties going to
    the first. Every class of two or more has a sample on both sides, which takes precedence over
    the total; a class of one stays in train.

    Args:
        sizes: Number of samples of each class, (C,).
        share: Share of test, 0 ≤ share < 1; 0 means no test samples at all.
    """
    n = np.asarray(sizes, dtype=np.int64)
    if not share:
        return [0] * len(n)
    up, down = share.numerator, share.denominator
    low, high = (n >= 2).astype(np.int64), np.maximum(n - 1, 0)
    quotas = np.clip(n * up // down, low, high)
    total = (2 * int(n.sum()) * up + down) // (2 * down)
    while quotas.sum() != total:
        step = 1 if quotas.sum() < total else -1
        free = quotas < high if step > 0 else quotas > low
        if not free.any():
            break
        # Integers instead of fractions of floats: 0.29 × 100 is 29.
        owed = np.where(free, step * (n * up - quotas * down), np.iinfo(np.int64).min)
        quotas[owed.argmax()] += step
    return quotas.tolist()


def parse_row(row: Mapping[str, Any], seed: int) -> Draw:
    """Returns what a row asks for; raises ConfigError at a cell that cannot be used."""
    cells = {key: str(value).strip() for key, value in row.items() if value is not None}
    dataset = cells["dataset"]

    def refuse(column: str, allowed: str) -> ConfigError:
        found = cells[column]
        return ConfigError(f"dataset {dataset!r}, column {column}: {found!r} is not {allowed}")

    cells = {"cap": "", "test_share": "", "skip_corrupt": "", "rule": ""} | cells
    cap, share, skip, rule = (cells[key] for key in ("cap", "test_share", "skip_corrupt", "rule"))
    if cap and (not cap.isdecimal() or int(cap) < 1):
        raise refuse("cap", "a whole number from 1, or blank")
    if share and not (re.fullmatch(r"\d*\.?\d+", share) and Fraction(share) < 1):
        raise refuse("test_share", "a number from 0 to below 1, or blank")
    if skip not in ("", "yes", "no"):
        raise refuse("skip_corrupt", "yes, no or blank")
    if rule not in RULES:
        raise refuse("rule", f"blank or one of: {', '.join(filter(None, RULES))}")
    derived = read_derived(row)
    return Draw(
        dataset=dataset,
        seed=seed,
        modalities=frozenset(cells["modality"].split("+")),
        cap=int(cap) if cap else None,
        test_share=Fraction(share) if share else TEST_SHARE,
        skip_corrupt=skip == "yes",
        rule=rule,
        group=parse_group(row),
        of=derived.of if derived else "",
        only=derived.split if derived else "",
    )


def read_derived(row: Mapping[str, Any]) -> Derived | None:
    """Returns what the column `alteration` of a row says, or None if it is blank.

    Raises:
        ConfigError: it cannot be used.
    """
    cell = str(row.get("alteration") or "").strip()
    place = f"dataset {row.get('dataset')!r}, column alteration ({cell!r})"
    return parse_cell(cell, place) if cell else None


def priority(draw: Draw, purpose: str, item: str | int) -> bytes:
    """Returns what things are sorted by when some are drawn: the same for no two purposes."""
    dataset = draw.of or draw.dataset
    text = files.canonical_json([str(draw.seed), dataset, purpose, str(item)])
    return hashlib.sha256(text.encode()).digest()


def share_classes(table: pd.DataFrame, draw: Draw, purpose: str, share: Any) -> dict[int, int]:  # noqa: ANN401
    """Returns {label: share(sizes)}, the classes in the order of their priority."""
    sizes = Counter(table["label"].tolist())
    labels = sorted(sizes, key=lambda label: priority(draw, f"{purpose} class", label))
    return dict(zip(labels, share([sizes[label] for label in labels]), strict=True))


def take_first(
    table: pd.DataFrame, quotas: Mapping[int, int], draw: Draw, purpose: str
) -> pd.Series:
    """Returns whether a sample is among the first quotas[label] of its class in priority."""
    ranked = pd.Series([priority(draw, purpose, i) for i in table["id"]], table.index)
    order = table.assign(priority=ranked).sort_values("priority", kind="stable")
    rank = order.groupby("label").cumcount().reindex(table.index)
    return rank < table["label"].map(quotas)


def cap_samples(listed: pd.DataFrame, draw: Draw, pool: bool = False) -> pd.DataFrame:
    """Returns at most `cap` samples of each split (of all, if they are one pool), order kept."""
    if draw.cap is None:
        return listed
    keep = pd.Series(False, index=listed.index)
    for _, part in listed.groupby(np.zeros(len(listed), int) if pool else "split"):
        keep[part.index] = RULES[draw.rule](part, draw)
    return listed[keep]


def _cap_exactly(part: pd.DataFrame, draw: Draw) -> pd.Series:
    if GROUP in part:
        return _cap_groups(part, draw)
    equal = share_classes(part, draw, "cap", lambda sizes: share_equally(sizes, draw.cap))
    return take_first(part, equal, draw, "cap")


def _cap_groups(part: pd.DataFrame, draw: Draw) -> pd.Series:
    """Returns which samples are kept: whole groups, as many of each class as fit into the cap.

    As `share_equally`, in groups: every class gives all it has or as many as the others, and then
    one more, class after class, until one does not fit.

    Raises:
        DataError: not even one group fits.
    """
    units = units_of(part)
    counts = share_classes(units, draw, "cap", list)
    ranked = in_priority(units, draw, "cap")
    sums = {c: np.cumsum([0, *ranked.loc[ranked["label"] == c, "rows"]]) for c in counts}

    def taken(level: int) -> int:
        return sum(int(own[min(level, len(own) - 1)]) for own in sums.values())

    levels = range(max(counts.values()) + 1)
    level = bisect_right(levels, draw.cap, key=taken) - 1
    quotas, rest = dict.fromkeys(counts, level), draw.cap - taken(level)
    for label, own in sums.items():
        if level + 1 < len(own):
            rest -= int(own[level + 1] - own[level])
            if rest < 0:
                break
            quotas[label] += 1
    if not any(quotas.values()):
        raise too_small(draw, f"a cap of {draw.cap}", units)
    return samples_of(part, units, take_first(units, quotas, draw, "cap"))


def too_small(draw: Draw, what: str, units: pd.DataFrame) -> DataError:
    """Returns the error where not even one group fits."""
    return DataError(
        f"dataset {draw.dataset!r}: {what} is less than one group, which has {units['rows'].min()} "
        f"to {units['rows'].max()} samples and is kept whole; raise it, or write none into the "
        "column group"
    )


def in_priority(units: pd.DataFrame, draw: Draw, purpose: str) -> pd.DataFrame:
    """Returns what is drawn in the order of its priority."""
    order = sorted(range(len(units)), key=lambda i: priority(draw, purpose, units["id"].iloc[i]))
    return units.iloc[order]


def take_rows(part: pd.DataFrame, count: int, draw: Draw, purpose: str, what: str) -> pd.Series:
    """Returns which samples of groups are kept: the first in priority that are `count` at most.

    Raises:
        DataError: the first is larger.
    """
    units = units_of(part)
    ranked = in_priority(units, draw, purpose)
    kept = ranked["rows"].cumsum() <= count
    if len(kept) and not kept.iloc[0]:
        raise too_small(draw, what, units)
    return samples_of(part, units, kept.reindex(units.index))


def _cap_as_similarity_consistency(part: pd.DataFrame, draw: Draw) -> pd.Series:
    """Returns the draw of Ciernik et al. (2025), which is not exact.

    If there are more than `cap` samples, every class gives ceil(cap / classes) or all it has, by
    NumPy's `choice` from a generator of seed 42, class after class in the order of their labels.
    They seeded once for all their datasets, in the order of size; here each draws afresh.
    """
    if len(part) <= draw.cap:
        return pd.Series(True, index=part.index)
    _need_single(part, draw)
    generator = np.random.RandomState(42)
    labels = part["label"].to_numpy()
    quota = -(-draw.cap // len(np.unique(labels)))
    keep = pd.Series(False, index=part.index)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        chosen = generator.choice(rows, min(len(rows), quota), replace=False)
        keep.iloc[chosen] = True
    return keep


def _need_single(part: pd.DataFrame, draw: Draw) -> None:
    """Raises ConfigError where a published draw, which is of single samples, meets groups."""
    if GROUP in part:
        raise ConfigError(
            f"dataset {draw.dataset!r}: the rule {draw.rule!r} draws single samples, and these "
            "come in groups; leave the column rule blank, or write none into the column group"
        )


RULES = {"": _cap_exactly, "similarity_consistency": _cap_as_similarity_consistency}
"""How a cap is drawn, by the value of the column `rule`: which samples of a part are kept."""


def take_per_class(part: pd.DataFrame, count: int, draw: Draw, purpose: str) -> pd.Series:
    """Returns whether a sample is among the `count` that each class gives.

    By the rule `similarity_consistency` these are Python's `random.sample` of seed 42, class after
    class in the order of their labels, as Ciernik et al. (2025) drew their ImageNet subsets.
    """
    sizes = Counter(part["label"].tolist())
    if draw.rule != "similarity_consistency":
        if GROUP in part:
            what = f"per_class={count}"
            kept = [take_rows(own, count, draw, purpose, what) for _, own in part.groupby("label")]
            return pd.concat(kept).reindex(part.index)
        return take_first(part, dict.fromkeys(sizes, count), draw, purpose)
    _need_single(part, draw)
    generator = random.Random(42)
    keep = pd.Series(False, index=part.index)
    for label in sorted(sizes):
        rows = part.index[part["label"] == label].tolist()
        keep[generator.sample(rows, min(count, len(rows)))] = True
    return keep


HALVES = ("a", "b")
"""The names of two halves."""


def halve(
    n: int,
    seed: int | Sequence[int],
    *,
    equal: bool = False,
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, ...]:
    """Returns the rows of two halves of n samples that have none in common, each in order.

    Groups are kept whole: each half has half of them, so that the halves have as many samples only
    where groups have one size.

    Halves of which nothing outlives a table are drawn here, each step with a seed of its own. The
    views `half=a` and `half=b` are datasets, and draw by the ids of the samples instead (see
    `views`): their halves must not change with the number or the order of the others.

    Args:
        n: number of samples.
        seed: a number or several.
        equal: with n odd, the sample that is drawn last is left out; else the second half has it.
        groups: (n,) see `consilience.forms.groups`; then n and what is left out are groups.

    Returns:
        (n // 2,) rows and (n - n // 2,), or (n // 2,), rows.
    """
    count = unit_count(groups, n)
    order = np.random.default_rng(seed).permutation(count)
    size = count // 2
    halves = order[:size], order[size : 2 * size if equal else count]
    return tuple(whole_groups(groups, half) for half in halves)


def part_pool(chosen: pd.DataFrame, draw: Draw) -> pd.DataFrame:
    """Returns the samples with the split `train` or `test`; what the source says is kept."""
    if (chosen["split"] != "").all():
        return chosen
    units = units_of(chosen)
    quotas = share_classes(units, draw, "test", lambda sizes: share_test(sizes, draw.test_share))
    test = samples_of(chosen, units, take_first(units, quotas, draw, "test"))
    return chosen.assign(split=np.where(test, "test", "train"))
