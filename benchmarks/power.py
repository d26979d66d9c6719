"""What planted studies can show: `python benchmarks/power.py` writes benchmarks/power.md.

A minute or two of one core.
"""

import sys
import time
from pathlib import Path

from threadpoolctl import threadpool_limits

from consilience.consistency.power import Design, plant, simulate

PAGE = Path(__file__).with_suffix(".md")
AROUND = 0.6
DESIGNS = {
    "difference": [Design(16, 16), Design(32, 32), Design(32, 8), Design(64, 16)],
    "consistency": [Design(8, 8), Design(16, 4), Design(16, 16), Design(32, 8)],
}
STUDIES = {"difference": 200, "consistency": 1000}
"""Of each group: all studies of one meet all of the other, so that differences take fewer."""
SIZES = {"difference": (0.0, 0.2, 0.4), "consistency": (0.0, 0.4, 0.6)}


def write_page() -> None:
    """Writes the page."""
    text, started = [HEAD.format(around=AROUND, **STUDIES)], time.process_time()
    for question, designs in DESIGNS.items():
        sizes = SIZES[question]
        text.append(f"\n## {question}\n")
        text.append("| models | families | datasets | " + " | ".join(map(str, sizes)) + " |")
        text.append("| --- " * (3 + len(sizes)) + "|")
        for design in designs:
            cells = [simulate(question, size, design, studies=STUDIES[question]) for size in sizes]
            plant.cache_clear()
            shown = [f"{100 * cell.value:.0f} ± {200 * cell.error:.0f}" for cell in cells]
            families = "each its own" if design.single else str(design.families)
            row = [design.models, families, design.datasets, *shown]
            text.append("| " + " | ".join(map(str, row)) + " |")
            PAGE.write_text("\n".join(text) + "\n", encoding="utf8")
            print(text[-1], f"{time.process_time() - started:.0f} s", file=sys.stderr, flush=True)


HEAD = """# What planted studies can show

Written by `python benchmarks/power.py`. {difference} planted studies of each group of models for
differences, {consistency} for consistency (`planted_study` of `consilience/consistency/power.py`:
90 % of the variance of similarities is the models', 60 % of that their family's); the estimators
are those of the tables of means and of differences. Percent of studies that find what is in the
head, with two standard errors; where there is nothing (0), a finding is false, and 5 is right.
Differences are between two groups of half of the models and families each, with {around} as the
mean of both consistencies."""

if __name__ == "__main__":
    with threadpool_limits(1):
        write_page()
