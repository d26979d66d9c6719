"""Whether a metric keeps its declared facts, on random data: for ours, and for those of users.

`check_metric(get_metric("cka"))` runs every check; `consilience check-metric FILE` does so for a
file with a metric of one's own, and the tests of this project for each registered metric.
"""

from consilience.checking.checks import CHECKS, Check, Result, check_metric, run_check
from consilience.checking.data import TELLING, call, changes, features, prepare, sides

__all__ = [
    "CHECKS",
    "TELLING",
    "Check",
    "Result",
    "call",
    "changes",
    "check_metric",
    "features",
    "prepare",
    "run_check",
    "sides",
]
