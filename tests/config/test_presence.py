"""What a study needs and is not there: all at once, and only where something is to be made."""

import pytest

from consilience.config import load_study
from consilience.config.origins import Origins
from consilience.config.plan import Plan
from consilience.errors import ConfigError
from consilience.results import Results

MODELS = """\
model\tsource\tname\tmodality\tweights
a\ttimm\tresnet81\timage\t
b\ttimm\tresnet18\timage\tno/where.pth
c\timported\tfeatures/{dataset}.npy\timage\t
d\traw\tpixels\timage\t
"""
DATASETS = """\
dataset\tsource\tname\tmodality\tsplits
x\tfolder\tpictures\timage\t
y\tpackaged\tshapse\timage\t
z\twebdataset\tshards\timage\ttest
u\thuggingface\t./tables\timage\t
v\tpackaged\tshapes:48\timage\t
"""


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.tsv").write_text(MODELS)
    (tmp_path / "datasets.tsv").write_text(DATASETS)
    catalogs = {"models": ["models.tsv"], "datasets": ["datasets.tsv"]}
    chosen = {"models": list("abcd"), "datasets": list("xyzuv"), "metrics": ["cka_debiased"]}
    study = load_study({**chosen, "catalogs": catalogs})
    return lambda: Plan(study, Results("results"), Origins())


class Wildcards:
    def __init__(self, dataset, model):
        self.dataset, self.model = dataset, model


def test_all_that_lacks_is_told_at_once(plan):
    with pytest.raises(ConfigError) as raised:
        plan().presence.sampling("x")
    first, *lines = str(raised.value).split("\n  ")
    assert first == f"{len(lines)} things are not there"
    text = "\n".join(lines)
    for part in (
        "dataset 'x': pictures is not a folder",
        "dataset 'y': unknown packaged dataset 'shapse'; did you mean 'shapes'?",
        "dataset 'z': shards is neither a folder nor",
        "dataset 'u': ./tables is neither a folder nor",
        "model 'a': timm has no model 'resnet81'",
        "model 'b': no/where.pth: no such file",
        "model 'c': features/x.npy: no such file or folder of features",
        "model 'c': features/v.npy: no such file or folder of features",
    ):
        assert text.count(part) == 1, part
    assert len(lines) == 6 + 5


def test_a_job_whose_own_things_are_there_is_planned(plan):
    assert plan().presence.sampling("v")["name"] == "shapes:48"
    extraction, row = plan().extraction_of(Wildcards("v", "d"))
    assert extraction["row"]["name"] == "pixels" and row["row"]["name"] == "shapes:48"
    with pytest.raises(ConfigError, match="model 'b'"):
        plan().extraction_of(Wildcards("v", "b"))


def test_what_is_made_already_needs_nothing(plan, tmp_path):
    for path in ("samples/x.parquet", "features/x/a.safetensors", "features/x/c.safetensors"):
        (tmp_path / "results" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "results" / path).touch()
    assert plan().presence.sampling("x")["name"] == "pictures"
    for model in "ac":
        plan().extraction_of(Wildcards("x", model))
        with pytest.raises(ConfigError, match=f"model '{model}'"):
            plan().extraction_of(Wildcards("v", model))
