"""Prefetch: what is remote is told without importing a source, fetched once, and then enough."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from clones import ROOT
from flow import snakemake
from test_datasets import shards_row, write_shards
from test_datasets_hub import hub, hub_shards, tables_row, write_tables  # noqa: F401 - a fixture

from consilience.datasets import open_dataset
from consilience.errors import DataError, ModelError
from consilience.files import read_table
from consilience.prefetch import describe, fetch, list_remote, make_prefetch
from consilience.samples import make_samples


def model(source, name, weights="", **cells):
    return {"model": "m", "source": source, "name": name, "weights": weights} | cells


@pytest.mark.parametrize(
    ("row", "remote"),
    [
        (model("timm", "vit_small_patch16_224"), True),
        (model("timm", "vit_small_patch16_224", "random:0"), False),
        (model("timm", "vit_small_patch16_224", "package:x/y.pth"), False),
        (model("timm", "vit_small_patch16_224", "https://example.org/x.pth"), True),
        (model("open_clip", "ViT-B-32/openai"), True),
        (model("open_clip", "local-dir:x"), False),
        (model("transformers", "bert-base-uncased"), True),
        (model("transformers", "bert-base-uncased", "random:0"), True),
        (model("transformers", "package:x/model", "random:0"), False),
        (model("torchvision", "resnet50", "IMAGENET1K_V2"), True),
        (model("timm", "resnet50", "weights/mine.safetensors"), False),
        (model("hub", "torchvision:resnet50", "hf-hub:owner/repository/file.pth"), True),
        (model("checkpoint", "timm:resnet50", "https://example.org/x.pth"), True),
        (model("checkpoint", "timm:resnet50", "weights/mine.pth"), False),
        (model("raw", "pixels"), False),
        (model("imported", "features/x.npy"), False),
    ],
)
def test_models_that_need_a_network(row, remote):
    assert bool(list_remote({"m": row}, {})) is remote


def test_datasets_that_need_a_network(tmp_path):
    rows = {
        "a": shards_row("https://example.org/birds"),
        "b": shards_row("lab/birds"),
        "c": shards_row(tmp_path),
        "d": tables_row("lab/pairs"),
        "e": tables_row(tmp_path),
        "f": {"dataset": "f", "source": "packaged", "name": "digits", "modality": "image"},
    }
    remote = list_remote({}, rows)
    assert [row["name"] for row in remote] == [
        "https://example.org/birds",
        "lab/birds",
        "lab/pairs",
    ]
    text = describe(remote)
    assert "(3):" in text
    assert "dataset toy: webdataset lab/birds" in text
    assert describe([]).startswith("Nothing to fetch")


def test_what_was_fetched_is_enough_without_a_network(hub, tmp_path, monkeypatch):  # noqa: F811
    folder, asked, _ = hub
    hub_shards(folder, shards=3)
    write_tables(folder / "lab" / "pairs")
    rows = {"a": shards_row("lab/birds"), "b": tables_row("lab/pairs", revision="old")}
    make_prefetch(list_remote({}, rows), tmp_path / "fetched.parquet")
    table = read_table(tmp_path / "fetched.parquet")
    assert table["name"].tolist() == ["lab/birds", "lab/pairs"]
    assert table["revision"].tolist() == ["", "old"]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked.clear()
    for name, row in rows.items():
        make_samples(row, 0, tmp_path / f"{name}.parquet")
        assert sum(1 for s in open_dataset(row) if s.image()) == 12
    assert asked == []


def test_addresses_are_fetched_too(hub, tmp_path, monkeypatch):  # noqa: F811
    write_shards(tmp_path / "birds")
    hub[0].mkdir()
    # the same layout served as plain files: /datasets/x/y/resolve/REVISION/… is one such address
    (hub[0] / "x").mkdir()
    (tmp_path / "birds").rename(hub[0] / "x" / "y")
    row = shards_row(os.environ["HF_ENDPOINT"] + "/datasets/x/y/resolve/main")
    fetch({"kind": "dataset", **row})
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert len(list(open_dataset(row))) == 8


def test_one_failure_does_not_keep_the_others(hub, tmp_path):  # noqa: F811
    hub_shards(hub[0])
    rows = [
        {"kind": "dataset", **shards_row("lab/none", dataset="none")},
        {"kind": "dataset", **shards_row("lab/birds", dataset="birds")},
    ]
    with pytest.raises(DataError, match=r"1 of 2 things were not fetched\n  dataset 'none': hub, "):
        make_prefetch(rows, tmp_path / "fetched.parquet")
    assert not (tmp_path / "fetched.parquet").exists()
    assert any("0.tar" in path for path in hub[1])


def test_a_model_is_loaded_once_unless_its_source_knows_better(monkeypatch):
    import consilience.models.raw as source  # noqa: PLC0415

    called = []
    monkeypatch.setattr(source, "load", lambda row, device: called.append(("load", device)))
    fetch({"kind": "model", **model("raw", "pixels")})
    monkeypatch.setattr(source, "prefetch", lambda row: called.append("own"), raising=False)
    fetch({"kind": "model", **model("raw", "pixels")})
    assert called == [("load", "cpu"), "own"]
    monkeypatch.setattr(source, "prefetch", lambda row: (_ for _ in ()).throw(ModelError("no")))
    with pytest.raises(DataError, match="model 'm': no"):
        make_prefetch([{"kind": "model", **model("raw", "pixels")}], Path("nowhere"))


STUDY = """\
models: [pixels]
datasets: "modality == 'image'"
metrics: [cka_debiased]
consistency: {models: null, groups: []}
catalogs: {datasets: [datasets.tsv]}
"""


@pytest.mark.workflow
def test_the_rule_says_what_it_would_fetch_and_has_nothing_to_do_for_local_data(tmp_path):
    snakefile = ("--snakefile", str(ROOT / "Snakefile"))
    header = "dataset\tsource\tname\tmodality\tsplits\n"
    (tmp_path / "study.yaml").write_text(STUDY)
    remote = "birds\twebdataset\tlab/birds\timage\ttest\n"
    (tmp_path / "datasets.tsv").write_text(header + remote)
    text = snakemake(tmp_path, *snakefile, "-n", "all_prefetch")
    assert "Fetching, unless it is here already (1):\n  dataset birds: webdataset lab/birds" in text
    (tmp_path / "datasets.tsv").write_text(header + "d\tpackaged\tshapes\timage\t\n")
    assert "Nothing to fetch" in snakemake(tmp_path, *snakefile, "--cores", "1", "all_prefetch")
    assert "Nothing to be done" in snakemake(tmp_path, *snakefile, "-n", "all_prefetch")


def test_planning_imports_no_source():
    code = (
        "import sys, consilience.prefetch; print({'torch', 'huggingface_hub'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_what_trainings_start_from_is_fetched_once():
    def trained(number, weights):
        return model("trained", "transformers:bert", weights, model=f"r.standard.{number}")

    hub_one, hub_two = "hf-hub:lab/seed_0", "hf-hub:lab/seed_1"
    rows = [trained(0, hub_one), trained(1, hub_two), trained(2, hub_one), trained(3, "")]
    rows.append(trained(4, "weights/folder"))
    found = list_remote({row["model"]: row for row in rows}, {})
    assert [(row["model"], row["weights"]) for row in found] == [
        ("r.standard.0", hub_one),
        ("r.standard.1", hub_two),
    ]
