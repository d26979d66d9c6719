"""Published tables of ReSi (Klabunde et al. 2025) as grounding results, ranked by our rules.

Long tables of scores, the store of similarities of pairs, and the digitised box plot of ranks; each
source is ranked by itself, and its rows stand beside ours, marked.
"""

from consilience.grounding.published.ranks import (
    CASES,
    DOMAINS,
    OWN,
    as_lines,
    make_published,
    rank_source,
)
from consilience.grounding.published.tables import VALUES, Published, read_published

__all__ = [
    "CASES",
    "DOMAINS",
    "OWN",
    "VALUES",
    "Published",
    "as_lines",
    "make_published",
    "rank_source",
    "read_published",
]
