"""What several tests need."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
# tests/golden.py and its like; and what the tests of one room take from those of another
sys.path[:0] = [str(HERE), *(str(path) for path in sorted(HERE.iterdir()) if path.is_dir())]

from explorer_page import browser, made, page  # noqa: E402, F401 - fixtures of one session
from flow import finished, study  # noqa: E402, F401

SLOW_FIRST = ("slurm", "workflow", "real")


def pytest_collection_modifyitems(items):
    """Files that start Snakemake or networks come first: two workers then end together."""

    def place(item):
        marks = {mark.name for mark in item.iter_markers()}
        return next((i for i, name in enumerate(SLOW_FIRST) if name in marks), len(SLOW_FIRST))

    first = {}
    for item in items:
        first[item.path] = min(first.get(item.path, 9), place(item))
    items.sort(key=lambda item: first[item.path])
