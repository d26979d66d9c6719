"""Pages that are generated: tables of README.md and config/README.md, and whole pages of lists.

They come from the schemas in workflow/schemas, from the docstrings of the sources, from the facts,
docstrings and values of the metrics, from the facts of the figures, and from the table of result
files, and the tables of docs/statistics.md from the pages in benchmarks/, so that a page cannot say
anything else than the code does.
"""

from consilience.config import ROOT
from consilience.docs.cards import metric_cards
from consilience.docs.figures import figure_page
from consilience.docs.files import fill_readme, results_page
from consilience.docs.quoted import fill_statistics
from consilience.docs.tables import fill, outside

PAGE = ROOT / "config" / "README.md"
CARDS = ROOT / "config" / "metrics.md"
FIGURE_PAGE = ROOT / "config" / "figures.md"
RESULTS = ROOT / "docs" / "results.md"
README = ROOT / "README.md"
STATISTICS = ROOT / "docs" / "statistics.md"


def write() -> None:
    """Rewrites all pages in place."""
    PAGE.write_text(fill(PAGE.read_text(encoding="utf8")), encoding="utf8")
    CARDS.write_text(metric_cards(), encoding="utf8")
    FIGURE_PAGE.write_text(figure_page(), encoding="utf8")
    RESULTS.write_text(results_page(), encoding="utf8")
    README.write_text(fill_readme(README.read_text(encoding="utf8")), encoding="utf8")
    STATISTICS.write_text(fill_statistics(STATISTICS.read_text(encoding="utf8")), encoding="utf8")


__all__ = [
    "CARDS", "FIGURE_PAGE", "PAGE", "README", "RESULTS", "STATISTICS", "figure_page", "fill",
    "fill_readme", "fill_statistics", "metric_cards", "outside", "results_page", "write",
]  # fmt: skip
