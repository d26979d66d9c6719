"""Every registered figure: its facts, that they suffice to draw it, and that it has a test."""

import ast
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import synthetic
from clones import ROOT, clone_to
from grounded_study import THRESHOLDS, cases_of, write_grounding
from matplotlib.text import Text
from synthetic import write_study
from test_plots import check_texts
from test_plots_answers import aligned
from test_plots_causes import write_causes
from test_plots_grounding import write_published
from test_plots_recovery import write_recovery
from test_plots_training import radial, write_trained
from test_plots_transfer import write_successes

from consilience.code import closure
from consilience.consistency import make_consistency
from consilience.features import write_features
from consilience.files import read_table, write_table
from consilience.plots import FIGURES, Facts, Material, draw_figure, register, save_figure, targets
from consilience.plots import mpl as lazy
from consilience.plots.facts import ALWAYS, DATASET, METRIC, STUDY, Files, Source
from consilience.plots.sources import ACCURACY, CONSISTENCY, from_similarity
from consilience.results import Results
from consilience.sensitivity import make_stability

HOMES = {facts.module for facts in FIGURES.values()}
PAIRED = ("bound", "width", "loss", "divergence", "features")
"""What figures of pairs of classifiers show."""
OF_TESTS = ("pairs", "layers", "learned")
"""What figures of single tests of grounding show."""
GROUNDED = cases_of()
DOLLARS = ("ssl", "a$\\x", "b^{$", "")
HEAVY = ("matplotlib", "scipy", "sklearn", "torch")


def plan_of(study, **changes):
    """A plan in which a study has everything that any figure shows."""
    columns = ["family", "objective"]
    plan = {
        "study": SimpleNamespace(
            **{key: study[key] for key in ("models", "datasets", "metrics", "labels")},
            groups=lambda columns, query=None: {
                m: {c: row[c] for c in columns} for m, row in study["models"].items()
            },
        ),
        "settings": {
            "plots": {"gap_color": "group", "transform": "none", "figures": ["*"]},
            "consistency": {"groups": columns, "anchors": ["model_00", "model_01"], "models": None},
            "alignment": {"metrics": list(study["metrics"])},
            "sensitivity": {"n": [20, 40]},
        },
        "group": "family", "group_columns": columns, "grouped": True,
        "layer_pairs": [["model_00", "model_01"], ["model_02", "model_02"]],
        "clusters": "none", "models_by_family": {m: {} for m in study["models"]},
        "distributions": {
            "family": ("family", None), "set": ("set", None),
            "anchor_family": ("anchor", "family"),
        },
        "labelled": list(study["datasets"]), "probed": True, "halved": list(study["datasets"]),
        "paired": list(study["datasets"])[:2],
        "curve_datasets": list(study["datasets"])[1:], "curve_metrics": list(study["metrics"])[:1],
        "trained": ["radial.w8.0"], "identified": ["data_02"], "constructions": ["kl", "perturbed"],
        "vectors": {"data_02": {"row": radial("data_02"), "code": ""}},
        "trend_settings": {"min_accuracy": 0.9}, "matched": list(study["metrics"]),
        "cases": GROUNDED, "thresholds": THRESHOLDS, "costed": True,
        "grounded_on": ["fashion_vgg_clean", "fashion_vgg_odd"],
        "answered": [f"fashion_vgg_{name}" for name in ("clean", "odd", "dots", "noise")],
        "lacks": (), "whole": lambda paths: paths,
        "published_tables": ["values"], "published_modules": dict.fromkeys(study["metrics"], "cka"),
        "metric_modules": dict.fromkeys(study["metrics"], "cka"),
        "recovery_datasets": list(study["datasets"])[:2],
        "recovering": list(study["metrics"])[:1],
        "caused": list(study["metrics"]), "caused_on": list(study["datasets"])[:2],
        "overlapping": [{"kind": "labels"}], "effect_metrics": list(study["metrics"])[:1],
        "published_figures": ["resnet_cifar100_data"],
        "published_forms": {("accuracy", "data", "resnet18", "cifar100")},
        "transfers": ["results/transfer/data_00/m.parquet"],
    }  # fmt: skip
    return SimpleNamespace(**plan | changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The plan of a small study whose result files lie in a folder, and where they lie."""
    with pytest.MonkeyPatch.context() as patch:  # names with dollars, which are no formulas
        patch.setattr(synthetic, "GROUPS", DOLLARS)
        patch.setattr(synthetic, "FAMILIES", DOLLARS[1:3])
        return make_study(tmp_path_factory.mktemp("study") / "results")


def make_study(folder):
    """Writes the result files of a small study; returns its plan, and where they lie."""
    results = Results(str(folder), str(folder))
    tables, study = write_study(folder, models=8, datasets=3, metrics=2, n=40)
    plan = plan_of(study)
    names, generator = list(study["models"]), np.random.default_rng(0)
    for metric in study["metrics"]:
        outs = {"table": "consistency", "means": "consistency_means",
                "differences": "consistency_differences"}  # fmt: skip
        make_consistency(
            [path for path in tables["similarity"] if path.stem == metric],
            pd.DataFrame.from_dict(study["models"], orient="index"),
            {name: results[kind].format(metric=metric) for name, kind in outs.items()},
            reliability_paths=sorted(folder.glob(f"reliability/*/{metric}.parquet")),
            groups=["family", "objective"], anchors=names[:2], bootstrap=100, permutations=99,
            sets={"first": names[:4], "second": names[4:]}, seed=0,
        )  # fmt: skip
        path = Path(results["matched"].format(metric=metric))
        path.parent.mkdir(parents=True, exist_ok=True)
        table = read_table(results["consistency_means"].format(metric=metric))
        write_table(table, path, table.attrs)
        for dataset in plan.paired:
            path = results["alignment"].format(dataset=dataset, metric=metric)
            facts = {"bounds": [0, 1], "larger_is_more_similar": True}
            write_table(aligned(names, dataset, generator), path, {"facts": facts})
    for dataset in plan.paired:
        manifest = Path(results["manifest"].format(dataset=dataset))
        for k, model in enumerate(names[:4]):
            header = {"model": {"model": model}, "dataset": dataset, "samples_hash": "0",
                      "language": {"bits_per_byte": 1.5 - 0.1 * k}}  # fmt: skip
            layers = {"last": np.zeros((3, 2), np.float32)}
            write_features(manifest.with_name(f"{model}.safetensors"), layers, header, list("abc"))
        files = pd.DataFrame({"file": [f"{model}.safetensors" for model in names[:4]]})
        write_table(files, manifest, {})
    make_stability(tables["sensitivity"], results["stability"])
    write_trained(results, "data_02")
    write_grounding(folder, list(study["metrics"]))
    write_published(results, folder)
    write_causes(results, plan.caused_on, plan.caused)
    write_successes(results, plan.caused_on[0], plan.caused[0])
    write_recovery(results, plan.recovery_datasets, plan.recovering[0])
    return plan, results


def asked(facts, value, made):
    """What the job of one figure is given: its files, and what the plan says."""
    plan, results = made
    place = {facts.per.wildcard: value} if value else {}
    files = {
        kind: [path.format(**place) for path in paths]
        for kind, paths in facts.inputs(plan, results).items()
    }
    return files, facts.said(plan, value)


def content(path):
    """The bytes of a figure, but for the ids of clips in an SVG.

    These are hashes of places to the last bit, and the solver behind matplotlib's layouts goes by
    memory addresses.
    """
    found = path.read_bytes()
    return re.sub(rb"\bp[0-9a-f]{10}\b", b"clip", found) if path.suffix == ".svg" else found


CASES = [(name, k) for name in FIGURES for k in range(3 if "distribution" in name else 1)]


@pytest.mark.parametrize(("name", "k"), CASES)
def test_a_figure_is_drawn_from_its_facts_alone(name, k, made, tmp_path):
    """As the script does it; it can be read, its bytes repeat, and its table is beside it."""
    facts = FIGURES[name]
    files, said = asked(facts, facts.values(made[0])[k], made)
    figure, table = facts.function(**facts.arguments(Material(files, said)))
    assert len(table)
    paths = save_figure(figure, table, tmp_path / "one" / name)
    check_texts(figure)
    draw_figure(name, tmp_path / "two" / name, files, said)
    for path in paths:
        assert content(path) == content(tmp_path / "two" / path.name), path.name
    extra = {path.name for path in (tmp_path / "two").iterdir()} - {path.name for path in paths}
    assert extra == {f"{name}.{ending}" for ending in facts.further(made[1])}
    shown = pd.read_csv(tmp_path / "two" / f"{name}.csv")
    assert list(shown.columns) == list(table.columns)


@pytest.mark.parametrize("name", ["similarity_scatter", "similarity_accuracy"])
def test_dollars_in_names_are_no_formulas(name, made):
    """The legend joins the two groups of a pair, so that one dollar in each would make one."""
    facts = FIGURES[name]
    files, said = asked(facts, facts.values(made[0])[0], made)
    figure, _ = facts.function(**facts.arguments(Material(files, said)))
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert any("a$\\x" in text for text in texts) and any("b^{$" in text for text in texts)
    assert any("a$\\x" in text and "b^{$" in text for text in texts)


def marked():
    """The figures that a test in this folder names by its marker."""
    found = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            for mark in getattr(node, "decorator_list", []):
                if ast.unparse(mark).startswith("pytest.mark.figure("):
                    found.add(ast.literal_eval(mark.args[0]))
    return found


def test_every_figure_has_a_test_of_what_it_shows():
    """That it can be drawn is not enough: write one in tests/plots and mark it with its name."""
    assert marked() == set(FIGURES)


def test_a_study_has_the_figures_of_what_it_has(made):
    plan, results = made
    every = targets(plan, results)
    assert len(every) == len(set(every))
    names = {name for name in FIGURES if FIGURES[name].values(plan)}
    assert names == set(FIGURES)
    settings, study = plan.settings, plan.study
    one = SimpleNamespace(**vars(study) | {"metrics": {"cka": study.metrics["cka"]}})
    single = SimpleNamespace(**vars(study) | {"datasets": {"data_00": {}}})
    bare = settings | {"consistency": {"groups": [], "anchors": [], "models": None}}
    lacking = [
        ({"probed": False}, {"probe_accuracy", "similarity_accuracy"}),
        ({"labelled": []}, {"similarity_behavior"}),
        ({"halved": []}, {"reliability"}),
        ({"paired": []}, {"alignment", "aligned_models"}),
        ({"curve_metrics": []}, {"sensitivity", "stimuli_steps"}),
        ({"settings": settings | {"sensitivity": {"n": [20]}}}, {"stimuli_steps"}),
        ({"grouped": False}, {"consistency_groups", "group_differences"}),
        ({"distributions": {}}, {"consistency_distribution"}),
        ({"group_columns": ["family"]}, {"model_categories"}),
        ({"group": "size"}, {"consistency_heatmap_groups"}),
        ({"settings": bare}, {"metric_distances", "consistency_heatmap_groups"}),
        ({"study": one}, {"metric_distances", "metric_agreement", "similarity_agreement"}),
        ({"study": single}, {"similarity_spread"}),
        ({"trained": []}, {"training_curves", "training_accuracy"}),
        ({"vectors": {}}, {"identifiability_data"}),
        ({"recovering": []}, {"grounding_recovery"}),
        ({"matched": []}, {"consistency_matched"}),
        ({"identified": []}, {f"identifiability_{k}" for k in PAIRED}),
        ({"constructions": ["kl"]}, {"identifiability_constructed"}),
        ({"constructions": ["perturbed"]}, {"identifiability_kl"}),
        ({"cases": []}, {f"grounding_{k}" for k in (*OF_TESTS, "overview", "ranks")}),
        ({"cases": GROUNDED[:2]}, {f"grounding_{k}" for k in OF_TESTS}),
        ({"cases": GROUNDED[:-1]}, {"grounding_layers"}),
        ({"costed": False}, {"grounding_cost"}),
        ({"published_tables": []}, {"grounding_published"}),
        (
            {"caused": []},
            {"causes_overlap", "causes_labels", "causes_accuracy", "transfer_similarity"},
        ),
        ({"transfers": []}, {"transfer_overlap", "transfer_similarity"}),
        ({"overlapping": []}, {"causes_labels"}),
        (
            {"effect_metrics": []},
            {f"causes_{k}" for k in ("effects", "information", "sizes", "fixed_sets")},
        ),
        ({"published_figures": []}, {"causes_published"}),
        ({"published_forms": ()}, {"causes_published_accuracy"}),
        ({"lacks": ["relation"]}, {"similarity_behavior"}),
    ]
    for changes, absent in lacking:
        other = SimpleNamespace(**vars(plan) | changes)
        assert names - {n for n in FIGURES if FIGURES[n].values(other)} == absent, changes


# --- what an edit redraws, and what a plan waits for ----------------------------------------------


@pytest.mark.parametrize("name", FIGURES)
def test_an_edit_of_another_figure_redraws_nothing(name):
    module = FIGURES[name].module
    assert HOMES & set(closure(module)) == {module}
    assert {"consilience.plots.facts", "consilience.plots.style"} <= set(closure(module))


def test_the_explorer_takes_orders_and_colours_but_no_figure():
    found = set(closure("consilience.explorer"))
    assert "consilience.plots.ordering" in found
    assert not found & HOMES


def loaded(code):
    """Which of the heavy libraries an interpreter has loaded after some code."""
    code += f"\nimport sys\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


def test_facts_are_read_without_a_drawing_library():
    read = "from consilience.plots import FIGURES\nassert all(f.caption for f in FIGURES.values())"
    assert loaded(read) == []
    assert "matplotlib" not in loaded("import consilience.explorer")
    assert "matplotlib" in loaded("from consilience.plots import mpl\nmpl.Figure()")


@pytest.mark.workflow
def test_a_plan_loads_no_drawing_library(tmp_path):
    clone_to(tmp_path)
    code = f"""
import atexit, sys
from snakemake.cli import main
atexit.register(lambda: print("loaded:", *(n for n in sys.modules if n.startswith({HEAVY}))))
atexit.register(lambda: print("read:", "consilience.plots.model_map" in sys.modules))
main(["-n", "all_plots"])
"""
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "plot_model_map" in done.stdout + done.stderr
    assert "read: True" in done.stdout
    assert "\nloaded:\n" in done.stdout, done.stdout[-1000:]


# --- facts ----------------------------------------------------------------------------------------


def toy(consistency, tables=None, axis=None, layers=None):
    """Draws nothing.

    Whatever it is given.
    """


def test_a_figure_of_a_dataset_reads_all_metrics_of_it(made):
    plan, _ = made
    facts = Facts(toy, DATASET, from_similarity(), "Toys", "A toy.", ALWAYS)
    results = Results("results/mini")
    folder = "results/mini/similarity/{dataset}"
    assert facts.inputs(plan, results) == {
        "similarity": [f"{folder}/{metric}.parquet" for metric in plan.study.metrics]
    }
    assert facts.stem(results) == "results/mini/figures/toy_{dataset}"
    assert facts.record("logs", results) == "logs/mini/plot_toy/{dataset}"
    assert facts.labels == {"figure": "toy, {dataset}", "metric": "all"}
    assert facts.values(plan) == list(plan.study.datasets)
    assert facts.summary == "Draws nothing."
    whole = Facts(toy, STUDY, {"consistency": CONSISTENCY}, "Toys", "A toy.", ALWAYS)
    assert len(whole.inputs(plan, results)["consistency"]) == len(plan.study.metrics)
    assert whole.record("logs", Results()) == "logs/plot_toy/all"
    assert whole.record("logs", Results("out/x")) == "logs/out/x/plot_toy/all"
    assert whole.labels == {"figure": "toy", "metric": "all"}


def test_facts_that_contradict_themselves_are_refused():
    def enter(function, **takes):
        register(per=METRIC, takes=takes, category="Toys", caption="A toy.")(function)

    with pytest.raises(ValueError, match="figure 'toy' has no argument accuracy"):
        enter(toy, accuracy=ACCURACY)
    other = Source(lambda m: m.similarity.tables, (Files("similarity", lambda plan: ["one"]),))
    with pytest.raises(ValueError, match="takes 'similarity' of other datasets than another"):
        enter(toy, tables=other, axis=from_similarity()["axis"])
    with pytest.raises(ValueError, match="figure 'model_map' is registered twice"):
        enter(FIGURES["model_map"].function)
    assert "toy" not in FIGURES
    with pytest.raises(AttributeError, match="add it to the table"):
        _ = lazy.pyplot


def test_a_study_of_some_pairs_has_no_figure_of_all():
    """Unless the figure says that the pairs of tests are enough; its files are refused in words."""

    def refuse(paths):
        return f"refused: {len(paths)}"

    ids = {
        "models": {"m": dict.fromkeys(("family", "objective"), "")},
        "labels": {"k": "k", "l": "l"},
    }
    study = ids | {"datasets": {"d": {}, "e": {}, "f": {}}, "metrics": {"k": {}, "l": {}}}
    plan = plan_of(study, lacks={"similarity", "consistency"}, whole=refuse)
    results = Results()
    for facts in FIGURES.values():
        read = facts.reads().items()
        needs_all = {k for k, f in read if k in ("similarity", "consistency") and not f.of_tests}
        assert not needs_all or facts.values(plan) == [], facts.name
        assert needs_all or facts.values(plan) == facts.values(plan_of(study)), facts.name
    heat = FIGURES["similarity_heatmaps"]
    assert heat.inputs(plan, results)["similarity"].startswith("refused: ")
    files = Files("similarity", of_tests=True)
    content = replace(heat, takes={"tables": Source(lambda m: m, (files,))})
    assert content.values(plan) == heat.values(plan_of(study))
    assert isinstance(content.inputs(plan, results)["similarity"], list)
