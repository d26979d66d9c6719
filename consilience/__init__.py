"""How alike are the representations of two neural networks, and does it carry over?

`import consilience as cs` offers what docs/python.md shows: `cs.load_model`, `cs.extract`,
`cs.compare`, `cs.pairwise`, `cs.layers`, `cs.consistency`, `cs.read_results` and `cs.plot`. The
import loads nothing but the standard library; what a name needs is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from consilience.lazy import hand_over

if TYPE_CHECKING:
    from consilience.api.offered import (
        Comparison,
        ConsilienceError,
        Features,
        Model,
        ResultTables,
        SimilarityTable,
        compare,
        consistency,
        extract,
        layers,
        load_model,
        pairwise,
        plot,
        read_results,
    )

__all__ = [
    "Comparison",
    "ConsilienceError",
    "Features",
    "Model",
    "ResultTables",
    "SimilarityTable",
    "compare",
    "consistency",
    "extract",
    "layers",
    "load_model",
    "pairwise",
    "plot",
    "read_results",
]
__version__ = "0.1.0"

hand_over(__name__, "consilience.api.offered", __all__)
