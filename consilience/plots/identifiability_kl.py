"""A divergence that vanishes while representations stay unlike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from consilience.plots import mpl
from consilience.plots.classifiers import CCA, LLV
from consilience.plots.facts import STUDY, Condition, register
from consilience.plots.sources import from_tables
from consilience.plots.style import PAGE, PALETTE, log_scale, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES = (
    ("d_llv", LLV, "D", PALETTE[0], 3.5, PALETTE[0]),
    ("one_minus_m_cca_f", f"1 − {CCA} of f", "s", PALETTE[5], 6.5, "none"),
    ("d_svd_f", r"$d_\mathrm{SVD}$ of f", "o", PALETTE[2], 3.0, PALETTE[2]),
)
"""Column, label, marker, colour, size and filling; the last two nearly coincide."""


@register(
    per=STUDY,
    takes={"kl": from_tables("constructed_kl")},
    category="Identifiability",
    caption=(
        "Two constructed classifiers whose classes stand in another order on the circle: the "
        "longer the unembedding, the smaller the Kullback-Leibler divergence (left), while their "
        "features stay as unlike as ever, which the distance of log-likelihood variances tells "
        "(right). The table is also written as LaTeX."
    ),
    when=Condition("constructed models of a KL table", lambda plan: "kl" in plan.constructions),
    latex=4,
)
def identifiability_kl(kl: pd.DataFrame, *, width: float = PAGE) -> tuple[Figure, pd.DataFrame]:
    """Draws KL divergence, d_LLV and dissimilarities of two models by the unembedding's length.

    Args:
        kl: rows of results/identifiability/constructed/kl.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the rows of `kl`.
    """
    with style():
        figure = mpl.Figure(figsize=(width / 25.4, 68 / 25.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(
            kl["length"], kl["kl"], color=PALETTE[0], marker="D", markersize=3.5, linewidth=0.7
        )
        log_scale(left, kl["kl"])
        left.set_ylabel("Kullback-Leibler divergence (nats)")
        rows = kl.assign(one_minus_m_cca_f=1 - kl["m_cca_f"])
        for column, label, marker, color, size, fill in LINES:
            right.plot(
                rows["length"], rows[column], color=color, marker=marker, markersize=size,
                markerfacecolor=fill, linewidth=0.7, markeredgewidth=0.7, label=label,
            )  # fmt: skip
        right.set_ylim(0, 1.08 * float(rows[[column for column, *_ in LINES]].max().max()))
        right.set_ylabel("distance, dissimilarity")
        right.legend(loc="lower left")
        for axes in (left, right):
            axes.set_xlabel("length of the unembedding of every class")
            axes.xaxis.set_major_locator(mpl.MaxNLocator(8, integer=True))
        figure.suptitle("Predictions come close, representations do not")
    return figure, kl.reset_index(drop=True)
