"""The examples in docstrings give what they say, on any machine."""

import doctest
import sys

import numpy as np
import pytest
from test_metrics import readme_example

from consilience import docs
from consilience.api import comparing
from consilience.docs.docstrings import describe
from consilience.metrics import METRICS, get_metric
from consilience.similarity import compare, pairwise

GIVEN = {"np": np, "get_metric": get_metric}
NEEDS = {"rtd": "ripser", "geometry_score": "gudhi"}


def examples_of(thing):
    """The examples in one docstring, not in those of its parts."""
    module = sys.modules[thing.__module__]
    finder = doctest.DocTestFinder(recurse=False)
    (found,) = finder.find(thing, thing.__name__, module, extraglobs=GIVEN)
    return found


def run(test):
    report = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert not result.failed, "".join(report)
    return result.attempted


def check_example(cls, test):
    assert 1 <= len(test.examples) <= 2, "one or two lines: the features, and a value"
    assert cls.__name__ in test.examples[-1].source
    assert float(test.examples[-1].want) != 0
    assert run(test) == len(test.examples)


@pytest.mark.parametrize("name", METRICS)
def test_examples_of_metrics(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    check_example(METRICS[name], examples_of(METRICS[name]))


def test_example_of_the_readme():
    metric, page = readme_example()
    test = doctest.DocTestParser().get_doctest(type(metric).__doc__, page, "readme", None, 0)
    check_example(type(metric), test)


@pytest.mark.parametrize("thing", [get_metric, pairwise, compare, comparing.compare])
def test_examples_of_functions(thing):
    assert run(examples_of(thing))


def test_an_example_that_lies_is_found():
    def liar():
        """Says it.

        >>> 1 + 1
        3
        """

    with pytest.raises(AssertionError, match=r"Expected:\s+3\s+Got:\s+2"):
        run(examples_of(liar))


def test_cards_show_examples():
    found = describe(METRICS["cka"])
    assert found.example.startswith(">>> x = ") and "Example" not in found.prose
    page = docs.CARDS.read_text(encoding="utf8")
    assert f"from consilience.metrics.cka import CKA\n{found.example}\n```" in page
