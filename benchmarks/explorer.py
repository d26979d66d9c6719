"""Size of the explorer's page and the time until its first chart stands, for a large study.

    python benchmarks/explorer.py [MODELS DATASETS METRICS]     (default 64 24 4, some minutes)

The study is synthetic: real tables of small random features. Needs a Chromium.
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]

from browser import Browser, find_browser  # noqa: E402
from synthetic import write_study  # noqa: E402

from consilience.explorer import make_explorer  # noqa: E402


def main(sizes: list[int]) -> None:
    """Prints what was measured."""
    models, datasets, metrics = sizes or [64, 24, 4]
    with tempfile.TemporaryDirectory() as folder:
        tables, study = write_study(folder, models=models, datasets=datasets, metrics=metrics)
        page, start = Path(folder, "index.html"), time.perf_counter()
        make_explorer(page, Path(folder, "study.json"), tables, study=study, group="objective")
        print(f"{models} models x {datasets} datasets x {metrics} metrics")
        print(f"made in   {time.perf_counter() - start:.1f} s")
        print(f"size      {page.stat().st_size / 1e6:.2f} MB")
        browser = Browser(find_browser())
        try:
            for turn in ("first", "second"):
                print(f"{turn} opening until the heat map stands: {opening(browser, page):.2f} s")
            print(f"another metric until the heat map stands: {switching(browser):.2f} s")
        finally:
            browser.close()


def opening(browser: Browser, page: Path) -> float:
    """Returns seconds from the request of the page to its first chart."""
    browser.size(1400, 1000)
    start = time.perf_counter()
    browser.open(page)
    browser.until("!!shown.get('heat')?.view")
    return time.perf_counter() - start


def switching(browser: Browser) -> float:
    """Returns seconds from the choice of another metric to its heat map."""
    start = time.perf_counter()
    browser.run("set('metric', 1)")
    browser.until("!!shown.get('heat')?.view")
    return time.perf_counter() - start


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]])
