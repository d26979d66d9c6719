"""Groups of samples from the manifest to values and nulls: dense, tiled, shared, on halves."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest

from consilience.alignment import align, make_alignment
from consilience.alignment.layers import LayerSplit
from consilience.calibration import Permutations
from consilience.errors import ConfigError, DataError, MetricError
from consilience.features import write_features
from consilience.features.manifest import make_manifest
from consilience.files import read_table
from consilience.forms.groups import group_codes, subset
from consilience.metrics import get_metric
from consilience.reliability import halves_of, make_reliability
from consilience.samples import read_samples
from consilience.samples.choice import make_samples
from consilience.sensitivity import Curves, draw_rows, measure_sensitivity
from consilience.similarity import (
    Engine,
    Task,
    list_items,
    make_shared,
    make_similarity,
    pairwise,
    pairwise_many,
    similarity_table,
    task,
)
from consilience.similarity.items import items_of, with_null

SPEC = {
    "metric": "cka",
    "parameters": {},
    "preprocessing": {"row_normalize": False, "center": False},
    "layers": "all",
    "permutations": 0,
}
COMPARED = ["value", "null_mean", "null_sd", "p"]


def copies(stimuli, count, models=3, noise=0.1, seed=0, d=8):
    """Features of unrelated models of stimuli that are shown several times each."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(stimuli), count)
    features = {
        f"m{k}": rng.normal(size=(stimuli, d))[groups] + noise * rng.normal(size=(len(groups), d))
        for k in range(models)
    }
    return features, groups


def table_of(metric, features, groups, engine=None, **more):
    """The table of a task with a null that permutes groups."""
    items = [item for name, x in features.items() for item in items_of(metric, name, x)]
    made = Task(metric, null="monte_carlo", permutations=Permutations(19), groups=groups, **more)
    return similarity_table(made, items, engine)


# --- dense, tiled, on a device --------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
@pytest.mark.parametrize(("name", "parameters", "tolerance"), [
    ("cka", {}, 1e-7), ("cka", {"kernel": "rbf"}, 1e-7), ("cka", {"estimator": "biased"}, 1e-7),
    ("distance_correlation", {}, 1e-7), ("rsa", {}, 2e-6),
    ("rsa", {"rdm": "euclidean", "compare": "pearson"}, 1e-7),
    ("rsa", {"rdm": "euclidean", "compare": "cosine"}, 2e-7),
])  # fmt: skip
def test_tiles_give_the_values_and_nulls_of_whole_matrices(
    monkeypatch, name, parameters, tolerance, device
):
    features, groups = copies(140, 4)
    groups = np.concatenate([groups, np.arange(140, 200)])  # more than one tile, and some alone
    rng = np.random.default_rng(1)
    order = rng.permutation(len(groups))
    features = {
        k: np.concatenate([x, rng.normal(size=(60, 8))])[order] for k, x in features.items()
    }
    groups, metric = group_codes(groups[order]), get_metric(name, **parameters)
    whole = table_of(metric, features, groups)
    monkeypatch.setattr(task, "TILED_SAMPLES", 16)
    tiled = table_of(metric, features, groups, Engine(device=device))
    for column in COMPARED:
        np.testing.assert_allclose(tiled[column], whole[column], atol=tolerance)
    assert (whole.loc[whole.model_x == whole.model_y, "p"] == 0.05).all()
    scratch = table_of(metric, features, groups, Engine(device=device, max_memory=1))
    assert scratch.equals(tiled)  # memory decides where models lie, and no value


def test_what_shares_a_pass_has_the_values_that_it_has_alone(monkeypatch):
    monkeypatch.setattr(task, "TILED_SAMPLES", 16)
    features, groups = copies(30, 3)
    metrics = {
        "debiased": get_metric("cka"),
        "biased": get_metric("cka", estimator="biased"),
        "k3": get_metric("mutual_knn", k=3),
        "k5": get_metric("jaccard_knn", k=5),
        "too many": get_metric("mutual_knn", k=88),
    }
    given = {"null": "monte_carlo", "permutations": Permutations(9), "groups": groups}
    together = pairwise_many(metrics, features, **given)
    for name, metric in metrics.items():
        alone = pairwise(metric, features, **given)
        np.testing.assert_array_equal(together[name][COMPARED], alone[COMPARED])
    failure = together["too many"]["failure"].iloc[0]
    assert "87 rows of other groups" in failure


def test_nothing_changes_where_all_samples_are_alone():
    features, _ = copies(40, 1)
    for metric in (get_metric("cka"), get_metric("mutual_knn", k=4)):
        given = {"null": "closed_form"}
        alone = pairwise(metric, features, groups=np.arange(40), **given)
        assert pairwise(metric, features, **given).equals(alone)


def test_pairs_within_groups_may_count():
    features, groups = copies(30, 2)
    metric = get_metric("cka")
    apart = pairwise(metric, features, groups=groups)["value"]
    within = pairwise(metric, features, groups=groups, group_rows="within")["value"]
    np.testing.assert_array_equal(within, pairwise(metric, features)["value"])
    table = pairwise(metric, features)
    unrelated = table["model_x"] != table["model_y"]
    assert (within[unrelated] > apart[unrelated] + 0.05).all()


def test_what_rows_of_a_group_are_is_one_of_three():
    with pytest.raises(ConfigError, match="group_rows cannot be 'means'; did you mean 'mean'"):
        Task(get_metric("cka"), group_rows="means")


# --- nulls ----------------------------------------------------------------------------------------


def test_the_closed_form_is_refused_for_groups():
    features, groups = copies(20, 2)
    with pytest.raises(ConfigError, match="20 groups of 2 samples: the closed-form null holds for"):
        pairwise(get_metric("cka"), features, groups=groups, null="closed_form")


def test_groups_that_cannot_change_places_have_no_null():
    sizes = [1, 2, 3, 4, 5]
    groups = group_codes(np.repeat(np.arange(5), sizes))
    with pytest.raises(MetricError, match="5 groups of 1 to 5 samples, no two of one size"):
        Permutations(9).orders(15, groups)
    assert with_null(Task(get_metric("cka"), groups=groups), 99).null is None
    x = np.random.default_rng(0).normal(size=(15, 3))
    found = pairwise(get_metric("cka"), {"a": x, "b": x**2}, null="monte_carlo", groups=groups)
    assert found["value"].isna().all() and "no two of one size" in found["failure"].iloc[0]


def test_studies_permute_groups_where_a_closed_form_does_not_hold(caplog):
    groups = group_codes(np.repeat(np.arange(3), 4))
    with caplog.at_level(logging.WARNING):
        made = with_null(Task(get_metric("cka"), groups=groups), 0)
    assert made.null == "monte_carlo" and made.permutations.count == 199
    assert "3 groups of 4 samples change places in 6 ways only: no p is below 1/6" in caplog.text
    assert with_null(Task(get_metric("cka"), groups=groups), 49).permutations.count == 49
    assert with_null(Task(get_metric("jaccard_knn"), groups=groups), 0).null is None
    many = group_codes(np.repeat(np.arange(1100), 2))
    assert with_null(Task(get_metric("cka"), groups=many), 0).null is None
    assert "similarity.permutations above 0 permutes whole groups" in caplog.text
    assert with_null(Task(get_metric("cka"), groups=many), 9).null == "monte_carlo"
    assert with_null(Task(get_metric("mutual_knn"), groups=many), 0).permutations.count == 199


@pytest.mark.parametrize(("name", "parameters"), [
    ("cka", {}), ("mutual_knn", {"k": 5}),
])  # fmt: skip
def test_unrelated_models_of_copies_are_not_significant(name, parameters):
    """120 pairs: 5 % ± 5 (sd 2.0; benchmarks/groups.md has more), without groups 99 %."""
    metric, found = get_metric(name, **parameters), []
    for seed in range(200, 320):
        features, groups = copies(24, 2, models=2, seed=seed)
        given = {"permutations": Permutations(39, seed), "groups": groups}
        table = pairwise(metric, features, null="monte_carlo", **given)
        found.append(table[table.model_x != table.model_y])
    p = np.concatenate([table["p"] for table in found])
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.05)
    excess = np.concatenate([table["value"] - table["null_mean"] for table in found])
    assert abs(excess.mean()) < 3 * excess.std() / np.sqrt(len(excess)) + 1e-12
    if name != "mutual_knn":
        values = np.concatenate([table["value"] for table in found])
        assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))


def test_few_arrangements_keep_p_high():
    x = np.random.default_rng(0).normal(size=(12, 3))
    groups = np.repeat(np.arange(4), 3)
    found = pairwise(get_metric("rsa"), {"a": x, "b": x}, null="monte_carlo", groups=groups).iloc[1]
    assert found["value"] == pytest.approx(1) and found["p"] == pytest.approx(1 / 24, abs=0.02)


def test_nulls_are_the_same_pair_by_pair_and_all_at_once():
    features, groups = copies(20, 3, models=4)
    features["constant"] = np.ones((60, 3))
    for metric in (get_metric("cka"), get_metric("rsa", compare="kendall"), get_metric("rv")):
        at_once = table_of(metric, features, groups, Engine(threads=2))
        by_pair = table_of(metric, features, groups, Engine(max_memory=1))
        assert at_once.equals(by_pair) and at_once["p"].notna().sum() == 10


# --- halves, fewer samples, layers ----------------------------------------------------------------


def test_halves_have_whole_groups():
    groups = group_codes(np.random.default_rng(0).permutation(np.repeat(np.arange(21), 3)))
    for a, b in halves_of(63, 4, seed=0, dataset="d", groups=groups):
        assert len(a) == len(b) == 30 and not set(groups[a]) & set(groups[b])
    split = LayerSplit(63, 1, groups)
    choose, report = split.halves.values()
    assert not set(groups[choose]) & set(groups[report]) and len(choose) + len(report) == 63
    for name, orders in split.orders(5).items():
        own = subset(groups, split.rows[name])
        for order in orders:
            assert all(len(set(own[order][own == g])) == 1 for g in range(own.max() + 1))
    with pytest.raises(DataError, match="dataset 'd' has 7 groups of samples; halves need"):
        list(halves_of(21, 1, seed=0, dataset="d", groups=np.repeat(np.arange(7), 3)))


def test_fewer_samples_are_whole_groups_and_nested():
    groups = group_codes(np.repeat(np.arange(30), [1, 2, 3] * 10))
    before = set()
    for n in (5, 17, 30, 59):
        rows = draw_rows(60, n, ("salt",), 0, groups)
        assert n - 3 < len(rows) <= n and before <= set(rows)
        counts = np.bincount(groups[rows], minlength=30)
        assert set(counts[counts > 0] - np.bincount(groups)[counts > 0]) == {0}
        before = set(rows)


def test_curves_over_n_take_whole_groups():
    features, groups = copies(20, 3)
    metric = get_metric("cka")
    items = [item for name, x in features.items() for item in items_of(metric, name, x)]
    found = measure_sensitivity(Task(metric, groups=groups), items, Curves(n=(30, 60), draws=2))
    rows = draw_rows(60, 30, (), 0, groups)
    part = {name: x[rows] for name, x in features.items()}
    expected = pairwise(metric, part, groups=groups[rows])["value"]
    own = found[(found["setting"] == 30) & (found["draw"] == 0)]["value"]
    np.testing.assert_allclose(own, expected, atol=1e-12)


def test_layers_are_sought_and_reported_on_different_groups():
    features, groups = copies(30, 2, models=4)
    x, y = ({"one": features[a], "two": features[b]} for a, b in (("m0", "m1"), ("m2", "m3")))
    found = {r.reduction: r for r in align(get_metric("cka"), x, y, groups=groups, permutations=49)}
    assert all(0.02 <= r.null.p <= 1 for r in found.values())
    assert abs(found["mean"].value) < 0.1 < align(get_metric("cka"), x, y)[1].value
    assert found["heldout"].n == 30


def test_alignment_tables_take_whole_groups_and_say_where_they_are_few(tmp_path, caplog):
    manifest, features, samples = write_study(tmp_path, count=6)
    out = tmp_path / "a.parquet"
    given = {"dataset": "d", "metric_id": "m", "spec": SPEC, "groups": {}}
    make_alignment(manifest, out, **given, permutations=49, seed=0)
    table = read_table(out)
    for row in table[table["reduction"] == "max"].itertuples():
        both = features[row.model_x], features[row.model_y]
        value = get_metric("cka")(*both, groups=samples.groups)
        assert row.value == pytest.approx(value, abs=1e-9)
    assert "choose samples: 4 groups of 6 samples change places in 24 ways only" in caplog.text
    assert table["p"].notna().all() and table.attrs["groups"]["n"] == 8


# --- the workflow's files -------------------------------------------------------------------------


def write_study(folder, count=3, n=48):
    """Samples in groups, features of three models, and their manifest."""
    text = folder / "groups.tsv"
    text.write_text("id\tgroup\n" + "".join(f"{i:07d}\tg{i // count}\n" for i in range(n)))
    row = {"dataset": "d", "source": "synthetic", "name": f"blobs n={n}", "modality": "text",
           "group": f"file={text}"}  # fmt: skip
    make_samples(row, 0, folder / "samples.parquet")
    samples = read_samples(folder / "samples.parquet")
    features, _ = copies(n // count, count)
    paths = []
    for name, x in features.items():
        header = {"model": {"model": name}, "dataset": "d", "samples_hash": samples.hash}
        paths.append(folder / f"{name}.safetensors")
        write_features(paths[-1], {"last": x.astype("float32")}, header, list(samples.table["id"]))
    make_manifest(paths, [folder / "samples.parquet"], folder / "manifest.parquet")
    return (
        folder / "manifest.parquet",
        {k: x.astype("float32") for k, x in features.items()},
        samples,
    )


def test_tables_are_those_of_the_groups_in_the_samples(tmp_path):
    manifest, features, samples = write_study(tmp_path)
    listing = list_items(manifest, SPEC, dataset="d", metric_id="m")
    assert listing.task.groups.tolist() == samples.groups.tolist()
    out = tmp_path / "out.parquet"
    make_similarity(manifest, out, dataset="d", metric_id="m", spec=SPEC)
    table = read_table(out)
    given = {"null": "monte_carlo", "permutations": Permutations(199)}
    files = {name: tmp_path / f"{name}.safetensors" for name in features}
    expected = pairwise(get_metric("cka"), files, groups=samples.groups, **given)
    np.testing.assert_array_equal(table[COMPARED], expected[COMPARED])
    assert table.attrs["groups"]["n"] == 16 and table.attrs["groups"]["rows"] == "apart"
    spec = {**SPEC, "group_rows": "within"}
    make_similarity(manifest, out, dataset="d", metric_id="m", spec=spec)
    within = read_table(out)
    np.testing.assert_array_equal(within["value"], pairwise(get_metric("cka"), features)["value"])
    assert within.attrs["groups"]["rows"] == "within" and within["p"].notna().all()


def test_a_table_without_groups_tells_of_copies_once(tmp_path, caplog):
    manifest, _, _ = write_study(tmp_path)
    paths = [tmp_path / f"m{k}.safetensors" for k in range(3)]
    told = tmp_path / "untold.parquet"
    make_manifest(paths, [], told)
    given = {"dataset": "d", "metric_id": "m", "spec": SPEC, "store": tmp_path / "s.parquet"}
    words = "48 of 48 samples looked at have the same neighbour"
    for source, expected in ((manifest, 0), (told, 1), (told, 1)):
        make_similarity(source, tmp_path / "out.parquet", **given)
        assert caplog.text.count(words) == expected  # known pairs are not looked at again


def test_pairs_are_known_by_their_groups(tmp_path):
    manifest, _, _ = write_study(tmp_path)
    store, out = tmp_path / "store.parquet", tmp_path / "out.parquet"
    given = {"dataset": "d", "metric_id": "m", "store": store}
    make_similarity(manifest, out, spec=SPEC, **given)
    first = read_table(out)
    make_similarity(manifest, out, spec={**SPEC, "group_rows": "within"}, **given)
    assert not read_table(out)["value"].equals(first["value"])
    make_similarity(manifest, out, spec=SPEC, **given)
    assert read_table(out)["value"].equals(first["value"])


def test_a_shared_pass_knows_the_groups(tmp_path):
    manifest, _, _ = write_study(tmp_path)
    neighbors = {**SPEC, "metric": "mutual_knn", "parameters": {"k": 3}}
    specs = {"a": neighbors, "b": {**neighbors, "parameters": {"k": 5}}}
    stores = {name: tmp_path / f"{name}.parquet" for name in specs}
    make_shared(manifest, tmp_path / "o.parquet", dataset="d", specs=specs, stores=stores)
    for name, spec in specs.items():
        found = []
        for store in (stores[name], None):
            out = tmp_path / "t.parquet"
            make_similarity(manifest, out, dataset="d", metric_id=name, spec=spec, store=store)
            found.append(read_table(out))
        assert found[0].equals(found[1]) and found[0]["p"].notna().all()


def test_reliability_takes_whole_groups(tmp_path):
    manifest, features, samples = write_study(tmp_path)
    out = tmp_path / "r.parquet"
    make_reliability(manifest, out, dataset="d", metric_id="m", spec=SPEC, splits=2, seed=0)
    table = read_table(out)
    a, _ = next(halves_of(48, 1, seed=0, dataset="d", groups=samples.groups))
    expected = pairwise(
        get_metric("cka"), {k: x[a] for k, x in features.items()}, groups=samples.groups[a]
    )
    own = table[(table["split"] == 0) & (table["half"] == "a")]
    np.testing.assert_allclose(own["value"], expected["value"], atol=1e-12)
    assert set(table["n"]) == {24}


def test_a_manifest_of_samples_without_groups_is_as_before(tmp_path):
    manifest, _, samples = write_study(tmp_path, count=1)
    assert samples.groups is None
    again = tmp_path / "again.parquet"
    make_manifest([tmp_path / f"m{k}.safetensors" for k in range(3)], [], again)
    assert again.read_bytes() == manifest.read_bytes()


def test_subsets_of_a_task_have_the_groups_that_are_left():
    groups = np.repeat(np.arange(4), 2)
    made = Task(get_metric("cka"), groups=groups)
    assert made.subset(np.array([0, 2, 4, 6])).groups is None
    assert made.subset(np.array([2, 3, 4])).groups.tolist() == [0, 0, 1]
    assert replace(made, group_rows="within").apart is None and math.isclose(made.apart.max(), 3)


# --- one row per group ----------------------------------------------------------------------------


def test_one_row_per_group_is_the_mean_of_its_rows():
    features, groups = copies(24, 3)
    order = np.random.default_rng(0).permutation(72)
    means = {k: x.reshape(24, 3, 8).mean(axis=1) for k, x in features.items()}
    mixed = {k: x[order] for k, x in features.items()}
    first = group_codes(groups[order])  # groups are numbered as they first appear
    place = [int(groups[order][first == g][0]) for g in range(24)]
    for metric, null in ((get_metric("cka"), "closed_form"), (get_metric("mutual_knn", k=4), None)):
        found = pairwise(metric, mixed, groups=groups[order], group_rows="mean", null=null)
        expected = pairwise(metric, {k: x[place] for k, x in means.items()}, null=null)
        np.testing.assert_allclose(found[COMPARED], expected[COMPARED], atol=1e-9)


def test_pictures_that_are_repeated_for_each_caption_count_once():
    """Debiased values of repeated rows are those of one row per picture."""
    rng = np.random.default_rng(1)
    pictures, groups = rng.normal(size=(2, 30, 6)), np.repeat(np.arange(30), 5)
    repeated = {name: x[groups] for name, x in zip("ab", pictures, strict=True)}
    for name, parameters in (("cka", {}), ("distance_correlation", {}), ("hsic", {})):
        metric = get_metric(name, **parameters)
        once = metric(*pictures)
        value = pairwise(metric, repeated, groups=groups)["value"].iloc[1]
        scale = once / value if name == "hsic" else 1.0  # the mean is over other numbers of pairs
        assert value * scale == pytest.approx(once, abs=1e-12) and scale == pytest.approx(
            1, abs=0.1
        )


def test_a_picture_meets_the_mean_of_its_captions(tmp_path):
    manifest, features, _ = write_study(tmp_path)
    out = tmp_path / "out.parquet"
    spec = {**SPEC, "group_rows": "mean"}
    make_similarity(manifest, out, dataset="d", metric_id="m", spec=spec)
    table = read_table(out)
    means = {k: x.reshape(16, 3, -1).mean(axis=1) for k, x in features.items()}
    expected = pairwise(get_metric("cka"), means, null="closed_form")
    np.testing.assert_allclose(table[COMPARED], expected[COMPARED], atol=1e-6)
    assert table.attrs["groups"]["rows"] == "mean" and table.attrs["n"] == 16
    assert table.attrs["null"]["kind"] == "closed_form"
    assert (table["hash_x"] == read_table(manifest)["hash"].iloc[0]).sum() == 3


def test_searches_over_layers_take_one_row_per_group():
    features, groups = copies(20, 2, models=4)
    x, y = ({"one": features[a], "two": features[b]} for a, b in (("m0", "m1"), ("m2", "m3")))
    given = {"permutations": 19}
    pooled = align(get_metric("cka"), x, y, groups=groups, group_rows="mean", **given)
    means = [{k: v.reshape(20, 2, 8).mean(axis=1) for k, v in side.items()} for side in (x, y)]
    expected = align(get_metric("cka"), *means, **given)
    for found, wanted in zip(pooled, expected, strict=True):
        assert found.value == pytest.approx(wanted.value, abs=1e-9) and found.n == wanted.n
