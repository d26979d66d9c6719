"""Figures of categories and of what metrics make of the same models."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance
from test_plots import check_texts, study

from consilience.consistency import measure_consistency
from consilience.errors import DataError
from consilience.plots import Inputs, read_metrics
from consilience.plots.metric_distances import metric_distances
from consilience.plots.model_categories import model_categories
from consilience.plots.similarity_agreement import similarity_agreement

LABELS = {
    "cka": "CKA (linear, debiased)",
    "rbf": "CKA (RBF, σ = 0.4 of the median)",
    "rsa": "RSA (correlation, Spearman)",
    "angle": "angular Procrustes distance",
}
SCHEMES = {
    "objective": ["supervised", "self-supervised", "image-text", "untrained"],
    "architecture": ["CNN", "transformer"],
    "size": ["small (up to 60 M)", "base", "large", "x-large (above 400 M)"],
    "training_data": [f"data set number {k}" for k in range(9)],
}
SIZES = {"small": (8, 3, 2), "large": (64, 3, 4)}


def metadata(ids):
    """Categories drawn at random; one cell is empty."""
    generator = np.random.default_rng(1)
    table = pd.DataFrame({k: generator.choice(v, len(ids)) for k, v in SCHEMES.items()}, index=ids)
    table.loc[ids[0], "training_data"] = ""
    return table


class Metrics:
    """A small study seen by four metrics: the last is a distance, and lacks one dataset."""

    def __init__(self, m, datasets, kinds):
        tables, self.models, _ = study(m, datasets=datasets, kinds=kinds)
        generator = np.random.default_rng(3)
        self.inputs, parts, ids = {}, [], list(self.models.index)
        for metric, label in LABELS.items():
            larger = metric != "angle"
            changed = {}
            for name, table in list(tables.items())[: None if larger else -1]:
                value = table["value"] + generator.normal(0, 0.05, len(table))
                value = value if larger else np.arccos(np.clip(value, -1, 1))
                changed[name] = table.assign(value=value, metric=metric)
                changed[name].attrs = {
                    "facts": {"bounds": [-1, 1] if larger else [0, None],
                              "larger_is_more_similar": larger},
                    "layers": {model: ["last"] for model in self.models.index},
                }  # fmt: skip
            self.inputs[metric] = Inputs(changed, self.models, label)
            found = measure_consistency(
                changed, self.models, groups=["kind"], anchors=ids[: m // 4], bootstrap=0,
                permutations=0,
            )  # fmt: skip
            parts.append(found)
        self.rows = pd.concat(parts, ignore_index=True)

    def draw(self, name):
        return {
            "model_categories": lambda: model_categories(
                metadata(list(self.models.index)), list(SCHEMES)
            ),
            "metric_distances": lambda: metric_distances(self.rows, labels=LABELS),
            "similarity_agreement": lambda: similarity_agreement(self.inputs),
        }[name]()


FIGURES = ("model_categories", "metric_distances", "similarity_agreement")


@pytest.fixture(scope="module", params=SIZES)
def any_size(request):
    return Metrics(*SIZES[request.param])


@pytest.fixture(scope="module")
def small():
    return Metrics(*SIZES["small"])


@pytest.mark.parametrize("name", FIGURES)
def test_texts_are_large_enough_inside_and_apart(name, any_size):
    figure, table = any_size.draw(name)
    assert len(table)
    check_texts(figure)


@pytest.mark.figure("model_categories")
def test_categories_are_counted_for_every_two_columns(small):
    models = metadata(list(small.models.index))
    _, table = small.draw("model_categories")
    assert table.groupby(["column_x", "column_y"])["n_models"].sum().tolist() == [8] * 6
    models["training_data"] = models["training_data"].replace("", "none")
    for row in table.itertuples():
        here = (models[row.column_x] == row.value_x) & (models[row.column_y] == row.value_y)
        assert row.n_models == here.sum()
    assert "none" in set(table.loc[table["column_y"] == "training_data", "value_y"])


@pytest.mark.figure("metric_distances")
def test_distances_of_metrics_are_those_of_scipy(small):
    figure, table = small.draw("metric_distances")
    rows = small.rows[(small.rows["method"] == "pearson") & (small.rows["grouping"] == "anchor")]
    by = {key: part.dropna(subset="value").set_index(["dataset_x", "dataset_y"])["value"]
          for key, part in rows.groupby(["group_x", "group_y", "metric"])}  # fmt: skip
    for row in table.itertuples():
        x, y = (by[row.anchor, row.partners, m] for m in (row.metric_x, row.metric_y))
        common = x.index.intersection(y.index)
        assert row.n_dataset_pairs == len(common) > 0
        expected = wasserstein_distance(x[common], y[common])
        assert row.distance == pytest.approx(expected, abs=1e-12)
    assert table.loc[table["metric_y"] == "angle", "n_dataset_pairs"].max() == 1
    assert table["n_dataset_pairs"].max() == 3
    means = table.groupby(["anchor", "metric_x", "metric_y"])["distance"].mean()
    assert len(means) == 2 * 6
    for key, part in table.groupby(["anchor", "metric_x", "metric_y"]):
        assert part["mean"].tolist() == pytest.approx([means[key]] * len(part), abs=1e-12)
    shown = [text.get_text() for text in figure.axes[0].texts]
    first = [means[small.models.index[0], *pair] for pair in combinations(LABELS, 2)]
    assert shown[:6] == [f"{value:.2f}" for value in first]


@pytest.mark.parametrize("count", [9, 12])
def test_many_metrics_are_named_by_numbers(small, count):
    one = small.rows[small.rows["metric"] == "cka"]
    names = {f"metric_{k}": f"a metric with number {k}" for k in range(count)}
    noise = np.random.default_rng(5).normal(0, 0.1, (count, len(one)))
    rows = [one.assign(metric=m, value=one["value"] + noise[k]) for k, m in enumerate(names)]
    figure, table = metric_distances(pd.concat(rows), labels=names)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels[:2] == ["1–2", "1–3"]
    assert len(labels) == len(table[["metric_x", "metric_y"]].drop_duplicates())
    key = figure.get_supxlabel().replace("\n", " ")
    if count == 9:
        assert len(labels) == 36
        assert key.endswith("; 9: a metric with number 8")
    else:
        assert key.startswith(f"{len(labels)} of 66 pairs of metrics; 1: a metric")
    check_texts(figure)


@pytest.mark.figure("similarity_agreement")
def test_agreement_of_similarities_is_between_means_over_common_datasets(small):
    _, table = small.draw("similarity_agreement")
    every = {name: pd.concat(inputs.tables) for name, inputs in small.inputs.items()}
    every = {
        name: t[t["model_x"] != t["model_y"]].set_index(["dataset", "model_x", "model_y"])["value"]
        for name, t in every.items()
    }
    for pair, part in table.groupby(["metric_x", "metric_y"]):
        both = pd.concat([every[m] for m in pair], axis=1, keys=pair).dropna()
        by = both.groupby(level=["model_x", "model_y"])
        means = by.mean().assign(n=by.size())
        means.index = means.index.map(lambda names: tuple(sorted(names)))
        chosen = part.set_index(["model_x", "model_y"])
        expected = means.loc[chosen.index]
        np.testing.assert_allclose(chosen["value_x"], expected[pair[0]], atol=1e-12)
        np.testing.assert_allclose(chosen["value_y"], expected[pair[1]], atol=1e-12)
        assert (chosen["n_datasets"] == expected["n"]).all()
        r = np.corrcoef(expected[pair[0]], expected[pair[1]])[0, 1]
        assert chosen["r"].iloc[0] == pytest.approx(r, abs=1e-12)
    assert table.loc[table["metric_y"] == "angle", "r"].max() < 0


def test_tables_are_read_by_metric(tmp_path, small):
    from consilience.files import write_table  # noqa: PLC0415

    for metric in ("cka", "cka_rbf_0.4"):
        table = small.inputs["cka"].tables["dataset_0"]
        path = tmp_path / "dataset_0" / f"{metric}.parquet"
        write_table(table.assign(metric=metric), path, {"layers": {}})
    labels = {"cka_rbf_0.4": "RBF", "cka": "linear"}
    models = small.models.to_dict("index")
    found = read_metrics(sorted(tmp_path.rglob("*.parquet")), models, labels)
    assert list(found) == list(labels)
    for metric, inputs in found.items():
        assert inputs.label == labels[metric]
        assert set(inputs.tables["dataset_0"]["metric"]) == {metric}


def test_nothing_to_compare_is_an_error(small):
    with pytest.raises(DataError, match="two are needed"):
        model_categories(small.models, ["kind"])
    with pytest.raises(DataError, match="no anchor"):
        metric_distances(small.rows[small.rows["metric"] == "cka"])
    with pytest.raises(DataError, match="no anchor"):
        metric_distances(small.rows[small.rows["grouping"] != "anchor"])
    with pytest.raises(DataError, match="no two metrics"):
        similarity_agreement({"cka": small.inputs["cka"]})
