"""Published tables of ReSi: read, ranked by our rules, and never mixed with anything else."""

import itertools

import numpy as np
import pandas as pd
import pytest
import yaml
from clones import ROOT
from golden import RESI, resi_pair
from published_page import DATA, PAGE, page, rates_of
from scipy.stats import spearmanr

from consilience.cli import main
from consilience.errors import DataError
from consilience.files import read_table, write_table
from consilience.grounding.published import (
    CASES,
    DOMAINS,
    OWN,
    VALUES,
    make_published,
    rank_source,
    read_published,
)
from consilience.grounding.published.names import MEASURES, dataset_of, metric_of
from consilience.grounding.published.names import test_of as named_test
from consilience.grounding.published.tables import grid_of, infer_design, on_grid
from consilience.grounding.ranks import RANKS, SUMMARY
from consilience.grounding.separation import Groups
from consilience.metrics import get_metric

GROUPSEP = DATA / "notebook_language_groupsep_by_ngroups.csv"
EARLY = DATA / "notebook_language_early_groupsep.csv"
OUTPUT = DATA / "notebook_language_output_correlation.csv"
BOXES = DATA / "figure_rank_boxplot_digitised.csv"
CATALOGUE = yaml.safe_load((ROOT / "config" / "metrics.yaml").read_text(encoding="utf8"))
SAME = {name: measure.variant for name, measure in MEASURES.items() if measure.variant}

# Names


def tolerance(name):
    given = RESI["tolerance"].get(name, RESI["tolerance"]["default"])
    if name == "IMDScore":
        return {"abs": 2.5, "rel": 0}
    numbers = dict(part.split()[:2] for part in given.split(", ") if part[:4] in ("rtol", "atol"))
    return {"rel": float(numbers.get("rtol", 1e-6)), "abs": float(numbers.get("atol", 1e-8))}


@pytest.mark.parametrize("case", sorted(RESI["cases"]))
@pytest.mark.parametrize("name", [name for name in SAME if name != "RTD"])
def test_variants_that_stand_for_a_measure_are_the_same_number(name, case):
    """On raw features, as ReSi compares; RTD draws other rows of larger data than these."""
    spec = {k: v for k, v in CATALOGUE[SAME[name]].items() if k != "label"}
    parameters, preprocessing = _parameters(spec)
    known = RESI["cases"][case]["measures"][name]["value"]
    assert preprocessing.get("row_normalize", False) is False
    found = get_metric(spec["metric"], **parameters)(*resi_pair(case))
    assert found == pytest.approx(known, **tolerance(name))


def _parameters(spec):
    outer = {"metric", "row_normalize", "center", "clip"}
    return {k: v for k, v in spec.items() if k not in outer}, {
        k: v for k, v in spec.items() if k in outer
    }


@pytest.mark.parametrize(
    ("name", "near"),
    [("SVCCA", "svcca_99pct"), ("PWCCA", "pwcca")],
)
def test_measures_that_keep_their_name_are_other_numbers(name, near):
    assert metric_of(name) == (name, name)
    spec = {k: v for k, v in CATALOGUE[near].items() if k != "label"}
    known = RESI["cases"]["linear_noise"]["measures"][name]["value"]
    metric = get_metric(spec["metric"], **_parameters(spec)[0])
    assert abs(metric(*resi_pair("linear_noise")) - known) > 1e-3


def test_names():
    assert metric_of("CKA") == ("CKA", "cka_biased") == metric_of("CKA")
    assert metric_of("AngShape")[1] == metric_of("OrthogonalAngularShapeMetricCentered")[1]
    assert metric_of("Mine") == ("Mine", "Mine")
    assert len(set(SAME.values())) == len(SAME)
    assert named_test("nothing", "mnli_mem_rate0") == "labels"
    assert named_test("aug_or_label") == ""
    assert named_test("nlp_mono_sst2_cls") == "layers"
    assert dataset_of("x", "label_test_ogbn-arxiv_2") == ("ogbn-arxiv", "graph")


# The published tables


SPEC = """\
CKA .75 .59 .48 .59 .26 .61
DistanceCorrelation .75 .58 .45 .59 .26 .62
RSA .46 .58 .49 .48 .36 .61
AlignedCosineSimilarity 1.00 .58 .35 .99 .45 .45
OrthogonalProcrustesCenteredAndNormalized .90 .60 .38 .49 .31 .52
ProcrustesSizeAndShapeDistance .98 .54 .32 .86 .43 .43
JaccardSimilarity .69 .56 .35 .35 .55 .39
SecondOrderCosineSimilarity .39 .59 .44 .37 .55 .40
SVCCA .69 .42 .44 .64 .25 .61
ConcentricityDifference 1.00 .38 .28 .96 .26 .32
UniformityDifference .76 .40 .61 .60 .35 .33
MagnitudeDifference .33 .48 .16 .38 .35 .31"""


@pytest.fixture(scope="module")
def separated():
    return read_published(GROUPSEP)


def test_published_separations_of_language(separated):
    table = separated.scores
    auprc = table[(table["score"] == "auprc") & (table["n_groups"] < 5)]
    by = auprc.set_index(["name", "recipe", "test"])
    cases = list(itertools.product(("mnli", "sst2"), ("labels", "shortcuts", "augmentation")))
    for line in SPEC.splitlines():
        name, *values = line.split()
        for (recipe, test), value in zip(cases, map(float, values), strict=True):
            row = by.loc[(name, recipe, test)]
            assert row["value"] == pytest.approx(value, abs=0.00501), (name, recipe, test)
            two = (recipe, test) == ("sst2", "augmentation")
            assert row["n_groups"] == (2 if two else 3) and row["n_models"] == 5 * row["n_groups"]
            assert round(row["chance"], 3) == (0.352 if two else 0.219)
            assert row["lift"] == pytest.approx(
                (row["value"] - row["chance"]) / (1 - row["chance"])
            )
    assert list(table.columns) == [c for c in VALUES if c != "source"]
    assert set(table["domain"]) == {"text"}
    assert table["low"].isna().all() and table["note"].str.contains("no interval").sum() > 500


def test_conformity_is_what_is_not_violated(separated):
    published = pd.read_csv(GROUPSEP)
    rate = published[published["quality_measure"] == "violation_rate"]["value"]
    found = separated.scores[separated.scores["score"] == "conformity"]
    known = np.sort(1 - rate.dropna())
    assert known == pytest.approx(np.sort(found["value"].dropna()), abs=1e-12)
    assert (found["status"] == "failed").sum() == rate.isna().sum() == 3
    assert (found["chance"] == 0.5).all()


def test_both_shapes_of_procrustes_are_ranked_alike_by_their_publication(separated):
    """One is a monotone function of the other: one comparison of 5,000 differs, by rounding."""
    table = separated.scores.set_index(["name", "recipe", "test", "score", "n_groups"])["value"]
    names = ("AngularShapeMetricCentered", "ProcrustesCenteredAndNormalized")
    both = [table.loc[f"Orthogonal{name}"].to_numpy() for name in names]
    assert both[0] == pytest.approx(both[1], abs=2.5e-4, nan_ok=True) and len(both[0]) == 24


@pytest.mark.parametrize(
    ("dataset", "test", "known"),
    [
        ("mnli", "shortcuts", 0.92655), ("sst2", "shortcuts", 0.96243), ("mnli", "labels", 0.94963),
        ("sst2", "labels", 0.80821), ("mnli", "augmentation", 0.93559),
        ("sst2", "augmentation", 0.72498),
    ],
)  # fmt: skip
def test_published_agreement_of_few_and_five_groups(separated, dataset, test, known):
    table = separated.scores
    rows = table[
        (table["recipe"] == dataset) & (table["test"] == test) & (table["score"] == "auprc")
    ]
    few, five = (part.set_index("name")["value"] for _, part in rows.groupby(rows["n_groups"] == 5))
    assert spearmanr(few, five[few.index], nan_policy="omit").statistic == pytest.approx(
        known, abs=5e-6
    )


def test_ranks_are_of_the_fewest_groups_and_without_intervals(separated):
    cases, domains = rank_source([separated])
    assert len(cases) == 3 * 22 + 3 * 23
    labels = cases[(cases["recipe"] == "mnli") & (cases["test"] == "labels")].set_index("name")
    assert labels.loc["AlignedCosineSimilarity", "rank"] == 1.5  # two have 1.00
    assert labels.loc["AlignedCosineSimilarity", "metric"] == "aligned_cosine"
    assert labels["same"].sum() == 22 - 3 and not labels.loc["SVCCA", "same"]
    whole = domains[domains["domain"] == "all"]
    assert whole[["low", "high", "best_share"]].isna().all(axis=None)
    assert (whole["note"].str.startswith("no interval")).all()
    mean = cases.groupby("metric")["rank01"].mean()
    assert (whole.set_index("metric")["mean_rank01"] - mean).abs().max() < 1e-12
    lacking = whole[whole["coverage"] < 0.9]
    assert lacking["place"].isna().all() and len(lacking)


def test_missing_values_are_failures_that_rank_last():
    published = read_published(EARLY)
    rows = published.scores[published.scores["name"] == "PWCCA"]
    rows = rows[(rows["score"] == "auprc") & (rows["recipe"] == "sst2")]
    assert set(rows["status"]) == {"failed"} and rows["value"].isna().all()
    cases, _ = rank_source([published])
    last = cases[(cases["name"] == "PWCCA") & (cases["recipe"] == "sst2")]
    assert (last["rank"] == 23).all() and (last["status"] == "failed").all()


def test_correlations_without_sign_are_kept_and_not_ranked():
    published = read_published(OUTPUT)
    by = published.scores.set_index(["name", "dataset", "measure", "score"])["value"]
    known = {("CKA", "sst2_sc_rate0558"): (0.83, 0.80), ("RSA", "sst2_sc_rate0558"): (0.88, 0.85),
             ("PWCCA", "sst2_sc_rate0558"): (0.25, 0.29),
             ("CKA", "mnli_sc_rate0354"): (0.85, 0.85)}  # fmt: skip
    for (name, dataset), values in known.items():
        for measure, value in zip(("jsd", "disagreement"), values, strict=True):
            assert by[name, dataset, measure, "spearman"] == pytest.approx(value, abs=0.00501)
    assert set(published.scores["status"]) == {"unsigned", "failed"}
    assert set(published.scores["test"]) == {"output"}


def test_published_boxes_are_drawn_from_their_quantiles():
    cases, domains = rank_source([read_published(BOXES)])
    raw = pd.read_csv(BOXES)
    assert len(cases) == 5 * len(raw) == 5 * 72 and set(cases["status"]) == {"digitised"}
    one = cases[(cases["domain"] == "graph") & (cases["name"] == "RSA")]["rank"]
    assert np.percentile(one, [0, 25, 50, 75, 100]).tolist() == [1, 5, 7.75, 14, 23]
    order = domains[domains["domain"] == "image"].sort_values("place")
    assert order["name"].iloc[:2].tolist() == ["JaccardSimilarity", "DistanceCorrelation"]
    assert order["mean_rank"].isna().all() and order["median_rank"].is_monotonic_increasing
    assert cases["note"].str.contains("layer ranks").all()


# Designs


def random_rates(groups, models, metrics=20, seed=0):
    """Violation rates of random similarities, as our own function finds them."""
    generator = np.random.default_rng([seed, groups, models])
    m = groups * models
    found = []
    for _ in range(metrics):
        closeness = generator.normal(size=(m, m))
        group = np.repeat(np.arange(groups), models)
        whole = Groups((closeness + closeness.T) / 2, group, np.arange(m))
        found.append(round(1 - float(whole.score("conformity")[0]), 6))
    return found


@pytest.mark.parametrize("design", [(3, 5), (2, 5), (5, 5), (3, 3), (2, 10)])
def test_a_design_is_found_by_its_rates(design):
    rates = random_rates(*design)
    assert infer_design(rates) == design
    assert infer_design(rates, groups=design[0]) == design


def test_no_design_is_found_where_rates_are_of_none():
    assert infer_design(np.random.default_rng(0).uniform(size=20).tolist()) is None
    assert infer_design([0.5, float("nan")]) is None
    assert infer_design([0.0, 1.0, 0.0, 1.0]) is None
    assert grid_of(3, 5) == 1500 and grid_of(2, 5) == 500 and grid_of(5, 5) == 5000


def test_published_rates_are_of_the_designs_that_are_told(separated):
    """All but those of PWCCA, of which pairs failed and were dropped."""
    for (_, groups), rates in rates_of(GROUPSEP, "representation_dataset", "groups").items():
        assert infer_design(list(rates.values())) == (groups, 5)
        off = [name for name, rate in rates.items()
               if np.isfinite(rate) and not on_grid(rate, groups, 5)]  # fmt: skip
        assert off in ([], ["PWCCA"])
    dropped = separated.scores[separated.scores["note"].str.contains("failed pairs")]
    assert set(dropped["name"]) == {"PWCCA"} and len(dropped) == 2 * 11


def test_the_first_runs_were_of_five_groups():
    runs = rates_of(EARLY, "setting", "dataset")
    found = {run: infer_design(list(rates.values())) for run, rates in runs.items()}
    assert found == {("aug", "sst2"): (5, 10), ("sc", "sst2"): (5, 10), ("mem", "sst2"): (5, 5),
                     ("sc", "mnli"): (5, 5)}  # fmt: skip


# Long tables, as a user has them


def long_table(path, metrics, groups=3, **meta):
    """A long table of group separation in ReSi's form, and the closeness that it is of."""
    generator = np.random.default_rng(5)
    m = groups * 5
    rows, known = [], {}
    for name in metrics:
        closeness = generator.normal(size=(m, m))
        whole = Groups((closeness + closeness.T) / 2, np.repeat(np.arange(groups), 5), np.arange(m))
        known[name] = whole
        base = {"similarity_measure": name, "domain": "GRAPHS", "architecture": "GCN",
                "representation_dataset": "cora", "identifier": "Normal"} | meta  # fmt: skip
        for score, of in (("AUPRC", "auprc"), ("violation_rate", "conformity")):
            value = float(whole.score(of)[0])
            value = value if of == "auprc" else 1 - value
            rows.append(base | {"quality_measure": score, "value": value})
    pd.DataFrame(rows).to_csv(path)
    return known


def test_a_long_table_with_the_number_of_groups_found(tmp_path):
    path = tmp_path / "label_test_cora_gcn.csv"
    known = long_table(path, ["CKA", "RSA", "Mine", "RTD"])
    found = read_published(path).scores
    assert set(found["recipe"]) == {"GCN cora"} and set(found["domain"]) == {"graph"}
    assert set(found["test"]) == {"labels"} and set(found["n_groups"]) == {3}
    by = found.set_index(["name", "score"])
    for name, whole in known.items():
        row = by.loc[(name, "auprc")]
        assert row["value"] == pytest.approx(float(whole.score("auprc")[0]))
        assert row["chance"] == pytest.approx(whole.chance("auprc"))
    assert by.loc[("Mine", "auprc"), "metric"] == "Mine" and not by.loc[("Mine", "auprc"), "same"]


def test_no_chance_where_the_number_of_groups_is_not_known(tmp_path):
    path = tmp_path / "label_test_cora_gcn.csv"
    long_table(path, ["CKA"])
    row = read_published(path).scores.set_index("score").loc["auprc"]
    assert np.isnan(row["chance"]) and "no chance" in row["note"] and row["status"] == "ok"


def test_poolings_are_recipes_of_their_own(tmp_path):
    for pooled in ("cls", "mean"):
        long_table(tmp_path / f"mem_bert_sst2_{pooled}.csv", ["CKA", "RSA"],
                   representation_dataset="sst2", domain="NLP", architecture="BERT-L")  # fmt: skip
    files = [read_published(path) for path in sorted(tmp_path.glob("*.csv"))]
    cases, _ = rank_source(files)
    assert sorted(set(cases["recipe"])) == ["BERT-L sst2 cls", "BERT-L sst2 mean"]


def test_two_values_of_one_thing_are_refused(tmp_path):
    for name in ("label_a", "label_b"):
        long_table(tmp_path / f"{name}.csv", ["CKA", "RSA"])
    paths = sorted(tmp_path.glob("*.csv"))
    outs = [tmp_path / f"{name}.parquet" for name in "xyz"]
    with pytest.raises(
        DataError, match=r"'one' says twice .*label_a.csv, label_b.csv.*two sources"
    ):
        make_published({"one": paths}, *outs)
    make_published({"a": paths[:1], "b": paths[1:]}, *outs)
    assert set(read_table(outs[0])["source"]) == {"a", "b"}
    table = pd.read_csv(paths[0])
    pd.concat([table, table.assign(value=0.5)]).to_csv(paths[0])
    with pytest.raises(DataError, match="part the file"):
        read_published(paths[0])


def test_what_cannot_be_read_is_told(tmp_path):
    long_table(tmp_path / "cora.csv", ["CKA"])
    with pytest.raises(DataError, match="rename the file"):
        read_published(tmp_path / "cora.csv")
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "other.csv")
    with pytest.raises(DataError, match=r"has the columns Unnamed: 0, a.*known: .*AUPRC|no table"):
        read_published(tmp_path / "other.csv")
    with pytest.raises(DataError, match="there is no file"):
        read_published(tmp_path / "none.csv")


def test_signed_correlations_are_ranked(tmp_path):
    meta = {"domain": "VISION", "architecture": "ResNet18", "identifier": "Normal",
            "representation_dataset": "ImageNet100", "quality_measure": "spearmanr",
            "pval": 0.01}  # fmt: skip
    rows = [
        meta | {"similarity_measure": name, "functional_similarity_measure": measure, "corr": value}
        for name, values in {"CKA": (0.5, 0.1, 0.9), "RSA": (-0.6, 0.2, np.nan)}.items()
        for measure, value in zip(("AbsoluteAccDiff", "JSD", "Disagreement"), values, strict=True)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "in100_output.csv")
    published = read_published(tmp_path / "in100_output.csv")
    assert published.scores["p"].isna().all()  # of free permutations of pairs
    cases, _ = rank_source([published])
    by = cases.set_index(["test", "metric"])
    assert by.loc[("accuracy", "cka_biased"), "rank"] == 1
    assert by.loc[("accuracy", "rsa_spearman"), "rank"] == 2
    assert by.loc[("output", "rsa_spearman"), "rank"] == 1.5  # the mean of both measures
    assert by.loc[("output", "rsa_spearman"), "status"] == "failed"


def test_layers_are_means_over_models(tmp_path):
    rows = [
        {"similarity_measure": name, "quality_measure": score, "model": i, "value": value,
         "domain": "GRAPHS", "architecture": "GAT", "representation_dataset": "cora",
         "identifier": "MultiLayer"}
        for name, values in {"CKA": (0.8, 1.0, 0.6), "RSA": (1.0, np.nan, 1.0)}.items()
        for score in ("correlation", "violation_rate")
        for i, value in enumerate(values)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "layer_test.csv")
    by = read_published(tmp_path / "layer_test.csv").scores.set_index(["name", "score"])
    row = by.loc[("CKA", "spearman")]
    assert row["value"] == pytest.approx(0.8) and row["low"] < 0.8 < row["high"]
    assert by.loc[("CKA", "conformity"), "value"] == pytest.approx(0.2)
    assert by.loc[("RSA", "spearman"), "status"] == "failed"
    assert "1 of 3 models" in by.loc[("RSA", "spearman"), "note"]


# Stores of pairs


SETTINGS = ("Normal", "RandomLabels_25", "RandomLabels_100", "Shortcut_0", "Shortcut_100")


def side(setting, seed, layer="3", data="cora", arch="GCN"):
    return f"{setting}__{arch}__{data}__{seed}__{data}__{layer}"


def store(closeness, measures=("CKA",), layers=4):
    """A store of pairs in ReSi's form; closeness is of (setting, seed, layer), twice."""
    rows = []

    def add(x, y, name, value, symmetric=True):
        larger = name not in ("RTD",)
        rows.append({"id": f"{x}___{y}___{name}", "metric": name, "metric_value": value,
                     "larger_is_more_similar": larger, "is_symmetric": symmetric})  # fmt: skip

    models = list(itertools.product(SETTINGS, range(5)))
    for name in measures:
        sign = -1 if name == "RTD" else 1
        for x, y in itertools.combinations(models, 2):
            add(side(*x), side(*y), name, sign * closeness((*x, 3), (*y, 3)))
        for seed in range(5):
            for a, b in itertools.combinations(range(layers), 2):
                x, y = ("MultiLayer", seed, a), ("MultiLayer", seed, b)
                add(side(*x[:2], a), side(*y[:2], b), name, sign * closeness(x, y))
    return rows, add


def random_closeness(x, y):
    key = [hash_of(part) for part in sorted([str(x), str(y)])]
    return float(np.random.default_rng(key).normal())


def hash_of(text):
    return int.from_bytes(text.encode()[-12:], "big")


def planted(x, y):
    return float(x[0] == y[0]) - 0.1 * abs(x[2] - y[2]) + 0.01 * random_closeness(x, y)


def test_a_store_of_pairs_is_scored_by_our_functions(tmp_path):
    rows, _ = store(random_closeness, ["CKA", "RTD"])
    pd.DataFrame(rows).to_parquet(tmp_path / "results.parquet")
    published = read_published(tmp_path / "results.parquet", draws=100)
    kept = published.scores[published.scores["same_seed"] == "keep"]
    by = kept.set_index(["name", "test", "score", "group_x", "group_y"])
    for test, chosen in (("labels", SETTINGS[:3]), ("shortcuts", SETTINGS[3:])):
        models = [(s, seed, 3) for s in chosen for seed in range(5)]
        matrix = np.array([[random_closeness(*sorted([x, y], key=lambda m: (SETTINGS.index(m[0]),
                            m[1]))) for y in models] for x in models])  # fmt: skip
        whole = Groups(matrix, np.repeat(np.arange(len(chosen)), 5), np.arange(len(models)))
        row = by.loc[("CKA", test, "auprc", "", "")]
        assert row["value"] == pytest.approx(float(whole.score("auprc")[0]))
        assert row["n_groups"] == len(chosen) and row["low"] < row["value"] < row["high"]
        assert by.loc[("RTD", test, "auprc", "", ""), "value"] == pytest.approx(row["value"])
    pair = by.loc[("CKA", "labels", "auprc", "Normal", "RandomLabels_100")]
    assert round(pair["chance"], 3) == 0.352
    assert "not in the table" in by.loc[("CKA", "labels", "auprc", "", ""), "note"]
    assert set(published.scores["recipe"]) == {"GCN cora", "GCN cora MultiLayer"}
    _, domains = rank_source([published])
    assert domains["low"].notna().all() and set(domains["note"]) == {""}


@pytest.mark.parametrize(("arch", "matched"), [("GCN", True), ("BERT-L", True), ("ViT_B32", False)])
def test_models_of_one_seed_share_a_start_where_resi_trained_them_so(tmp_path, arch, matched):
    rows, _ = store(random_closeness)
    data = {"GCN": "cora", "BERT-L": "sst2", "ViT_B32": "ImageNet100"}[arch]
    for row in rows:
        row["id"] = row["id"].replace("GCN", arch).replace("cora", data)
    pd.DataFrame(rows).to_parquet(tmp_path / "results.parquet")
    published = read_published(tmp_path / "results.parquet", draws=100)
    labels = published.scores[(published.scores["test"] == "labels")]
    labels = labels[(labels["score"] == "auprc") & (labels["group_x"] == "")]
    seen = {row.same_seed: round(row.chance, 3) for row in labels.itertuples()}
    assert seen == ({"keep": 0.219, "drop": 0.257} if matched else {"keep": 0.219})
    used = published.samples[published.samples["test"] == "labels"]["value"].tolist()
    assert used == labels["value"].tolist()[-1:]


def test_a_planted_store_and_repeated_rows(tmp_path):
    rows, add = store(planted)
    x, y = side("Normal", 0), side("Normal", 1)
    add(x, y, "CKA", float("nan"))  # the first value counts, as far as there is one
    add(y, x, "CKA", -9.0)
    pd.DataFrame(rows).to_parquet(tmp_path / "results.parquet")
    by = read_published(tmp_path / "results.parquet", draws=100).scores
    by = by[(by["group_x"] == "") & (by["same_seed"] == "keep")].set_index(["test", "score"])
    assert by.loc[("labels", "auprc"), "value"] == 1 == by.loc[("shortcuts", "auprc"), "value"]
    assert by.loc[("layers", "spearman"), "value"] == pytest.approx(1, abs=0.2)
    assert by.loc[("labels", "auprc"), "n_failed"] == 0


def test_answers_in_a_store_are_predicted(tmp_path):
    rows, add = store(random_closeness)
    apart = np.random.default_rng(1).uniform(size=(5, 5))
    for i, j in itertools.combinations(range(5), 2):
        sides = [f"GRAPHS_GCN_cora_Normal_{k}__cora__output" for k in (i, j)]
        add(*sides, "JSD", apart[i, j])
    pd.DataFrame(rows).to_parquet(tmp_path / "results.parquet")
    found = read_published(tmp_path / "results.parquet", draws=100).scores
    row = found[(found["test"] == "output") & (found["score"] == "spearman")].iloc[0]
    pairs = list(itertools.combinations(range(5), 2))
    close = [random_closeness(("Normal", i, 3), ("Normal", j, 3)) for i, j in pairs]
    known = spearmanr(-np.array(close), [apart[p] for p in pairs]).statistic
    assert row["measure"] == "jsd" and row["value"] == pytest.approx(known)


def test_a_store_without_ids_of_the_form_is_refused(tmp_path):
    rows = [{"id": "a___b", "metric": "CKA", "metric_value": 1.0, "larger_is_more_similar": True,
             "is_symmetric": True}]  # fmt: skip
    pd.DataFrame(rows).to_parquet(tmp_path / "results.parquet")
    with pytest.raises(DataError, match="no id of the store"):
        read_published(tmp_path / "results.parquet")


# Beside a study


def own_ranks(tmp_path):
    case = {"metric": "cka_biased", "domain": "graph", "recipe": "r", "test": "labels",
            "value": 0.5, "rank": 1.0, "rank01": 0.0, "p": 0.1, "p_holm": 0.1,
            "status": "ok"}  # fmt: skip
    whole = dict.fromkeys(SUMMARY, 1.0) | {"metric": "cka_biased", "domain": "graph"}
    folder = tmp_path / "study" / "grounding" / "ranks"
    folder.mkdir(parents=True)
    for name, row, columns in (("cases", case, RANKS), ("domains", whole, SUMMARY)):
        write_table(pd.DataFrame([row], columns=columns), folder / f"{name}.parquet", {})
    return tmp_path / "study"


def test_published_ranks_stand_beside_those_of_a_study(tmp_path, capsys):
    study = own_ranks(tmp_path)
    long_table(tmp_path / "label_cora.csv", ["CKA", "RSA", "SVCCA"])
    arguments = ["grounding", f"early={EARLY}", str(tmp_path / "label_cora.csv"), str(BOXES)]
    status = main([*arguments, "-o", str(tmp_path / "out"), "--beside", str(study)])
    shown = capsys.readouterr().out
    assert status == 0 and "early, text" in shown and "this study, graph" in shown
    folder = tmp_path / "out" / "grounding" / "published"
    cases, domains, values = (read_table(folder / f"{n}.parquet")
                              for n in ("cases", "domains", "values"))  # fmt: skip
    assert list(cases.columns) == CASES and list(domains.columns) == DOMAINS
    assert list(values.columns) == list(VALUES)
    assert list(dict.fromkeys(cases["source"])) == [OWN, "early", "label_cora", BOXES.stem]
    ours = cases[cases["source"] == OWN]
    assert ours["rank"].tolist() == [1.0] and ours["same"].all()
    theirs = cases[cases["source"] == "label_cora"]
    assert sorted(theirs["rank"]) == [1, 2, 3]  # of three metrics, not of ours too
    assert set(theirs["metric"]) == {"cka_biased", "rsa_spearman", "SVCCA"}


def test_the_command_says_what_is_missing(tmp_path, capsys):
    assert main(["grounding", str(EARLY), "-o", str(tmp_path), "--beside", str(tmp_path)]) == 1
    assert "all_grounding" in capsys.readouterr().err


def test_the_page_says_what_comes_out():
    assert PAGE.read_text(encoding="utf8") == page(), "run python tests/grounding/published_page.py"
