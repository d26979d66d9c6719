"""What models do, against planted answers and an independent computation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from sklearn.metrics import cohen_kappa_score

from consilience.behavior import make_behavior, make_relation, relate
from consilience.errors import DataError
from consilience.features import write_features, write_manifest
from consilience.files import read_table, write_table
from consilience.probe import make_probe
from consilience.samples import make_samples, read_samples

SHAPES = {"dataset": "toys", "source": "packaged", "name": "shapes:120", "modality": "image"}
MODELS = ("a", "b", "c", "d")
OUTPUTS = 6


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Samples, features with logits (all models but d), and probes."""
    folder = tmp_path_factory.mktemp("behavior")
    make_samples(SHAPES, 0, folder / "toys.parquet")
    samples = read_samples(folder / "toys.parquet")
    labels = samples.table["label"].astype(int).to_numpy()
    generator = np.random.default_rng(0)
    logits = {}
    for m, model in enumerate(MODELS):
        x = generator.normal(size=(120, 8)) + (3 - m) * np.eye(4, 8)[labels]
        features = {"last": x.astype("float32")}
        if model != "d":
            logits[model] = generator.normal(size=(120, OUTPUTS)) + m * np.eye(OUTPUTS)[labels + 2]
            features = {"logits": logits[model].astype("float32"), **features}
        header = {"model": {"model": model}, "dataset": "toys", "samples_hash": samples.hash}
        path = folder / f"{model}.safetensors"
        write_features(path, features, header, list(samples.table["id"]))
        make_probe(path, folder / "toys.parquet", folder / f"{model}.parquet",
                   penalties=[1e-2], seeds=[0, 1], knn=[3])  # fmt: skip
    write_manifest([folder / f"{m}.safetensors" for m in MODELS], folder / "manifest.parquet")
    test = (samples.table["split"] == "test").to_numpy()
    return folder, {m: x.astype("float32")[test] for m, x in logits.items()}, labels[test]


def behavior(files, tmp_path, **options):
    folder = files[0]
    paths = [folder / f"{model}.parquet" for model in MODELS]
    make_behavior(paths, folder / "manifest.parquet", folder / "toys.parquet",
                  tmp_path / "b.parquet", dataset="toys", **options)  # fmt: skip
    return read_table(tmp_path / "b.parquet")


def square(table, measure):
    part = table[table["measure"] == measure]
    return part.set_index(["model_x", "model_y"])["value"]


def test_gaps_are_those_of_the_linear_probes(files, tmp_path):
    table = behavior(files, tmp_path)
    gaps = square(table, "accuracy_gap")
    assert list(table.columns) == ["dataset", "measure", "model_x", "model_y", "value"]
    assert len(gaps) == 6
    probes = {m: read_table(files[0] / f"{m}.parquet") for m in MODELS}
    top1 = {m: t.loc[t["kind"] == "linear", "top1"].mean() for m, t in probes.items()}
    for (x, y), gap in gaps.items():
        assert gap == pytest.approx(abs(top1[x] - top1[y]), abs=1e-12)
    assert gaps["a", "d"] > 0.3  # planted


def test_answers_against_independent_code(files, tmp_path):
    _, logits, labels = files
    table = behavior(files, tmp_path, logit_columns=f"{OUTPUTS}: 2-5")
    counts = table.groupby("measure").size().to_dict()
    assert counts == {"accuracy_gap": 6, "disagreement": 3, "jsd": 3, "error_consistency": 3}
    for x, y in (("a", "b"), ("a", "c"), ("b", "c")):
        left, right = logits[x][:, 2:6], logits[y][:, 2:6]
        said = left.argmax(axis=1), right.argmax(axis=1)
        assert square(table, "disagreement")[x, y] == pytest.approx((said[0] != said[1]).mean())
        p, q = softmax(left.astype(float), axis=1), softmax(right.astype(float), axis=1)
        expected = (jensenshannon(p, q, base=2, axis=1) ** 2).mean()
        assert square(table, "jsd")[x, y] == pytest.approx(expected, abs=1e-9)
        kappa = cohen_kappa_score(said[0] == labels, said[1] == labels)
        assert square(table, "error_consistency")[x, y] == pytest.approx(kappa)


def test_without_columns_nothing_is_compared_with_the_truth(files, tmp_path):
    _, logits, _ = files
    table = behavior(files, tmp_path)
    assert "error_consistency" not in set(table["measure"])
    expected = (logits["a"].argmax(axis=1) != logits["b"].argmax(axis=1)).mean()
    assert square(table, "disagreement")["a", "b"] == pytest.approx(expected)
    other = behavior(files, tmp_path, logit_columns="1000: 0-3")  # no model has so many
    assert set(other["measure"]) == {"accuracy_gap"}


# --- the relation ---------------------------------------------------------------------------------


def tables(slope, m=14, noise=0.3, dataset="toys", seed=0):
    """Similarities and gaps over m models; gaps follow similarities by a stated slope."""
    generator = np.random.default_rng(seed)
    first, second = np.triu_indices(m, k=1)
    effects = generator.normal(size=m)
    value = effects[first] + effects[second] + 0.5 * generator.normal(size=len(first))
    other = generator.normal(size=m)
    gap = slope * value + noise * (other[first] + other[second])
    gap += noise * generator.normal(size=len(first))
    names = {"model_x": [f"m{i:02}" for i in first], "model_y": [f"m{i:02}" for i in second]}
    similarity = pd.DataFrame({"dataset": dataset, "metric": "cka", **names, "value": value})
    similarity = similarity.assign(layer_x="last", layer_y="last")
    behavior = pd.DataFrame({"dataset": dataset, "measure": "accuracy_gap", **names, "value": gap})
    return similarity, behavior


def test_relation_is_that_of_scipy_and_finds_what_was_planted():
    similarity, behavior = tables(-1.0)
    found = relate(similarity, behavior, domain="drawings", seed=3).set_index("method")
    for method, function in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        expected = function(similarity["value"], behavior["value"]).statistic
        row = found.loc[method]
        assert row["value"] == pytest.approx(expected, abs=1e-12)
        assert row["low"] < expected < row["high"] < 0
        assert row["p"] == pytest.approx(1 / 1000)
        assert (row["n_pairs"], row["n_models"], row["domain"]) == (91, 14, "drawings")
    shuffled = behavior.sample(frac=1, random_state=0).reset_index(drop=True)
    again = relate(similarity, shuffled, domain="drawings", seed=3).set_index("method")
    pd.testing.assert_frame_equal(found, again)


def test_no_relation_is_found_where_none_was_planted():
    p, inside = [], 0
    for seed in range(60):
        similarity, behavior = tables(0.0, seed=seed)
        row = relate(
            similarity, behavior, methods=["pearson"], bootstrap=200, permutations=199, seed=seed
        ).iloc[0]
        p.append(row["p"])
        inside += row["low"] < 0 < row["high"]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert inside >= 50


def test_families_are_the_sample_of_a_relation_too(tmp_path):
    similarity, behavior = tables(-1.0)
    models = sorted({*similarity["model_x"], *similarity["model_y"]})
    makers = pd.DataFrame({"maker": [f"f{k // 2}" for k in range(14)]}, index=models)
    paths = [tmp_path / "toys" / name for name in ("s.parquet", "b.parquet")]
    paths[0].parent.mkdir()
    similarity.attrs = {"layers": {}}
    for path, table in zip(paths, (similarity, behavior), strict=True):
        write_table(table, path, table.attrs)
    out, summary = tmp_path / "relation.parquet", tmp_path / "domains.parquet"
    make_relation(paths[:1], paths[1:], out, summary, domains={}, models=makers,
                  clusters="maker", bootstrap=100, permutations=99)  # fmt: skip
    row = read_table(out).set_index("method").loc["pearson"]
    family = dict(zip(models, makers["maker"], strict=True))
    x, y = (similarity[side].map(family) for side in ("model_x", "model_y"))
    apart = (x != y).to_numpy()
    s, b = similarity["value"].to_numpy(), behavior["value"].to_numpy()
    assert row["value_between"] == pytest.approx(stats.pearsonr(s[apart], b[apart])[0], abs=1e-12)
    left = [(x != f) & (y != f) for f in makers["maker"].unique()]
    left = np.arctanh([stats.pearsonr(s[k], b[k])[0] for k in left])
    half = stats.t(6).ppf(0.975) * np.sqrt(6 / 7 * ((left - left.mean()) ** 2).sum())
    assert row["high"] == pytest.approx(np.tanh(np.arctanh(row["value"]) + half), abs=1e-10)
    assert (row["clusters"], row["n_families"]) == ("maker", 7)


def test_too_few_models_get_a_reason_and_no_number():
    row = relate(*tables(-1.0, m=3)).iloc[0]
    assert np.isnan(row["value"]) and "at least 4 models are needed" in row["status"]
    similarity, behavior = tables(-1.0)
    row = relate(similarity, behavior.assign(value=0.0)).iloc[0]
    assert np.isnan(row["value"]) and "all 91 values of the measure accuracy_gap" in row["status"]


def test_summary_by_domain(tmp_path):
    domains = {"one": "photos", "two": "photos", "three": "drawings", "four": ""}
    ours, theirs = [], []
    for number, (name, slope) in enumerate(zip(domains, (-1, -0.5, 0.7, 0.1), strict=True)):
        similarity, behavior = tables(slope, dataset=name, seed=number)
        similarity.attrs = {"layers": {}}
        for table, paths, kind in ((similarity, ours, "s"), (behavior, theirs, "b")):
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            paths.append(folder / f"{kind}.parquet")
            write_table(table, paths[-1], table.attrs)
    out, summary = tmp_path / "relation.parquet", tmp_path / "domains.parquet"
    make_relation(ours, theirs, out, summary, domains=domains, bootstrap=100, permutations=99)
    table = read_table(out)
    assert table["dataset"].tolist() == [d for d in domains for _ in range(2)]
    found = read_table(summary).set_index(["domain", "method"])
    assert sorted(set(found.index.get_level_values("domain"))) == ["all", "drawings", "photos"]
    photos = table[(table["domain"] == "photos") & (table["method"] == "pearson")]["value"]
    row = found.loc[("photos", "pearson")]
    assert row["mean"] == pytest.approx(photos.mean()) and row["n_datasets"] == 2
    assert row["sd"] == pytest.approx(photos.std(ddof=1))
    assert (row["lowest"], row["highest"]) == (photos.min(), photos.max())
    assert found.loc[("all", "pearson")]["n_datasets"] == 4
    with pytest.raises(DataError, match="not of one dataset"):
        make_relation(ours[:1], theirs[1:2], out, summary, domains=domains)
