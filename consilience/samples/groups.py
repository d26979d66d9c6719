"""Groups of samples: which samples are of one thing, so that draws and splits keep them whole.

The column `group` of datasets.tsv says how they are found:

- blank: no groups, but where one picture has several captions as samples (`captions: all`)
- `id=PATTERN`: by the sample's id; PATTERN is a regular expression with one group in parentheses,
  sought anywhere in the id, such as `id=(video[0-9]+)_`. An id that it does not match is an error
- `column=NAME`: by what the source says: a column of `huggingface`, KEY.NAME of `webdataset`; a
  sample without it is alone
- `file=PATH`: by a table with the columns `id` and `group`, separated by tabs; a sample that is not
  in it is alone
- `content`: samples with the same picture, pixel by pixel, are one group; of texts the same text,
  of vectors the same numbers
- `none`: no groups, whatever the source says

Groups are the unit of every draw: of caps, splits, views, halves and permutations. Where the splits
are the source's own, test samples of a group that is in train too are moved to train, with a
warning.
"""

import hashlib
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from consilience import files
from consilience.datasets import GROUP_COLUMN, Dataset, Sample
from consilience.errors import ConfigError, DataError
from consilience.forms.groups import describe, group_codes
from consilience.limits.reading import read_text
from consilience.registry import did_you_mean

log = logging.getLogger(__name__)

GROUP = "group"
"""The column of samples, and of datasets.tsv."""
KINDS = ("id", GROUP_COLUMN, "file", "content", "none")


class GroupRule(NamedTuple):
    """How the groups of a dataset are found."""

    dataset: str
    kind: str = ""
    value: str = ""

    @property
    def place(self) -> str:
        """The cell, for messages."""
        cell = f"{self.kind}={self.value}" if self.value else self.kind
        return f"dataset {self.dataset!r}, column group ({cell!r})"


NO_GROUPS = GroupRule("")
"""That of a row whose cell is blank."""


def parse_group(row: Mapping[str, Any]) -> GroupRule:
    """Returns what the cell `group` of a row says; raises ConfigError if it cannot be used."""
    cell = str(row.get(GROUP) or "").strip()
    kind, _, value = cell.partition("=")
    rule = GroupRule(str(row.get("dataset")), kind, value)
    if not cell:
        return rule
    alone = kind in ("content", "none")
    if kind not in KINDS or alone == bool(value):
        hint = did_you_mean(kind, KINDS)
        known = "id=PATTERN, column=NAME, file=PATH, content, none or blank"
        raise ConfigError(f"{rule.place} is not one of {known}{hint if kind not in KINDS else ''}")
    if kind == "id":
        _pattern(rule)
    return rule


def _pattern(rule: GroupRule) -> re.Pattern[str]:
    try:
        pattern = re.compile(rule.value)
    except re.error as error:
        raise ConfigError(f"{rule.place}: no regular expression ({error})") from error
    if pattern.groups != 1:
        raise ConfigError(
            f"{rule.place}: it has {pattern.groups} groups in parentheses; put one around the part "
            "of the id that the samples of a group share, as in id=(video[0-9]+)_"
        )
    return pattern


def add_groups(
    table: pd.DataFrame, rule: GroupRule, dataset: Dataset | None, modalities: frozenset[str]
) -> pd.DataFrame:
    """Returns the samples with the column `group` as the rule says, without it if all are alone.

    Args:
        table: `id`, and `group` where the source, or a view's parent, has any.
        rule: of the dataset.
        dataset: the source; None for a view.
        modalities: what samples hold.

    Raises:
        ConfigError: the rule is none for this source, or for a view.
        DataError: an id that the pattern does not match, or a table that names none of the ids.
    """
    ids = table["id"]
    if rule.kind in (GROUP_COLUMN, "content") and dataset is None:
        raise ConfigError(f"{rule.place}: a view has its parent's; write it into the parent's row")
    if rule.kind == "id":
        found = _by_id(ids, rule)
    elif rule.kind == "file":
        found = ids.map(read_groups(rule, set(ids)))
    elif rule.kind == "content":
        found = ids.map(dict(_contents(dataset, modalities)))
    elif rule.kind == "none" or GROUP not in table:
        found = None
    else:
        found = table[GROUP]
    if rule.kind == GROUP_COLUMN and (found is None or found.isna().all()):
        raise ConfigError(
            f"{rule.place}: the source gives no sample such a group; sources with columns are "
            "huggingface and webdataset (KEY.NAME), for others use id=PATTERN or file=PATH"
        )
    table = table.drop(columns=GROUP, errors="ignore")
    return drop_single(table if found is None else table.assign(**{GROUP: found}), rule)


def drop_single(table: pd.DataFrame, rule: GroupRule) -> pd.DataFrame:
    """Returns the samples without the column `group` if every sample is alone."""
    if GROUP not in table or group_codes(table[GROUP].to_numpy(object)) is not None:
        return table
    if rule.kind:
        log.info("%s: no two samples are of one group", rule.place)
    return table.drop(columns=GROUP)


def _by_id(ids: pd.Series, rule: GroupRule) -> pd.Series:
    pattern = _pattern(rule)
    found = ids.map(lambda id_: match[1] if (match := pattern.search(id_)) else None)
    if missing := int(found.isna().sum()):
        raise DataError(
            f"{rule.place}: the pattern does not match {missing} of {len(ids)} ids, such as "
            f"{ids[found.isna()].iloc[0]!r}; correct it, or name groups by file=PATH"
        )
    return found


def read_groups(rule: GroupRule, ids: set[str]) -> dict[str, str]:
    """Returns {id: group} of a table of groups.

    Raises:
        ConfigError: the file is absent, lacks a column or a cell, or names an id twice.
        DataError: it names none of the samples.
    """
    path = files.find(rule.value)
    if not path.is_file():
        raise ConfigError(f"{rule.place}: there is no such file")
    lines = read_text(path, "utf-8-sig").splitlines()
    header = lines[0].split("\t") if lines else []
    if not {"id", GROUP} <= set(header):
        raise ConfigError(
            f"{rule.place}: its columns are {header}; it needs id and group, separated by tabs"
        )
    groups: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if len(cells) != len(header):
            raise ConfigError(
                f"{rule.place}, line {number}: {len(cells)} cells for {len(header)} columns"
            )
        id_, group = (dict(zip(header, cells, strict=True))[key] for key in ("id", GROUP))
        if groups.setdefault(id_, group) != group:
            raise ConfigError(f"{rule.place}, line {number}: {id_!r} is in two groups")
    if not ids & groups.keys():
        raise DataError(
            f"{rule.place}: none of its {len(groups)} ids is a sample's; samples are called like "
            f"{min(ids)!r}, the file says {next(iter(groups), '')!r}"
        )
    return {id_: group for id_, group in groups.items() if group}


def _contents(dataset: Dataset, modalities: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yields (id, hash of its content) of all samples; damaged pictures have none."""
    for sample in dataset:
        if "image" in modalities:
            content = _picture(sample)
        elif "vector" in modalities:
            content = sample.vector.tobytes()
        else:
            content = (sample.text or "").encode("utf-8", "replace")
        if content is not None:
            yield sample.id, hashlib.sha256(content).hexdigest()


def _picture(sample: Sample) -> bytes | None:
    try:
        picture = sample.image()
    except DataError:
        return None
    return repr(picture.size).encode() + picture.tobytes()


def keep_whole(table: pd.DataFrame, rule: GroupRule) -> pd.DataFrame:
    """Returns the samples with no group in both splits: test samples of such are moved to train.

    Raises:
        DataError: no test sample would be left.
    """
    if GROUP not in table:
        return table
    groups, test = table[GROUP], table["split"] == "test"
    both = test & groups.notna() & groups.isin(groups[table["split"] == "train"].dropna())
    if not both.any():
        return table
    what = f"{groups[both].nunique()} groups (such as {groups[both].iloc[0]!r})"
    if both.sum() == test.sum():
        raise DataError(
            f"dataset {rule.dataset!r}: {what} have samples in train and in test, and no other "
            "test sample is there; name one split in the column splits, or other groups"
        )
    log.warning(
        "dataset %s: %s have samples in train and in test; their %d test samples are moved to "
        "train, so that nothing is tested that was learnt from",
        *(rule.dataset, what, int(both.sum())),
    )
    return table.assign(split=table["split"].mask(both, "train"))


def units_of(table: pd.DataFrame) -> pd.DataFrame:
    """Returns what is drawn, one line each: groups, and samples that are alone.

    `id` is the group's name or the sample's, `label` that of its first sample, and `rows` how many
    samples it has. Without groups these are the samples as they are.
    """
    if GROUP not in table:
        return table
    names = unit_names(table)
    units = table.assign(id=names, rows=names.map(names.value_counts()))
    return units[~names.duplicated()]


def unit_names(table: pd.DataFrame) -> pd.Series:
    """Returns for each sample the `id` of its unit."""
    return table[GROUP].fillna(table["id"]).astype("string")


def samples_of(table: pd.DataFrame, units: pd.DataFrame, chosen: pd.Series) -> pd.Series:
    """Returns whether a sample belongs to the chosen of `units_of` the table."""
    if GROUP not in table:
        return chosen
    return unit_names(table).isin(units.loc[chosen, "id"])


def describe_groups(table: pd.DataFrame) -> dict[str, Any]:
    """Returns what a samples file says of its groups: `n`, `largest` and, in words, `text`."""
    codes = group_codes(table[GROUP].to_numpy(object))
    sizes = pd.Series(codes).value_counts()
    return {"n": len(sizes), "largest": int(sizes.max()), "text": describe(codes)}
