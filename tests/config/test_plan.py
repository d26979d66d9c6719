"""What a study makes: decided in one place, without Snakemake."""

import re

import pytest
import yaml
from clones import ROOT

from consilience.config import load_study
from consilience.config.origins import Origins, lay_over, place_results
from consilience.config.plan import Plan
from consilience.errors import ConfigError
from consilience.metrics import METRICS
from consilience.results import Results

BASE = {"models": ["lite0", "pixels"], "datasets": ["digits"], "metrics": ["cka_debiased"]}


def plan_of(**changes):
    return Plan(load_study({**BASE, **changes}), Results())


def places(path):
    origins = Origins.read([path])
    return place_results(load_study(origins.config, origins).settings, origins)


def write(path, **keys):
    path.write_text(yaml.safe_dump({**BASE, **keys}), encoding="utf8")
    return path


def test_what_is_not_asked_for_is_not_made():
    plan = plan_of()
    assert plan.halved == plan.paired == plan.alignments == plan.curves == plan.stability == []
    assert plan.group is None and not plan.grouped and plan.distributions == {}
    assert plan.labelled == ["digits"] and plan.probed
    assert plan.accuracy == ["results/probe/accuracy.parquet"]


def test_figures_are_drawn_that_the_study_asks_for():
    names = [path.rpartition("/")[2].split(".")[0] for path in plan_of().drawn]
    assert {"model_map_cka_debiased", "probe_accuracy"} <= set(names)
    asked = plan_of(plots={"figures": ["similarity_*", "model_map"]}).drawn
    kept = [name for name in names if name.startswith(("similarity_", "model_map"))]
    assert [path.rpartition("/")[2].split(".")[0] for path in asked] == kept != names
    assert plan_of(plots={"figures": []}).drawn == []
    assert plan_of(plots={"figures": ["identifiability_*"]}).drawn == []
    with pytest.raises(ConfigError, match=r"plots\.figures: the study has no 'identifiability_kl'"):
        _ = plan_of(plots={"figures": ["identifiability_kl"]}).drawn


def test_features_of_a_recipe_are_made_by_one_job(monkeypatch):
    recipes = "recipe in ['radial_4', 'radial_6']"
    plan = plan_of(models=recipes, datasets=["radial_4", "radial_6"])
    groups = {group.name: group.models for group in plan.groups_extracted}
    assert {name: len(models) for name, models in groups.items()} == dict.fromkeys(
        ["radial_4", "radial_6"], 40
    )
    monkeypatch.setattr("consilience.config.trainings.MOST_EXTRACTED", 26)
    plan = plan_of(models=recipes, datasets=["radial_4", "radial_6"])
    parts = {group.name: group.models for group in plan.groups_extracted}
    assert {name: len(models) for name, models in parts.items()} == {
        "radial_4.1": 20, "radial_4.2": 20, "radial_6.1": 20, "radial_6.2": 20,
    }  # fmt: skip
    assert parts["radial_4.1"] + parts["radial_4.2"] == groups["radial_4"]
    assert next(group.rule for group in plan.groups_extracted) == "radial_4_1"


def test_probes_of_a_recipe_are_made_by_one_job_unless_they_wait_for_texts(tmp_path):
    recipes = (ROOT / "config" / "recipes.yaml").read_text(encoding="utf8")
    tower = recipes.replace("digits_cnn:\n", "digits_cnn:\n  columns: {text_tower: minilm}\n")
    (tmp_path / "recipes.yaml").write_text(tower, encoding="utf8")
    models = "recipe == 'digits_cnn' or model == 'minilm'"
    plan = plan_of(models=models, datasets=["digits"])
    assert [group.name for group in plan.groups_probed] == ["digits_cnn"]
    assert plan.named_alike["probe"] == ["probe_digits_cnn"]
    plan = plan_of(models=models, catalogs={"recipes": [str(tmp_path / "recipes.yaml")]})
    assert plan.groups_extracted and plan.groups_probed == []


TWO_ALIKE = ["lite0", "lite1"]


def test_identifiability_is_made_where_the_study_has_the_block():
    plan = plan_of()
    assert plan.identified == plan.trends == plan.constructed == plan.constructions == []
    assert plan.distance_settings == plan.trend_settings == {}
    plan = plan_of(models=TWO_ALIKE, identifiability={})
    assert plan.identified == ["digits"]
    assert plan.trends == ["results/identifiability/trend/widths.parquet"]
    assert [path.rpartition("/")[2] for path in plan.constructed] == [
        "kl.parquet", "perturbed.parquet",
    ]  # fmt: skip
    assert plan.distance_settings["sets"] == 200 and plan.distance_settings["draw"] == "ids"
    assert plan.trend_settings == {"min_accuracy": 0.9, "min_models": 3, "bootstrap": 1000}
    of_catalogue = plan.study.models["lite0"]["architecture"]
    assert plan.classifiers["lite0"] == {"architecture": of_catalogue, "width": ""}
    assert plan.described["settings"] == plan_of(models=TWO_ALIKE).described["settings"]
    own = plan_of(
        models=TWO_ALIKE, identifiability={"sets": 9, "constructed": {"kl": False, "seed": 3}}
    )
    assert own.distance_settings["sets"] == 9 and own.construction_seed == 3
    assert own.constructed == ["results/identifiability/constructed/perturbed.parquet"]
    assert own.constructions == ["perturbed"]
    with pytest.raises(ConfigError, match="no dataset has two of them; add seeds to a recipe"):
        plan_of(models=["lite0"], identifiability={})
    with pytest.raises(ConfigError, match="unknown key 'set'; did you mean 'sets'"):
        plan_of(models=TWO_ALIKE, identifiability={"set": 3})


def test_vectors_are_those_that_models_learn_from_and_are_compared_on():
    assert plan_of().vectors == {}
    plan = plan_of(models="recipe == 'radial_4' and width == '16'", datasets=["radial_4"])
    assert set(plan.vectors) == {"radial_4", "radial_4_train"}
    assert plan.vectors["radial_4"]["row"]["name"] == "radial classes=4"
    assert plan.vectors["radial_4"]["code"] == plan.source_code["radial_4"] != ""


def test_every_probe_has_labels(tmp_path):
    """A view of a dataset without labels has none, whatever its own row leaves out."""
    rows = "dataset\tsource\tname\tmodality\tlabels\tparent\tview\n"
    rows += "bare\tpackaged\tdigits\timage\tno\t\t\nv\t\t\timage\t\tbare\tn=12\n"
    (tmp_path / "data.tsv").write_text(rows + "vv\t\t\timage\t\tv\tn=8\n")
    catalogs = {"datasets": [str(tmp_path / "data.tsv")]}
    plan = plan_of(datasets=["v", "vv"], catalogs=catalogs)
    assert plan.labelled == plan.probe_files == plan.related == plan.accuracy == []
    assert plan.page_tables["behavior"] == plan.page_tables["relation"] == []


def test_groups_are_read_where_a_row_may_have_them(tmp_path):
    (tmp_path / "g.tsv").write_text("id\tgroup\n")
    rows = "dataset\tsource\tname\tmodality\tgroup\tparent\tview\tcaptions\n"
    rows += f"by_file\tpackaged\tdigits\timage\tfile={tmp_path}/g.tsv\t\t\t\n"
    rows += "no\tpackaged\tdigits\timage\tnone\t\t\t\nv\t\t\timage\t\tno\tn=12\t\n"
    rows += f"captions\thuggingface\t{tmp_path}\timage\t\t\t\tall\n"
    (tmp_path / "data.tsv").write_text(rows)
    names = ["by_file", "no", "v", "captions"]
    plan = plan_of(datasets=names, catalogs={"datasets": [str(tmp_path / "data.tsv")]})
    read = {name: len(plan.view_samples(name)) for name in names}
    assert read == {"by_file": 1, "no": 0, "v": 2, "captions": 1}
    assert plan.view_sources("by_file") == {"groups": f"{tmp_path}/g.tsv"}
    assert plan.view_sources("no") == {}
    assert "group" not in plan.extracted["by_file"]["row"]  # features do not depend on it
    assert plan.study.sampling["by_file"]["group"].endswith("g.tsv")
    assert "group_rows" not in plan.specs(["cka_debiased"])["cka_debiased"]
    changed = plan_of(similarity={"group_rows": "mean"}).specs(["cka_debiased"])
    assert changed["cka_debiased"]["group_rows"] == "mean"


@pytest.mark.parametrize(("cell", "problem"), [
    ("file=nowhere.tsv", "nowhere.tsv: there is no such file"), ("id=(", "no regular expression"),
    ("id=x", "0 groups in parentheses"), ("contents", "does not have the form"),
])  # fmt: skip
def test_groups_that_cannot_be_found_are_named_while_planning(tmp_path, cell, problem):
    rows = f"dataset\tsource\tname\tmodality\tgroup\nd\tpackaged\tdigits\timage\t{cell}\n"
    (tmp_path / "data.tsv").write_text(rows)
    with pytest.raises(ConfigError, match=re.escape(problem)):
        plan_of(datasets=["d"], catalogs={"datasets": [str(tmp_path / "data.tsv")]})


def test_curves_and_halves():
    plan = plan_of(sensitivity={"n": [8]}, reliability={"splits": 2})
    assert plan.curves == ["results/sensitivity/digits/cka_debiased.parquet"]
    assert plan.stability and plan.halved == ["digits"]
    assert plan_of(sensitivity={"metrics": ["cka_debiased"]}).curves == []


def test_alignment_needs_two_models_that_differ():
    asked = {"alignment": {"metrics": ["cka_debiased"], "across": "objective"}}
    assert plan_of(**asked).paired == ["digits"]
    alone = {"alignment": {"metrics": ["cka_debiased"], "across": None}}
    assert plan_of(**alone).alignments == ["results/alignment/digits/cka_debiased.parquet"]


def test_the_page_takes_what_is_made():
    plan = plan_of(consistency={"groups": ["objective"]})
    tables = plan.page_tables
    assert tables["differences"] == ["results/consistency/differences/cka_debiased.parquet"]
    assert plan_of().page_tables["differences"] == []
    assert all(path.startswith("results/") for paths in tables.values() for path in paths)


def test_code_of_rows_names_the_source_and_the_library():
    plan = plan_of()
    assert plan.model_code["lite0"] != plan.model_code["pixels"]
    assert len(plan.source_code["digits"]) == 64
    assert set(plan.behavior_modules) <= {cls.__module__ for cls in METRICS.values()}


def test_a_study_lies_in_a_folder_of_its_name(tmp_path):
    assert places(ROOT / "config" / "config.yaml") == Results("results", "results")
    assert places(write(tmp_path / "mine.yaml")) == Results("results/mine", "results")
    assert places(write(tmp_path / "mine.yaml", results="out/x")).folder == "out/x"
    both = Origins.read([write(tmp_path / "a.yaml"), write(tmp_path / "b.yaml")])
    assert both.name == "a+b"


@pytest.mark.parametrize(
    ("keys", "common"),
    [
        ({"seed": 3}, "results/seed3"),
        ({"features": {"dtype": "float16"}}, "results/float16"),
        ({"seed": 3, "features": {"autocast": "bfloat16"}}, "results/seed3-bfloat16"),
        ({"features": {"batch_size": 8, "device": "cpu"}}, "results"),
    ],
)
def test_what_is_drawn_or_stored_otherwise_lies_apart(tmp_path, keys, common):
    assert places(write(tmp_path / "mine.yaml", **keys)).common == common


@pytest.mark.parametrize("name", ["features", "similarity", "seed1", "explorer"])
def test_a_folder_that_others_use_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=f"would lie in results/{name}"):
        places(write(tmp_path / f"{name}.yaml"))


def test_a_folder_of_another_tree_is_not_taken_for_ours(tmp_path):
    assert places(write(tmp_path / "mine.yaml", results="my_results/features")).folder


def test_only_the_default_study_lies_in_the_folder_of_all(tmp_path):
    with pytest.raises(ConfigError, match=r"mine\.yaml: results: results is the folder of the def"):
        places(write(tmp_path / "mine.yaml", results="results"))
    assert place_results(load_study(BASE).settings, Origins()).folder == "results"


def test_a_name_with_braces_is_no_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"\{x\}\.yaml: a folder of results cannot be called"):
        places(write(tmp_path / "{x}.yaml"))
    assert places(write(tmp_path / "{x}.yaml", results="results/x")).folder == "results/x"


@pytest.mark.parametrize("folder", ["/tmp/x", "../x", "a/../b", ".hidden", "x/"])
def test_a_results_folder_stays_below_the_working_folder(folder):
    with pytest.raises(ConfigError, match=r"results: '.*' does not have the form"):
        load_study({**BASE, "results": folder}, "my.yaml")


def test_errors_name_the_file_that_a_key_came_from(tmp_path):
    one = write(tmp_path / "one.yaml", metrics=["knn_of_one"])
    two = tmp_path / "two.yaml"
    two.write_text("datasets: [digitz]\nprobe: {knm: [1]}\n")
    origins = Origins.read([one, two], {"consistency": {"min_models": 2}})
    with pytest.raises(ConfigError) as caught:
        load_study(origins.config, origins)
    lines = str(caught.value).splitlines()
    assert any(re.search(r"two\.yaml: probe: unknown key 'knm'", line) for line in lines)
    assert any(line.strip().startswith("--config: consistency.min_models") for line in lines)
    two.write_text("datasets: [digitz]\n")
    origins = Origins.read([one, two])
    with pytest.raises(ConfigError) as caught:
        load_study(origins.config, origins)
    assert re.search(r"one\.yaml: metrics\[0\]: 'knn_of_one'", str(caught.value))
    assert re.search(r"two\.yaml: datasets\[0\]: 'digitz'", str(caught.value))


def test_files_are_laid_over_each_other_as_snakemake_does_it():
    below = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert lay_over(below, {"a": {"y": [3]}, "c": 2}) == {"a": {"x": 1, "y": [3]}, "b": 1, "c": 2}
    assert below == {"a": {"x": 1, "y": [1, 2]}, "b": 1}


def test_the_quick_start_leaks_into_no_study():
    text = {**BASE, "models": ["minilm", "characters"], "datasets": ["movie_snippets"]}
    study = load_study(text, "mine.yaml")
    assert study.settings["consistency"]["groups"] == []
    assert study.settings["consistency"]["models"] is None
    assert study.settings["seed"] == 0


@pytest.mark.parametrize("text", ["- a\n", "a: [\n", "a: \xe9\n"])
def test_a_file_that_is_no_study(tmp_path, text):
    (tmp_path / "x.yaml").write_bytes(text.encode("latin1"))
    with pytest.raises(ConfigError, match=r"x\.yaml: "):
        Origins.read([tmp_path / "x.yaml"])
    with pytest.raises(ConfigError, match="no such study"):
        Origins.read([tmp_path / "absent.yaml"])


def test_two_studies_of_one_name_do_not_share_a_folder(tmp_path, monkeypatch):
    """Their tables would replace each other; the folder says whose it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    first, second = write(tmp_path / "mine.yaml"), write(tmp_path / "other" / "mine.yaml")
    (tmp_path / "results/mine/explorer").mkdir(parents=True)
    said = tmp_path / "results/mine/explorer/study.json"
    said.write_text('{"files": ["mine.yaml"]}')
    assert places(first).folder == "results/mine"
    with pytest.raises(ConfigError, match=r"results/mine holds the results of mine\.yaml; give"):
        places(second)
    said.write_text("{}")  # of an earlier version, which did not say
    assert places(second).folder == "results/mine"


def test_families_are_the_column_of_that_name_where_most_models_have_one():
    models = ["lite0", "lite1", "lite2", "squeezenet", "pixels"]
    plan = plan_of(models=models)
    assert plan.consistency_settings["clusters"] == plan.clusters == "family"
    assert plan.consistency_models["lite1"]["family"] == "EfficientNet-Lite"
    assert plan.models_by_family["pixels"] == {"family": "pixels"}
    assert plan_of(models=models, consistency={"clusters": "none"}).models_by_family["lite0"] == {}
    asked = plan_of(
        models=models, consistency={"clusters": "architecture", "groups": ["objective"]}
    )
    assert asked.clusters == "architecture" and set(asked.consistency_models["lite0"]) >= {
        "architecture", "objective",
    }  # fmt: skip
    for row in plan.study.models.values():
        row["family"] = "" if row["model"] != "lite0" else "one"
    assert Plan(plan.study, Results()).clusters == "none"


def test_columns_by_which_models_may_cluster_repeat_themselves_and_are_filled():
    study = load_study({**BASE, "models": "collection == 'similarity_consistency'",
                        "datasets": ["photo_crops"]})  # fmt: skip
    plan = Plan(study, Results())
    assert plan.clusters == "family"
    assert {"training_data", "dimension", "backbone"} <= set(plan.warned)
    assert not {"objective", "family", "seed_had", "name"} & set(plan.warned)  # three, used, rare
