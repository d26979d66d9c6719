"""Copies that no column names are told, and nothing is told of samples that are independent."""

import logging

import numpy as np
import pytest

from consilience.metrics import get_metric
from consilience.similarity.copies import near_rows, warn_of_copies
from consilience.similarity.items import items_of


def items(features):
    return [i for name, x in features.items() for i in items_of(get_metric("cka"), name, x)]


def models(rng, stimuli, copies, count=4, noise=0.1, d=16):
    groups = np.tile(np.arange(stimuli), copies)
    return {
        f"m{k}": rng.normal(size=(stimuli, d))[groups] + noise * rng.normal(size=(len(groups), d))
        for k in range(count)
    }


@pytest.mark.parametrize(("noise", "copies"), [(0, 2), (0.1, 2), (0.1, 5), (0, 5)])
def test_copies_are_told_with_rows_and_remedy(caplog, noise, copies):
    features = models(np.random.default_rng(0), 100, copies, noise=noise)
    warn_of_copies(items(features), "frames")
    (record,) = caplog.records
    text = record.getMessage()
    assert f"{min(100 * copies, 256)} samples looked at have the same neighbour, nearly" in text
    assert int(text.split()[2]) > 0.9 * min(100 * copies, 256)
    assert "rows 0 and 100" in text and "column group of the datasets catalogue" in text


def test_a_few_copies_among_many_are_not_worth_a_word(caplog):
    features = models(np.random.default_rng(1), 200, 1)
    for x in features.values():
        x[:5] = x[5:10]
    warn_of_copies(items(features), "d")
    assert not caplog.records  # 10 of 200
    for x in features.values():
        x[:30] = x[30:60]
    warn_of_copies(items(features), "d")
    assert len(caplog.records) == 1


@pytest.mark.parametrize("kind", ["independent", "related", "one model", "clusters", "plane"])
def test_independent_samples_give_no_warning(caplog, kind):
    rng = np.random.default_rng(2)
    common = rng.normal(size=(300, 12))
    features = {f"m{k}": rng.normal(size=(300, 12)) for k in range(4)}
    if kind == "related":
        features = {name: common + 0.3 * x for name, x in features.items()}
    if kind == "one model":
        features = {"m0": common[np.arange(300) // 2]}
    if kind == "clusters":  # of ten samples each, as classes at the end of a classifier
        features = {name: 4 * x[np.arange(300) // 10] + x for name, x in features.items()}
    if kind == "plane":  # where 300 samples are near each other, and networks agree who is
        features = {name: common[:, :2] + 0.01 * x[:, :2] for name, x in features.items()}
    with caplog.at_level(logging.INFO):
        warn_of_copies(items(features), "d")
    assert not caplog.records


def test_pairs_are_those_of_a_plain_search():
    x = np.random.default_rng(3).normal(size=(60, 5)) + 1e4
    x[7] = x[41] + 1e-3
    assert np.argwhere(near_rows(x, np.arange(60))).tolist() == [[7, 41], [41, 7]]
