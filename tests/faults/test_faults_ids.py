"""One rule for ids: what it refuses, and that all that it allows is planned (K2, K3)."""

import random
import string

import pytest
from planned import dry_run, wildcards_of
from snakemake.io import PeriodicityDetector

from consilience.bundle.archive import bundled
from consilience.config import load_study
from consilience.config.origins import Origins, place_results
from consilience.errors import ConfigError
from consilience.results import LONGEST_ID, RESULT_FILES, id_problem, same_on_disk

SAID = {
    "..": "begins with a letter or digit",
    ".": "begins with a letter or digit",
    ".hidden": "begins with a letter or digit",
    "-rf": "begins with a letter or digit",
    "_x": "begins with a letter or digit",
    "a/b": "begins with a letter or digit",
    "a b": "begins with a letter or digit",
    "é": "begins with a letter or digit",
    "a{b}": "begins with a letter or digit",
    "a\n": "begins with a letter or digit",
    "a..b": "two dots beside each other",
    "a.": "ends in one",
    "x" * 101: "at most 100",
    "r_" + "0" * 20: "ends in '0' again and again",
    "r" + "ab" * 20: "ends in 'ab' again and again",
    "con": "keeps this name for a device",
    "NUL": "keeps this name for a device",
    "com1.v2": "keeps this name for a device",
}
MODELS = "model\tsource\tname\tmodality\n"
DATASETS = "dataset\tsource\tname\tmodality\n"


def study_of(tmp_path, models=("a",), datasets=("one",), metrics=("cka",), **changes):
    rows = "".join(f"{m}\traw\tpixels\timage\n" for m in models)
    (tmp_path / "models.tsv").write_text(MODELS + rows, encoding="utf8")
    rows = "".join(f"{d}\tpackaged\tdigits\timage\n" for d in datasets)
    (tmp_path / "datasets.tsv").write_text(DATASETS + rows, encoding="utf8")
    lines = [f"'{m}': {{metric: cka}}\n" for m in metrics] or ["{}"]
    (tmp_path / "metrics.yaml").write_text("".join(lines), encoding="utf8")
    names = {kind: [str(tmp_path / f"{kind}.tsv")] for kind in ("models", "datasets")}
    names["metrics"] = [str(tmp_path / "metrics.yaml")]
    wanted = {"models": list(models), "datasets": list(datasets), "metrics": list(metrics)}
    return {**wanted, "catalogs": names, **changes}


def refusal(settings):
    with pytest.raises(ConfigError) as error:
        load_study(settings, "my.yaml")
    return str(error.value)


@pytest.mark.parametrize("name", SAID)
def test_what_is_no_id(name):
    assert SAID[name] in id_problem(name)
    assert not bundled(f"similarity/{name}/cka.parquet")
    assert not bundled(f"similarity/one/{name}.parquet")


@pytest.mark.parametrize("name", ["..", ".", "-rf", "_x", "a..b", "a.", "x" * 101, "r" + "0" * 20])
def test_it_is_refused_with_its_row(name, tmp_path):
    shown = name if len(name) <= 100 else name[:20]
    text = refusal(study_of(tmp_path, models=["a", name]))
    assert "models.tsv line 3" in text and "model: " in text and shown in text
    text = refusal(study_of(tmp_path, datasets=["one", name]))
    assert "datasets.tsv line 3" in text and "dataset: " in text
    text = refusal(study_of(tmp_path, metrics=["cka", name]))
    assert "metrics.yaml" in text and shown in text
    text = refusal(study_of(tmp_path, consistency={"sets": {name: "model == 'a'"}}))
    assert "my.yaml: consistency.sets: " in text and shown in text
    text = refusal(study_of(tmp_path, grounding={"published": {name: ["x.csv"]}}))
    assert "grounding.published: " in text


RECIPE = """\
{recipe}:
  dataset: digits
  architecture: small:cnn
  training: {{steps: 0}}
  seeds: 2
  variants: {{{variant}: {{}}}}
"""


@pytest.mark.parametrize(
    ("recipe", "variant", "said"),
    [
        ("_r", "v", "_r"),
        ("r", "-v", "-v"),
        ("recipe" * 10, "varian" * 10 + "t", "its model 'recipereciperecipere'… has 124 letters"),
        ("r", "v" + "0" * 18, "again and again"),
        ("r", "v" * 101, "has 101 letters"),
    ],
)
def test_ids_that_recipes_make_obey_it(recipe, variant, said, tmp_path):
    path = tmp_path / "recipes.yaml"
    path.write_text(RECIPE.format(recipe=recipe, variant=variant), encoding="utf8")
    settings = {
        "models": f"recipe == '{recipe}'",
        "datasets": ["digits"],
        "metrics": ["cka_debiased"],
    }
    assert said in refusal({**settings, "catalogs": {"recipes": [str(path)]}})


def test_a_sweep_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("consilience.config.recipes.MOST_MODELS", 1000)
    path = tmp_path / "recipes.yaml"
    values = list(range(1, 101))
    text = RECIPE.format(recipe="r", variant="v").replace("  variants: {v: {}}\n", "")
    sweep = (
        f"  sweep: {{options.width: {values}, input.size: {values}, training.steps: {values}}}\n"
    )
    path.write_text(text + sweep, encoding="utf8")
    settings = {"models": "recipe == 'r'", "datasets": ["digits"], "metrics": ["cka_debiased"]}
    settings["catalogs"] = {"recipes": [str(path)]}
    assert "has a sweep of more than 10,000 variants" in refusal(settings)
    few = text.replace("seeds: 2", "seeds: 90")
    sweep = f"  sweep: {{options.width: {values}}}\n"
    path.write_text(few + sweep, encoding="utf8")
    assert "recipes make more than 1,000 models" in refusal(settings)


def test_ids_that_are_one_file_without_capitals(tmp_path):
    text = refusal(study_of(tmp_path, models=["ResNet", "resnet", "other"]))
    assert "models: 'ResNet' and 'resnet' differ in capitals alone" in text
    assert "datasets: 'A' and 'a' differ" in refusal(study_of(tmp_path, datasets=["a", "A"]))
    assert "metrics: 'A' and 'a' differ" in refusal(study_of(tmp_path, metrics=["a", "A"]))
    assert same_on_disk(["a", "b", "a"]) == []


@pytest.mark.parametrize("column", ["../up", "a/b", "a\\b", "a{b}", "x" * 101, "k" + "0" * 30])
def test_columns_that_name_figures(column, tmp_path):
    settings = study_of(tmp_path, models=["a", "b"], consistency={"groups": [column]})
    (tmp_path / "models.tsv").write_text(
        MODELS.replace("\n", f"\t{column}\n")
        + "a\traw\tpixels\timage\tx\nb\traw\tpixels\timage\ty\n",
        encoding="utf8",
    )
    assert "consistency.groups: the column" in refusal(settings)


@pytest.mark.parametrize("name", [".hidden", "-rf", "a.", "x" * 101])
def test_names_of_studies(name, tmp_path):
    path = tmp_path / f"{name}.yaml"
    path.write_text(
        "models: [lite0]\ndatasets: [digits]\nmetrics: [cka_debiased]\n", encoding="utf8"
    )
    origins = Origins.read([path])
    settings = load_study(origins.config, origins).settings
    with pytest.raises(ConfigError, match="a folder of results cannot be called"):
        place_results(settings, origins)


def draw_id(draw):
    """Returns an id that the rule allows, often one at its edges."""
    letters = string.ascii_letters + string.digits
    while True:
        name = draw.choice(letters)
        kind = draw.randrange(4)
        if kind == 0:
            name += "".join(draw.choices(letters + "_.-", k=draw.randrange(LONGEST_ID)))
        elif kind == 1:
            name += draw.choice(letters + "-_") * draw.randrange(25)
        elif kind == 2:
            piece = "".join(draw.choices(letters + "_.-", k=draw.randrange(1, 7)))
            name += piece * draw.randrange(1, 25)
        else:
            name += draw.choice(
                ["-", "_", ".x", "--", ".parquet", ".safetensors", "_manifest", "-1"]
            )
        if not id_problem(name):
            return name


def test_nothing_that_the_rule_allows_is_periodic_to_snakemake():
    draw, detector = random.Random(2), PeriodicityDetector()
    names = [draw_id(draw) for _ in range(3000)]
    assert not [name for name in names if detector.is_periodic(name)]
    assert any(len(name) > 90 for name in names)
    assert detector.is_periodic("r_" + "0" * 20)  # as K2 had it


@pytest.mark.workflow
def test_every_id_that_the_rule_allows_is_planned(tmp_path):
    draw = random.Random(3)
    drawn = {draw_id(draw).casefold(): None for _ in range(40)}
    names = [name for name in drawn if not id_problem(name)]
    models, datasets, metrics = names[:24], names[24:26], names[26:28]
    models += ["manifest", "samples", "features", "train", "0", "a-", "b_", "c.safetensors"]
    settings = study_of(tmp_path, models, datasets, metrics)
    for kind in ("models", "datasets", "metrics"):
        settings[kind] = repr(settings[kind])
    text = "\n".join(f"{kind}: {settings[kind]}" for kind in ("models", "datasets", "metrics"))
    text += f"\ncatalogs: {settings['catalogs']!r}\nconsistency: {{bootstrap: 100}}\n"
    (tmp_path / "study.yaml").write_text(text, encoding="utf8")
    said = dry_run(tmp_path, "all_similarity", "--config", "study=study.yaml")
    assert "eriodic" not in said
    made = {(w["dataset"], w["model"]) for w in wildcards_of(said, "features")}
    assert made == {(dataset, model) for dataset in datasets for model in models}
    made = {(w["dataset"], w["metric"]) for w in wildcards_of(said, "similarity")}
    assert made == {(dataset, metric) for dataset in datasets for metric in metrics}


def test_the_pattern_of_paths_takes_what_the_rule_allows():
    draw = random.Random(4)
    for name in [draw_id(draw) for _ in range(300)]:
        path = RESULT_FILES["similarity"].pattern.format(dataset=name, metric="m")
        assert RESULT_FILES["similarity"].matches(path) == {"dataset": name, "metric": "m"}
