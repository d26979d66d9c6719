"""Pages that are generated: the tables and lists of config/README.md, and config/metrics.md.

They come from the schemas in workflow/schemas, from the docstrings of the sources, and from the
facts, docstrings and values of the metrics, so that a page cannot say anything else than the code
does.
"""

from consilience.config import ROOT
from consilience.docs.cards import metric_cards
from consilience.docs.tables import fill, outside

PAGE = ROOT / "config" / "README.md"
CARDS = ROOT / "config" / "metrics.md"


def write() -> None:
    """Rewrites both pages in place."""
    PAGE.write_text(fill(PAGE.read_text(encoding="utf8")), encoding="utf8")
    CARDS.write_text(metric_cards(), encoding="utf8")


__all__ = ["CARDS", "PAGE", "fill", "metric_cards", "outside", "write"]
