"""Ranks of what is published, source by source, and beside those of a study."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.files import file_digest, read_table, write_table
from consilience.grounding.published.figure import cases_of_boxes
from consilience.grounding.published.names import MEASURES, metric_of
from consilience.grounding.published.tables import KEY, VALUES, Published, read_published
from consilience.grounding.ranks import RANKS, SUMMARY, rank_cases, summarize
from consilience.grounding.scores import OK

logger = logging.getLogger(__name__)

OWN = "this study"
"""The source of what a study found itself."""
MARKS = ["source", "name", "same"]
CASES = [*RANKS, *MARKS, "note"]
DOMAINS = [*SUMMARY, *MARKS, "note"]
UNDRAWN = "no interval: similarities of pairs are not in the tables"
READ_OFF = "read off a figure: medians alone"
PARTLY = "no interval: a part of the source holds no similarities of pairs"


def make_published(
    sources: Mapping[str, Sequence[str | Path]],
    values: str | Path,
    cases: str | Path,
    domains: str | Path,
    *,
    own: Sequence[str | Path] = (),
    seed: int = 0,
) -> None:
    """Writes published tables as grounding results: values, and ranks beside those of a study.

    Args:
        sources: {name: files}; the files of a source are ranked together, no two sources are.
        values: the first table to write: every published score, with the columns of `VALUES`.
        cases: the second: metrics ranked in every case, with the columns of `CASES`.
        domains: the third: by domain, with the columns of `DOMAINS`.
        own: grounding/ranks/cases.parquet and domains.parquet of a study, whose rows come first;
            empty if it has none.
        seed: of resamples, where a file holds pairs.

    Raises:
        DataError: a file is no table of ReSi, or two files of a source say two things of one score.
    """
    read = {name: [read_published(path, seed=seed) for path in paths]
            for name, paths in sources.items()}  # fmt: skip
    _check(read)
    ranked = [(name, *rank_source(files)) for name, files in read.items()]
    ours = [[_own(path)] for path in own[:2]] or [[], []]
    found = [file.scores.assign(source=name) for name, files in read.items() for file in files]
    hashes = {name: [[Path(p).name, file_digest(p)] for p in paths]
              for name, paths in sources.items()}  # fmt: skip
    metadata = {"sources": hashes, "seed": seed}
    write_table(_united(found, list(VALUES)).astype(VALUES), values, metadata)
    for i, (path, columns) in enumerate([(cases, CASES), (domains, DOMAINS)]):
        parts = ours[i] + [row[i + 1].assign(source=row[0]) for row in ranked]
        write_table(_typed(_united(parts, columns)), path, metadata)
    for name, *_ in ranked:
        logger.info("source %r: %d scores", name, sum(len(f.scores) for f in read[name]))


def _check(read: Mapping[str, Sequence[Published]]) -> None:
    """Refuses two values of one thing in one source."""
    for name, files in read.items():
        table = pd.concat([file.scores for file in files], ignore_index=True)
        if (twice := table[table.duplicated(KEY, keep=False)]).size:
            row = twice.iloc[0]
            raise DataError(
                f"the source {name!r} says twice what {row['name']!r} gets for {row['recipe']!r}, "
                f"test {row['test']!r} ({', '.join(sorted(set(twice['file'])))}); files of one "
                "source are ranked together: name two sources"
            )


def _own(path: str | Path) -> pd.DataFrame:
    table = read_table(path)
    return table.assign(source=OWN, name=table["metric"], same=True, note="")


def _united(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    filled = [part for part in parts if len(part)]
    if not filled:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(filled, ignore_index=True).reindex(columns=list(columns))


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table whose texts are texts and whose other columns are numbers, if empty too."""
    texts = {"metric", "domain", "recipe", "test", "status", "source", "name", "note"}
    counts = {"place", "n_cases"}
    kinds = {
        column: "str" if column in texts else "Int64" if column in counts else "float64"
        for column in table.columns
        if column != "same"
    }
    return table.astype(kinds | {"same": "bool"})


def rank_source(files: Sequence[Published]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the ranks of one source in every case, and by domain.

    Ranks are those of `rank_cases` and `summarize`. Without similarities of pairs nothing is
    resampled, so there is no interval of a mean rank; nor where a part of the source has none.

    Returns:
        Tables with the columns of `CASES` and `DOMAINS` but `source`.
    """
    samples = pd.concat([file.samples for file in files], ignore_index=True)
    ranked = [_rank(samples)] if len(samples) else []
    ranked += [_rank_boxes(file.boxes) for file in files if file.boxes is not None]
    cases, domains = (
        _united([tables[i] for tables in ranked], [c for c in columns if c != "source"])
        for i, columns in enumerate((CASES, DOMAINS))
    )
    return cases, domains


def _rank_boxes(boxes: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = boxes.assign(note=READ_OFF, coverage=1.0)
    kept = [*SUMMARY, "name", "same", "note"]
    return pd.DataFrame(cases_of_boxes(boxes)), rows.reindex(columns=kept)


def _rank(samples: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    samples, note = _same_draws(samples)
    cases, drawn = rank_cases(samples)
    names = {metric_of(name)[1]: name for name in MEASURES}
    marked = []
    for table, text in ((cases, ""), (summarize(cases, drawn), note)):
        name = table["metric"].map(lambda metric: names.get(metric, metric))
        marked.append(table.assign(name=name, same=name != table["metric"], note=text))
    return marked[0], marked[1]


def _same_draws(samples: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Returns samples of which all or none are resampled, and why there are no intervals."""
    drawn = samples.loc[samples["status"] == OK, "drawn"].map(len)
    if (drawn > 0).all():
        return samples, ""
    empty = pd.Series([[] for _ in range(len(samples))], index=samples.index)
    return samples.assign(drawn=empty), PARTLY if (drawn > 0).any() else UNDRAWN


def as_lines(domains: pd.DataFrame, most: int = 10) -> list[str]:
    """Returns the best of every source and domain in words, for a screen."""
    lines: list[str] = []
    for (source, domain), part in domains.groupby(["source", "domain"], sort=False):
        lines.append(f"{source}, {domain}")
        for row in part.sort_values("place").head(most).to_dict("records"):
            lines.append(f"  {_number(row['place'])}  {row['metric']:<32} {_ranks(row)}")
        if note := next(iter(part["note"]), ""):
            lines.append(f"  ({note})")
    return lines


def _number(place: Any) -> str:  # noqa: ANN401
    return " –" if pd.isna(place) else f"{int(place):2d}"


def _ranks(row: Mapping[str, Any]) -> str:
    mean = "" if pd.isna(row["mean_rank"]) else f"mean rank {row['mean_rank']:.1f}, "
    low, high = row["low"], row["high"]
    interval = "" if np.isnan([low, high]).any() else f" [{low:.1f}, {high:.1f}]"
    return f"{mean}median {row['median_rank']:.1f}{interval}"
