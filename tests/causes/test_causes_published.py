"""Tables of ReprSimCauses: read by their names, every stored value again, and what is refused.

The tables themselves are under a licence of their own and not part of the project: where
REPR_SIM_CAUSES names a folder that holds them, at any depth, all of them are read.
"""

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from clones import ROOT
from golden import DATA

from consilience.causes import (
    EFFECTS,
    as_lines,
    as_pairs,
    effects,
    headline,
    read_published,
    read_sources,
    two_levels,
)
from consilience.causes.published import VALUES, figure_of, read_name
from consilience.cli import main
from consilience.errors import DataError
from consilience.files import read_table

KNOWN = json.loads((DATA / "causes.json").read_text(encoding="utf8"))
TARGETS = {
    "Tiny-Codes": "tinycodes", "OOD": "OOD_for_one", "Shakespeare": "shakespeare",
    "Shakespeare (OOD)": "shakespeare", "Tiny-Stories": "tinystories",
    "Tiny-Stories (OOD)": "tinystories", "wikitext (OOD)": "wikitext",
}  # fmt: skip
RESNET = "ds_platonic_ffcv_resnet18_cifar100.csv"


def file_of(experiment):
    """Returns the name of the table that an experiment's values are of."""
    if experiment.startswith("llm_llama_"):
        model, kind = experiment.removeprefix("llm_llama_").rsplit("_", 1)
        return f"{kind}_meta-llama_{model}.csv"
    if experiment.startswith("nanogpt"):
        return f"{experiment}_platonic.csv"
    if experiment.startswith("diffusion"):
        return f"{experiment}.csv"
    if experiment.endswith("_csd"):
        return f"csd_platonic_ffcv_{experiment.removesuffix('_csd')}.csv"
    network, kind = experiment.rsplit("_", 1)
    return f"{kind}_platonic_ffcv_{network}.csv"


@pytest.fixture(scope="module")
def folder():
    given = os.environ.get("REPR_SIM_CAUSES", "")
    if not given or not Path(given).is_dir():
        pytest.skip("REPR_SIM_CAUSES names no folder with the tables of ReprSimCauses")
    return Path(given)


@pytest.fixture(scope="module")
def pairs(folder):
    names = sorted({file_of(experiment) for experiment, *_ in KNOWN["stored"]})
    table = read_sources({"li2025": [next(folder.rglob(name)) for name in names]})
    return table[headline(table)]


@pytest.fixture(scope="module")
def found(pairs):
    return effects(pairs)


def row_of(found, experiment, target):
    dataset = TARGETS.get(target, target.removeprefix("metric_"))
    rows = found[(found["file"] == file_of(experiment)) & (found["dataset"] == dataset)]
    assert len(rows) == 1, (experiment, target)
    return rows.iloc[0]


def test_all_57_stored_values(found):
    assert len(found) == len(KNOWN["stored"]) == 57
    for experiment, target, information, r2 in KNOWN["stored"]:
        row = row_of(found, experiment, target)
        assert row["mi_published"] == pytest.approx(information, abs=1e-9), (experiment, target)
        assert row["r2_published"] == pytest.approx(r2, abs=1e-9), (experiment, target)


@pytest.mark.parametrize(
    "known", KNOWN["effects"], ids=lambda k: f"{k['experiment']}-{k['target']}"
)
def test_effects_of_an_independent_implementation(found, known):
    row = row_of(found, known["experiment"], known["target"])
    for key, value in known.items():
        if key in ("experiment", "target"):
            continue
        steep = key.startswith("slope")
        tolerance = 1e-5 if steep else 5.1e-5 if key == "mi_published" else 2e-3
        assert row[key] == pytest.approx(value, abs=tolerance), key
    assert row["status"] == "ok" and row["p_least"] == 0.001


def test_means_of_the_publication_and_ours(pairs, found):
    published = two_levels(found)
    for kind, mean in {"data": 0.584, "task": 0.771, "labels": 0.891}.items():
        assert published[kind] == pytest.approx(mean, abs=5e-4), kind
    ours = two_levels(found, "mi_held_out")
    assert ours["data"] == pytest.approx(0.429, abs=5e-4)
    assert ours["labels"] == pytest.approx(0.876, abs=5e-4)
    without = effects(pairs.assign(published=pairs["value"].notna()), permutations=0)
    assert two_levels(without)["task"] == pytest.approx(0.681, abs=5e-4)


def test_slopes_above_zero(found):
    above = found["slope_low"] > 0
    assert above.sum() == 51
    assert set(found[~above]["family"]) == {
        "nanogpt", "resnet101", "Llama-3.2-1B-Instruct", "Llama-3.2-3B-Instruct",
        "Llama-3.2-11B-Vision-Instruct",
    }  # fmt: skip
    exceeding = found["mi_published"] > found["entropy_x"]
    csd = found["kind"] == "labels"
    assert (exceeding & ~csd).sum() >= 4 and exceeding.sum() >= 10
    assert (found["mi_held_out"] <= found["entropy_x"]).all()


def test_every_published_table_is_read(folder):
    paths = [p for p in sorted(folder.rglob("*.csv")) if p.name != "stored_regression_mi.csv"]
    assert len(paths) >= 100
    assert {read_name(path).form for path in paths} == {
        "similarity", "accuracy", "transfer", "jailbreak"
    }  # fmt: skip
    some = [p for p in paths if "platonic_ffcv" not in p.name and "scratch" not in str(p)]
    table = read_sources({"li2025": some[::3]})
    assert list(table.columns) == list(VALUES) and not (table["value"] == -1).any()
    assert table["overlap"].between(0, 1).all()


def test_the_page_names_every_published_figure(folder):
    page = (ROOT / "docs" / "published_causes.md").read_text(encoding="utf8")
    named = set(re.findall(r"\bcauses_published_(\w+)", page)) - {"accuracy"}
    assert named == {figure_of(read_name(path)) for path in folder.rglob("*.csv")} - {""}


# Without the published tables


def test_one_experiment_by_its_stored_numbers(tmp_path):
    table = pd.DataFrame(
        KNOWN["resnet18_cifar100_ds"], columns=["seed", "frac_overlap", "metric_cifar100"]
    )
    table["seed"] = table["seed"].astype(int)
    table.assign(metric="cka").to_csv(tmp_path / RESNET, index=False)
    row = effects(read_published(tmp_path / RESNET)).iloc[0]
    stored = next(k for k in KNOWN["stored"] if k[0] == "resnet18_cifar100_ds")
    assert row["mi_published"] == pytest.approx(stored[2], abs=1e-9)
    assert row["r2_published"] == pytest.approx(stored[3], abs=1e-9)
    known = next(k for k in KNOWN["effects"] if k["experiment"] == "resnet18_cifar100_ds")
    for key in ("slope", "slope_low", "slope_high"):
        assert row[key] == pytest.approx(known[key], abs=1e-5)
    for key in ("mi_held_out", "mi_held_out_linear", "omega2"):
        assert row[key] == pytest.approx(known[key], abs=2e-3)
    assert tuple(row[["kind", "family", "train_set", "dataset", "metric", "source"]]) == (
        "data", "resnet18", "cifar100", "cifar100", "cka", RESNET.removesuffix(".csv"),
    )  # fmt: skip
    assert row["parameters"] == 11_176_512 and row["status"] == "ok" and row["note"] == ""


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("task_platonic_ffcv_vit_base_patch32_224_tinyimagenet",
         ("similarity", "task", "vit_base_patch32_224", "tinyimagenet")),
        ("csd_platonic_ffcv_resnet50", ("similarity", "labels", "resnet50", "colorshapedigit")),
        ("resnet_cifar100_ds_platonic",
         ("similarity", "data", "resnet18_from_scratch", "cifar100")),
        ("resnet_partition_platonic_acc",
         ("accuracy", "labels", "resnet18_from_scratch", "colorshapedigit")),
        ("nanogpt_all_task_platonic", ("similarity", "task", "nanogpt", "all")),
        ("diffusion_cifar10_ds", ("similarity", "data", "unet", "cifar10")),
        ("ds_meta-llama_Llama-3.2-1B-Instruct",
         ("similarity", "data", "Llama-3.2-1B-Instruct", "tinycodes")),
        ("gpt5_judge_task_meta-llama_Llama-3.2-3B-Instruct_jailbreaking",
         ("jailbreak", "task", "Llama-3.2-3B-Instruct", "all")),
        ("ds_transfer_asr_resnet18_tinyimagenet", ("transfer", "data", "resnet18", "tinyimagenet")),
        ("ds_acc_resnet18_cifar100", ("accuracy", "data", "resnet18", "cifar100")),
        ("my_table", ("", "", "", "")),
    ],
)  # fmt: skip
def test_names(name, known):
    found = read_name(f"{name}.csv")
    assert (found.form, found.kind, found.family, found.train_set) == known


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("task_platonic_ffcv_vit_base_patch32_224_tinyimagenet", "vit_tinyimagenet_task"),
        ("csd_platonic_ffcv_resnet50", "labels"),
        ("resnet_cifar100_ds_platonic", "scratch_cifar100_data"),
        ("nanogpt_all_task_platonic", "nanogpt_all_task"),
        ("task_meta-llama_Llama-3.2-1B-Instruct", "llama_task"),
        ("task_transfer_asr_resnet18_tinyimagenet", "transfer_task"),
        ("gpt5_judge_task_meta-llama_Llama-3.2-3B-Instruct_jailbreaking", "jailbreak_task"),
        ("ds_acc_resnet18_cifar100", ""),
    ],
)
def test_figures_of_files(name, figure):
    assert figure_of(read_name(f"{name}.csv")) == figure


def made(path, **columns):
    """Writes a table of 3 seeds and 3 overlaps, with two evaluation sets."""
    rows = [
        {"seed": s, "metric": "cka", "frac_overlap": a,
         "metric_overlap": -1 if a == 0 else a + s / 10,
         "metric_ood_one": -1 if a == 1 else 0.1 + a / 2 + s / 100}
        for s in range(3) for a in (0, 0.5, 1)
    ]  # fmt: skip
    table = pd.DataFrame(rows).assign(**columns)
    table.to_csv(path, index=False)
    return table


TASK = "task_platonic_ffcv_resnet18_cifar100.csv"


def test_minus_one_is_missing_and_counted(tmp_path):
    made(tmp_path / TASK)
    pairs = read_published(tmp_path / TASK)
    assert pairs["value"].isna().sum() == 6 and (pairs["as_published"] == -1).sum() == 6
    found = effects(pairs).set_index("dataset")
    row = found.loc["ood_one"]
    assert (row["n"], row["n_missing"], row["levels"], row["n_draws"]) == (6, 3, 2, 3)
    assert row["slope"] == pytest.approx(0.5) and np.isnan(row["at_1"])
    assert row["at_0"] == pytest.approx(0.11)
    assert "3 of 9 pairs have no value, at overlap 1" in row["note"]
    assert "the evaluation set follows the overlap" in row["note"]
    assert "p of all 8 arrangements" in row["note"] and row["p"] == row["p_least"] == 2 / 8
    lines = as_lines(effects(pairs))
    assert len(lines) == 3 and "ood_one" in lines[1] and "0.5000" in lines[1]


def test_the_file_whose_missing_rows_were_counted(tmp_path):
    """Its published statistics hold them; ours do not."""
    for name, counted in ((TASK, 6), ("nanogpt_all_task_platonic.csv", 9)):
        made(tmp_path / name)
        pairs = read_published(tmp_path / name)
        pairs = pairs[pairs["dataset"] == "ood_one"]
        assert pairs["published"].sum() == counted
        row = effects(pairs).iloc[0]
        kept = pairs[pairs["published"]]
        line = np.corrcoef(kept["overlap"], kept["as_published"])[0, 1]
        assert row["r2_published"] == pytest.approx(line**2) and row["n"] == 6


def test_repeated_headers_and_rows_are_left_out(tmp_path):
    path = tmp_path / TASK
    made(path)
    text = path.read_text()
    path.write_text(text + text)
    pairs = read_published(path)
    assert len(pairs) == 18 and pairs["note"].str.contains("10 repeated rows are left out").all()


def test_both_models_of_a_pair_are_averaged(tmp_path):
    path = tmp_path / "ds_acc_resnet18_cifar100.csv"
    rows = [(s, a, i, 0.5 + a / 10 + i / 100) for s in range(2) for a in (0, 1) for i in (1, 2)]
    pd.DataFrame(rows, columns=["seed", "frac_overlap", "model_idx", "acc"]).to_csv(
        path, index=False
    )
    single = read_published(path)
    assert set(single["pair"]) == {"model 1", "model 2"} and len(single) == 8
    row = effects(as_pairs(single)).iloc[0]
    assert (row["n"], row["metric"], row["dataset"]) == (4, "accuracy", "cifar100")
    assert row["slope"] == pytest.approx(0.1) and row["at_0"] == pytest.approx(0.515)
    attacks = tmp_path / "ds_meta-llama_Llama-3.2-1B-Instruct_jailbreaking.csv"
    rows = [(s, a, 0.4 + a / 10, 0.5) for s in range(2) for a in (0, 1) for _ in range(2)]
    pd.DataFrame(rows, columns=["seed", "frac_overlap", "transfer_asr", "normal_asr"]).to_csv(
        attacks, index=False
    )
    found = effects(as_pairs(read_published(attacks))).set_index("metric")
    assert found.loc["transfer_asr", "n"] == 4 and found.loc["normal_asr", "slope"] == 0
    assert "all values are the same" in found.loc["normal_asr", "note"]


def test_accuracies_of_single_models_have_no_effect(tmp_path):
    path = tmp_path / "csd_acc_ffcv_resnet18.csv"
    rows = [
        (s, p, m, 0.9) for s in range(2) for p, m in (("partition1", "shape"), ("partition2", "x"))
    ]
    pd.DataFrame(rows, columns=["seed", "partition", "model", "acc"]).to_csv(path, index=False)
    row = effects(as_pairs(read_published(path))).iloc[0]
    assert row["status"] == "undefined" and "single models, no pairs" in row["note"]
    assert np.isnan(row["slope"]) and np.isnan(row["mi_published"])


def test_a_table_of_ones_own_says_what_it_is_of(tmp_path):
    path = tmp_path / "mine.csv"
    made(path)
    with pytest.raises(DataError, match="its name does not say the kind"):
        read_published(path)
    made(path, kind="task", family="cnn", train_set="fashion")
    found = effects(read_published(path, "my lab"))
    assert set(found["source"]) == {"my lab"} and set(found["family"]) == {"cnn"}
    assert found["parameters"].isna().all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="seed"), "a table of pairs has"),
        (lambda t: t.assign(frac_overlap=60), "frac_overlap is 60.0, and it is a share"),
        (lambda t: t.assign(metric_overlap="x"), "metric_overlap holds 'x', which is no number"),
        (lambda t: t.drop(columns=["metric_overlap", "metric_ood_one"]), "no column of values"),
        (
            lambda t: t.assign(partition="third").drop(columns="frac_overlap"),
            "partition is 'third'",
        ),
        (lambda t: pd.concat([t, t.assign(metric_overlap=0.9)]), "two different values"),
        (lambda t: t.assign(metric_ood_one=np.nan), "metric_ood_one holds 'nan'"),
    ],
)
def test_what_is_no_table_of_pairs(tmp_path, change, said):
    path = tmp_path / TASK
    change(made(path)).to_csv(path, index=False)
    with pytest.raises(DataError, match=said):
        read_published(path)


def test_files_that_are_not_there_or_twice(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        read_published(tmp_path / TASK)
    made(tmp_path / TASK)
    with pytest.raises(DataError, match="is there twice"):
        read_sources({"a": [tmp_path / TASK, tmp_path / TASK]})
    assert list(read_sources({}).columns) == list(VALUES)


# The command


def test_the_command_prints_and_writes(tmp_path, capsys):
    made(tmp_path / TASK)
    given = [f"li2025={tmp_path / TASK}", "-o", str(tmp_path / "out")]
    assert main(["causes", *given]) == 0
    said = capsys.readouterr().out
    assert "li2025  task  resnet18  cifar100   ood_one" in said and "0.5000" in said
    assert f"{tmp_path / 'out' / 'causes' / 'effects.parquet'}: 2 rows" in said
    written = read_table(tmp_path / "out" / "causes" / "effects.parquet")
    assert set(written["dataset"]) == {"overlap", "ood_one"}
    assert main(["causes", *given, "--metric", "cka"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert main(["causes", *given, "--metric", "ckka"]) == 1
    assert "no table has the metric 'ckka'; there are: cka" in capsys.readouterr().err
    assert main(["causes", *given, "--beside", str(tmp_path)]) == 1
    assert "there is no table of pairs in" in capsys.readouterr().err


# Statuses and controls


def pairs_of(values, **columns):
    """Returns pairs of draws × overlaps (0, ½, 1)."""
    values = np.asarray(values, float)
    draws, levels = np.indices(values.shape)
    table = pd.DataFrame(
        {"draw": draws.ravel(), "overlap": levels.ravel() / 2, "value": values.ravel()}
    )
    return table.assign(
        kind="data", family="cnn", train_set="fashion", dataset="digits", metric="cka"
    ).assign(**columns)


def test_statuses():
    good = [[0.1, 0.2, 0.35], [0.2, 0.31, 0.4], [0.0, 0.1, 0.21]]
    assert effects(pairs_of(good)).iloc[0]["status"] == "ok"
    one = effects(pairs_of(good[:1])).iloc[0]
    assert one["status"] == "one draw" and one["slope"] == pytest.approx(0.25)
    assert np.isnan(one["slope_low"]) and "no interval" in one["note"]
    few = effects(pairs_of(np.array(good)[:, :1])).iloc[0]
    assert few["status"] == "too few rows" and np.isnan(few["slope"])
    none = effects(pairs_of(np.full((2, 3), np.nan))).iloc[0]
    assert (none["status"], none["n"], none["n_missing"]) == ("undefined", 0, 6)
    losses = np.where(np.arange(9) == 4, 0.1, 0.01)
    loose = effects(pairs_of(good, train_loss_x=0.0, train_loss_y=losses)).iloc[0]
    assert loose["status"] == "not fitted" and loose["slope_low"] > 0
    assert "1 of 9 pairs have a model whose training loss is 0.1 or more" in loose["note"]
    fitted = effects(pairs_of(good, train_loss_x=0.0, train_loss_y=losses), max_loss=0.2)
    assert fitted.iloc[0]["status"] == "ok"
    assert {c: str(t) for c, t in fitted.dtypes.items()} == EFFECTS


def test_controls_stand_in_columns_of_their_own():
    table = pairs_of([[0.1, 0.2, 0.35], [0.2, 0.31, 0.4]], control="")
    extra = pairs_of([[9, 9, 9]], control=["untrained", "twin", "self"]).assign(
        value=[0.05, 0.5, 1]
    )
    row = effects(pd.concat([table, extra])).iloc[0]
    assert (row["n"], row["untrained"], row["twin"]) == (6, 0.05, 0.5)
    assert row["at_1"] == pytest.approx(0.375)


def test_groups_are_apart_and_seeds_their_own():
    table = pairs_of(np.random.default_rng(0).normal(size=(5, 3)))
    both = effects(pd.concat([table, table.assign(family="mlp")]), permutations=99)
    assert list(both["family"]) == ["cnn", "mlp"]
    assert both["slope"].iloc[0] == both["slope"].iloc[1]
    again = effects(table, permutations=99)
    assert again.iloc[0].equals(both.iloc[0])
    calibrated = effects(table.assign(calibrated=2 * table["value"] + 1)).iloc[0]
    assert calibrated["slope_calibrated"] == pytest.approx(2 * calibrated["slope"])
