"""Similarity of models and how far they differ in what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from consilience.errors import DataError
from consilience.plots.facts import METRIC, Condition, register
from consilience.plots.families import between, footnotes, headline, marks, sizes_of
from consilience.plots.rows import draw_rows, row_figure
from consilience.plots.sources import LABEL, from_tables
from consilience.plots.style import METHODS, PAGE, bottom_legend, read_groups, shorten, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@register(
    per=METRIC,
    takes={
        "relation": from_tables("relation"),
        "label": LABEL,
    },
    category="Behavior",
    caption=(
        "Correlation, over pairs of models of a dataset, of their similarity with how far they "
        "differ in what they do: the gap of their probe accuracies, and where logits exist their "
        "disagreement, the divergence of their predictions and the consistency of their errors. "
        "Lines are 95 % intervals that resample models. Where models are of families, filled "
        "points are over pairs of models of different families, with intervals over families; "
        "open ones are over all pairs."
    ),
    when=Condition("datasets with labels", lambda plan: plan.labelled),
)
def similarity_behavior(
    relation: pd.DataFrame,
    *,
    label: str,
    method: str = "pearson",
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws how similarity goes together with differences in behavior: a row per dataset.

    Datasets of a domain stand together and have one colour. Where models are of families, filled
    points are over pairs of models of different families, open ones over all pairs.

    Args:
        relation: rows of `results/behavior/relation` of one metric.
        label: the metric's name for the reader.
        method: `pearson` or `spearman`.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the rows of `relation` that it shows.

    Raises:
        DataError: no dataset has a value.
    """
    chosen = relation[relation["method"] == method]
    table = chosen[chosen["value"].notna()].sort_values(["domain", "dataset"], kind="stable")
    if table.empty:
        why = ", ".join(sorted(set(chosen["status"]))) or "no labelled dataset"
        raise DataError(f"no dataset has a relation of similarity and behavior: {why}")
    datasets = table["dataset"].unique().tolist()
    domains = read_groups(table.drop_duplicates("dataset").set_index("dataset"), "domain")
    rows = headline(table)
    families = between(rows)
    rows = rows.assign(label=table["dataset"], color=domains.colors(table["dataset"]))
    measures = table["measure"].unique().tolist()
    with style():
        figure = row_figure([len(datasets)], len(measures), width=width, extra=22)
        for axes, measure in zip(figure.axes, measures, strict=True):
            draw_rows(axes, rows[rows["measure"] == measure], datasets)
            axes.set_title(measure.replace("_", " "))
        figure.axes[0].set_yticks(range(len(datasets)), _names(rows, datasets))
        figure.suptitle(f"{label} and behavior{f', {families}' * bool(families)}")
        ends = "line: 95 % interval over models"
        if families:
            ends = "filled: between families, interval over families; open: over all model pairs"
        heading = (
            f"{METHODS[method]} of similarity and difference in behavior, over model pairs\n"
            f"({ends}; colour: domain, n = datasets)"
        )
        names = {measure: f", {measure.replace('_', ' ')}" for measure in measures[1:] and measures}
        lines = footnotes(table, lambda row: row.dataset + names.get(row.measure, ""), width)
        figure.set_figheight(figure.get_figheight() + 3.0 * len(lines) / 25.4)
        heading = "\n".join([heading, *lines])
        bottom_legend(figure, domains.legend(datasets, "o"), heading, width)
    return figure, table.reset_index(drop=True)


def _names(rows: pd.DataFrame, datasets: list[str]) -> list[str]:
    """Returns the names of rows, with sizes where models are of families, and marks."""
    names = []
    for dataset, short in zip(datasets, shorten(datasets, 20), strict=True):
        of = list(rows[rows["dataset"] == dataset].itertuples())
        signs = "".join(dict.fromkeys("".join(map(marks, of))))
        sizes = dict.fromkeys(map(sizes_of, of)) if "value_all" in rows else ()
        counted = f" ({' / '.join(sizes)})" if sizes else ""
        names.append(f"{short}{signs}{counted}")
    return names
