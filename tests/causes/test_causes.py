"""Pairs with a known overlap: chosen by columns, read from similarity tables, and planned."""

import numpy as np
import pandas as pd
import pytest
from other_bytes import in_other_bytes

from consilience.alterations.splits import SplitRule, deal_classes, deal_samples
from consilience.causes import EFFECTS, PAIRS
from consilience.causes.selection import lacking, select_pairs
from consilience.causes.tables import make_causes, make_effects, make_published
from consilience.config import load_study
from consilience.config.plan import Plan
from consilience.errors import ConfigError, DataError
from consilience.files import read_table, write_table
from consilience.results import RESULT_FILES, Results

LEVELS = (0, 0.5, 1)


def row(side="", overlap="", draw="", kind="data", seed="0", **more):
    return {
        "architecture": "cnn", "training_set": "fashion", "split_kind": kind, "side": side,
        "overlap": str(overlap), "split_draw": str(draw), "seed": seed, "init": seed, **more,
    }  # fmt: skip


def nested(draws=2, levels=LEVELS, **more):
    """One x for each draw, and a y for each draw and overlap."""
    models = {f"x.{d}": row("x", "", d, **more) for d in range(draws)}
    return models | {f"y{a}.{d}": row("y", a, d, **more) for d in range(draws) for a in levels}


def chosen(models, **options):
    return [(p["model_x"], p["model_y"], p["overlap"], p["draw"])
            for p in select_pairs(models, **options) if not p["control"]]  # fmt: skip


# Which pairs


def test_nested_sides_are_compared_with_the_reference_of_their_draw():
    found = chosen(nested())
    assert sorted(found) == sorted(
        (f"x.{d}", f"y{a}.{d}", a, str(d)) for d in range(2) for a in LEVELS
    )
    other = chosen(nested(), reference="y")
    assert {(y, x) for x, y, _, _ in other} == {(x, y) for x, y, _, _ in found}


def test_pairs_are_of_one_overlap():
    models = {f"{s}{a}": row(s, a, 0, split_design="pairs") for s in "xy" for a in LEVELS}
    assert [(x, y, a) for x, y, a, _ in chosen(models)] == [
        ("x0", "y0", 0), ("x0.5", "y0.5", 0.5), ("x1", "y1", 1)
    ]  # fmt: skip
    assert chosen(models | {"x0": row("x", "0.0", 0, split_design="pairs")}) == chosen(models)
    lonely = models | {"y.25": row("y", 0.25, 0, split_design="pairs")}
    assert chosen(lonely) == chosen(models)
    assert lacking(lonely, select_pairs(lonely)) == ["y.25"]


def test_a_reference_trained_anew_at_every_overlap_keeps_its_own():
    models = {f"{s}{a}": row(s, a, 0) for s in "xy" for a in LEVELS}
    assert [(x, y) for x, y, _, _ in chosen(models)] == [(f"x{a}", f"y{a}") for a in LEVELS]


def test_seeds_of_one_number_are_compared_and_are_blocks():
    models = {
        f"{s}.{k}": row(s, 0 if s == "x" else 1, 0, seed=str(k)) for s in "xy" for k in (0, 1)
    }
    pairs = [p for p in select_pairs(models) if not p["control"]]
    assert [(p["model_x"], p["model_y"], p["block"]) for p in pairs] == [
        ("x.0", "y.0", "0"), ("x.1", "y.1", "1")
    ]  # fmt: skip
    del models["x.1"]
    assert [(x, y) for x, y, _, _ in chosen(models)] == [("x.0", "y.0"), ("x.0", "y.1")]


def test_networks_training_sets_and_kinds_are_apart():
    models = nested(1) | {f"m{k}": v | {"architecture": "mlp"} for k, v in nested(1).items()}
    models |= {f"t{k}": v | {"split_kind": "task"} for k, v in nested(1).items()}
    models |= {f"s{k}": v | {"training_set": "digits"} for k, v in nested(1).items()}
    found = chosen(models)
    assert len(found) == 4 * len(LEVELS)
    assert all(x.removesuffix("x.0") == y.rpartition("y")[0] for x, y, _, _ in found)
    wide = {k: v | {"width": k[0]} for k, v in nested(1).items()}
    assert not chosen(wide, families=["architecture", "width"])


def test_labels_overlap_by_the_parts_of_their_names():
    parts = {"shape": "0", "digit": "1", "shape_digit": "0 1", "shape_color": "0 2",
             "digit_color": "1 2", "all_a": "0 1 2", "all_b": "0 1 2"}  # fmt: skip
    models = {f"{n}.{s}": row("x", kind="labels", seed=str(s), split_parts=p)
              for n, p in parts.items() for s in range(2)}  # fmt: skip
    found = chosen(models)
    assert len(found) == 10 and {d for *_, d in found} == {"0", "1"}
    by = {frozenset((x[:-2], y[:-2])): a for x, y, a, d in found if d == "0"}
    assert by[frozenset(("shape", "digit"))] == 0 and by[frozenset(("all_a", "all_b"))] == 1
    twos = [frozenset(p) for p in (("shape_digit", "shape_color"), ("shape_digit", "digit_color"),
                                   ("shape_color", "digit_color"))]  # fmt: skip
    assert [by[p] for p in twos] == [0.5] * 3


def test_controls():
    models = nested(1) | {
        "twin": row("y", 1, 0, control="twin"),
        "same": row("y", 0.5, 0, control="same_init"),
        "blank.0": row("x", kind="", control="untrained"),
        "blank.1": row("y", kind="", control="untrained"),
    }
    pairs = select_pairs(models)
    assert sum(not p["control"] for p in pairs) == len(LEVELS)
    found = {p["control"]: (p["model_x"], p["model_y"], p["overlap"]) for p in pairs}
    assert found["twin"] == ("x.0", "twin", 1) and found["same_init"] == ("x.0", "same", 0.5)
    assert found["untrained"] == ("blank.0", "blank.1", None)
    assert found["self"] == ("x.0", "x.0", 1)
    assert not lacking(models, pairs)


# From a similarity table


def similarity(path, models, value=lambda x, y: 0.5, layers=("conv", "features")):
    """All pairs of models and layers, of which only those of last layers are to be taken."""
    names = [(m, layer) for m in sorted(models) for layer in layers]
    rows = []
    for i, (x, lx) in enumerate(names):
        for y, ly in names[i:]:
            last = lx == ly == layers[-1]
            number = value(x, y) if last else 99.0
            rows.append(
                {"dataset": "digits", "metric": "cka", "model_x": x, "layer_x": lx, "model_y": y,
                 "layer_y": ly, "value": number, "null_mean": 0.1, "null_sd": 0.01, "z": 1.0,
                 "p": 0.5, "calibrated": number - 0.1,
                 "failure": "flat" if np.isnan(number) else None, "note": None,
                 "hash_x": "", "hash_y": ""}
            )  # fmt: skip
    facts = {"larger_is_more_similar": True}
    metadata = {"facts": facts, "layers": {m: list(layers) for m in models}}
    write_table(pd.DataFrame(rows), path, metadata)
    return path


DATA = SplitRule("data")


def splits(folder, models, rule=DATA, deal=deal_samples, labels=None):
    """Writes the split of each model."""
    labels = np.arange(400) % 4 if labels is None else labels
    ids = [f"s{i}" for i in range(len(labels))]
    paths = {}
    for name, cells in models.items():
        own = SplitRule(
            rule.kind, float(cells["overlap"] or 0), int(cells["split_draw"]), rule.size
        )
        more = (int(labels.max()) + 1,) if deal is deal_classes else ()
        split = deal(ids, labels, *more, own, 0)
        paths[name] = folder / f"{name}.split.parquet"
        write_table(split.table, paths[name], split.facts)
    return paths


def learned(path, models, loss=0.01):
    rows = [{"model": m, "loss_train": loss, "accuracy_test": 0.9, "n_train": 200,
             "parameters": 1000} for m in models]  # fmt: skip
    write_table(pd.DataFrame(rows), path, {})
    return path


def causes(tmp_path, models, *, value=lambda x, y: 0.5, loss=0.01, **more):
    pairs = select_pairs(models)
    make_causes(
        similarity(tmp_path / "similarity.parquet", models, value),
        tmp_path / "digits" / "cka.parquet",
        dataset="digits",
        metric_id="cka",
        pairs=pairs,
        learned=learned(tmp_path / "learned.parquet", models, loss),
        **more,
    )
    return read_table(tmp_path / "digits" / "cka.parquet")


def planted(x, y):
    """0.4 + 0.3 · overlap + a little that no overlap tells."""
    if x == y:
        return 1.0
    pair = sorted((x, y))
    overlap = float(pair[1].removeprefix("y").rpartition(".")[0])
    return 0.4 + 0.3 * overlap + 0.01 * np.sin(sum(map(ord, x + y)))


def test_bytes_that_say_nothing_change_no_table(tmp_path):
    models = nested(3)

    def made():
        make_causes(
            tmp_path / "similarity.parquet", out, dataset="digits", metric_id="cka",
            pairs=select_pairs(models), learned=tmp_path / "learned.parquet",
        )  # fmt: skip
        pairs = out.read_bytes()
        in_other_bytes(out)
        make_effects([out], [], effects)
        return pairs, effects.read_bytes()

    causes(tmp_path, models)
    out, effects = tmp_path / "digits" / "cka.parquet", tmp_path / "effects.parquet"
    make_effects([out], [], effects)
    before = out.read_bytes(), effects.read_bytes()
    in_other_bytes(tmp_path / "similarity.parquet")
    assert made() == before


def test_pairs_have_the_values_of_the_last_layers(tmp_path):
    models = nested(3)
    table = causes(
        tmp_path, models, value=lambda x, y: planted(x, y) if x[0] != y[0] or x == y else 0,
        splits=splits(tmp_path, models), sides={m: c["side"] for m, c in models.items()},
    )  # fmt: skip
    kinds = {c: str(t) for c, t in table.dtypes.items()}
    assert kinds == PAIRS | {"n_train": "int64"}  # as it is read where none is missing
    assert set(RESULT_FILES["causes"].columns) == set(PAIRS)
    plain = table[table["control"] == ""]
    assert len(plain) == 9 and set(plain["layer_x"]) == {"features"}
    assert plain["value"].to_numpy() == pytest.approx(
        [planted(x, y) for x, y in zip(plain["model_x"], plain["model_y"], strict=True)]
    )
    assert plain["overlap_reached"].tolist() == pytest.approx(plain["overlap"].tolist())
    assert (plain["n_train"] == 200).all() and (plain["accuracy_x"] == 0.9).all()
    assert (table.loc[table["control"] == "self", "value"] == 1).all()

    make_effects([tmp_path / "digits" / "cka.parquet"], [], tmp_path / "effects.parquet")
    found = read_table(tmp_path / "effects.parquet")
    assert {c: str(t) for c, t in found.dtypes.items()} == EFFECTS
    assert set(RESULT_FILES["causes_effects"].columns) == set(EFFECTS)
    row = found.iloc[0]
    assert len(found) == 1 and row["source"] == "this study" and row["status"] == "ok"
    assert row["slope_low"] < 0.3 < row["slope_high"] and row["slope"] == pytest.approx(
        0.3, abs=0.02
    )
    assert row["slope_calibrated"] == pytest.approx(row["slope"])
    assert row["parameters"] == 1000 and row["n_draws"] == 3 and row["levels"] == 3


def test_the_overlap_of_classes_is_that_of_classes(tmp_path):
    models = nested(1, levels=(0, 0.6, 1), kind="task")
    labels = np.repeat(np.arange(10), [30, 5, 40, 20, 10, 50, 9, 8, 7, 6])
    given = splits(tmp_path, models, SplitRule("task"), deal_classes, labels)
    table = causes(tmp_path, models, splits=given, sides={m: c["side"] for m, c in models.items()})
    plain = table[table["control"] == ""]
    assert plain["overlap_reached"].tolist() == pytest.approx(plain["overlap"].tolist())


def test_sides_of_two_draws_are_refused(tmp_path):
    models = nested(1)
    given = splits(tmp_path, models)
    other = splits(tmp_path, {"x.0": models["x.0"] | {"split_draw": "7"}})
    with pytest.raises(DataError, match=r"should have 0 of their data in common and have 0\.5"):
        causes(tmp_path, models, splits=given | other,
               sides={m: c["side"] for m, c in models.items()})  # fmt: skip


def test_failures_and_absent_pairs_say_why(tmp_path):
    models = nested(2)
    flat = causes(tmp_path, models, value=lambda x, y: np.nan if "y0.5" in x + y else 0.5)
    plain = flat[flat["control"] == ""].set_index("overlap")
    assert (plain.loc[0.5, "failure"] == "flat").all() and plain.loc[0.5, "value"].isna().all()
    assert (plain.loc[0.0, "failure"] == "").all()
    assert flat["overlap_reached"].isna().all()
    similarity(tmp_path / "few.parquet", [m for m in models if m != "y1.0"])
    make_causes(tmp_path / "few.parquet", tmp_path / "out.parquet", dataset="digits",
                metric_id="cka", pairs=select_pairs(models))  # fmt: skip
    table = read_table(tmp_path / "out.parquet").set_index("model_y")
    assert "does not hold the pair" in table.loc["y1.0", "failure"]
    assert table["n_train"].isna().all()


def test_no_pairs_and_no_tables_are_empty_tables(tmp_path):
    similarity(tmp_path / "s.parquet", ["a"])
    make_causes(
        tmp_path / "s.parquet", tmp_path / "c.parquet", dataset="d", metric_id="cka", pairs=[]
    )
    make_effects([tmp_path / "c.parquet"], [], tmp_path / "e.parquet")
    assert list(read_table(tmp_path / "c.parquet").columns) == list(PAIRS)
    assert list(read_table(tmp_path / "e.parquet").columns) == list(EFFECTS)


def test_models_that_did_not_fit_are_told(tmp_path, caplog):
    causes(tmp_path, nested(2), value=lambda x, y: sum(map(ord, x + y)) % 97 / 97, loss=0.4)
    make_effects([tmp_path / "digits" / "cka.parquet"], [], tmp_path / "e.parquet")
    assert read_table(tmp_path / "e.parquet")["status"].tolist() == ["not fitted"]
    assert "on digits by cka: not fitted (6 of 6 pairs have a model" in caplog.text


def test_published_pairs_stand_beside_ones_own(tmp_path):
    causes(tmp_path, nested(2), value=lambda x, y: len(x + y) / 9)
    path = tmp_path / "ds_platonic_ffcv_resnet18_cifar100.csv"
    rows = [(s, "cka", a, 0.1 * s + 0.3 * a + 0.01 * (s == a)) for s in range(3) for a in LEVELS]
    pd.DataFrame(rows, columns=["seed", "metric", "frac_overlap", "metric_cifar100"]).to_csv(
        path, index=False
    )
    make_published({"li2025": [path]}, tmp_path / "published.parquet")
    alone, both = tmp_path / "alone.parquet", tmp_path / "both.parquet"
    make_effects([], [tmp_path / "published.parquet"], alone)
    make_effects([tmp_path / "digits" / "cka.parquet"], [tmp_path / "published.parquet"], both)
    found = read_table(both)
    assert sorted(found["source"]) == ["li2025", "this study"]
    theirs = found[found["source"] == "li2025"].reset_index(drop=True)
    pd.testing.assert_frame_equal(theirs, read_table(alone))
    assert set(RESULT_FILES["causes_published"].columns) == set(
        read_table(tmp_path / "published.parquet").columns
    )


# What a study makes of it

DATASETS = "dataset\tsource\tname\tmodality\nwhole\tpackaged\tdigits\timage\n"
RECIPES = """\
x:
  dataset: whole
  architecture: small:cnn
  training: {epochs: 1}
  seeds: 1
  overlap: {kind: data, size: 30, side: x}
  sweep: {overlap.draw: [0, 1]}
y:
  extends: x
  overlap: {side: y}
  sweep: {overlap.overlap: [0, 0.5, 1], overlap.draw: [0, 1]}
"""


def load(tmp_path, models="recipe in ['x', 'y']", recipes=RECIPES, causes=None, **more):
    (tmp_path / "datasets.tsv").write_text(DATASETS, encoding="utf8")
    (tmp_path / "recipes.yaml").write_text(recipes, encoding="utf8")
    catalogs = {name: [str(tmp_path / f"{name}.{end}")]
                for name, end in (("datasets", "tsv"), ("recipes", "yaml"))}  # fmt: skip
    given = {"models": models, "datasets": ["whole"], "metrics": ["cka_debiased"]}
    return load_study({**given, "catalogs": catalogs, "causes": causes, **more})


def test_a_plan_of_recipes(tmp_path):
    plan = Plan(load(tmp_path, causes={}), Results())
    assert plan.caused_on == ["whole"] and plan.caused == ["cka_debiased"]
    plain = [p for p in plan.overlapping if not p["control"]]
    assert len(plain) == 6 and {p["draw"] for p in plain} == {"0", "1"}
    assert {p["kind"] for p in plain} == {"data"} and {p["family"] for p in plain} == {"cnn"}
    assert plan.cause_tables == ["results/causes/whole/cka_debiased.parquet"]
    assert plan.effects == ["results/causes/effects.parquet"]
    assert plan.cause_settings == {"permutations": 999, "max_loss": 0.1}
    sides = plan.sides_on("whole")
    assert len(sides) == 8 and plan.split_files("whole")["x.draw0.0"].endswith(
        "splits/x.draw0.parquet"
    )
    assert plan.cause_learned == ["results/train/learned.parquet"] and not plan.published_pairs


def test_columns_say_design_and_parts(tmp_path):
    recipes = RECIPES.replace("size: 30, side: x", "size: 30, side: x, design: pairs")
    recipes += """\
asked:
  dataset: whole
  architecture: small:cnn
  training: {epochs: 1}
  seeds: 2
  variants:
    one: {overlap: {kind: labels, side: x, parts: [0, 1]}}
    other: {overlap: {kind: labels, side: x, parts: [0, 2]}}
"""
    chosen = "recipe in ['x', 'asked'] or model in 'y.overlap0-*'"
    study = load(tmp_path, chosen, recipes, causes={})
    assert study.models["x.draw0.0"]["split_design"] == "pairs"
    assert study.models["asked.one.0"]["split_parts"] == "0 1"
    found = [p for p in Plan(study, Results()).overlapping if not p["control"]]
    labels = [p for p in found if p["kind"] == "labels"]
    assert [(p["model_x"], p["model_y"], p["overlap"], p["draw"]) for p in labels] == [
        (f"asked.one.{k}", f"asked.other.{k}", 0.5, str(k)) for k in (0, 1)
    ]
    # by pairs, x of overlap 0 (not said) goes with y of overlap 0 alone
    assert {p["overlap"] for p in found if p["kind"] == "data"} == {0}


def test_nothing_unless_the_block_is_given(tmp_path):
    plan = Plan(load(tmp_path), Results())
    assert not plan.caused_on and not plan.cause_tables and not plan.effects
    assert not plan.overlapping and plan.published_causes == {}


def test_published_tables_alone(tmp_path):
    files = ["a/task_platonic_ffcv_resnet18_cifar100.csv", "b/ds_acc_resnet18_cifar100.csv"]
    study = load(
        tmp_path, models=["lite0"], recipes="{}\n", causes={"published": {"li2025": files}}
    )
    plan = Plan(study, Results())
    assert plan.effects and not plan.cause_tables and plan.published_cause_files == files
    assert ("accuracy", "data", "resnet18", "cifar100") in plan.published_forms


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"models": "recipe == 'y'"}, "no two models of the study have a known overlap"),
        ({"models": "recipe == 'x' or model in ['y.overlap0-draw0.0']"},
         r"'x.draw1.0' \(1 in all\) has no model of the other side"),
        ({"causes": {"family": ["architectur"]}}, "no column of the models; did you mean"),
        ({"recipes": RECIPES + "  columns: {control: twins}\n"}, "control is 'twins'; known"),
        ({"recipes": RECIPES + "  columns: {overlap: much}\n"}, "column overlap is 'much', and it"),
        ({"causes": {"published": {"a": ["x/t.csv", "y/t.csv"]}}}, "t.csv is there twice"),
        ({"similarity": {"pairs": "grounding"}, "grounding": {"recovery": {}}}, "needs all pairs"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared(tmp_path, given, said):
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, **{"causes": {}, **given})
