"""Recipes: how they expand to models, and one sentence for each mistake."""
# ruff: noqa: E501 - one line for each mistake

import re

import pytest

from consilience.config import load_study
from consilience.config.plan import Plan
from consilience.errors import ConfigError
from consilience.files import derive_seed
from consilience.results import Results

DATASETS = """\
dataset\tsource\tname\tmodality\tlabels\tparent\tview
points\tsynthetic\tradial classes=4\tvector\t\t\t
held_out\tsynthetic\tradial classes=4 seed=5\tvector\t\t\t
part\t\t\tvector\t\tpoints\tsplit=test
bare\tsynthetic\tradial classes=4\tvector\tno\t\t
pictures\tpackaged\tdigits\timage\t\t\t
"""
BASE = """\
tiny:
  dataset: points
  test: held_out
  architecture: small:mlp
  options: {width: 8, dimension: 2}
  training: {steps: 10}
  seeds: 2
"""


def test_seeds_of_a_variant_are_a_family_unless_columns_say_more(tmp_path):
    study = load(tmp_path)
    assert {row["family"] for row in study.models.values()} == {"tiny.standard"}
    own = BASE + "  columns: {family: mine}\n"
    assert {row["family"] for row in load(tmp_path, own).models.values()} == {"mine"}
    filled = BASE + '  columns: {family: "seed {seed}", kind: "{variant} {width} {else}"}\n'
    rows = load(tmp_path, filled).models
    assert {m: (r["family"], r["kind"]) for m, r in rows.items()} == {
        f"tiny.standard.{k}": (f"seed {k}", "standard 8 {else}") for k in range(2)
    }


def load(tmp_path, recipes=BASE, models="recipe != ''", datasets=("held_out",), **changes):
    (tmp_path / "datasets.tsv").write_text(DATASETS, encoding="utf8")
    (tmp_path / "recipes.yaml").write_text(recipes, encoding="utf8")
    catalogs = {name: [str(tmp_path / f"{name}.{end}")]
                for name, end in (("datasets", "tsv"), ("recipes", "yaml"))}  # fmt: skip
    given = {"models": models, "datasets": list(datasets), "metrics": ["cka_debiased"]}
    return load_study({**given, "catalogs": catalogs, **changes})


def test_a_recipe_without_variants(tmp_path):
    study = load(tmp_path)
    assert list(study.models) == ["tiny.standard.0", "tiny.standard.1"]
    row = study.models["tiny.standard.1"]
    assert (row["source"], row["name"], row["modality"]) == ("trained", "small:mlp", "vector")
    assert (row["recipe"], row["variant"], row["seed"]) == ("tiny", "standard", "1")
    assert (row["width"], row["dimension"], row["training_set"]) == ("8", "2", "points")
    assert row["runs_on"] == "points,held_out"
    spec = study.trainings["tiny.standard.1"].spec
    assert spec["split"] == "all"  # as another dataset is there to be scored on
    assert spec["training"]["steps"] == 10 and spec["training"]["lr"] == 0.001


def test_variants_lie_over_the_recipe_block_by_block(tmp_path):
    more = (
        BASE + "  variants:\n    a: {}\n    b:\n"
        "      options: {width: 4}\n      training: {epochs: 2}\n      seeds: [3]\n"
    )
    study = load(tmp_path, more)
    assert list(study.models) == ["tiny.a.0", "tiny.a.1", "tiny.b.3"]
    spec = study.trainings["tiny.b.3"].spec
    assert spec["options"] == {"width": 4, "dimension": 2}
    assert spec["training"]["epochs"] == 2 and "steps" not in spec["training"]


def test_a_recipe_extends_another(tmp_path):
    more = (
        BASE
        + "  variants: {a: {}, b: {}}\nother:\n  extends: tiny\n  options: {width: 16}\n  columns: {kind: wide}\n"
    )
    study = load(tmp_path, more, "recipe == 'other'")
    assert list(study.models) == ["other.a.0", "other.a.1", "other.b.0", "other.b.1"]
    row = study.models["other.a.0"]
    assert (row["width"], row["dimension"], row["kind"]) == ("16", "2", "wide")


def test_a_sweep_is_all_combinations_with_columns(tmp_path):
    more = BASE + "  sweep: {options.width: [4, 8], training.lr: [0.1, 0.01]}\n"
    study = load(tmp_path, more)
    assert sorted({row["variant"] for row in study.models.values()}) == [
        "width4-lr0.01", "width4-lr0.1", "width8-lr0.01", "width8-lr0.1",
    ]  # fmt: skip
    row = study.models["tiny.width4-lr0.1.1"]
    assert (row["width"], row["lr"]) == ("4", "0.1")
    assert study.trainings["tiny.width4-lr0.1.1"].spec["training"]["lr"] == 0.1


def test_seeds(tmp_path):
    rules = "  init: index\n  order: 7\n  draw: matched\n  variants: {a: {}, b: {}}\n"
    trainings = load(tmp_path, BASE + rules).trainings
    seeds = {model: training.spec["seeds"] for model, training in trainings.items()}
    assert [seeds[f"tiny.a.{k}"]["init"] for k in (0, 1)] == [0, 1]
    assert {one["order"] for one in seeds.values()} == {7}
    assert seeds["tiny.a.1"]["draw"] == seeds["tiny.b.1"]["draw"] != seeds["tiny.a.0"]["draw"]
    assert len({one["noise"] for one in seeds.values()}) == 4
    assert seeds["tiny.a.0"]["noise"] == derive_seed(0, "train", "noise", "tiny.a.0")
    other = load(tmp_path, BASE + rules, seed=1).trainings["tiny.a.0"].spec["seeds"]
    assert other["init"] == 0 and other["noise"] != seeds["tiny.a.0"]["noise"]


def test_metadata_and_the_order_of_keys_are_no_part_of_what_is_trained(tmp_path):
    one = load(tmp_path).trainings["tiny.standard.0"].spec
    other = BASE.replace("{width: 8, dimension: 2}", "{dimension: 2, width: 8}")
    again = load(tmp_path, other + "  columns: {kind: x}\n").trainings["tiny.standard.0"].spec
    assert repr(one) == repr(again)


def test_models_come_with_those_that_one_job_trains(tmp_path):
    more = BASE + "  variants: {a: {}, b: {}}\n"
    study = load(tmp_path, more, ["tiny.a.0"])
    assert list(study.models) == ["tiny.a.0"]
    assert list(study.trainings) == ["tiny.a.0", "tiny.a.1"]
    assert set(study.touched) == {"points", "held_out"}
    assert study.models_on["held_out"] == ["tiny.a.0"]


def test_a_model_runs_where_it_is_said_to(tmp_path):
    more = BASE + "  runs_on: [points]\n"
    study = load(tmp_path, more, datasets=("points", "part"))
    assert study.models_on["points"] == study.models_on["part"] == list(study.models)
    with pytest.raises(ConfigError, match="'held_out' holds vector and no model of the study"):
        load(tmp_path, more)


def test_what_is_altered_is_in_columns(tmp_path):
    more = BASE + "  labels: {rate: 0.5}\n  overlap: {kind: task, side: x, overlap: 0.2, draw: 3}\n"
    row = load(tmp_path, more).models["tiny.standard.0"]
    assert (row["labels_rate"], row["split_kind"], row["side"]) == ("0.5", "task", "x")
    assert (row["overlap"], row["split_draw"]) == ("0.2", "3")


def test_weights_are_filled_in(tmp_path):
    more = BASE + "  weights: w/{recipe}_{width}_{seed}.pt\n"
    assert load(tmp_path, more).trainings["tiny.standard.1"].spec["weights"] == "w/tiny_8_1.pt"


def test_recipes_of_data_that_a_catalogue_lacks_are_left_out(tmp_path):
    more = BASE + "other:\n  extends: tiny\n  dataset: nowhere\n"
    assert {row["recipe"] for row in load(tmp_path, more).models.values()} == {"tiny"}
    with pytest.raises(ConfigError, match="the dataset 'nowhere' is not in the catalogue"):
        load(tmp_path, more, ["other.standard.0"])


@pytest.mark.parametrize(
    "unfit",
    ["test: nowhere", "runs_on: [nowhere]", "dataset: bare", "test: bare", "test: pictures"],
)
def test_recipes_of_data_that_a_catalogue_has_otherwise_are_left_out(tmp_path, unfit):
    more = BASE + f"other:\n  extends: tiny\n  {unfit}\n"
    assert list(load(tmp_path, more, ["tiny.standard.0"]).models) == ["tiny.standard.0"]
    with pytest.raises(ConfigError, match="recipe 'other'"):
        load(tmp_path, more, ["other.standard.0"])


def test_what_a_recipe_varies_never_replaces_what_a_model_is(tmp_path):
    sweep = BASE + "  sweep: {architecture: [small:mlp], weights: [one, two]}\n"
    with pytest.raises(ConfigError, match="'small:mlp-one' is no id, which names files"):
        load(tmp_path, sweep)
    study = load(tmp_path, BASE + "  sweep: {layers: [all], weights: [one, two]}\n")
    assert {row.get("weights", "") for row in study.models.values()} == {""}
    assert study.trainings["tiny.all-one.0"].spec["weights"] == "one"


def test_rules_of_two_groups_have_two_names(tmp_path):
    more = BASE + "tiny-b:\n  extends: tiny\ntiny_b:\n  extends: tiny\n"
    groups = Plan(load(tmp_path, more), Results()).groups_trained
    assert len({group.rule for group in groups}) == len(groups) == 3
    assert groups[1].rule == "tiny_standard"


def test_a_recipe_without_keys_and_whole_numbers_of_another_type(tmp_path):
    with pytest.raises(
        ConfigError, match="recipe 'none', variant 'standard': 'dataset' is missing"
    ):
        load(tmp_path, BASE + "none:\n")
    assert len(load(tmp_path, BASE.replace("seeds: 2", "seeds: 3.0")).models) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds: 2", "seds: 2"), "unknown key 'seds'; did you mean 'seeds'?"),
        (("seeds: 2", "seeds: 0"), "seeds: 0 is not a number of models from 1, or a list of their numbers"),
        (("steps: 10", "stepz: 10"), "unknown key 'stepz'; did you mean 'steps'?"),
        (("steps: 10", "steps: 10, epochs: 1"), "training has either `steps` or `epochs`"),
        (("  seeds: 2\n", "  seeds: 2\n  variants: {a: {optoins: {}}}\n"), "tiny.variants.a: unknown key 'optoins'; did you mean 'options'?"),
        (("steps: 10", "steps: 10, lr: 1.0e+38"), "lr: 1e+38 is greater than the maximum of 1000000.0"),
        (("steps: 10", "lr: 0.1"), "training has either `steps` or `epochs`"),
        (("test: held_out", "test: hold_out"), "the test 'hold_out' is not in the catalogue of datasets; did you mean 'held_out'?"),
        (("small:mlp", "small:mpl"), "no network 'mpl'; did you mean 'mlp'?"),
        (("small:mlp", "mlp"), "architecture 'mlp' is none of"),
        (("width: 8", "widht: 8"), "has no option 'widht'; did you mean 'width'?"),
        (("dataset: points", "dataset: bare"), "the dataset 'bare' has no labels to learn"),
        (("dataset: points", "dataset: part"), "the dataset 'part' is a view; name a dataset that has a source"),
        (("  seeds: 2\n", "  seeds: 2\n  extends: nobody\n"), "`extends` names 'nobody'"),
        (("  seeds: 2\n", "  seeds: 2\n  extends: tiny\n"), "it is its own base"),
        (("  seeds: 2\n", "  seeds: 2\n  variants: {a: {}}\n  sweep: {training.lr: [1]}\n"), "has variants and a sweep; give one of them"),
        (("  seeds: 2\n", "  seeds: 2\n  sweep: {options.widht: [1]}\n"), "has no option 'widht'"),
        (("  seeds: 2\n", "  seeds: 2\n  labels: {rate: 2}\n"), "rate is 2, and it is a number from 0 to 1"),
        (("  seeds: 2\n", "  seeds: 2\n  shortcut: {rate: 1}\n"), "shortcuts are written onto pictures, texts or nodes of graphs, not vector"),
        (("  seeds: 2\n", "  seeds: 2\n  augmentation: {noise: 9}\n"), "noise is no augmentation of modality vector"),
        (("  seeds: 2\n", "  seeds: 2\n  overlap: {kind: task}\n"), "overlap: 'side' is missing; write x or y"),
        (("  seeds: 2\n", "  seeds: 2\n  order: first\n"), "order: 'first' is not own, matched, index, or a whole number"),
        (("  seeds: 2\n", "  seeds: 2\n  seeds: 3\n"), "the key 'seeds' is there twice"),
        (("  seeds: 2\n", "  seeds: 2\n  order: 9223372036854775808\n"), "order: a number of 64 bits; the largest is 9,223,372,036,854,775,807"),
        (("  seeds: 2\n", "  seeds: 2\n  columns: {source: here}\n"), "columns: 'source' is a column of every model; call yours otherwise"),
        (("  seeds: 2\n", "  seeds: 2\n  sweep: {labels.rate: [0, 1], shortcut.rate: [0, 1]}\n"), "sweep: two keys have the same last word; use `variants`"),
        (("  seeds: 2\n", "  seeds: 2\n  sweep: {options.width: [4, 4]}\n"), "the variant 'width4' is there twice"),
        (("  seeds: 2\n", "  seeds: 2\n  init: 0\n  order: 0\n  draw: 0\n  noise: 0\n"), "its models 'tiny.standard.0' and 'tiny.standard.1' have the same seeds"),
        (("  seeds: 2\n", "  seeds: 2\n  overlap: {kind: labels, parts: [0], side: x, overlap: 0.5}\n"), "overlap is 0.5, and sides of kind labels have all samples"),
        (("width: 8", "width: '8'"), "option width is '8', and it is a whole number"),
        (("width: 8", "width: true"), "option width is True, and it is a whole number"),
        (("width: 8", "norm: [1]"), "option norm is [1], and it is a number"),
        (("small:mlp\n  options: {width: 8, dimension: 2}", "small:resnet\n  options: {blocks: 2}"), "option blocks is 2, and it is a list"),
        (("test: held_out", "test: pictures"), "the test 'pictures' holds image, not vector"),
    ],
)  # fmt: skip
def test_one_mistake_one_sentence(tmp_path, change, message):
    assert change[0] in BASE
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load(tmp_path, BASE.replace(*change))
    assert len(str(caught.value).splitlines()) == 2, caught.value


def test_ids_that_clash(tmp_path):
    (tmp_path / "models.tsv").write_text(
        "model\tsource\tname\tmodality\ntiny.standard.0\traw\tvalues\tvector\n", encoding="utf8"
    )
    catalogs = {"models": [str(tmp_path / "models.tsv")]}
    catalogs |= {"datasets": [str(tmp_path / "datasets.tsv")]}
    load(tmp_path)
    with pytest.raises(ConfigError, match="the recipe 'tiny' makes this id too; rename one"):
        load(tmp_path, catalogs=catalogs | {"recipes": [str(tmp_path / "recipes.yaml")]})


def test_a_draw_of_its_own_for_each_model(tmp_path):
    split = "  overlap: {kind: data, side: x, overlap: 0.2, size: 5, draw: index}\n"
    more = BASE.replace("seeds: 2", "seeds: [3, 5]") + split
    more += '  variants:\n    a: {}\n    b: {overlap: {draw: 7}}\n    c: {overlap: {side: "y"}}\n'
    study = load(tmp_path, more)
    trainings, plan = study.trainings, Plan(study, Results())
    assert [trainings[f"tiny.{v}.5"].spec["overlap"]["draw"] for v in "abc"] == [5, 7, 5]
    assert study.models["tiny.a.3"]["split_draw"] == "3"
    assert [trainings[f"tiny.{v}.5"].split for v in "abc"] == ["tiny.a.5", "tiny.b", "tiny.c.5"]
    assert sorted(plan.splits) == ["tiny.a.3", "tiny.a.5", "tiny.b", "tiny.c.3", "tiny.c.5"]
    assert plan.splits_by_dataset == {"points": sorted(plan.splits)}
    group = next(group for group in plan.groups_trained if group.name == "tiny.a")
    place = "results/train/splits/tiny.a.{}.parquet"
    assert plan.training_inputs(group)["split"] == [place.format(3), place.format(5)]
    assert plan.training_of(group)["splits"] == {
        f"tiny.a.{number}": place.format(number) for number in (3, 5)
    }
    parts = BASE + "  overlap: {kind: labels, parts: [0], side: x, draw: index}\n"
    with pytest.raises(ConfigError, match="sides of kind labels have no draw; leave it out"):
        load(tmp_path, parts)
    with pytest.raises(ConfigError, match="draw is 'indx', and it is a whole number from 0"):
        load(tmp_path, BASE + split.replace("index", "indx"))


def test_pairs_that_no_two_models_make(tmp_path):
    with pytest.raises(ConfigError, match="no dataset has two of them; add seeds to a recipe"):
        load(tmp_path, BASE.replace("seeds: 2", "seeds: 1"), identifiability={})
    assert load(tmp_path, identifiability={}).models
