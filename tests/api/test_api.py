"""`import consilience as cs`: what it offers, that it is light, and that values are the tables'."""

import inspect
import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from clones import ROOT

import consilience as cs
from consilience.api.catalogue import variants
from consilience.api.measures import find_measure
from consilience.calibration import NULL
from consilience.config.selection import resolve
from consilience.config.shape import read_schema, with_defaults
from consilience.consistency import consistency_tables
from consilience.errors import ConfigError, DataError, FeaturesError, MetricError
from consilience.features import make_manifest, write_features
from consilience.files import read_table, write_table
from consilience.metrics import get_metric
from consilience.plots import read_axis
from consilience.plots.model_map import model_map
from consilience.plots.similarity_heatmaps import similarity_heatmaps
from consilience.similarity import make_similarity

HEAVY = ("numpy", "pandas", "torch", "matplotlib", "yaml", "scipy")
N = 60


def planted(seed=0, n=N):
    """Features of three models: two that share units, and one on its own."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 12)).astype("float32")
    y = (x @ rng.normal(size=(12, 8)) + rng.normal(size=(n, 8))).astype("float32")
    return {"m1": x, "m2": y, "m3": rng.normal(size=(n, 6)).astype("float32")}


def run(program):
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_import_is_light():
    program = "import sys, consilience as cs; dir(cs); cs.__version__\n"
    program += f"print([name for name in {HEAVY} if name in sys.modules])"
    assert run(program) == "[]\n"


def test_comparing_loads_no_torch_and_no_drawing_library():
    program = "import sys, numpy as np, consilience as cs\n"
    program += "x = np.sin(np.arange(60.0) ** 2).reshape(20, 3); print(cs.pairwise({'a': x}))\n"
    program += "cs.plot\nassert not {'torch', 'matplotlib'} & set(sys.modules), 'heavy'"
    assert "value" in run(program)


def test_all_names_are_there_and_explained():
    assert set(cs.__all__) <= set(dir(cs))
    for name in cs.__all__:
        assert inspect.getdoc(getattr(cs, name)), name
    with pytest.raises(AttributeError, match="no attribute 'compair'; did you mean 'compare'"):
        cs.compair  # noqa: B018
    assert not hasattr(cs, "__wrapped__")


@pytest.mark.parametrize("name", ["consistency", "layers"])
def test_rooms_that_are_called_like_functions_are_both(name):
    """Whether the room was imported before, after, or never."""
    use = f"assert callable(cs.{name}); assert 'metric' in str(__import__('inspect')"
    use += ".signature(cs.layers))\n"
    first = "import consilience as cs\n"
    room = f"from consilience.{name} import "
    room += "METHODS\n" if name == "consistency" else "last_layers\n"
    as_module = f"import consilience.{name} as room; assert room.__file__\n"
    for program in (first + use, first + room + use, room + first + use, as_module + first + use):
        run(program)


def test_values_are_those_of_a_study_to_the_last_digit(tmp_path):
    """Files and arrays in memory against the table of the step `similarity`."""
    given, paths = planted(), []
    ids = [f"s{k}" for k in range(N)]
    for name, x in given.items():
        path = tmp_path / "features" / "digits" / f"{name}.safetensors"
        header = {"model": {"model": name}, "dataset": "digits", "samples_hash": "s" * 64}
        write_features(path, {"early": x[:, :4].copy(), "late": x}, header, ids)
        paths.append(path)
    manifest = tmp_path / "features" / "digits" / "manifest.parquet"
    make_manifest(paths, [], manifest)
    settings = with_defaults({"similarity": {}}, read_schema("study"))["similarity"]
    for metric in ("cka_debiased", "rsa_spearman", "mutual_knn_k10", "linear_regression", "bures"):
        spec = resolve(variants()[metric], settings, {})
        out = tmp_path / "similarity" / "digits" / f"{metric}.parquet"
        make_similarity(manifest, out, dataset="digits", metric_id=metric, spec=spec)
        table = read_table(out)
        read = [cs.Features.read(path) for path in paths]
        for features in (dict(zip(given, paths, strict=True)), read):
            found = cs.pairwise(features, metric)
            assert found.attrs["spec"]["preprocessing"] == spec["preprocessing"]
            mine = pd.DataFrame(found)[list(table.columns)]
            pd.testing.assert_frame_equal(mine, table, check_exact=True, check_dtype=False)


def test_compare_is_the_row_of_its_pair():
    given = planted()
    table = cs.pairwise(given, "cka_rbf_median")
    row = table[(table["model_x"] == "m1") & (table["model_y"] == "m2")].iloc[0]
    found = cs.compare(given["m1"], given["m2"], "cka_rbf_median")
    assert float(found) == row["value"]
    assert [getattr(found, name) for name in NULL] == [row[name] for name in NULL]


def test_what_is_done_before_a_metric_is_said_and_done():
    x, y, _ = planted().values()
    unit = [one / np.linalg.norm(one.astype(float), axis=1, keepdims=True) for one in (x, y)]
    bare = get_metric("cka")(x, y)
    assert cs.compare(x, y, "cka").value == bare
    assert "features as they are" in str(cs.compare(x, y, "cka"))
    study = cs.compare(x, y, "cka_debiased")
    assert study.value == pytest.approx(get_metric("cka")(*unit), abs=1e-12) != bare
    assert "rows divided by their norms" in str(study)
    assert cs.compare(x, y, "cka_debiased", row_normalize=False).value == bare
    assert cs.compare(x, y, "cka", row_normalize=True).value == study.value
    assert cs.compare(x, y, get_metric("cka")).value == bare
    entry = {"metric": "cka", "kernel": "linear", "label": "mine"}
    assert cs.compare(x, y, entry).value == study.value
    assert "size and shape" in str(find_measure("procrustes_size_and_shape"))
    assert find_measure("procrustes_size_and_shape").before == "features as they are"
    # a variant with another parameter is no longer what its label says
    assert "linear" not in find_measure("cka_debiased", {"kernel": "rbf"}).label


def test_the_null_is_that_of_a_study_unless_somebody_says():
    x, y, _ = planted().values()
    assert cs.compare(x, y, "cka").null == "closed_form"
    assert cs.compare(x, y, "cca_mean").null is None
    assert cs.compare(x, y, "cca_mean", permutations=19).p == pytest.approx(0.05)
    assert cs.compare(x, y, "cka", null=None).z is None
    assert cs.compare(x, y, "cka", null="monte_carlo", permutations=9).p == pytest.approx(0.1)


def test_groups_of_samples_have_the_null_of_a_study():
    x, y = (planted()[name].astype(float) for name in ("m1", "m2"))
    groups = np.repeat(np.arange(N // 3), 3)
    apart = cs.compare(x, y, "cka", groups=groups)
    assert apart.null == "monte_carlo" and apart.value == get_metric("cka")(x, y, groups=groups)
    mean = cs.compare(x, y, "cka", groups=groups, group_rows="mean")
    pooled = [side.reshape(N // 3, 3, -1).mean(axis=1) for side in (x, y)]
    assert mean.value == pytest.approx(get_metric("cka")(*pooled), abs=1e-12)
    assert mean.null == "closed_form"


def test_metrics_of_other_inputs_take_them_of_features_as_of_files(tmp_path):
    rng, features, paths = np.random.default_rng(2), [], {}
    for name in "ab":
        f, g = (rng.normal(size=(n, 2)).astype("float32") for n in (30, 5))
        header = {"model": {"model": name}, "dataset": "d", "samples_hash": "s"}
        paths[name] = tmp_path / f"{name}.safetensors"
        ids = [f"s{k}" for k in range(30)]
        outputs = {"logits": f @ g.T}
        write_features(paths[name], {"late": f}, header, ids, outputs=outputs, unembedding=g)
        features.append(cs.Features.read(paths[name]))
    for metric in ("jsd", "disagreement", "d_llv", "identifiable_svd"):
        table = cs.pairwise(features, metric)
        expected = cs.pairwise(paths, metric)
        pd.testing.assert_frame_equal(table, expected, check_exact=True)
        assert "as they are" in str(find_measure(metric))
    del features[1].outputs["unembedding"]
    with pytest.raises(FeaturesError, match="b gave no unembedding, which the metric"):
        cs.pairwise(features, "identifiable_svd")


def test_tables_print_their_values():
    text = str(cs.pairwise(planted()))
    assert text.splitlines()[0].startswith("CKA (linear, debiased)") and "rows divided" in text
    for part in ("value", "calibrated", "m1", "m3"):
        assert part in text.partition("\n")[2]
    for part in ("hash_x", "failure", "layer_x", "NaN", "..."):
        assert part not in text
    table = cs.pairwise(planted())
    assert "value" in table._repr_html_() and "hash_x" not in table._repr_html_()
    assert str(table[["model_x", "p"]]).split()[:2] == ["model_x", "p"]
    assert list(table.columns)[:3] == ["dataset", "metric", "model_x"], "printing changes nothing"
    big = planted(n=2000)
    found = cs.compare(big["m1"], np.hstack([big["m1"], big["m1"]]))
    assert "< 1e-300" in str(found) and ", 0\n" not in str(found)


def test_layers_of_two_models():
    x, y, z = planted().values()
    one, other = {"a": x, "b": y, "c": z}, {"p": y, "q": z}
    table = cs.layers(one, other)
    assert list(zip(table["layer_x"], table["layer_y"], strict=True)) == [
        (i, j) for i in "abc" for j in "pq"
    ]
    for row in table.itertuples():
        found = cs.compare(one[row.layer_x], other[row.layer_y])
        assert (row.value, row.calibrated) == (found.value, found.calibrated)
    own = cs.layers(one)
    assert list(zip(own["layer_x"], own["layer_y"], strict=True)) == [
        ("a", "a"), ("a", "b"), ("a", "c"), ("b", "b"), ("b", "c"), ("c", "c"),
    ]  # fmt: skip
    both = cs.layers(cs.Features("net", one), cs.Features("net", other), metric="linear_regression")
    assert both.attrs["pair"] == ["net (x)", "net (y)"] and len(both) == 6


def test_consistency_is_that_of_the_step():
    rng = np.random.default_rng(3)
    base = {f"m{k}": rng.normal(size=(N, 6)) for k in range(6)}
    mixed = {m: x + 0.5 * base["m0"] * (k % 2) for k, (m, x) in enumerate(base.items())}
    noisy = {m: x + 0.3 * rng.normal(size=x.shape) for m, x in mixed.items()}
    tables = {"one": cs.pairwise(mixed), "two": cs.pairwise(noisy)}
    models = pd.DataFrame({"lab": list("aabbcc")}, index=list(base))
    drawn = {"bootstrap": 20, "permutations": 19}
    found = cs.consistency(tables, models=models, clusters="lab", **drawn)
    plain = {name: pd.DataFrame(table) for name, table in tables.items()}
    expected = consistency_tables(plain, models, groups=(), clusters="lab", **drawn)
    pd.testing.assert_frame_equal(found.table, expected.table)
    long = pd.concat([t.assign(dataset=name) for name, t in tables.items()])
    pd.testing.assert_frame_equal(
        cs.consistency(long, models=models, clusters="lab", **drawn).table, expected.table
    )
    assert cs.plot.consistency(found).axes


X = planted()
MISTAKES = [
    (lambda: cs.compare(X["m1"], X["m2"], "cka_debiasd"), "did you mean 'cka_debiased'"),
    (lambda: cs.compare(X["m1"], X["m2"], "cka", kernl="rbf"), "did you mean 'kernel'"),
    (lambda: cs.compare(X["m1"], X["m2"], "cka", kernel="rfb"), "did you mean 'rbf'"),
    (lambda: cs.compare(X["m1"], X["m2"], get_metric("cka"), kernel="rbf"), "made already"),
    (lambda: cs.compare(X["m1"], X["m2"], 3), "not a int"),
    (lambda: cs.compare(X["m1"], X["m2"], null="closed"), "did you mean 'closed_form'"),
    (lambda: cs.compare(X["m1"], X["m2"], permutations=1), "a null takes 2 or more"),
    (lambda: cs.compare(X["m1"], X["m2"][1:]), "only features of the same samples"),
    (lambda: cs.compare(X["m1"], X["m2"] * np.nan), "NaN or infinity"),
    (lambda: cs.compare(X["m1"], cs.Features("net", X)), "3 layers ('m1', 'm2', 'm3')"),
    (lambda: cs.compare(X["m1"], X["m2"] * 0, "cka"), "constant"),
    (lambda: cs.pairwise({}), "at least one model"),
    (lambda: cs.pairwise([X["m1"]]), "a mapping"),
    (lambda: cs.pairwise([cs.Features("a", X)] * 2), "two features are of 'a'"),
    (lambda: cs.Features("net", X)["m4"], "no layer 'm4'; did you mean"),
    (lambda: cs.layers("lite0", "squeezenet"), "give what both models are to see"),
    (lambda: cs.consistency({"one": cs.pairwise(X)}), "two datasets or more; this is one"),
    (lambda: cs.plot.heatmap(cs.pairwise(X), metric="cka_biased"), "no metric 'cka_biased'"),
    (lambda: cs.plot.heatmap(pd.DataFrame({"value": [1]})), "no column 'dataset'"),
    (lambda: cs.read_results("nowhere"), "nowhere holds no results"),
    (lambda: cs.load_model("lite00"), "no model 'lite00' in config/models.tsv; did you mean 'li"),
    (lambda: cs.load_model("pixels", imput_size=3), "no column 'imput_size'; did you mean 'input_"),
    (lambda: cs.load_model({"source": "tim", "name": "a", "modality": "image"}), "'timm'"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=[said[:30] for _, said in MISTAKES])
def test_mistakes_are_one_sentence(mistake):
    act, said = mistake
    with pytest.raises((ConfigError, FeaturesError, DataError, MetricError)) as caught:
        act()
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_code_of_others_is_not_loaded_unasked(monkeypatch):
    monkeypatch.delenv("CONSILIENCE_TRUST", raising=False)
    row = {"source": "transformers", "name": "lab/net", "modality": "text"}
    with pytest.raises(ConfigError, match="would run on this machine; if you trust it"):
        cs.load_model(row, trust_remote_code="yes")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with the similarity tables of two metrics on two datasets."""
    folder, tables = tmp_path_factory.mktemp("results"), {}
    for seed, dataset in enumerate(("digits", "photos")):
        for metric in ("cka_debiased", "bures"):
            given = {m: cs.Features(m, {"early": x[:, :3], "late": x}, dataset=dataset)
                     for m, x in planted(seed).items()}  # fmt: skip
            table = cs.pairwise(given, metric)
            metadata = {key: table.attrs[key] for key in ("facts", "layers", "spec")}
            write_table(
                pd.DataFrame(table), folder / f"similarity/{dataset}/{metric}.parquet", metadata
            )
            tables[dataset, metric] = table
    return folder, tables


def test_results_are_one_tidy_frame_of_each_kind(results):
    folder, tables = results
    found = cs.read_results(folder)
    assert list(found) == ["similarity"] and "similarity" in repr(found)
    frame = found["similarity"]
    assert len(frame) == sum(map(len, tables.values())) and frame is found["similarity"]
    for (dataset, metric), table in tables.items():
        own = frame[(frame["dataset"] == dataset) & (frame["metric"] == metric)]
        assert own["value"].tolist() == table["value"].tolist()
    with pytest.raises(DataError, match="no tables 'similarty'; did you mean 'similarity'"):
        found["similarty"]


def test_figures_of_frames_are_those_of_the_workflow(results):
    folder, tables = results
    frame = cs.read_results(folder)["similarity"]
    with pytest.raises(DataError, match="of 2 metrics; name one: bures, cka_debiased"):
        cs.plot.heatmap(frame)
    by_dataset = {d: t for (d, metric), t in tables.items() if metric == "bures"}
    plain = {d: pd.DataFrame(t) for d, t in by_dataset.items()}
    last = {m: "late" for m in planted()}
    models = pd.DataFrame({"lab": list("aab")}, index=list(last))
    axis = read_axis(by_dataset, "Bures distance")
    settings = {"axis": axis, "group": "lab", "layers": last}
    for function, drawn in ((similarity_heatmaps, cs.plot.heatmap), (model_map, cs.plot.map)):
        expected = saved(function(plain, models, **settings)[0])
        for given in (frame, by_dataset):
            figure = drawn(given, metric="bures", models=models, group="lab")
            assert saved(figure) == expected
    figure = cs.plot.layers(frame, metric="cka_debiased")
    assert len(figure.axes) == 2 * 6 + 1, "each two of three models, and each with itself"
    assert len(cs.plot.layers(frame, [("m1", "m3")], metric="cka_debiased").axes) == 2 + 1


def saved(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
