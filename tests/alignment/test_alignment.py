"""Alignment: reductions of layers × layers matrices, and the null of the same reduction."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_similarity import make_features

from consilience.alignment import REDUCTIONS, align, make_alignment, pairs_across
from consilience.alignment.layers import LayerSplit
from consilience.config import load_study
from consilience.errors import ConfigError, MetricError
from consilience.features import read_layer
from consilience.features.manifest import hash_of_rows
from consilience.files import derive_seed, read_table, write_table
from consilience.metrics import METRICS, Preprocessing, clip_outliers, get_metric

SPEC = {
    "metric": "mutual_knn",
    "parameters": {"k": 4},
    "preprocessing": {"row_normalize": True, "center": False, "clip": 0.95},
    "layers": "all",
    "permutations": 0,
}


def layers(rng, n, widths, shared=None, strength=0.0):
    found = {f"layer_{i}": rng.normal(size=(n, d)) for i, d in enumerate(widths)}
    if shared is not None:
        last = list(found)[-2]
        found[last] = found[last] + strength * shared @ rng.normal(
            size=(shared.shape[1], widths[-2])
        )
    return found


def by_hand(metric, x, y, rows, before, order=None):
    """Values of all pairs of layers on some rows, those of y permuted before anything else."""
    order = np.arange(len(rows)) if order is None else order
    return np.array(
        [[metric(before(a[rows]), before(b[rows][order])) for b in y.values()] for a in x.values()]
    )


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mutual_knn", {"k": 3}),
        ("cka", {"estimator": "debiased"}),
        ("cka", {"estimator": "biased"}),
        ("procrustes", {}),
        ("cycle_knn", {"k": 3}),
    ],
)
def test_values_and_nulls_are_those_of_searching_again_by_hand(name, parameters):
    rng = np.random.default_rng(3)
    metric, before = get_metric(name, **parameters), Preprocessing(row_normalize=True, clip=0.9)
    x, y = layers(rng, 26, [5, 9, 6]), layers(rng, 26, [8, 4])
    found = align(metric, x, y, permutations=7, seed=5, preprocessing=before)
    assert [r.reduction for r in found] == list(REDUCTIONS)
    split = LayerSplit(26, 5)
    sign = 1 if metric.facts.larger_is_more_similar else -1

    def reduced(k=None):
        orders = {part: None if k is None else o[k] for part, o in split.orders(7).items()}
        made = {p: by_hand(metric, x, y, r, before, orders[p]) for p, r in split.rows.items()}
        best = np.argmax(sign * made["choose"])
        return [
            sign * (sign * made["all"]).max(),
            made["all"].mean(),
            made["all"][-1, -1],
            made["report"].ravel()[best],
        ]

    draws = np.array([reduced(k) for k in range(7)])
    assert [r.value for r in found] == pytest.approx(reduced(), rel=1e-9)
    assert [r.null.mean for r in found] == pytest.approx(draws.mean(0), rel=1e-9, abs=1e-12)
    assert [r.null.sd for r in found] == pytest.approx(draws.std(0, ddof=1), rel=1e-6)
    whole = by_hand(metric, x, y, np.arange(26), before)
    best = np.unravel_index(np.argmax(sign * whole), whole.shape)
    assert found[0].layers == (list(x)[best[0]], list(y)[best[1]])
    assert found[1].layers is None
    assert found[2].layers == ("layer_2", "layer_1")
    assert [r.n for r in found] == [26, 26, 26, 13]


FEATURE_METRICS = [
    name
    for name, cls in METRICS.items()
    if cls.class_facts.paired and cls.class_facts.inputs == ("features",)
]


@pytest.mark.parametrize("name", FEATURE_METRICS)
def test_every_metric_of_paired_features_can_align(name):
    rng = np.random.default_rng(6)
    metric = get_metric(name)
    x, y = layers(rng, 44, [4, 3]), layers(rng, 44, [3, 4, 3])
    found = {r.reduction: r for r in align(metric, x, y, permutations=2)}
    values = [[metric(a, b) for b in y.values()] for a in x.values()]
    assert found["mean"].value == pytest.approx(np.mean(values), rel=1e-9, abs=1e-12)
    assert found["last"].value == pytest.approx(values[-1][-1], rel=1e-9, abs=1e-12)


def test_halves_and_permutations_are_shared_and_seeded():
    rows = LayerSplit(31, 2).rows
    assert sorted([*rows["choose"], *rows["report"]]) == list(range(31)) == list(rows["all"])
    assert {part: len(r) for part, r in rows.items()} == {"all": 31, "choose": 15, "report": 16}
    again, other = LayerSplit(31, 2).rows["choose"], LayerSplit(31, 3).rows["choose"]
    assert np.array_equal(again, rows["choose"]) and not np.array_equal(other, again)
    # halves of one size are not permuted alike
    orders = LayerSplit(30, 2).orders(5)
    assert not np.array_equal(orders["choose"], orders["report"])


def test_planted_layers_are_found_and_nothing_else_is():
    rng = np.random.default_rng(1)
    shared = rng.normal(size=(120, 6))
    metric = get_metric("mutual_knn", k=6)
    x = layers(rng, 120, [12, 10, 12], shared, 4.0)
    y = layers(rng, 120, [9, 11, 14, 9], shared, 4.0)
    found = {r.reduction: r for r in align(metric, x, y, permutations=99)}
    assert found["max"].layers == found["heldout"].layers == ("layer_1", "layer_2")
    assert found["max"].null.p == found["heldout"].null.p == 0.01
    # the planted layers are not the last
    assert found["last"].null.p > 0.01


def test_p_values_are_uniform_without_a_relation():
    """Of every reduction; a search over layers that kept the null of one pair would fail here."""
    rng = np.random.default_rng(7)
    metric = get_metric("cka", estimator="debiased")
    p = np.array(
        [
            [
                r.null.p
                for r in align(
                    metric,
                    layers(rng, 24, [6, 30, 8]),
                    layers(rng, 24, [40, 5]),
                    permutations=39,
                    seed=i,
                )
            ]
            for i in range(150)
        ]
    )
    for column in p.T:
        jittered = column - rng.uniform(0, 1 / 40, len(column))  # p comes in steps of 1 / 40
        assert stats.kstest(jittered, "uniform").pvalue > 1e-3


def test_a_single_maximum_is_no_evidence():
    """The maximum of 30 pairs of unrelated layers lies far out in the null of a single pair."""
    rng = np.random.default_rng(11)
    metric = get_metric("mutual_knn", k=5)
    x, y = layers(rng, 60, [8] * 6), layers(rng, 60, [8] * 5)
    found = {r.reduction: r for r in align(metric, x, y, permutations=99)}
    assert found["max"].null.mean > found["last"].null.mean + 1.5 * found["last"].null.sd
    assert found["max"].null.p > 0.02


def test_the_search_is_calibrated_by_its_maximum():
    rng = np.random.default_rng(8)
    shared = rng.normal(size=(60, 4))
    x = {f"x{i}": rng.normal(size=(60, 12)) for i in range(4)}
    y = {f"y{i}": rng.normal(size=(60, 9)) for i in range(3)}
    metric = get_metric("mutual_knn", k=5)
    chance = align(metric, x, y, permutations=99)[0]
    single = 5 / 59
    assert chance.null.mean > single
    assert chance.null.p > 0.02
    x["x2"], y["y1"] = x["x2"] + 3 * shared[:, [0] * 12], y["y1"] + 3 * shared[:, [0] * 9]
    found = align(metric, x, y, permutations=99)[0]
    assert (found.reduction, found.layers) == ("max", ("x2", "y1"))
    assert found.null.p == 0.01
    mean = found.null.mean
    assert found.calibrated == pytest.approx((found.value - mean) / (1 - mean), rel=1e-12)
    with pytest.raises(ConfigError, match="at least one layer"):
        align(metric, {}, y)


def test_a_metric_without_pairing_or_a_constant_layer_is_refused():
    rng = np.random.default_rng(0)
    x = layers(rng, 20, [4, 4])
    with pytest.raises(ConfigError, match="ignores how samples are paired"):
        align(get_metric("magnitude_difference"), x, x)
    with pytest.raises(MetricError, match="layer 'flat': "):
        align(get_metric("cka"), {"flat": np.ones((20, 3))}, x)


# Clipping


@pytest.mark.parametrize("quantile", [0.95, 0.5, 0.01])
def test_clipping_cuts_at_the_ranked_absolute_value(quantile):
    rng = np.random.default_rng(4)
    x = rng.standard_t(2, size=(37, 11))
    rank = max(int(quantile * x.size), 1)
    t = sorted(abs(x).ravel())[rank - 1]
    found = clip_outliers(x, quantile)
    assert found.max() <= t and found.min() >= -t
    inside = abs(x) <= t
    assert inside.sum() == rank
    assert np.array_equal(found[inside], x[inside])
    assert np.array_equal(found[~inside], np.sign(x[~inside]) * t)


def test_clipping_comes_first_and_is_of_each_layer_alone():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(30, 6))
    x[3, 2] = 1000.0
    done = Preprocessing(center=True, row_normalize=True, clip=0.95)(x)
    cut = clip_outliers(x, 0.95)
    cut = cut - cut.mean(0)
    assert np.allclose(done, cut / np.linalg.norm(cut, axis=1, keepdims=True))
    # the scale of a layer does not matter, so quiet layers are cut as loud ones are
    scaled = Preprocessing(row_normalize=True, clip=0.95)(x * 1e-3)
    assert np.allclose(scaled, Preprocessing(row_normalize=True, clip=0.95)(x))
    for wrong in (0, 1, 1.5, -0.1):
        with pytest.raises(ConfigError, match="a quantile between 0 and 1"):
            Preprocessing(clip=wrong)
    with pytest.raises(MetricError, match="leaves nothing"):
        clip_outliers(np.eye(40), 0.95)


# The table of a dataset


def groups(names="abcdef"):
    return {name: "image" if name in "abc" else "text" for name in names}


def make(manifest, out, spec=SPEC, **changes):
    settings = {"groups": groups(), "permutations": 19, "seed": 0, **changes}
    make_alignment(manifest, out, dataset="d", metric_id="m", spec=spec, **settings)
    return read_table(out)


def test_table_has_every_reduction_of_every_pair_across_groups(tmp_path):
    manifest = make_features(tmp_path / "features")
    table = make(manifest, tmp_path / "t.parquet")
    pairs = [*zip(table.model_x, table.model_y, strict=True)]
    wanted = [pair for pair in itertools.product("abc", "def") for _ in REDUCTIONS]
    assert pairs == wanted
    assert set(zip(table.group_x, table.group_y, strict=True)) == {("image", "text")}
    assert table.attrs["spec"]["preprocessing"]["clip"] == 0.95
    assert table.attrs["layers"]["a"] == ["0", "3", "6"]
    assert table.attrs["null"]["count"] == 19
    assert len(table.attrs["code"]) == 64, "a merge asks whether two labs had the same code"
    assert table.attrs["device"] == "cpu"
    # one layer on each side: all reductions over all samples agree
    one = table[(table.model_x == "b") & (table.reduction != "heldout")]
    assert one.groupby("model_y")["value"].nunique().eq(1).all()
    assert np.allclose(
        table.calibrated, (table.value - table.null_mean) / (1 - table.null_mean), equal_nan=True
    )
    assert make(manifest, tmp_path / "u.parquet", groups={}).shape[0] == 15 * len(REDUCTIONS)


def test_bytes_do_not_depend_on_threads_or_history(tmp_path):
    manifest = make_features(tmp_path / "features")
    first, second, third = (tmp_path / f"{name}.parquet" for name in "abc")
    make(manifest, first)
    make(manifest, second, threads=3, store=tmp_path / "store.parquet")
    make_features(tmp_path / "features", "abde")
    make(manifest, third, store=tmp_path / "store.parquet", groups=groups("abde"))
    make_features(tmp_path / "features")
    make(manifest, third, store=tmp_path / "store.parquet")
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()


def test_finished_pairs_are_not_computed_again(tmp_path, monkeypatch):
    manifest = make_features(tmp_path / "features", "abd")
    store, out = tmp_path / "store.parquet", tmp_path / "t.parquet"
    make(manifest, out, store=store, groups=groups("abd"))
    metric, compared = type(get_metric("mutual_knn")), []
    original = metric.compare_all

    def counted(self, x, y):
        compared.append(1)
        return original(self, x, y)

    monkeypatch.setattr(metric, "compare_all", counted)
    make(manifest, out, store=store, groups=groups("abd"))
    assert not compared
    manifest = make_features(tmp_path / "features", "abde")
    make(manifest, out, store=store, groups=groups("abde"))
    assert len(compared) == 2 * 20 * 3  # two new pairs, value and 19 draws, three parts each
    compared.clear()
    make(manifest, out, store=store, groups=groups("abde"), fresh=True)
    assert len(compared) == 4 * 20 * 3
    make(manifest, out, store=store, groups=groups("abde"), permutations=20)
    assert len(compared) == 4 * 20 * 3 + 4 * 21 * 3


def test_damaged_store_is_started_anew(tmp_path):
    manifest = make_features(tmp_path / "features", "ad")
    store, out = tmp_path / "store.parquet", tmp_path / "t.parquet"
    make(manifest, out, store=store, groups=groups("ad"))
    content = out.read_bytes()
    before = pd.DataFrame({"key": ["k"], "reduction": ["max"], "value": [0.5]})
    for damage in (
        lambda: store.write_bytes(b"PAR1 is not enough"),
        lambda: write_table(before, store, {"key": "of another form"}),
    ):
        damage()
        make(manifest, out, store=store, groups=groups("ad"))
        assert out.read_bytes() == content
        assert len(read_table(store)) == len(REDUCTIONS)


def test_a_view_is_aligned_on_its_own_rows(tmp_path):
    manifest = make_features(tmp_path / "features", "ad")
    rows = [40, 3, 7, 12, 13, 14, 28, 29, 30, 31, 45, 0, 49, 20]
    listed = read_table(manifest)
    metadata, listed.attrs = {**listed.attrs, "rows": rows}, {}
    listed["n"] = len(rows)
    listed["hash"] = [hash_of_rows(one, np.array(rows)) for one in listed["hash"]]
    write_table(listed, manifest, metadata)
    table = make(manifest, tmp_path / "t.parquet", groups=groups("ad"))
    whole = [
        {k: read_layer(manifest.parent / f"{m}.safetensors", k) for k in layers_}
        for m, layers_ in (("a", ["0", "3", "6"]), ("d", ["last"]))
    ]
    x, y = ({k: v[rows] for k, v in side.items()} for side in whole)
    found = align(
        get_metric("mutual_knn", k=4),
        x,
        y,
        permutations=19,
        seed=derive_seed("alignment", 0, "d"),
        preprocessing=Preprocessing(**SPEC["preprocessing"]),
    )
    assert table.value.tolist() == [r.value for r in found]
    assert table.p.tolist() == [r.null.p for r in found]
    assert table.n.tolist() == [14, 14, 14, 7]


def test_a_metric_that_is_not_symmetric_is_given_in_both_orders(tmp_path):
    manifest = make_features(tmp_path / "features", "abd")
    spec = {**SPEC, "metric": "cycle_knn"}
    table = make(manifest, tmp_path / "t.parquet", spec, groups=groups("abd"))
    assert set(zip(table.model_x, table.model_y, strict=True)) == {
        *[("a", "d"), ("b", "d"), ("d", "a"), ("d", "b")]
    }


def test_a_layer_without_value_is_named_and_stops_nothing_else(tmp_path, monkeypatch):
    manifest = make_features(tmp_path / "features", "abd")
    prepare = type(get_metric("mutual_knn")).prepare

    def failing(self, x):
        if x.shape[1] == 8 + ord("b") % 5:
            raise MetricError("no such thing")
        return prepare(self, x)

    monkeypatch.setattr(type(get_metric("mutual_knn")), "prepare", failing)
    table = make(manifest, tmp_path / "t.parquet", groups=groups("abd"))
    assert table[table.model_x == "a"].failure.isna().all()
    lost = table[table.model_x == "b"]
    assert lost.value.isna().all() and (lost.failure == "layer 'last': no such thing").all()


def test_pairs_across():
    kinds = {"m": "text", "n": "image", "o": "image"}
    assert pairs_across(kinds, ["m", "n", "o"]) == [("n", "m"), ("o", "m")]
    assert len(pairs_across({}, ["m", "n", "o"])) == 3
    assert pairs_across(kinds, ["n", "o"]) == []


STUDY = {
    "seed": 0,
    "models": ["lite0", "minilm", "pixels"],
    "datasets": ["openmoji"],
    "metrics": ["mutual_knn_k10", "magnitude_difference"],
}


def test_clip_of_a_study_reaches_its_metrics():
    study = load_study({**STUDY, "similarity": {"clip": 0.95}})
    assert study.metrics["mutual_knn_k10"]["preprocessing"]["clip"] == 0.95
    assert "clip" not in load_study(STUDY).metrics["mutual_knn_k10"]["preprocessing"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": ["mutual_knn"]}, "'mutual_knn' is not among the study's metrics; did you"),
        ({"metrics": ["magnitude_difference"]}, "takes each model alone"),
        ({"across": "modalty"}, "no column 'modalty' in the models; did you mean 'modality'?"),
        ({"metrics": ["mutual_knn_k10"], "across": "transform"}, "no dataset has two models"),
        ({"metrics": ["mutual_knn_k10"], "across": None}, None),
        ({"permutations": 5}, "5 is less than the minimum of 19"),
    ],
)  # fmt: skip
def test_mistakes_in_a_study(changes, message):
    if message is None:
        load_study({**STUDY, "alignment": changes})
        return
    with pytest.raises(ConfigError) as error:
        load_study({**STUDY, "alignment": changes}, where="my.yaml")
    lines = str(error.value).splitlines()
    assert len(lines) == 2 and message in lines[1]
