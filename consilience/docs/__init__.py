"""Pages that are generated: tables of config/README.md, config/metrics.md, config/figures.md.

They come from the schemas in workflow/schemas, from the facts, docstrings and values of the metrics
and from the facts of the figures, so that a page cannot say anything else than the code does.
"""

from consilience.config import ROOT
from consilience.docs.cards import metric_cards
from consilience.docs.figures import figure_page
from consilience.docs.tables import fill

PAGE = ROOT / "config" / "README.md"
CARDS = ROOT / "config" / "metrics.md"
FIGURE_PAGE = ROOT / "config" / "figures.md"


def write() -> None:
    """Rewrites the pages in place."""
    PAGE.write_text(fill(PAGE.read_text(encoding="utf8")), encoding="utf8")
    CARDS.write_text(metric_cards(), encoding="utf8")
    FIGURE_PAGE.write_text(figure_page(), encoding="utf8")


__all__ = ["CARDS", "FIGURE_PAGE", "PAGE", "figure_page", "fill", "metric_cards", "write"]
