"""The metric cards: complete, checkable by hand, and clear where they cannot be written."""

import dataclasses
import re
from typing import Literal

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from consilience import docs
from consilience.docs import cards, docstrings, measured
from consilience.docs.references import read_bibliography, reference
from consilience.errors import ConfigError
from consilience.metrics import METRICS, Metric, get_metric

CARDS = docs.CARDS.read_text(encoding="utf8")


def card(name):
    """The part of the page that is about one metric."""
    return re.split(r"(?m)^##", CARDS.partition(f"\n### `{name}`\n")[2])[0]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_a_card(name):
    text = card(name)
    assert f"[`{name}`](#{name})" in CARDS
    for label in (
        *cards.FACTS,
        "least n",
        "n ≤ d",
        "chance",
        "checked against",
        "reference value",
        "paper",
    ):
        assert f"\n| {label} | " in text, label
    for parameter in get_metric(name).parameters:
        row = re.search(rf"\n\| `{parameter}` \| `.+?` \| (.+?) \| (.*) \|", text)
        assert row, f"{parameter} is not on the card"
        assert row[1], f"{parameter} has a type of which no value can be told"
        assert row[2], f"{parameter} is not in the docstring's Args"
    assert METRICS[name].class_facts.citation in read_bibliography()


@pytest.mark.parametrize("name", [name for name in METRICS if name not in measured.SLOW])
def test_reference_value_is_that_of_the_page(name):
    """From the page alone: its code and its number."""
    page = {}
    exec(re.search(r"```python\n(.*?)```", CARDS, re.DOTALL)[1], page)
    stated = float(re.search(r"\| reference value \| `(.*?)` \|", card(name))[1])
    x, y, *labels = page["reference_pair"]()
    if get_metric(name).facts.main == "logits":
        x, y, *labels = page["reference_logits"]()
    if "unembedding" in get_metric(name).facts.inputs:
        x, y, *labels = page["reference_heads"]()
    value = get_metric(name)(x, y, labels=labels[0] if labels else None)
    assert value == pytest.approx(stated, rel=1e-5, abs=1e-9)


def test_reference_pair_has_no_ties():
    """Neighbours and ranks of the pair do not hang on rounding."""
    for x in measured.reference_pair():
        for distance in ("sqeuclidean", "cosine", "correlation"):
            gaps = np.diff(np.sort(pdist(x.astype(float), distance)))
            assert gaps.min() > 1e-9
    for logits in measured.reference_logits()[:2]:
        assert np.diff(np.sort(logits, axis=1)[:, -2:], axis=1).min() > 0


def test_numbers_are_what_they_are_called():
    assert measured.least_samples(get_metric("cka")) == "4"
    assert measured.least_samples(get_metric("mutual_knn", k=7)) == "8"
    assert measured.least_samples(get_metric("mutual_knn", k=300)) == "more than 200"
    assert measured.few_samples(get_metric("cka")) == "works"
    assert measured.few_samples(get_metric("cca")).startswith("no information: 1 for all")
    mean, sd = map(float, measured.chance_level(get_metric("linear_regression")).split(" ± "))
    assert mean == pytest.approx(30 / 99, abs=4 * sd / np.sqrt(20))
    assert measured.digits(1e-17, 6) == "0"


def test_parameters_that_change_facts_are_named():
    assert "- `estimator: biased`: range: 0 … 1" in card("cka")
    fixed = "- `kernel: rbf`, `sigma: 0.2`: same after: orthogonal, permutation, translation"
    assert fixed in card("cka")
    assert "`cka_debiased`, `cka_biased`" in card("cka")


def test_docstrings_become_markdown():
    @dataclasses.dataclass(frozen=True)
    class Example(Metric):
        """First line.

        Of x<y and `a<b`.

        Cost and memory: n per pair.

        Args:
            size: first,
                and second line: with a colon.
            form: `a` or `b`.
        """

        size: int | float | Literal["auto"] | None = 3
        form: Literal["a", "b"] = "a"
        flag: bool = True

    found = docstrings.describe(Example)
    assert found.summary == "First line."
    assert found.prose == "Of x&lt;y and `a<b`.\n\n**Cost and memory:** n per pair."
    assert found.arguments == {
        "size": "first, and second line: with a colon.",
        "form": "`a` or `b`.",
    }
    types = {item.name: docstrings.allowed(item.type) for item in dataclasses.fields(Example)}
    assert types == {
        "size": "whole number, number, `auto`, `null`",
        "form": "`a`, `b`",
        "flag": "`true`, `false`",
    }


def test_citations_are_whole(tmp_path):
    path = tmp_path / "citations.bib"
    path.write_text("% note\n@misc{one,\n  title = {A {B}},\n  year = {1999}\n}\n")
    entries = read_bibliography(path)
    assert reference("one", entries, "cka")[0] == "A B (1999)"
    with pytest.raises(ConfigError, match=r"'cka' cites 'two'.*add it"):
        reference("two", entries, "cka")
    path.write_text("@misc{one,\n  title = {A}\n@misc{two,\n  title = {B}\n}\n")
    with pytest.raises(ConfigError, match=r"wrong in '@misc\{one,'"):
        read_bibliography(path)
    path.write_text("@misc{one,\n  title = {A}\n}\n@misc{one,\n  title = {B}\n}\n")
    with pytest.raises(ConfigError, match="'one' stands twice"):
        read_bibliography(path)


def test_a_missing_package_is_one_clear_error(monkeypatch):
    def missing(metric):
        raise ConfigError(f"metric {metric.facts.name!r} needs the package 'ripser'")

    monkeypatch.setattr(cards, "measure", missing)
    with pytest.raises(ConfigError, match=r"describes every metric.*'ripser'"):
        docs.metric_cards()
