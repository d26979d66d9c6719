"""K15 in the plan: which features are read together, and by which command."""

import json

import yaml

from consilience.config import load_study
from consilience.config.origins import Origins, place_results
from consilience.config.plan import Plan


def plan_of(folder, monkeypatch, models):
    monkeypatch.chdir(folder)
    lines = ["model\tsource\tname\tmodality\torder"]
    lines += [f"{m}\timported\tf/{{model}}.npy\timage\tsamples" for m in models]
    lines += ["p\traw\tpixels\timage\t"]
    (folder / "models.tsv").write_text("\n".join(lines) + "\n")
    rows = "dataset\tsource\tname\tmodality\nd\tsynthetic\tblobs n=20 classes=2\timage\n"
    (folder / "datasets.tsv").write_text(rows)
    content = {
        "catalogs": {"models": ["models.tsv"], "datasets": ["datasets.tsv"]},
        "models": [*models, "p"], "datasets": ["d"], "metrics": ["cka_debiased"],
    }  # fmt: skip
    (folder / "s.yaml").write_text(yaml.safe_dump(content))
    origins = Origins.read(["s.yaml"], {})
    study = load_study(content, origins)
    return Plan(study, place_results(study.settings, origins), origins)


def test_imports_of_a_dataset_are_read_together(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, monkeypatch, ["a.1", "b"])
    assert plan.imported == {"d": ["a.1", "b"]} and plan.imported_ids == r"a\.1|b"
    assert plan.named_alike["features"] == ["features_imported"]
    found = json.loads((tmp_path / plan.import_plan).read_text())["d"]
    assert sorted(found["models"]) == ["a.1", "b"] and found["dataset"]["row"]["dataset"] == "d"
    assert len(set(found["names"].values())) == 2
    before = found["names"]["b"]
    other = plan_of(tmp_path, monkeypatch, ["a.1", "b", "c"])
    again = json.loads((tmp_path / other.import_plan).read_text())["d"]
    assert again["names"]["b"] == before  # by what decides it alone


def test_one_import_has_the_plain_job(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, monkeypatch, ["a"])
    assert plan.imported == {} and plan.named_alike["features"] == []
