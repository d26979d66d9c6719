"""The workflow as users run it: what is planned, and what is computed again."""

import os
import shutil

import pandas as pd
import pytest
from clones import clone_to
from flow import (
    ACCURACY,
    CURVE_FIGURES,
    DATA,
    METRICS,
    MODELS,
    NEW_DATASET,
    NEW_MODEL,
    STUDY,
    behavior,
    curves,
    downstream,
    figures,
    pairs_computed,
    per_model,
    planned,
    replace,
    similarity,
    snakemake,
)

from consilience.files import read_table

pytestmark = pytest.mark.workflow


def test_everything_is_there(finished):
    expected = [f"results/study/similarity/{d}/{m}.parquet" for d in DATA for m in ("knn", "cka")]
    expected += ["results/study/consistency/knn.parquet", "results/study/probe/accuracy.parquet"]
    expected += [
        "results/study/sensitivity/stability.parquet",
        "results/study/behavior/relation/knn.parquet",
    ]
    for kind in ("svg", "pdf", "png", "csv"):
        expected += [f"results/study/figures/consistency_heatmap.{kind}"]
        expected += [f"results/study/figures/model_map_cka.{kind}"]
    for name in expected:
        assert (finished / name).stat().st_size > 0, name
    assert not list(finished.glob("results/**/.*.parquet.*")), "left-over temporary files"


def test_a_second_run_does_nothing(finished):
    assert planned(finished) == set()


def test_results_need_no_gather_step(finished):
    """A folder of similarity tables is one table; the pair stores beside them do not show."""
    table = pd.read_parquet(finished / "results" / "study" / "similarity" / "one")
    assert set(table["metric"]) == {"knn", "cka"}
    assert len(table) == 2 * 10


# The rerun table: for each change exactly the jobs, and for similarities exactly the pairs.


def test_touching_files_reruns_nothing(study):
    for path in [*study.glob("consilience/**/*.py"), *study.glob("workflow/scripts/*.py")]:
        path.touch()
    for name in ("models.tsv", "study.yaml", "results/features/one/p4.safetensors"):
        (study / name).touch()
    assert planned(study) == set()


LARGE = {
    "models.tsv": "model\tsource\tname\tmodality\tinput_size\n"
    "big\traw\tpixels\timage\t80\nletters\traw\tcharacters\ttext\t\n",
    "datasets.tsv": "dataset\tsource\tname\tmodality\n"
    "two\tpackaged\tshapes:60\timage\ntexts\tsynthetic\tblobs n=32000\ttext\n",
    "metrics.yaml": METRICS,
    "study.yaml": STUDY.replace("\"modality == 'image'\"", "\"modality != ''\"", 2)
    .replace("[kind]", "[]")
    .replace("datasets: [one]", "datasets: [two]"),
}
LARGE_FILES = ["features/two/big.safetensors", "samples/texts.parquet"]
LARGE_TARGETS = ["all_features", "results/study/similarity/two/cka.parquet"]
LARGE_TARGETS += ["results/study/probe/two/big.parquet"]


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """A finished study with features and texts of more than a megabyte a file."""
    folder = tmp_path_factory.mktemp("large")
    clone_to(folder)
    for name, text in LARGE.items():
        (folder / name).write_text(text, encoding="utf8")
    snakemake(folder, *LARGE_TARGETS, "--cores", "2")
    for name in LARGE_FILES:
        assert (folder / "results" / name).stat().st_size > 1_000_000, name
    return folder


def shuffle_stamps(folder):
    """Gives all results other times than they were made in: the last made are the oldest."""
    paths = [path for path in (folder / "results").rglob("*") if path.is_file()]
    paths.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for position, path in enumerate(paths):
        os.utime(path, (1.7e9 + position, 1.7e9 + position))


@pytest.mark.parametrize("profile", [(), ("--profile", "slurm")], ids=["default", "slurm"])
def test_touching_large_files_reruns_nothing(large, profile):
    for name in LARGE_FILES:
        (large / "results" / name).touch()
    assert planned(large, *LARGE_TARGETS, *profile) == set()
    small_only = planned(large, *LARGE_TARGETS, "--max-checksum-file-size", "1MB", *profile)
    assert {("manifest", "two"), ("features", "texts", "letters")} <= small_only


def test_results_copied_without_time_stamps_are_no_new_results(large, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(large, folder, symlinks=True, copy_function=shutil.copy)
    shuffle_stamps(folder)
    assert planned(folder, *LARGE_TARGETS) == set()
    path = folder / "results" / LARGE_FILES[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)  # other content, on the other hand, is
    assert {("manifest", "two"), ("probe", "two", "big")} <= planned(folder, *LARGE_TARGETS)


def test_results_copied_without_records(large, tmp_path):
    """As the README says: time stamps alone decide, and `--touch` makes new records."""
    folder = tmp_path / "copy"
    shutil.copytree(large, folder, symlinks=True)
    shutil.rmtree(folder / ".snakemake")
    shuffle_stamps(folder)
    assert {("features", "two", "big"), ("manifest", "two")} <= planned(folder, *LARGE_TARGETS)
    snakemake(folder, *LARGE_TARGETS, "--touch", "--cores", "1")
    assert planned(folder, *LARGE_TARGETS) == set()
    replace(folder / "metrics.yaml", "cka: {metric: cka}", "cka: {metric: cka, kernel: rbf}")
    assert planned(folder, *LARGE_TARGETS) == {("similarity", "two", "cka")}


def test_adding_a_model(study):
    with (study / "models.tsv").open("a") as stream:
        stream.write(NEW_MODEL)
    expected = per_model("features", DATA, ["p10"]) | per_model("probe", DATA, ["p10"])
    expected |= {("manifest", d) for d in DATA} | ACCURACY | curves(DATA) | behavior(DATA)
    assert planned(study) == expected | downstream(DATA, ["knn", "cka"])
    snakemake(study, "--cores", "2", "all_similarity")
    for metric in ("knn", "cka"):
        assert pairs_computed(study, "one", metric) == 5  # with four others and with itself


def test_removing_a_model(study):
    replace(study / "models.tsv", "p8\traw\tpixels\timage\t8\t\tfine\n", "")
    expected = {("manifest", d) for d in DATA} | ACCURACY | curves(DATA) | behavior(DATA)
    assert planned(study) == expected | downstream(DATA, ["knn", "cka"])
    snakemake(study, "--cores", "2", "all_similarity")
    assert pairs_computed(study, "two", "knn") == 0
    assert len(read_table(study / "results/study/similarity/two/knn.parquet")) == 6


def test_adding_a_dataset(study):
    with (study / "datasets.tsv").open("a") as stream:
        stream.write(NEW_DATASET)
    models = ["p4", "p6", "p8", "vit"]
    expected = {("samples", "three"), ("manifest", "three"), *ACCURACY} | behavior(["three"])
    expected |= per_model("features", ["three"], models) | per_model("probe", ["three"], models)
    assert planned(study) == expected | downstream(["three"], ["knn", "cka"])


VIEW = """\
dataset\tsource\tname\tmodality\tparent\tview\tcap
one\tpackaged\tshapes:48\timage
two\tpackaged\tshapes:60\timage
half\t\t\timage\ttwo\thalf=a
few\t\t\timage\thalf\tclasses=round.tsv\t20
"""


def test_adding_views_extracts_nothing(study):
    """Two views, one of the other, whose parent is not selected by the study any more."""
    (study / "datasets.tsv").write_text(VIEW)
    (study / "round.tsv").write_text("class\tto\nsquare\tedged\ntriangle\tedged\ncircle\tround\n")
    replace(study / "study.yaml", "datasets: \"modality == 'image'\"", "datasets: [one, few]")
    models = ["p4", "p6", "p8", "vit"]
    expected = {("samples", "half"), ("samples", "few"), ("manifest", "few"), *ACCURACY}
    expected |= per_model("probe", ["few"], models) | {("behavior", "few")}
    assert planned(study) == expected | downstream(["few"], ["knn", "cka"])
    snakemake(study, "--cores", "2", "all_similarity", "all_probe")
    assert planned(study, "all_similarity", "all_probe") == set()
    table = read_table(study / "results/study/similarity/few/cka.parquet")
    assert table.attrs["n"] == len(read_table(study / "results/samples/few.parquet")) <= 20
    text = snakemake(study, "-n", "results/features/few/p4.safetensors", ok=False)
    assert "'few' is a view and has no features of its own: they are those of 'two'" in text
    replace(study / "round.tsv", "square\tedged", "square\t")
    changed = {job for job in planned(study) if job[0] != "probe"}
    assert {("samples", "few"), ("manifest", "few")} <= changed
    assert ("samples", "half") not in changed
    assert not [job for job in changed if job[0] == "features"]


def test_changing_a_models_row(study):
    replace(study / "models.tsv", "image\t8\t", "image\t9\t")
    expected = per_model("features", DATA, ["p8"]) | per_model("probe", DATA, ["p8"])
    expected |= {("manifest", d) for d in DATA} | ACCURACY | curves(DATA) | behavior(DATA)
    assert planned(study) == expected | downstream(DATA, ["knn", "cka"])
    snakemake(study, "--cores", "2", "all_similarity")
    assert pairs_computed(study, "one", "cka") == 4


def test_changing_metadata_extracts_nothing(study):
    replace(study / "models.tsv", "\tcoarse\n", "\trough\n")
    expected = {("consistency", m) for m in ("knn", "cka")}
    expected |= {("plot_probe_accuracy",)} | CURVE_FIGURES
    assert planned(study) == expected | figures(["knn", "cka"])


def test_reordering_models_reruns_nothing(study):
    header, *rows = MODELS.splitlines(keepends=True)
    (study / "models.tsv").write_text("".join([header, *reversed(rows)]))
    assert planned(study) == set()


def test_changing_a_metrics_parameter(study):
    replace(study / "metrics.yaml", "k: 4", "k: 5")
    assert planned(study) == downstream(DATA, ["knn"]) | curves(DATA)
    snakemake(study, "--cores", "2", "all_similarity")
    assert pairs_computed(study, "one", "knn") == 10
    replace(study / "metrics.yaml", "k: 5", "k: 4")
    snakemake(study, "--cores", "2", "all_similarity")
    assert pairs_computed(study, "one", "knn") == 0  # known from before


def test_renaming_a_metric_keeps_its_pairs(study):
    """The study still says the former name; its pairs are known by the present one."""
    replace(study / "metrics.yaml", "knn:", "neighbors:")
    with (study / "config" / "renames.yaml").open("a") as stream:
        stream.write("metrics:\n  knn: {now: neighbors, since: 9.9}\n")
    text = snakemake(study, "--cores", "2", "all_similarity")
    assert "the metric 'knn' is called 'neighbors' since 9.9" in text
    assert pairs_computed(study, "one", "neighbors") == 0
    former, present = (read_table(study / f"results/study/similarity/one/{metric}.parquet")
                       for metric in ("knn", "neighbors"))  # fmt: skip
    assert present["value"].equals(former["value"])


OWN = """\
from dataclasses import dataclass

from consilience.metrics import Metric, metric


@metric("mine", symmetric=True, bounds=(0, 1), self_value=1.0, is_metric=False, citation="me",
        larger_is_more_similar=True, invariant_to=[])
@dataclass(frozen=True)
class Mine(Metric):
    def prepare(self, x):
        return x.sum(axis=1)

    def compare(self, a, b):
        return float(1 / (1 + abs(a - b).mean()))
"""


def test_a_metric_in_a_file_of_ones_own(study):
    """Its jobs are new when it is added and when its file is edited; no job of another metric."""
    trusted = ("--config", "trust=mine.py")
    (study / "mine.py").write_text(OWN, encoding="utf8")
    replace(study / "study.yaml", "[metrics.yaml]}", "[metrics.yaml], metric_modules: [mine.py]}")
    text = snakemake(study, "-n", ok=False)
    assert "metric_modules[0]: mine.py is a program, which would run on this machine" in text
    assert planned(study, *trusted) == {("explorer",)}  # which names the catalogues
    replace(study / "study.yaml", "[knn, cka]", "[knn, cka, mine]")
    assert planned(study, *trusted) == downstream(DATA, ["mine"])
    snakemake(study, "--cores", "2", "all_similarity", *trusted)
    path = study / "results/study/similarity/one/mine.parquet"
    first = read_table(path)
    assert pairs_computed(study, "one", "mine") == len(first) == 10
    assert "file" not in first.attrs["spec"]
    replace(study / "mine.py", "1 / (1 +", "1 / (1 + 2 *")
    again = planned(study, "all_similarity", *trusted)
    assert again == {("all_similarity",)} | similarity(DATA, ["mine"])
    snakemake(study, "--cores", "2", "all_similarity", *trusted)
    assert pairs_computed(study, "one", "mine") == 10
    twice = 1 / (1 + 2 * (1 / first["value"] - 1))
    assert abs(read_table(path)["value"] - twice).max() < 1e-12
    (study / "mine.py").write_text("def broken(:\n", encoding="utf8")
    text = snakemake(study, "-n", *trusted, ok=False)
    assert "study.yaml: catalogs.metric_modules[0]: mine.py line 1: invalid syntax" in text


def test_metrics_that_share_lists_are_computed_together(study):
    with (study / "metrics.yaml").open("a") as stream:
        stream.write("lcs: {metric: lcs_knn, k: 6}\n")
    replace(study / "study.yaml", "[knn, cka]", "[knn, lcs, cka]")
    jobs = planned(study)
    shared = {job for job in jobs if job[0] == "shared"}
    assert [d for _, d, _ in sorted(shared)] == DATA
    # a first companion: the tables of knn are written again, from what is known
    assert jobs == shared | downstream(DATA, ["knn", "lcs"]) | CURVE_FIGURES
    alone = planned(study, "--config", "similarity={together: false}")
    assert alone == downstream(DATA, ["lcs"])
    snakemake(study, "--cores", "2", "all_similarity")
    assert pairs_computed(study, "one", "knn") == pairs_computed(study, "one", "lcs") == 0
    table = next((study / "results" / "study" / "similarity" / "one" / ".shared").glob("*.parquet"))
    assert read_table(table).set_index("metric")["computed"].to_dict() == {"knn": 0, "lcs": 10}
    replace(study / "metrics.yaml", "k: 6", "k: 5")
    again = shared | similarity(DATA, ["knn", "lcs"]) | {("all_similarity",)}
    assert planned(study, "all_similarity") == again


def test_editing_a_metrics_source(study):
    with (study / "consilience" / "metrics" / "cka.py").open("a") as stream:
        stream.write("# edited\n")
    assert planned(study) == downstream(DATA, ["cka"])
    snakemake(study, "--cores", "2", "all_similarity")
    assert pairs_computed(study, "one", "cka") == 10


def edit(study, *modules):
    """Appends a statement that changes nothing to modules of the package."""
    for module in modules:
        with (study / "consilience" / module).open("a") as stream:
            stream.write("_EDITED = True\n")


def test_editing_the_engine(study):
    edit(study, "similarity/task.py")
    found = planned(study)
    assert downstream(DATA, ["knn", "cka"]) | curves(DATA) | behavior(DATA) <= found
    assert not {job for job in found if job[0] in ("samples", "features", "manifest", "probe")}
    path = study / "results" / "study" / "similarity" / "one" / "cka.parquet"
    before = read_table(path)
    snakemake(study, "--cores", "2", "all_similarity")
    assert {pairs_computed(study, d, m) for d in DATA for m in ("knn", "cka")} == {10}
    assert read_table(path).equals(before)
    assert read_table(path).attrs["code"] != before.attrs["code"]


def test_halving_every_value_in_the_engine(study):
    """Known to have been wrong: the rule ran again, and took the old values from its store."""
    path = study / "results" / "study" / "similarity" / "one" / "cka.parquet"
    before = read_table(path)["value"]
    replace(study / "consilience/similarity/task.py",
            "self.metric.compare(a.prepared, b.prepared, *known), a, b)",
            "self.metric.compare(a.prepared, b.prepared, *known) / 2, a, b)")  # fmt: skip
    snakemake(study, "--cores", "1", "results/study/similarity/one/cka.parquet")
    assert read_table(path)["value"].equals(before / 2)


def test_editing_a_reader_of_features(study):
    edit(study, "features/reading.py")
    found = planned(study)
    expected = similarity(DATA, ["knn", "cka"]) | curves(DATA) | behavior(DATA)
    expected |= {("manifest", d) for d in DATA} | per_model("probe", DATA, ["p4", "vit"])
    assert expected <= found
    assert not {job for job in found if job[0] in ("samples", "features")}


def test_editing_a_message(study):
    """Modules that no result comes from: logging, checks of a study, commands, documents."""
    edit(study, "logs.py", "config/checks.py", "cli/summary.py", "docs/tables.py")
    assert planned(study) == set()


def test_editing_a_dataset_source(study):
    """It may show other pictures under the same ids."""
    edit(study, "datasets/packaged/shapes.py")
    found = planned(study)
    assert {("samples", d) for d in DATA} <= found
    assert per_model("features", DATA, ["p4", "p6", "p8", "vit"]) <= found


def test_editing_a_model_source(study):
    with (study / "consilience" / "models" / "timm.py").open("a") as stream:
        stream.write("# edited\n")
    assert per_model("features", DATA, ["vit"]) <= planned(study)
    assert not per_model("features", DATA, ["p4", "p6", "p8"]) & planned(study)


def test_editing_a_figure(study):
    with (study / "consilience" / "plots" / "model_map.py").open("a") as stream:
        stream.write("# edited\n")
    assert planned(study) == {("plot_model_map", "knn"), ("plot_model_map", "cka")}


def test_pairs_dealt_to_several_jobs(study):
    """Tables are what one job made, to the byte; a model added later computes its own pairs."""
    dealt = ("all_similarity", "--config", "similarity={shards: 3, sharded: [cka]}")
    paths = [study / f"results/study/similarity/{d}/cka.parquet" for d in DATA]
    one_job = [path.read_bytes() for path in paths]
    shards = {("similarity_shard", d, "cka", n) for d in DATA for n in "123"}
    assert planned(study, *dealt) == shards | similarity(DATA, ["cka"]) | {("all_similarity",)}
    for path in (study / "results").glob("similarity/*/.pairs/cka.parquet"):
        path.unlink()
    snakemake(study, "--cores", "2", *dealt)
    assert [path.read_bytes() for path in paths] == one_job
    assert planned(study, *dealt) == set()
    records = [
        read_table(study / f"results/study/similarity/one/.shards/cka/{n}.parquet") for n in "123"
    ]
    assert [int(t["computed"].iloc[0]) for t in records] == [3, 3, 4]
    with (study / "models.tsv").open("a") as stream:
        stream.write(NEW_MODEL)
    snakemake(study, "--cores", "2", *dealt)
    records = [
        read_table(study / f"results/study/similarity/one/.shards/cka/{n}.parquet") for n in "123"
    ]
    assert sum(int(t["computed"].iloc[0]) for t in records) == 5  # with four others and itself
    assert pairs_computed(study, "one", "cka") == 0
