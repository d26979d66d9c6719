"""Figures of grounding: that they can be read at any size, and are true."""

import re

import numpy as np
import pandas as pd
import pytest
from grounded_study import (
    MANY,
    METRICS,
    RECIPES,
    THRESHOLDS,
    cases_of,
    costs_of,
    similarity_of,
    write_grounding,
)
from matplotlib.collections import PathCollection
from matplotlib.text import Text
from test_plots import check_texts

from consilience.config.plan import METRICS as REGISTERED
from consilience.errors import DataError
from consilience.files import read_table
from consilience.grounding.cases import DESIGNED, Case
from consilience.grounding.overview import SCORES, from_best, headline
from consilience.grounding.published.ranks import make_published
from consilience.plots.grounded import KINDS, OTHER, kind_of, short
from consilience.plots.grounding_cost import grounding_cost, on_front
from consilience.plots.grounding_latex import escape, latex_overview
from consilience.plots.grounding_layers import grounding_layers
from consilience.plots.grounding_learned import grounding_learned
from consilience.plots.grounding_overview import grounding_overview
from consilience.plots.grounding_pairs import grounding_pairs
from consilience.plots.grounding_ranks import grounding_published, grounding_ranks, rank_boxes
from consilience.results import Results

LABELS = {metric: label for metric, (label, _) in METRICS.items()}
MODULES = {metric: module for metric, (_, module) in METRICS.items()}
FAILED, CONSTANT = "mutual_knn_k10", "cka_debiased"


class Made:
    """A planted study, read."""

    def __init__(self, cases, paths):
        self.cases, self.paths = cases, paths

    def rows(self, kind):
        return pd.concat(map(read_table, self.paths[kind]), ignore_index=True)

    def tables(self, metric):
        found = [path for path in self.paths["similarity"] if path.stem == metric]
        return {path.parent.name: read_table(path) for path in found}

    def scored(self, metric):
        return read_table(next(path for path in self.paths["grounding"] if path.stem == metric))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Five metrics on one recipe, the last three of which have values."""
    folder = tmp_path_factory.mktemp("small")
    return Made(*write_grounding(folder, failing=[FAILED], constant=[CONSTANT]))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Three metrics on two modalities: matched starts, a test that does not count, one missing."""
    folder = tmp_path_factory.mktemp("wide")
    return Made(
        *write_grounding(
            folder, list(METRICS)[:3], {"cora_gcn": "graph", "fashion_vgg": "image"},
            matched=["cora_gcn"], shut=[("fashion_vgg", "labels")],
            lacking=[("cora_gcn", "augmentation")],
        )
    )  # fmt: skip


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def offsets(axes):
    """Places of all points of a panel."""
    parts = [c.get_offsets() for c in axes.collections if isinstance(c, PathCollection)]
    return np.vstack([np.asarray(part) for part in parts if len(part)])


def many_rows(metrics=25, recipes=MANY):
    """The tables of many metrics on many recipes, planted without scoring anything."""
    generator, names = np.random.default_rng(0), [f"metric_with_a_name_{k}" for k in range(metrics)]
    scored, cases = [], []
    for recipe, domain in recipes.items():
        for test, score in SCORES.items():
            for measure in ("jsd", "disagreement") if test == "output" else ("",):
                value = np.round(generator.uniform(-1 if score == "spearman" else 0, 1, metrics), 3)
                for metric, v in zip(names, value, strict=True):
                    scored.append(
                        {"metric": metric, "domain": domain, "recipe": recipe, "dataset": recipe,
                         "test": test, "measure": measure, "score": score, "group_x": "",
                         "group_y": "", "same_seed": "keep", "value": v, "chance": 0.22, "lift": v,
                         "low": v - 0.2, "high": min(v + 0.2, 1), "n_models": 15, "n_groups": 3,
                         "n_failed": 0, "status": "ok", "note": ""}
                    )  # fmt: skip
            ranks = generator.permutation(metrics) + 1.0
            cases += [
                {"metric": m, "domain": domain, "recipe": recipe, "test": test, "rank": r,
                 "status": "ok"} for m, r in zip(names, ranks, strict=True)
            ]  # fmt: skip
    cases = pd.DataFrame(cases)
    summary = pd.concat(
        [
            part.groupby("metric")["rank"].agg(["mean", "median", "count"]).reset_index()
            .set_axis(["metric", "mean_rank", "median_rank", "n_cases"], axis=1)
            .assign(domain=domain)
            for domain, part in [("all", cases), *cases.groupby("domain")]
        ]
    )  # fmt: skip
    summary = summary.assign(low=summary["mean_rank"] - 2, high=summary["mean_rank"] + 2, place=1,
                             coverage=1.0, best_share=0.04, critical_difference=14.9)  # fmt: skip
    differences = pd.DataFrame(
        columns=["recipe", "test", "measure", "score", "metric_x", "metric_y", "difference", "low",
                 "high"]
    )  # fmt: skip
    return pd.DataFrame(scored), cases, summary, differences


# --- what tables say ------------------------------------------------------------------------------


def test_rows_are_those_that_metrics_are_ranked_by(wide):
    rows = headline(wide.rows("grounding"))
    assert not rows.duplicated(["metric", "recipe", "test", "measure"]).any()
    assert (rows["group_x"] == "").all() and (rows["score"] == rows["test"].map(SCORES)).all()
    dropped = (rows["recipe"] == "cora_gcn") & rows["test"].isin(DESIGNED)
    assert (rows.loc[dropped, "same_seed"] == "drop").all() and dropped.any()
    assert (rows.loc[~dropped, "same_seed"] == "keep").all()
    ranks = wide.rows("grounding_ranks").set_index(["metric", "recipe", "test"])["value"]
    for row in rows[rows["measure"].isin(["", "accuracy_difference"])].to_dict("records"):
        ranked = ranks[row["metric"], row["recipe"], row["test"]]
        assert np.isnan(ranked) or ranked == row["value"]


def test_metrics_are_told_from_the_best_by_the_differences_of_the_table(wide):
    found = from_best(headline(wide.rows("grounding")), wide.rows("grounding_differences"))
    table = wide.rows("grounding_differences")
    seen = set()
    for row in found.to_dict("records"):
        mask = (table["recipe"] == row["recipe"]) & (table["test"] == row["test"])
        mask &= table["measure"] == row["measure"]
        pair = {row["metric"], row["best"]}
        own = [d for d in table[mask].to_dict("records") if {d["metric_x"], d["metric_y"]} == pair]
        if row["status"] != "ok":
            assert row["told"] == "" and np.isnan(row["behind"])
        elif row["metric"] == row["best"]:
            assert row["told"] == "best"
        else:
            (difference,) = own
            apart = difference["low"] > 0 or difference["high"] < 0
            seen.add(row["told"])
            assert row["behind"] <= 0
            assert abs(row["behind"]) == pytest.approx(abs(difference["difference"]))
            assert row["told"] == ("worse" if apart else "maybe")
    assert seen == {"worse", "maybe"}


def test_equal_values_are_all_the_best_and_unknown_differences_tell_nothing():
    scored, *_, differences = many_rows(3, RECIPES)
    scored.loc[scored["test"] == "labels", "value"] = [0.9, 0.9, 0.4]
    found = from_best(headline(scored), differences)
    assert found.loc[found["test"] == "labels", "told"].tolist() == ["best", "best", ""]


def test_every_module_of_metrics_has_a_kind():
    modules = {m: cls.__module__.rpartition(".")[2] for m, cls in REGISTERED.items()}
    of = {m: module for m, module in modules.items() if REGISTERED[m].__module__.startswith(
        "consilience.metrics.")}  # fmt: skip
    assert OTHER not in kind_of(of).values(), "name the module in KINDS of consilience/plots"
    assert {module for kind in KINDS.values() for module in kind} == set(of.values())
    assert kind_of({"mine": ""}) == {"mine": OTHER}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.434, ".43"), (-0.07, "−.07"), (1, "1.00"), (0.999, "1.00"), (-0.001, ".00"), (-1, "−1.00")],
)
def test_numbers_are_written_without_the_zero_before_the_point(value, text):
    assert short(value) == text


# --- overview -------------------------------------------------------------------------------------


@pytest.mark.figure("grounding_overview")
def test_the_overview_shows_every_value_and_says_what_is_told(wide):
    scored, differences = wide.rows("grounding"), wide.rows("grounding_differences")
    summary = wide.rows("grounding_summary")
    figure, table = grounding_overview(scored, differences, summary, domain="image", labels=LABELS)
    check_texts(figure)
    assert len(table) == 3 * 7 and (table["domain"] == "image").all()
    (axes,) = figure.axes
    bold = sorted(t.get_text() for t in axes.texts if t.get_weight() == "bold")
    best = table[table["told"] == "best"]
    assert bold == sorted(map(short, best["value"])) and len(bold) >= 6
    assert "labels" not in set(best["test"]), "a test that does not count has no best"
    shown = [t.get_text() for t in axes.texts]
    for value in table["value"]:
        assert short(value) in shown
    hollow = [
        line for line in axes.lines
        if line.get_marker() == "o" and line.get_markerfacecolor() != line.get_markeredgecolor()
    ]  # fmt: skip
    assert len(hollow) == (table["told"] == "worse").sum() > 0
    maybe = (table["told"] == "maybe").sum()
    of = maybe + len(hollow)
    assert f"{maybe} of {of} cannot be told from it" in " ".join(texts(figure).split())
    assert "do not behave differently" in texts(figure)
    order = table.drop_duplicates("metric")["mean_rank"].tolist()
    assert order == sorted(order)


def test_values_that_there_are_not_have_signs(small, wide):
    figure, table = grounding_overview(
        small.rows("grounding"), small.rows("grounding_differences"),
        small.rows("grounding_summary"), domain="image",
    )  # fmt: skip
    check_texts(figure)
    shown = [t.get_text() for t in figure.axes[0].texts]
    counts = table["status"].value_counts()
    assert shown.count("×") == counts["failed"] == 7
    assert shown.count("=") == counts["constant"] == 7
    assert "× failed; = all pairs equally close" in texts(figure)
    assert sum(text.startswith("(") for text in shown) == 2 and "in brackets" in texts(figure)
    assert table.loc[table["status"] != "ok", "told"].eq("").all()
    figure, _ = grounding_overview(
        wide.rows("grounding"), wide.rows("grounding_differences"),
        wide.rows("grounding_summary"), domain="graph",
    )  # fmt: skip
    check_texts(figure)
    assert "share a start: cora_gcn" in texts(figure)
    with pytest.raises(DataError, match="no recipe of the modality 'text'"):
        grounding_overview(small.rows("grounding"), small.rows("grounding_differences"),
                           small.rows("grounding_summary"), domain="text")  # fmt: skip


@pytest.mark.parametrize(("metrics", "domain"), [(25, "graph"), (25, "text"), (2, "image")])
def test_the_overview_can_be_read_at_any_size(metrics, domain):
    scored, _, summary, differences = many_rows(metrics)
    figure, table = grounding_overview(scored, differences, summary, domain=domain)
    check_texts(figure)
    assert len(table) == metrics * 7 * sum(of == domain for of in MANY.values())
    assert figure.get_size_inches()[1] * 25.4 < 260


def test_the_latex_table_has_a_cell_for_every_value(small, wide):
    for made, domain in ((small, "image"), (wide, "image"), (wide, "graph")):
        _, table = grounding_overview(
            made.rows("grounding"), made.rows("grounding_differences"),
            made.rows("grounding_summary"), domain=domain,
        )  # fmt: skip
        text = latex_overview(table)
        assert text.count("{") == text.count("}")
        lines = [line for line in text.splitlines() if line.endswith(r"\\")]
        columns = len(re.search(r"tabular}\{l(r+)\}", text)[1])
        assert columns == len(table) / table["metric"].nunique()
        for line in lines:
            spans = [int(n) for n in re.findall(r"multicolumn\{(\d+)\}", line)]
            assert line.count("&") + sum(spans) - len(spans) == columns, line
        assert not re.search(r"(?<!\\)_", text.split("\n", 2)[2]), "an underscore is not escaped"
        best = table.loc[table["told"] == "best", "value"]
        assert text.count(r"\textbf") == len(best)
        assert text.count(r"\underline") == (table["told"] == "maybe").sum()
        for value in table["value"].dropna():
            assert f"{abs(value):.2f}" in text
        assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [
            1,
            2,
            1,
        ]
    assert escape("a_b & c%") == r"a\_b \& c\%"


# --- ranks ----------------------------------------------------------------------------------------


@pytest.mark.figure("grounding_ranks")
def test_boxes_and_means_are_those_of_the_ranks(wide):
    ranks, summary = wide.rows("grounding_ranks"), wide.rows("grounding_summary")
    figure, table = grounding_ranks(ranks, summary, modules=MODULES, labels=LABELS)
    check_texts(figure)
    assert [axes.get_title("left").split(":")[0] for axes in figure.axes] == [
        "all modalities", "graph", "image",
    ]  # fmt: skip
    for axes in figure.axes:
        assert axes.get_window_extent().width / figure.dpi * 25.4 > 25, "there is room for boxes"
    for domain, axes in zip(("all", "graph", "image"), figure.axes, strict=True):
        own = table[table["domain"] == domain]
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert len(names) == 3
        kept = ranks[ranks["rank"].notna()]
        kept = kept if domain == "all" else kept[kept["domain"] == domain]
        for row in own.to_dict("records"):
            expected = kept.loc[kept["metric"] == row["metric"], "rank"].quantile([0.25, 0.5, 0.75])
            assert [row[k] for k in ("q1", "median", "q3")] == expected.tolist()
        diamonds = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"]
        assert diamonds == own["mean_rank"].tolist()
        sort = own[["median", "mean_rank"]].to_records(index=False).tolist()
        assert sort == sorted(sort)
    assert "CD" in texts(figure) and "which is optimistic" in " ".join(texts(figure).split())
    assert "fashion_vgg labels" in texts(figure), "a test that does not count is named"


def test_metrics_without_enough_values_stand_last_with_their_coverage(small):
    figure, table = grounding_ranks(small.rows("grounding_ranks"), small.rows("grounding_summary"))
    check_texts(figure)
    own = table[table["domain"] == "image"]
    assert set(own["metric"].tail(2)) == {FAILED, CONSTANT}
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert all(name.endswith("%)") for name in names[-2:]) and "(" not in names[0]
    nothing = small.rows("grounding_ranks").assign(rank=np.nan)
    with pytest.raises(DataError, match="no test counts"):
        grounding_ranks(nothing, small.rows("grounding_summary"))


@pytest.mark.parametrize(("metrics", "recipes"), [(25, MANY), (2, RECIPES)])
def test_ranks_can_be_read_at_any_size(metrics, recipes):
    _, cases, summary, _ = many_rows(metrics, recipes)
    check_texts(grounding_ranks(cases, summary)[0])
    empty = summary.assign(low=np.nan, high=np.nan, critical_difference=np.nan)
    check_texts(grounding_ranks(cases, empty)[0])
    lacking = summary.assign(place=np.where(summary["metric"].str.endswith("1"), np.nan, 1))
    two = {"fashion_vgg": "image", "gloss_transformer": "text"}
    kept = cases["recipe"].isin(two)
    check_texts(grounding_ranks(cases[kept], lacking[lacking["domain"] != "graph"])[0])
    boxes = rank_boxes(cases, summary)
    assert len(boxes) == len(summary)


PUBLISHED = """\
domain,order_in_figure,measure_abbrev,whisker_low,q1,median,q3,whisker_high
Vision,1,Jaccard,1,3,6.9,12,21
Vision,2,CKA,2,5,10,14,23
Vision,3,SVCCA,4,11,14.5,19,24
Language,1,CKA,1,3,5.5,11,20
Language,2,SVCCA,2,6,9.4,15,22
"""
"""Boxes of ranks, as a figure of ReSi has them."""


def write_published(results, folder):
    """Writes the tables of one published figure beside the ranks of a planted study."""
    path = folder / "boxes.csv"
    path.write_text(PUBLISHED, encoding="utf8")
    outs = [results[f"grounding_published{end}"] for end in ("", "_cases", "_domains")]
    own = [folder / "grounding" / "ranks" / f"{name}.parquet" for name in ("cases", "domains")]
    make_published({"paper": [path]}, *outs, own=own)
    return [read_table(path) for path in outs[1:]]


@pytest.mark.figure("grounding_published")
def test_published_boxes_stand_below_those_of_the_study(small, tmp_path):
    folder = small.paths["grounding_ranks"][0].parents[2]
    results = Results(str(tmp_path), str(tmp_path))
    cases, means = write_published(results, folder)
    figure, table = grounding_published(cases, means, modules=MODULES, labels=LABELS)
    check_texts(figure)
    boxes = pd.read_csv(folder / "boxes.csv")
    paper = table[table["source"] == "paper"]
    assert len(paper) == len(boxes) and len(table) == len(boxes) + len(METRICS)
    for row, box in zip(paper.sort_values(["domain", "median"]).to_dict("records"),
                        boxes.sort_values(["domain", "median"], ascending=[False, True])
                        .to_dict("records"), strict=True):  # fmt: skip
        for name in ("whisker_low", "q1", "median", "q3", "whisker_high"):
            assert row[name] == pytest.approx(box[name]), (row, box)
    titles = [axes.get_title("left") for axes in figure.axes if axes.get_visible()]
    assert titles == ["this study: image", "paper: image", "paper: text"]
    names = [label.get_text() for label in figure.axes[2].get_yticklabels()]
    assert names == ["Jaccard", "CKA", "SVCCA"]
    assert "paper: read off a figure" in texts(figure)
    with pytest.raises(DataError, match="no published table has a rank"):
        grounding_published(cases.assign(rank=np.nan), means)


# --- pairs ----------------------------------------------------------------------------------------


@pytest.mark.figure("grounding_pairs")
@pytest.mark.parametrize("metric", ["cka_debiased", "procrustes"])
def test_pairs_within_and_across_groups_are_those_of_the_table(wide, metric):
    tables, scored = wide.tables(metric), wide.scored(metric)
    figure, table = grounding_pairs(tables, scored, wide.cases, label=LABELS[metric])
    check_texts(figure)
    cases = [Case(**case) for case in wide.cases if case["test"] in DESIGNED]
    assert len(table) == sum(15 * 14 // 2 for _ in cases)
    for row in table.sample(40, random_state=0).to_dict("records"):
        full = tables[row["dataset"]]
        pair = {row["model_x"], row["model_y"]}
        own = full[[{x, y} == pair for x, y in zip(full["model_x"], full["model_y"], strict=True)]]
        assert row["value"] == pytest.approx(own["value"].iloc[0])
    same = table[table["same_start"]]
    assert set(same["recipe"]) == {"cora_gcn"}
    assert (same["model_x"].str[-1] == same["model_y"].str[-1]).all()
    assert len(same) == 2 * 3 * 5
    panels = {axes.get_title("left").split("\n")[0]: axes for axes in figure.axes
              if axes.get_visible()}  # fmt: skip
    assert len(panels) == 5
    axes = panels["cora_gcn: shortcuts"]
    rows = table[(table["recipe"] == "cora_gcn") & (table["test"] == "shortcuts")]
    inside = rows["group_x"] == rows["group_y"]
    drawn = sorted(offsets(axes)[:, 0])
    expected = sorted([*rows.loc[inside, "value"], *rows.loc[~inside, "value"].tolist() * 2])
    assert drawn == pytest.approx(expected)
    left, right = axes.get_xlim()
    assert (left > right) == (metric == "procrustes"), "further right is more similar"
    own = scored[(scored["recipe"] == "cora_gcn") & (scored["test"] == "shortcuts")]
    own = own[(own["group_x"] == "") & (own["score"] == "auprc")].set_index("same_seed")
    title = axes.get_title("left")
    assert f"AUPRC {short(own.loc['keep', 'value'])}" in title
    assert f"without ×: AUPRC {short(own.loc['drop', 'value'])}" in title
    assert f"chance {short(own.loc['drop', 'chance'])}" in title
    assert any(title.startswith("fashion_vgg: labels (not grounded)") for title in panels)


def test_failed_pairs_are_counted_and_constant_ones_said(small):
    for metric, said in ((FAILED, "no AUPRC: failed"), (CONSTANT, "no AUPRC: constant")):
        figure, table = grounding_pairs(
            small.tables(metric), small.scored(metric), small.cases, label=LABELS[metric]
        )
        check_texts(figure)
        assert said in texts(figure)
        lost = table["value"].isna().sum()
        assert (lost > 0) == (metric == FAILED)
        if metric == FAILED:
            counts = [int(n) for n in re.findall(r"(\d+) failed", texts(figure))]
            assert len(counts) == 3 and sum(counts) == lost
    layers = [case for case in small.cases if case["test"] == "layers"]
    with pytest.raises(DataError, match="no test is of groups"):
        grounding_pairs(small.tables(FAILED), small.scored(FAILED), layers, label="kNN")


# --- layers ---------------------------------------------------------------------------------------


@pytest.mark.figure("grounding_layers")
@pytest.mark.parametrize("metric", ["cka_debiased", "procrustes"])
def test_layers_stand_against_their_distance(wide, metric):
    figure, table = grounding_layers(
        wide.tables(metric), wide.scored(metric), wide.cases, label=LABELS[metric]
    )
    check_texts(figure)
    assert len(table) == 2 * 5 * 10 and table["distance"].between(1, 4).all()
    tables = wide.tables(metric)
    for row in table.sample(20, random_state=0).to_dict("records"):
        full = tables[row["dataset"]].set_index(["model_x", "layer_x", "model_y", "layer_y"])
        value = full["value"][row["model"], row["layer_x"], row["model"], row["layer_y"]]
        assert row["value"] == pytest.approx(value)
    curve, matrix = figure.axes[:2]
    own = table[table["recipe"] == "cora_gcn"]
    mean = next(line for line in curve.lines if line.get_marker() == "o")
    by_model = own.groupby(["model", "distance"])["value"].mean().groupby("distance").mean()
    assert mean.get_ydata() == pytest.approx(by_model.to_numpy())
    low, high = curve.get_ylim()
    assert (low > high) == (metric == "procrustes")
    assert matrix.get_title("left") == "standard.0: 5 layers"
    image = np.asarray(matrix.images[0].get_array())
    assert np.array_equal(image[0, 1], image[1, 0]) and image.shape[:2] == (5, 5)
    score = wide.scored(metric)
    score = score[(score["recipe"] == "cora_gcn") & (score["test"] == "layers")]
    value = score.set_index("score")["value"]["spearman"]
    assert f"ρ {short(value)}" in curve.get_title("left")


def test_recipes_without_layers_are_named(small):
    cases = [case | {"recipe": "other"} for case in small.cases if case["test"] == "layers"]
    tables = small.tables("procrustes")
    both = [*small.cases, *[case | {"dataset": "empty"} for case in cases]]
    none = tables["fashion_vgg_clean"].iloc[:0]
    none.attrs = tables["fashion_vgg_clean"].attrs
    figure, _ = grounding_layers(
        {**tables, "empty": none}, small.scored("procrustes"), both, label="Procrustes"
    )
    check_texts(figure)
    assert "no similarity of layers: other" in texts(figure)
    with pytest.raises(DataError, match="no two layers of a model"):
        grounding_layers({"empty": none}, small.scored("procrustes"), both[-1:], label="P")


# --- gates ----------------------------------------------------------------------------------------


@pytest.mark.figure("grounding_learned")
def test_accuracies_that_gates_look_at_are_drawn_with_the_verdict(wide):
    accuracies = wide.rows("grounding_accuracies")
    figure, table = grounding_learned(accuracies, wide.cases, THRESHOLDS)
    check_texts(figure)
    known = accuracies.set_index(["dataset", "model"])["accuracy"]
    assert [known[d, m] for d, m in zip(table["dataset"], table["model"], strict=True)] == (
        table["accuracy"].tolist()
    )
    counts = table.drop_duplicates(["recipe", "test"]).set_index(["recipe", "test"])["passed"]
    assert counts.to_dict() == {
        ("cora_gcn", "labels"): True, ("cora_gcn", "shortcuts"): True,
        ("fashion_vgg", "labels"): False, ("fashion_vgg", "shortcuts"): True,
        ("fashion_vgg", "augmentation"): True,
    }  # fmt: skip
    assert "4 of 5 tests count" in texts(figure)
    verdicts = [axes.get_xlabel() for axes in figure.axes if axes.get_visible()]
    assert sum(text.startswith("does not count") for text in verdicts) == 1
    assert {side for side in table.loc[table["test"] == "shortcuts", "stimuli"]} == {
        "informative", "uninformative",
    }  # fmt: skip
    axes = figure.axes[1]
    own = table[(table["recipe"] == "cora_gcn") & (table["test"] == "shortcuts")]
    assert sorted(offsets(axes)[:, 0]) == pytest.approx(sorted(own["accuracy"]))


def test_unknown_accuracies_pass_no_gate(small):
    accuracies = small.rows("grounding_accuracies")
    accuracies.loc[accuracies["dataset"] == "fashion_vgg_noise", "accuracy"] = np.nan
    figure, table = grounding_learned(accuracies, small.cases, THRESHOLDS)
    check_texts(figure)
    assert "is not known of all models" in " ".join(texts(figure).split())
    assert not table.loc[table["test"] == "augmentation", "passed"].any()
    with pytest.raises(DataError, match="no test is of groups"):
        grounding_learned(accuracies, [], THRESHOLDS)


def test_gates_and_pairs_of_seven_recipes_can_be_read():
    cases = cases_of(MANY)
    datasets = dict.fromkeys(case["dataset"] for case in cases)
    tables = {d: similarity_of("procrustes", 0.5, d, cases) for d in datasets}
    scored = many_rows(1)[0]
    two = pd.concat([scored, scored.assign(score="conformity")])
    check_texts(grounding_pairs(tables, two, cases, label="Procrustes distance")[0])
    check_texts(grounding_layers(tables, two, cases, label="Procrustes distance")[0])
    accuracies = pd.DataFrame({"dataset": [], "model": [], "accuracy": []})
    check_texts(grounding_learned(accuracies, cases, THRESHOLDS)[0])


# --- cost -----------------------------------------------------------------------------------------


@pytest.mark.figure("grounding_cost")
def test_cost_stands_against_rank_with_the_front_marked(wide):
    metrics = list(METRICS)[:3]
    summary, costs = wide.rows("grounding_summary"), costs_of(metrics, {"a": "graph", "b": "image"})
    figure, table = grounding_cost(summary, costs, modules=MODULES, labels=LABELS)
    check_texts(figure)
    assert len(table) == len(summary)
    untimed = metrics[2]
    assert f"no time known: {LABELS[untimed]}" in texts(figure)
    assert not table.loc[table["metric"] == untimed, "front"].any()
    own = table[table["domain"] == "image"].set_index("metric")
    axes = next(axes for axes in figure.axes if axes.get_title("left") == "image")
    points = {(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines
              if line.get_marker() in "os" and len(line.get_xdata()) == 1}  # fmt: skip
    assert points == {(own.loc[m, "seconds"], own.loc[m, "mean_rank"]) for m in metrics[:2]}
    low, high = axes.get_ylim()
    assert low > high and axes.get_xscale() == "log", "the best rank is at the top"
    with pytest.raises(DataError, match="no time per pair is known of any of 3 metrics"):
        grounding_cost(summary, costs.assign(seconds=np.nan))


def test_the_front_holds_what_no_metric_beats_in_both():
    table = pd.DataFrame(
        {"seconds": [1, 2, 3, 2, 1, np.nan, 0.5], "mean_rank": [5, 3, 4, 3, 6, 1, 1],
         "place": [1, 1, 1, 1, 1, 1, np.nan]}
    )  # fmt: skip
    assert on_front(table).tolist() == [True, True, False, True, False, False, False]
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"seconds": generator.integers(1, 9, 30),
                          "mean_rank": generator.integers(1, 9, 30), "place": 1})  # fmt: skip
    points = list(zip(table["seconds"], table["mean_rank"], strict=True))
    expected = [
        not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points) for x, y in points
    ]
    assert on_front(table).tolist() == expected


@pytest.mark.parametrize(("metrics", "recipes"), [(25, MANY), (2, RECIPES)])
def test_cost_can_be_read_at_any_size(metrics, recipes):
    _, _, summary, _ = many_rows(metrics, recipes)
    names = sorted(summary["metric"].unique())
    check_texts(grounding_cost(summary, costs_of(names, recipes))[0])
