"""Pages that are generated: the tables and lists of config/README.md, and config/metrics.md.

They come from the schemas in workflow/schemas, from the docstrings of the sources, and from the
facts, docstrings and values of the metrics, so that a page cannot say anything else than the code
does.
"""

from consilience.config import ROOT
from consilience.docs.cards import metric_cards
from consilience.docs.files import fill_readme, results_page
from consilience.docs.tables import fill, outside

PAGE = ROOT / "config" / "README.md"
CARDS = ROOT / "config" / "metrics.md"
RESULTS = ROOT / "docs" / "results.md"
README = ROOT / "README.md"


def write() -> None:
    """Rewrites all pages in place."""
    PAGE.write_text(fill(PAGE.read_text(encoding="utf8")), encoding="utf8")
    CARDS.write_text(metric_cards(), encoding="utf8")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(results_page(), encoding="utf8")
    README.write_text(fill_readme(README.read_text(encoding="utf8")), encoding="utf8")


__all__ = [
    "CARDS", "PAGE", "README", "RESULTS", "fill", "fill_readme", "metric_cards", "outside",
    "results_page", "write",
]  # fmt: skip
