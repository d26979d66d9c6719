"""Figures of intervals, curves, alignment and accuracies: that they can be read, and are true."""

import numpy as np
import pandas as pd
import pytest
from test_plots import AXIS, check_texts, study

from consilience.alignment import COLUMNS, REDUCTIONS
from consilience.behavior import accuracy_gaps, relate
from consilience.consistency import consistency_tables
from consilience.errors import DataError
from consilience.features import write_features
from consilience.files import file_digest, write_table
from consilience.plots import MetricAxis, save_figure
from consilience.plots.alignment import aligned_models, alignment, read_language
from consilience.plots.consistency_distribution import consistency_distribution
from consilience.plots.consistency_groups import consistency_groups
from consilience.plots.consistency_heatmap import consistency_heatmap_groups
from consilience.plots.group_differences import group_differences
from consilience.plots.metric_agreement import metric_agreement
from consilience.plots.probe_accuracy import probe_accuracy
from consilience.plots.reliability import reliability
from consilience.plots.sensitivity import sensitivity, stimuli_steps
from consilience.plots.similarity_behavior import similarity_behavior
from consilience.plots.similarity_spread import similarity_spread
from consilience.plots.style import minus
from consilience.sensitivity import stability

LABEL = AXIS.label
LABELS = {
    "rbf": "CKA (RBF, σ = 0.4 of the median)",
    "rsa": "RSA (correlation, Spearman)",
    "knn": "mutual kNN (k = 10)",
}


def halves_of(table, generator):
    """Halves of four splits, with noise."""
    noise = generator.normal(0, 0.05, (8, len(table)))
    return pd.concat(
        [
            table.assign(split=k // 2, half="ab"[k % 2], n=100, value=table["value"] + noise[k])
            for k in range(8)
        ]
    )


def curves_of(table, generator):
    """Similarities at several n and k, noisier for fewer stimuli."""
    settings = [("n", n, draw) for n in (50, 200, 1000) for draw in range(1 + (n < 1000))]
    parts = []
    for axis, setting, draw in [*settings, ("k", 5, 0), ("k", 20, 0), ("k_share", 0.01, 0)]:
        noise = generator.normal(0, 0.5 / setting if axis == "n" else 0.01, len(table))
        value = table["value"] + noise
        parts.append(table.assign(axis=axis, setting=float(setting), draw=draw, value=value))
    return pd.concat(parts, ignore_index=True)


def aligned(names, dataset, generator):
    """Every model of the first half with every one of the second."""
    half = len(names) // 2
    rows = [
        (
            *(dataset, "cka", x, y, "language", "image", r, None, None, 100),
            *(
                0.1 + 0.2 * k / half + generator.normal(0, 0.02),
                0.03,
                0.01,
                0.0,
                0.01,
                0.1,
                None,
                None,
            ),
        )
        for k, x in enumerate(names[:half])
        for y in names[half:]
        for r in REDUCTIONS
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def behavior_of(table, accuracy):
    share = accuracy[accuracy["dataset"] == table["dataset"].iloc[0]]
    gaps = accuracy_gaps(share.set_index("model")["accuracy"].to_dict())
    return pd.DataFrame(gaps, columns=["measure", "model_x", "model_y", "value"])


class Answers:
    """The tables of a small study that the figures are drawn from."""

    def __init__(self, m, datasets, kinds):
        generator = np.random.default_rng(0)
        self.tables, self.models, accuracy = study(m, datasets=datasets, kinds=kinds)
        ids, tables = list(self.models.index), self.tables
        self.found = consistency_tables(
            tables, self.models, groups=["kind"], anchors=ids[:1], permutations=0, bootstrap=40,
            sets={"first": ids[: m // 2], "second": ids[m // 2 :]}, methods=["pearson"],
            halves={name: halves_of(table, generator) for name, table in tables.items()},
        )  # fmt: skip
        self.relation = pd.concat(
            [
                relate(
                    t, behavior_of(t, accuracy), domain="ab"[k % 2], bootstrap=40, permutations=0
                )
                for k, t in enumerate(tables.values())
            ]
        )
        self.curves = {name: curves_of(table, generator) for name, table in tables.items()}
        self.stability = pd.concat([stability(table) for table in self.curves.values()])
        self.aligned = {name: aligned(ids, name, generator) for name in list(tables)[:2]}
        self.bits = {("dataset_0", x): 1.5 - 0.5 * k / m for k, x in enumerate(ids[: m // 2])}
        self.accuracy = accuracy.assign(layer="last", kind="linear", sd=0.01)

    def draw(self, name):
        models, both = self.models, self.found.differences
        both = pd.concat([both.assign(metric=metric) for metric in ("cka", *LABELS)])
        rows = self.found.table
        rows = pd.concat([rows, rows.assign(metric="rsa", value=rows["value"] ** 3)])
        return {
            "similarity_spread": lambda: similarity_spread(
                self.tables, models, axis=AXIS, group="kind"
            ),
            "metric_agreement": lambda: metric_agreement(rows),
            "similarity_behavior": lambda: similarity_behavior(self.relation, label=LABEL),
            "consistency_groups": lambda: consistency_groups(self.found.means, models, label=LABEL),
            "group_differences": lambda: group_differences(both, models, labels=LABELS),
            "reliability": lambda: reliability(self.found.table, label=LABEL),
            "sensitivity": lambda: sensitivity(self.curves, self.stability, axis=AXIS),
            "stimuli_steps": lambda: stimuli_steps(self.curves, axis=AXIS),
            "consistency_heatmap_groups": lambda: consistency_heatmap_groups(
                self.found.table, group="kind", label=LABEL
            ),
            "anchors": lambda: consistency_distribution(
                rows, models, group="anchor", column="kind"
            ),
            "sets": lambda: consistency_distribution(self.found.table, models, group="set"),
            "alignment": lambda: alignment(self.aligned, axis=AXIS, language=self.bits),
            "aligned_models": lambda: aligned_models(self.aligned, axis=AXIS),
            "probe_accuracy": lambda: probe_accuracy(self.accuracy, models, group="kind"),
        }[name]()


FIGURES = (
    "similarity_spread",
    "metric_agreement",
    "similarity_behavior",
    "consistency_groups",
    "group_differences",
    "reliability",
    "sensitivity",
    "stimuli_steps",
    "consistency_heatmap_groups",
    "anchors",
    "sets",
    "alignment",
    "aligned_models",
    "probe_accuracy",
)


@pytest.fixture(scope="module")
def small():
    return Answers(8, 3, 2)


@pytest.fixture(scope="module")
def medium():
    return Answers(24, 4, 3)


@pytest.fixture(scope="module")
def large():
    return Answers(64, 3, 4)


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("name", FIGURES)
def test_texts_are_large_enough_inside_and_apart(name, size, request):
    figure, table = request.getfixturevalue(size).draw(name)
    assert len(table)
    check_texts(figure)


def test_files_repeat_byte_for_byte(small, tmp_path):
    name = "consistency_groups"
    first, second = (save_figure(*small.draw(name), tmp_path / k / name) for k in "ab")
    assert list(map(file_digest, first)) == list(map(file_digest, second))


# --- what the figures show ------------------------------------------------------------------------


@pytest.mark.figure("consistency_groups")
def test_groups_stand_by_their_mean_with_the_numbers_of_the_table(medium):
    figure, table = medium.draw("consistency_groups")
    means = medium.found.means
    assert set(table["grouping"]) == {"all", "kind", "set", "anchor"}
    block = means[(means["grouping"] == "kind") & means["value"].notna()]
    points = figure.axes[0].collections[-1].get_offsets()
    np.testing.assert_allclose(points[:, 0], sorted(block["value"], reverse=True))
    best = block.loc[block["value"].idxmax()]
    top = figure.axes[0].get_yticklabels()[0].get_text()
    assert f"(n = {best['n_models']})" in top
    assert best["group_x"] in top


@pytest.mark.figure("group_differences")
def test_differences_are_the_means_with_simultaneous_intervals(medium):
    _, table = medium.draw("group_differences")
    assert set(table["dataset_x"]) == {"*"}
    known = table["low"].notna()
    assert known.any()
    assert (table["low_simultaneous"] <= table["low"])[known].all()


def test_differences_that_are_too_many_are_left_out_and_counted(small):
    found = small.found.differences
    found = found[(found["dataset_x"] == "*") & (found["grouping"] == "set")].iloc[:1]
    many = pd.concat(
        [
            found.assign(group_x=f"group {k}", group_y="other", value=k / 100, low=0, high=1)
            for k in range(70)
        ]
    )
    figure, table = group_differences(many, small.models)
    shown = sorted(int(name.split()[1]) for name in table["group_x"])
    assert shown == [*range(30), *range(40, 70)]
    assert figure.axes[0].get_ylabel() == "set\n(largest and smallest, 60 of 70)"
    check_texts(figure)
    few, _ = group_differences(many.iloc[:60], small.models)
    assert few.axes[0].get_ylabel() == "set"


@pytest.mark.figure("similarity_behavior")
def test_behavior_keeps_domains_together(medium):
    figure, table = medium.draw("similarity_behavior")
    assert table["domain"].is_monotonic_increasing
    assert set(table["method"]) == {"pearson"}
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["dataset_0", "dataset_2", "dataset_1", "dataset_3"]


@pytest.mark.figure("sensitivity")
def test_curves_average_draws_and_count_pairs(small):
    _, table = small.draw("sensitivity")
    row = table[(table["dataset"] == "dataset_1") & (table["axis"] == "n")].iloc[0]
    source = small.curves["dataset_1"]
    source = source[(source["axis"] == "n") & (source["setting"] == 50.0)]
    source = source[source["model_x"] != source["model_y"]]
    mean = source.groupby(["model_x", "model_y"])["value"].mean()
    assert row["setting"] == 50
    assert row["n_pairs"] == len(mean) == 28
    assert row["median"] == pytest.approx(mean.median(), abs=1e-12)


@pytest.mark.figure("stimuli_steps")
def test_steps_are_changes_of_every_pair_between_means_over_draws(small):
    _, table = small.draw("stimuli_steps")
    row = table[(table["dataset"] == "dataset_1") & (table["n_to"] == 1000)].iloc[0]
    source = small.curves["dataset_1"]
    source = source[(source["axis"] == "n") & (source["model_x"] != source["model_y"])]
    mean = source.groupby(["setting", "model_x", "model_y"])["value"].mean()
    change = (mean[1000.0] - mean[200.0]).abs()
    assert (row["n_from"], row["n_pairs"]) == (200, 28)
    assert row["median"] == pytest.approx(change.median(), abs=1e-12)
    assert row["q75"] == pytest.approx(change.quantile(0.75), abs=1e-12)
    assert row["high"] == pytest.approx(change.quantile(0.95), abs=1e-12)
    assert len(table) == 2 * 3


@pytest.mark.figure("consistency_heatmap_groups")
def test_heatmaps_of_groups_show_all_models_first_and_say_what_they_leave_out(small):
    figure, table = small.draw("consistency_heatmap_groups")
    rows = small.found.table
    shown = rows[rows["grouping"].isin(["all", "kind"]) & (rows["method"] == "pearson")]
    assert len(table) == len(shown)
    assert figure.axes[0].get_title().startswith("all models, ")
    first = table[table["grouping"] == "all"].iloc[0]
    assert figure.axes[0].texts[0].get_text().startswith(minus(f"{first['value']:.2f}"))
    kind = rows[rows["grouping"] == "kind"]
    more = [kind.assign(group_x=k + kind["group_x"], group_y=k + kind["group_y"]) for k in "abcd"]
    figure, table = consistency_heatmap_groups(
        pd.concat([rows, *more], ignore_index=True), group="kind", label=LABEL
    )
    assert figure.get_supxlabel() == "10 of 15 pairs of groups, those within groups first"
    assert len(figure.axes) == 1 + 10 + 1
    within = table[table["group_x"] == table["group_y"]].drop_duplicates("group_x")
    assert len(within) == 1 + 10
    lost = rows.copy()
    kinds = sorted(small.models["kind"].unique())
    lost.loc[(lost["grouping"] == "kind") & (lost["group_x"] == kinds[1]), "value"] = np.nan
    figure, _ = consistency_heatmap_groups(lost, group="kind", label=LABEL)
    assert figure.get_supxlabel() == f"no value (too few models): {kinds[1]}"
    check_texts(figure)


@pytest.mark.figure("consistency_distribution")
def test_distribution_of_an_anchor_has_a_row_for_every_group_of_partners(medium):
    figure, table = medium.draw("anchors")
    anchor = medium.models.index[0]
    rows = medium.found.table
    rows = rows[(rows["grouping"] == "anchor") & (rows["method"] == "pearson")]
    medians = rows.groupby("group_y")["value"].median().sort_values()
    names = [name.replace("kind=", "").replace("all", "all others") for name in medians.index]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"{anchor} – {name} (n = 6)" for name in names]
    assert set(table.loc[table["grouping"] == "anchor", "group_y"]) == set(medians.index)
    middle = [line.get_xdata() for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    drawn = {round(float(x[0]), 9) for x in middle if x[0] == x[1]}
    assert {round(value, 9) for value in medians} <= drawn


def test_distribution_of_too_many_anchors_keeps_those_with_all_others(small):
    rows = small.found.table
    one = rows[(rows["grouping"] == "anchor") & (rows["method"] == "pearson")]
    many = [one.assign(group_x=f"anchor {k}") for k in range(25)]
    base = rows[rows["grouping"] == "all"]
    figure, table = consistency_distribution(
        pd.concat([base, *many], ignore_index=True), small.models, group="anchor", column="kind"
    )
    assert "25 of 75 pairs: those of anchors with all others" in figure.get_supxlabel()
    assert set(table["group_y"]) == {"all"}
    check_texts(figure)


def test_one_dataset_takes_one_column(small):
    one = {"dataset_1": small.curves["dataset_1"].query("axis == 'n'")}
    for figure, _ in (
        stimuli_steps(one, axis=AXIS),
        sensitivity(one, small.stability, axis=AXIS),
    ):
        assert figure.get_figwidth() * 25.4 == pytest.approx(85)
        check_texts(figure)


@pytest.mark.figure("alignment")
def test_alignment_puts_language_models_on_the_axis_whichever_side_they_are_on(small):
    _, table = small.draw("alignment")
    turned = {
        name: t.rename(columns={"model_x": "model_y", "model_y": "model_x",
                                "group_x": "group_y", "group_y": "group_x"})
        for name, t in small.aligned.items()
    }  # fmt: skip
    _, same = alignment(turned, axis=AXIS, language=small.bits)
    pd.testing.assert_frame_equal(table, same)
    scaled = table[table["dataset"] == "dataset_0"]
    assert set(scaled["model"]) == {model for _, model in small.bits}
    assert table.loc[table["dataset"] == "dataset_1", "bits_per_byte"].isna().all()


@pytest.mark.figure("aligned_models")
def test_matrices_of_alignment_hold_every_pair_of_two_groups(small):
    figure, table = small.draw("aligned_models")
    assert set(table["reduction"]) == {"max", "heldout"}
    assert len(table) == 2 * 2 * 16
    source = pd.concat(small.aligned.values()).set_index(
        ["dataset", "reduction", "model_x", "model_y"]
    )["value"]
    for row in table.itertuples():
        pair = source[row.dataset, row.reduction, row.partner, row.model]
        assert row.value == pytest.approx(pair, abs=1e-12)
    axes = next(a for a in figure.axes if a.get_title() == "dataset_1, best pair of layers")
    names = [label.get_text() for label in axes.get_yticklabels()]
    partners = [label.get_text() for label in axes.get_xticklabels()]
    shown = [float(text.get_text()) for text in axes.texts]
    value = source["dataset_1", "max", partners[2], names[1]]
    assert shown[1 * len(partners) + 2] == pytest.approx(value, abs=0.005)


@pytest.mark.figure("probe_accuracy")
def test_accuracies_stand_by_group_and_take_the_linear_probe(small):
    models, accuracy = small.models, small.accuracy
    other = accuracy.assign(kind="knn", accuracy=1.0)
    figure, table = probe_accuracy(pd.concat([accuracy, other]), models, group="kind")
    assert table["accuracy"].max() < 1
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    kinds = [models.loc[name, "kind"] if name in models.index else "" for name in names]
    assert [kind for kind in kinds if kind] == sorted(kind for kind in kinds if kind)


@pytest.mark.figure("reliability")
def test_reliability_figure_counts_what_has_no_correction(small):
    table = small.found.table.copy()
    first = table.index[table["grouping"] == "all"][0]
    table.loc[first, "corrected"] = np.nan
    figure, _ = reliability(table, label=LABEL)
    assert figure.axes[1].get_title() == "dataset pairs: 2, 1 without"


@pytest.mark.figure("similarity_spread")
def test_spread_is_the_mean_and_deviation_over_datasets(small):
    _, table = small.draw("similarity_spread")
    every = pd.concat(small.tables.values())
    every = every[every["model_x"] != every["model_y"]]
    for row in table.iloc[::9].itertuples():
        pair = {row.model_x, row.model_y}
        chosen = every[every["model_x"].isin(pair) & every["model_y"].isin(pair)]["value"].dropna()
        assert row.n_datasets == len(chosen)
        assert row.mean == pytest.approx(chosen.mean(), abs=1e-12)
        assert row.sd == pytest.approx(chosen.std(), abs=1e-12)


@pytest.mark.parametrize(("name", "function"), [("arccos", np.arccos), ("tan", np.tan)])
def test_spread_of_transformed_similarities(small, name, function):
    common = {"axis": AXIS, "group": "kind"}
    figure, table = similarity_spread(small.tables, small.models, transform=name, **common)
    every = pd.concat(small.tables.values())
    every = every[every["model_x"] != every["model_y"]]
    for row in table.iloc[::9].itertuples():
        pair = {row.model_x, row.model_y}
        chosen = every[every["model_x"].isin(pair) & every["model_y"].isin(pair)]["value"].dropna()
        assert row.mean == pytest.approx(function(chosen).mean(), abs=1e-12)
        assert row.sd == pytest.approx(function(chosen).std(), abs=1e-12)
    unit, direction = (", radians", "smaller") if name == "arccos" else ("", "larger")
    assert figure.get_suptitle() == f"{name} of {LABEL}{unit} ({direction} = more similar)"
    check_texts(figure)
    wide = MetricAxis("a distance", (0.0, np.inf), False)
    with pytest.raises(DataError, match=f"{name} takes values from .* a distance has values"):
        similarity_spread(small.tables, small.models, axis=wide, transform=name)


@pytest.mark.figure("metric_agreement")
def test_metric_agreement_pairs_the_same_datasets_and_groups(small):
    _, table = small.draw("metric_agreement")
    np.testing.assert_allclose(table["value_y"], table["value_x"] ** 3, atol=1e-12)
    assert table["r"].iloc[0] == pytest.approx(table["value_x"].corr(table["value_y"]), abs=1e-12)


def test_bits_per_byte_come_from_the_headers(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, found in (("lm", {"language": {"bits_per_byte": 1.25}}), ("bert", {})):
        header = {"model": {"model": name}, "dataset": "texts", "samples_hash": "0", **found}
        features = {"last": np.zeros((3, 2), np.float32)}
        write_features(folder / f"{name}.safetensors", features, header, list("abc"))
    listed = pd.DataFrame({"file": ["lm.safetensors", "bert.safetensors"]})
    write_table(listed, folder / "manifest.parquet", {})
    assert read_language([folder / "manifest.parquet"]) == {("texts", "lm"): 1.25}


def test_nothing_to_draw_is_an_error(small):
    found, models = small.found, small.models
    with pytest.raises(DataError, match="no dataset has a reliability"):
        reliability(found.table.assign(reliability_x=np.nan, reliability_y=np.nan), label=LABEL)
    with pytest.raises(DataError, match="no group of models"):
        consistency_groups(found.means.assign(value=np.nan), models, label=LABEL)
    with pytest.raises(DataError, match="no two groups"):
        group_differences(found.differences.iloc[:0], models)
    with pytest.raises(DataError, match="no dataset has a relation"):
        similarity_behavior(small.relation.assign(value=np.nan, status="few"), label=LABEL)
    with pytest.raises(DataError, match="no pair of models"):
        alignment({"d": small.aligned["dataset_0"].assign(value=np.nan)}, axis=AXIS)
    with pytest.raises(DataError, match="no similarity has a value"):
        sensitivity({"d": small.curves["dataset_0"].assign(value=np.nan)}, small.stability,
                    axis=AXIS)  # fmt: skip
    with pytest.raises(DataError, match="two numbers of stimuli"):
        stimuli_steps({"d": small.curves["dataset_0"].query("setting == 50")}, axis=AXIS)
    with pytest.raises(DataError, match="no pair of groups of 'size'"):
        consistency_heatmap_groups(found.table, group="size", label=LABEL)
    with pytest.raises(DataError, match="no model has a linear probe"):
        probe_accuracy(small.accuracy.assign(kind="knn"), models)
