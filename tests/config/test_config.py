"""Studies: one mistake, one message; what is right resolves to what it says."""
# ruff: noqa: E501 - one mistake, one line

import pytest
import yaml
from clones import ROOT, STUDIES

from consilience.config import load_study
from consilience.errors import ConfigError

DEFAULT = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf8"))
TWO = {
    "seed": 0,
    "models": ["lite0", "pixels"],
    "datasets": ["digits"],
    "metrics": ["cka_debiased"],
}


def problems(**changes):
    with pytest.raises(ConfigError) as error:
        load_study({**TWO, **changes}, where="my.yaml")
    return str(error.value).splitlines()


def catalogue(tmp_path, kind, text):
    path = tmp_path / f"mine.{'yaml' if kind == 'metrics' else 'tsv'}"
    path.write_text(text, encoding="utf8")
    return {"catalogs": {kind: [str(path)]}}, path


def test_default_study():
    study = load_study(DEFAULT)
    assert len(study.metrics) == 4
    assert study.models_on["movie_snippets"] == ["characters", "minilm"]
    assert "minilm" in study.models_on["openmoji"]
    assert "minilm" not in study.models_on["digits"]
    assert study.settings["probe"]["seeds"] == [0, 1, 2]
    assert study.metrics["cka_rbf_0.4"]["preprocessing"] == {
        "row_normalize": True,
        "center": False,
    }


def test_every_study_in_the_project_is_sound():
    assert STUDIES
    for path in STUDIES:
        load_study({**DEFAULT, **yaml.safe_load(path.read_text(encoding="utf8"))}, path.name)


def test_switches_on_the_command_line_are_texts():
    assert load_study({**TWO, "fresh": "true"}).settings["fresh"] is True
    assert "fresh: 'yes' is not of type 'boolean'" in problems(fresh="yes")[1]


def test_numbers_in_braces_on_the_command_line_arrive_as_texts():
    given = {"seed": "7", "features": {"batch_size": "64"}, "similarity": {"clip": "null"}}
    given |= {"probe": {"seeds": ["0", "1"], "penalties": ["1e-3", ".5"]}}
    found = load_study({**TWO, **given}).settings
    assert found["seed"] == 7 and found["features"]["batch_size"] == 64
    assert found["similarity"]["clip"] is None
    assert found["probe"]["seeds"] == [0, 1] and found["probe"]["penalties"] == [0.001, 0.5]
    assert "batch_size: '6.5' is not" in problems(features={"batch_size": "6.5"})[1]
    assert "batch_size: '64 ' is" not in "".join(problems(features={"batch_size": "x"}))


def test_whole_numbers_are_whole():
    """A seed 0.0 would draw other samples than the seed 0, in the same files."""
    settings = load_study({**TWO, "seed": 0.0, "probe": {"seeds": [1.0]}}).settings
    assert repr(settings["seed"]) == "0"
    assert repr(settings["probe"]["seeds"]) == "[1]"
    assert "seed: 0.5 is not of type 'integer'" in problems(seed=0.5)[1]


def test_query_selects_by_any_column():
    study = load_study(
        {
            **TWO,
            "models": "objective == 'untrained' and modality == 'image' and collection == 'demo'",
        }
    )
    assert list(study.models) == ["lite0_random", "squeezenet_random"]


def test_metadata_is_not_part_of_what_decides_features():
    row = load_study(TWO).extraction["lite0"]
    assert row["input_size"] == "64"
    assert "objective" not in row


def test_variant_overrides_the_study(tmp_path):
    text = "raw: {metric: cka, row_normalize: false, center: true}\n"
    extra, _ = catalogue(tmp_path, "metrics", text)
    study = load_study({**TWO, **extra, "metrics": ["raw"]})
    assert study.metrics["raw"]["preprocessing"] == {"row_normalize": False, "center": True}
    assert study.metrics["raw"]["parameters"] == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ["lite0", "pixel"]}, "models[1]: 'pixel' is not in the catalogue; did you mean 'pixels'?"),
        ({"datasets": ["digit"]}, "datasets[0]: 'digit' is not in the catalogue; did you mean 'digits'?"),
        ({"metrics": ["cka_debaised"]}, "metrics[0]: 'cka_debaised' is not in the catalogue; did you mean 'cka_debiased'?"),
        ({"metrcs": []}, "unknown key 'metrcs'; did you mean 'metrics'?"),
        ({"seed": "x"}, "my.yaml: seed: 'x' is not of type 'integer'"),
        ({"consistency": {"methd": 1}}, "consistency: unknown key 'methd'; did you mean 'methods'?"),
        ({"consistency": {"groups": ["objectiv"]}}, "no column 'objectiv' in the models; did you mean 'objective'?"),
        ({"consistency": {"clusters": "famly"}}, "consistency.clusters: no column 'famly' in the models; did you mean 'family'?"),
        ({"consistency": {"models": "modality == 'sound'"}}, "selects nothing; values there are: modality: image"),
        ({"plots": {"group": "colour"}}, "plots.group: no column 'colour'"),
        ({"plots": {"figures": ["model_mapp"]}}, "plots.figures: there is no figure 'model_mapp'; did you mean 'model_map'?"),
        ({"plots": {"figures": ["modl_*"]}}, "plots.figures: there is no figure 'modl_*'"),
        ({"sensitivity": {"metrics": ["rsa_spearman"]}}, "sensitivity.metrics: 'rsa_spearman' is not in the study"),
        ({"sensitivity": {"datasets": ["digit"]}}, "'digit' is not in the study; did you mean 'digits'?"),
        ({"sensitivity": {"k_share": [1.5]}}, "sensitivity.k_share.0: 1.5"),
        ({"probe": {"prompts": ["a photo"]}}, "probe.prompts.0: 'a photo' does not have the form"),
        ({"models": "objective == 'none'", "datasets": ["movie_snippets"], "metrics": ["x"]}, "'x' is not in the catalogue"),
        ({"models": "objectiv == 'ssl'"}, "cannot be read"),
        ({"models": "objective == 'ssl'"}, "selects nothing; values there are: objective: contrastive, "),
        ({"datasets": ["movie_snippets"]}, "'movie_snippets' holds text and no model of the study takes that"),
        ({"features": {"dtype": "float8"}}, "features.dtype: 'float8' is not possible"),
        ({"fresh": [1]}, "my.yaml: fresh: [1] is not of type 'boolean'"),
        ({"similarity": {"clip": float("nan")}}, "my.yaml: similarity.clip: nan is no number"),
        ({"probe": {"penalties": [1.0, float("inf")]}}, "my.yaml: probe.penalties.1: inf is no number"),
        ({"similarity": {3: 1}}, "my.yaml: similarity.3: the key 3 is no text; correct it or put it in quotes"),
        ({"models": 3}, "3 is neither a query nor a list of ids"),
        ({"catalogs": {"models": ["nowhere.tsv"]}}, "nowhere.tsv: no such catalogue"),
    ],
)  # fmt: skip
def test_one_mistake_one_message(changes, message):
    lines = problems(**changes)
    assert lines[0] == "the study has 1 problem"
    assert len(lines) == 2
    assert message in lines[1]


def test_keys_that_are_no_texts():
    with pytest.raises(ConfigError, match="the key True is no text"):
        load_study({**TWO, True: 1, "x": 2}, where="my.yaml")


def test_all_mistakes_at_once():
    lines = problems(models=["lite", "pixels"], datasets=["digit"], metrics=["cka", "rsa"])
    assert lines[0] == "the study has 4 problems"
    assert len(lines) == 5


def test_a_text_tower_must_be_a_text_model(tmp_path):
    text = "model\tsource\tname\tmodality\ttext_tower\na\traw\tpixels\timage\tletter\n"
    text += "letters\traw\tcharacters\ttext\t\n"
    extra, _ = catalogue(tmp_path, "models", text)
    lines = problems(**extra, models=["a"])
    assert len(lines) == 2
    assert "model 'a': text_tower: 'letter' is no text model of the catalogue" in lines[1]
    assert "did you mean 'letters'?" in lines[1]


HEADER = "model\tsource\tname\tmodality\tweights\tsha256\n"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a b\ttimm\tx\timage", "line 2 (a b): model: 'a b' is no id"),
        ("a\ttim\tx\timage", "model 'a': unknown source 'tim'; did you mean 'timm'?"),
        ("a\ttimm\tx\tvector", "model 'a': source 'timm' has networks that read pictures or texts"),
        ("a\ttimm\tx\tsound", "line 2 (a): modality: 'sound' is not possible"),
        ("a\ttimm\t\timage", "line 2 (a): name: '' should be non-empty"),
        ("a\ttimm\tx\timage\tfile.pth\t123", "line 2 (a): sha256: '123' does not have the form"),
        ("a\ttimm\tx\timage\t\t\tmore", "line 2: 7 cells for 6 columns"),
        ("a\ttimm\tx\timage\na\ttimm\ty\timage", "line 3 (a): the model 'a' is defined twice"),
    ],
)
def test_bad_rows_are_named_by_line(tmp_path, row, message):
    extra, path = catalogue(tmp_path, "models", HEADER + row + "\n")
    lines = problems(**extra, models=["a"])
    assert any(message in line for line in lines[1:]), lines
    assert str(path) in lines[1] or "model 'a'" in lines[1]


def test_bad_metric_parameters(tmp_path):
    text = "mine: {metric: cka, kernal: rbf}\nother: {metric: ckaa}\n"
    extra, _ = catalogue(tmp_path, "metrics", text)
    lines = problems(**extra, metrics=["mine", "other"])
    assert "(mine): metric 'cka' has no parameter 'kernal'; did you mean 'kernel'?" in lines[1]
    assert "(other): unknown metric 'ckaa'; did you mean 'cka'?" in lines[2]


def test_bad_yaml(tmp_path):
    extra, _ = catalogue(tmp_path, "metrics", "a: {metric: cka\nb: [")
    assert "not valid YAML" in problems(**extra)[1]


@pytest.mark.parametrize(
    "text",
    ["- cka\n", "3\n", "3: {metric: cka}\n", "a: {metric: cka, 3: 4}\n", "..: {metric: cka}\n"],
)
def test_metric_catalogues_that_are_none(tmp_path, text):
    extra, path = catalogue(tmp_path, "metrics", text)
    lines = problems(**extra)
    assert len(lines) == 2
    assert lines[1].strip().startswith(str(path))


@pytest.mark.parametrize("kind", ["models", "metrics"])
def test_catalogues_that_cannot_be_read(tmp_path, kind):
    extra, path = catalogue(tmp_path, kind, "")
    path.write_bytes("größe\n".encode("latin1"))
    assert f"{path}: is no text in UTF-8" in problems(**extra)[1]
    path.unlink()
    path.mkdir()
    assert f"{path}: no such catalogue" in problems(**extra)[1]


def test_a_mark_at_the_beginning_of_a_catalogue_is_no_content(tmp_path):
    extra, _ = catalogue(tmp_path, "models", "\ufeff" + HEADER + "mine\ttimm\tresnet18\timage\n")
    assert list(load_study({**TWO, **extra, "models": ["mine"]}).models) == ["mine"]


def test_ids_do_not_lead_out_of_their_folder(tmp_path):
    extra, _ = catalogue(tmp_path, "models", HEADER + "..\ttimm\tresnet18\timage\n")
    assert "(..): model: '..' is no id" in problems(**extra, models=[".."])[1]


def test_own_catalogue_beside_ours(tmp_path):
    _, path = catalogue(tmp_path, "models", HEADER + "mine\ttimm\tresnet18\timage\n")
    study = load_study(
        {
            **TWO,
            "catalogs": {"models": ["config/models.tsv", str(path)]},
            "models": ["mine", "lite0"],
        }
    )
    assert set(study.models) == {"mine", "lite0"}


DATASETS = "dataset\tsource\tname\tmodality\tsplits\tcap\trule\tlabels\tcaptions\trevision\n"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "d\twebdatset\tx\timage",
            "dataset 'd': unknown source 'webdatset'; did you mean 'webdataset'?",
        ),
        ("d\tfolder\tx\tvideo", "line 2 (d): modality: 'video' is not possible"),
        (
            "d\tfolder\tx\timage\ttrain;test",
            "line 2 (d): splits: 'train;test' does not have the form",
        ),
        ("d\tfolder\tx\timage\t\t0", "line 2 (d): cap: '0' does not have the form"),
        ("d\tfolder\tx\timage\t\t9\tpaper", "line 2 (d): rule: 'paper' is not possible"),
        ("d\tfolder\tx\timage\t\t\t\tmaybe", "line 2 (d): labels: 'maybe' is not possible"),
        (
            "d\thuggingface\tx\timage\t\t\t\t\ttwo",
            "line 2 (d): captions: 'two' does not have the form",
        ),
        (
            "d\thuggingface\tx\timage\t\t\t\t\t\tv 1",
            "line 2 (d): revision: 'v 1' does not have the form",
        ),
        (
            "d\tfolder\tx\timage\nd\tfolder\ty\timage",
            "line 3 (d): the dataset 'd' is defined twice",
        ),
        ("d\tfolder\t\timage", "line 2 (d): name: '' should be non-empty"),
    ],
)
def test_bad_dataset_rows_are_named_by_line(tmp_path, row, message):
    extra, _ = catalogue(tmp_path, "datasets", DATASETS + row + "\n")
    lines = problems(**extra, datasets=["d"])
    assert len(lines) == 2
    assert message in lines[1]


ALTERED = "dataset\tsource\tname\tmodality\tcap\tparent\tview\talteration\n"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "packaged\tdigits\timage\t500\t\t\tof=digit noise=5",
            "it is of 'digit', not in the catal",
        ),
        ("packaged\tdigits\timage\t400\t\t\tof=digits noise=5", "its column cap is '400' and that"),
        ("packaged\tdigits\timage\t500\t\t\tof=digits eda=1", "synonyms are of WordNet"),
        (
            "packaged\tdigits\timage\t500\t\t\tof=digits eda=1 operations=swap",
            "eda is no augmentation of modality image",
        ),
        ("\t\timage\t\tdigits\tk=3\tof=digits noise=5", "line 2 (d): alteration: "),
    ],
)
def test_altered_datasets_are_of_one_of_the_catalogue(tmp_path, row, message):
    good = "d\tpackaged\tdigits\timage\t500\t\t\tof=digits split=test noise=5\n"
    extra, path = catalogue(tmp_path, "datasets", ALTERED + good)
    extra["catalogs"] = {"datasets": ["config/datasets.tsv", str(path)]}
    study = load_study({**TWO, **extra, "datasets": ["d"]})
    assert study.sampling["d"]["alteration"] == "of=digits split=test noise=5"
    path.write_text(ALTERED + f"d\t{row}\n")
    lines = problems(**extra, datasets=["d"])
    assert len(lines) == 2
    assert message in lines[1]


CONSISTENCY = "collection == 'similarity_consistency'"


def test_the_datasets_of_the_paper_are_there():
    """23 with similarities, and ImageNet, of which four are views; the draw is by their rule."""
    study = load_study({**TWO, "datasets": CONSISTENCY})
    assert len(study.datasets) == 24
    views = {name for name, row in study.datasets.items() if row["parent"]}
    assert views == {"imagenet_10k", "living17", "entity30", "nonliving26"}
    ruled = [row for row in study.datasets.values() if row["rule"] == "similarity_consistency"]
    assert len(ruled) == 23
    domains = [row["domain"] for row in ruled]
    assert [domains.count(d) for d in sorted(set(domains))] == [10, 6, 4, 3]
    assert list(study.extracted) == sorted(set(study.datasets) - views)
    rest = load_study({**TWO, "datasets": f"{CONSISTENCY} and dataset != 'imagenet1k'"})
    assert "imagenet1k" in rest.extracted
    assert "imagenet1k" not in rest.datasets


def test_every_row_of_the_catalogues_is_sound():
    models = ["lite0", "minilm", "coordinates", "node_features"]
    study = load_study({**TWO, "models": models, "datasets": "modality != ''"})
    assert study.datasets["wit_1024"]["revision"] == "wit_1024"
    assert set(study.models_on["wit_1024"]) == {"lite0", "minilm"}
    assert study.models_on["radial_4"] == ["coordinates"]
    assert study.models_on["cora"] == ["node_features"]


def test_the_demo_selects_what_it_did():
    expected = "digits movie_snippets openmoji openmoji_color openmoji_line photo_crops"
    assert sorted(load_study(DEFAULT).datasets) == expected.split()
