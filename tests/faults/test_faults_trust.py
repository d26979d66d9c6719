"""docs/trust.md, line by line: what runs, what never does, and what only if the user says so (K7).

What would run leaves a marker, an empty file, and nothing else.
"""

import json
import pickle
import re
import time
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from clones import ROOT
from planned import dry_run

from consilience.bundle import open_bundle
from consilience.config import load_study
from consilience.config.catalogs import read_yaml
from consilience.config.once import load_once
from consilience.config.origins import Origins
from consilience.config.queries import select_rows
from consilience.config.shape import Problems
from consilience.errors import ConfigError, ConsilienceError, DataError
from consilience.features.foreign import read_foreign
from consilience.files import fill_in, locate
from consilience.metrics import keep_metrics
from consilience.models import load_model
from consilience.networks import check_options
from consilience.samples import groups

PAGE = (ROOT / "docs" / "trust.md").read_text(encoding="utf8")
LINES = set()
TWO = {"models": ["lite0", "pixels"], "datasets": ["digits"], "metrics": ["cka_debiased"]}


def line(*names):
    """Says which lines of the page a test holds."""
    LINES.update(names)
    return lambda test: test


@pytest.fixture(autouse=True)
def forgotten():
    yield
    keep_metrics([])


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "it_ran"


class Trap:
    """What leaves a marker when a pickle of it is read by Python's own reader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_every_line_of_the_page_has_a_test():
    rows = re.findall(r"^\| (.+?) \|", PAGE, re.MULTILINE)
    told = {row for row in rows if row != "what" and set(row) != {"-"}}
    assert told == LINES


def test_the_page_is_linked():
    for name in ("README.md", "config/README.md"):
        assert "docs/trust.md)" in (ROOT / name).read_text(encoding="utf8")


# Only if the user says so

METRIC = """
from dataclasses import dataclass
from pathlib import Path
from consilience.metrics import Metric, metric
Path({marker!r}).touch()

@metric("mine", symmetric=True, bounds=(0.0, 1.0), self_value=1.0, is_metric=False,
        larger_is_more_similar=True, citation="me2026", invariant_to={{"permutation"}})
@dataclass(frozen=True)
class Mine(Metric):
    def prepare(self, x):
        return x
    def compare(self, a, b):
        return 1.0
"""


def with_metric(tmp_path, marker):
    path = tmp_path / "mine.py"
    path.write_text(METRIC.format(marker=str(marker)), encoding="utf8")
    return path, {**TWO, "catalogs": {"metric_modules": [str(path)]}}


def load(content, **overrides):
    origins = Origins((("study.yaml", content),), overrides)
    return load_study(origins.config, origins)


@line("metric file")
def test_a_metric_file_runs_only_if_the_user_names_it(tmp_path, marker, monkeypatch):
    monkeypatch.delenv("CONSILIENCE_TRUST", raising=False)
    path, content = with_metric(tmp_path, marker)
    said = f"study.yaml: catalogs.metric_modules[0]: {path} is a program, which would run"
    for content_of, overrides in [
        (content, {}),
        (content, {"trust": []}),
        (content, {"trust": "other.py"}),
        (content, {"trust": ["/nowhere", "", 3]}),
        (content, {"trust": {"mine.py": True}}),
    ]:
        with pytest.raises(ConfigError) as error:
            load(content_of, **overrides)
        assert said in str(error.value) and f"`--config trust={path}`" in str(error.value)
    assert not marker.exists()
    for trust in (str(path), [str(tmp_path)]):
        marker.unlink(missing_ok=True)
        path.write_text(path.read_text() + "\n", encoding="utf8")  # a file runs once per content
        load(content, trust=trust)
        assert marker.exists()
    monkeypatch.setenv("CONSILIENCE_TRUST", f"/nowhere:{tmp_path}")
    load(content)
    monkeypatch.delenv("CONSILIENCE_TRUST")
    load(TWO, catalogs={"metric_modules": [str(path)]})  # named on the command line


@line("metric file")
def test_a_study_cannot_consent_for_its_reader(tmp_path, marker):
    path, content = with_metric(tmp_path, marker)
    with pytest.raises(ConfigError, match=r"study\.yaml: trust: a study cannot say this itself"):
        load({**content, "trust": [str(path)]})
    with pytest.raises(ConfigError, match=r"study\.yaml: study: a study cannot say this itself"):
        load({**content, "study": "other.yaml"})
    with pytest.raises(ConfigError, match="trust: a study cannot say this itself"):
        load({**content, "trust": [str(path)]}, trust=[str(path)])
    assert not marker.exists()


CODE = "model\tsource\tname\tmodality\tweights\ttrust_remote_code\n"


@line("model's own code")
@pytest.mark.parametrize(
    ("cells", "place"),
    [
        ("hub\tOWNER/REPO/entry\timage\t\tyes", "OWNER/REPO"),
        ("hub\t./folder/entry\timage\t\tyes", "./folder"),
        ("transformers\tOWNER/MODEL\ttext\t\tyes", "OWNER/MODEL"),
        ("transformers\tbert\ttext\tfolder/of/mine\tyes", "folder/of/mine"),
        ("transformers\tOWNER/MODEL\ttext\trandom:3\tyes", "OWNER/MODEL"),
    ],
)
def test_code_of_a_model_runs_only_if_the_user_names_it(cells, place, tmp_path, monkeypatch):
    monkeypatch.delenv("CONSILIENCE_TRUST", raising=False)
    path = tmp_path / "models.tsv"
    path.write_text(f"{CODE}theirs\t{cells}\nplain\traw\tpixels\timage\n", encoding="utf8")
    content = {**TWO, "models": ["theirs", "plain"], "datasets": ["digits", "movie_snippets"]}
    content |= {"catalogs": {"models": [str(path)]}}
    content["datasets"] = ["digits"] if "\timage\t" in cells else ["digits", "movie_snippets"]
    with pytest.raises(ConfigError) as error:
        load(content)
    text = f"model 'theirs': {place} brings code of its own, which would run on this machine"
    assert text in str(error.value) and f"`--config trust={place}`" in str(error.value)
    assert load(content, trust=[place]).models
    path.write_text(path.read_text().replace("\tyes", "\tno"), encoding="utf8")
    assert load(content).models


# Never


@line("study", "`--configfile` with `__use_yte__`")
@pytest.mark.workflow
def test_a_study_is_read_as_data(tmp_path, marker):
    """Through Snakemake itself, which runs such a file where it reads it."""
    study = "models: [lite0]\ndatasets: [digits]\nmetrics: [cka_debiased]\n"
    program = f"__use_yte__: true\n__definitions__:\n  - open({str(marker)!r}, 'w')\n"
    (tmp_path / "theirs.yaml").write_text(program + study, encoding="utf8")
    text = dry_run(tmp_path, "all_features", "--config", "study=theirs.yaml", ok=False)
    assert "theirs.yaml: `__use_yte__` makes Snakemake run a study as a program" in text
    assert not marker.exists() and "Traceback" not in text
    text = dry_run(tmp_path, "all_features", "--configfile", "theirs.yaml", ok=False)
    assert marker.exists(), "Snakemake reads studies as data now: change docs/trust.md"
    assert "makes Snakemake run a study as a program" in text


def read_text(tmp_path, text):
    path = tmp_path / "any.yaml"
    path.write_text(text, encoding="utf8")
    problems = Problems()
    return read_yaml(str(path), problems), problems.lines


@line("study", "catalogue")
@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:builtins.open ['MARK', 'w']",
        "a: !!python/object/new:os.system [touch MARK]",
        "a: !!python/name:os.system ''",
        "a: !!python/module:antigravity ''",
        "!!python/object/apply:builtins.open ['MARK', 'w']",
    ],
)
def test_tags_of_python_are_refused(text, tmp_path, marker):
    text = text.replace("MARK", str(marker))
    found, problems = read_text(tmp_path, text)
    assert found is None and len(problems) == 1
    (tmp_path / "study.yaml").write_text(text, encoding="utf8")
    with pytest.raises(ConfigError, match="not valid YAML"):
        Origins.read([tmp_path / "study.yaml"])
    assert not marker.exists()


LEVELS = "bcdefghij"
NINE = [
    (name, ", ".join([f"*{below}"] * 9)) for below, name in zip("a" + LEVELS, LEVELS, strict=False)
]
BOMBS = [
    "a: &a [x, x]\n" + "".join(f"{name}: &{name} [{nine}]\n" for name, nine in NINE),
    "a: &a {x: 1}\n" + "".join(f"{name}: &{name} {{<<: [{nine}]}}\n" for name, nine in NINE),
    "a: &a [*a]",
    "a: &a {b: *a}",
    "[" * 20_000,
    "- " * 2000 + "a",
    "a: 2020-13-45",
    "a: " + "9" * 5000,
    "a: !!timestamp x",
    "a: !!binary ä",
    "{[a]: 1}",
    "a: 1\na: 2",
]  # fmt: skip


@line("study", "catalogue")
@pytest.mark.parametrize("text", BOMBS)
def test_yaml_that_multiplies_or_has_no_bottom_is_one_sentence(text, tmp_path):
    begun = time.process_time()
    found, problems = read_text(tmp_path, text)
    assert found is None and len(problems) == 1 and "not valid YAML" in problems[0]
    assert time.process_time() - begun < 5
    assert load_once("a: &a {x: 1}\nb: {<<: *a, y: 2}") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}}


@line("query")
def test_a_query_selects_rows_and_nothing_else(marker):
    for query in (f"@pd.io.common.open({str(marker)!r}, 'w')", f"model.to_csv({str(marker)!r})"):
        with pytest.raises(ConfigError):
            select_rows(query, {"a": {"model": "a"}})
    assert not marker.exists()  # more of them in tests/config/test_queries.py


@line("recipe option")
@pytest.mark.parametrize(
    ("architecture", "option"),
    [
        ("timm:resnet18", "checkpoint_path"),
        ("timm:resnet18", "pretrained_cfg"),
        ("timm:resnet18", "cache_dir"),
        ("torchvision:resnet18", "weights"),
        ("transformers:bert", "trust_remote_code"),
        ("transformers:bert", "auto_map"),
        ("transformers:bert", "attn_implementation"),
        ("transformers:bert", "_from_auto"),
    ],
)
def test_options_that_open_or_run_something_are_refused(architecture, option):
    with pytest.raises(ConfigError, match=f"the option '{option}' is not free"):
        check_options(architecture, {option: "x"})
    check_options(architecture, {"num_layers": 2, "drop_rate": 0.1})


@line("recipe option")
def test_no_option_of_timm_itself_is_free():
    """A later version may have new ones."""
    import inspect  # noqa: PLC0415

    import timm  # noqa: PLC0415

    named = set(inspect.signature(timm.create_model).parameters) - {"model_name", "kwargs"}
    for option in named:
        with pytest.raises(ConfigError, match="is not free"):
            check_options("timm:resnet18", {option: "x"})


@line("recipe option")
def test_a_folder_that_training_starts_from_runs_nothing(tmp_path, marker):
    from consilience.networks import Task, build  # noqa: PLC0415

    theirs = folder_with_code(tmp_path, marker)
    task = Task("text", (16,), 2, 100, tokenizer=str(theirs))
    with pytest.raises((ConsilienceError, ValueError, OSError)):
        build("transformers:mine", {}, task)
    assert not marker.exists()


def folder_with_code(tmp_path, marker):
    folder = tmp_path / "theirs"
    folder.mkdir()
    code = f"open({str(marker)!r}, 'w').close()\nfrom transformers import GPT2Config as Mine\n"
    (folder / "mine.py").write_text(code)
    names = {name: f"mine.{name}" for name in ("AutoTokenizer", "AutoModel")}
    config = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine", **names}}
    (folder / "config.json").write_text(json.dumps(config))
    named = {"auto_map": {"AutoTokenizer": ["mine.Mine", None]}, "tokenizer_class": "Mine"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    return folder


@line("folder of a model")
@pytest.mark.parametrize("modality", ["text", "image"])
def test_code_beside_a_model_does_not_run(modality, tmp_path, marker):
    row = {"model": "m", "source": "transformers", "modality": modality}
    folder = folder_with_code(tmp_path, marker)
    for trust in ("", "no"):
        with pytest.raises(ConsilienceError):
            load_model({**row, "name": str(folder), "trust_remote_code": trust})
    (tmp_path / "theirs" / "hubconf.py").write_text(f"open({str(marker)!r}, 'w')\n")
    with pytest.raises(ConsilienceError, match="would run its own code"):
        load_model(
            {**row, "modality": "image", "source": "hub", "name": f"{tmp_path}/theirs/entry"}
        )
    assert not marker.exists()


@line("weights that are a pickle")
@pytest.mark.parametrize("suffix", ["pt", "pth", "bin", "ckpt", "pkl"])
def test_pickles_of_weights_run_nothing(suffix, tmp_path, marker):
    path = tmp_path / f"weights.{suffix}"
    torch.save({"conv1.weight": torch.zeros(3), "x": Trap(marker)}, path)
    row = {
        "model": "m",
        "source": "checkpoint",
        "modality": "image",
        "name": "torchvision:resnet18",
    }
    with pytest.raises(ConsilienceError):
        load_model({**row, "weights": str(path)})
    path.write_bytes(pickle.dumps(Trap(marker)))
    marker.unlink(missing_ok=True)
    with pytest.raises(ConsilienceError):
        load_model({**row, "weights": str(path)})
    assert not marker.exists()


@line("imported features")
@pytest.mark.parametrize("suffix", ["npy", "npz", "pt", "pkl", "safetensors", "h5", "parquet"])
def test_pickles_of_features_run_nothing(suffix, tmp_path, marker):
    path = tmp_path / f"features.{suffix}"
    trap = np.array([Trap(marker)] * 2, dtype=object)
    if suffix == "npy":
        np.save(path, trap, allow_pickle=True)
    elif suffix == "npz":
        np.savez(path, x=trap)
    elif suffix == "pt":
        torch.save({"x": Trap(marker)}, path)
    else:
        path.write_bytes(pickle.dumps(Trap(marker)))
    marker.unlink(missing_ok=True)

    with pytest.raises(ConsilienceError):
        read_foreign(path)
    assert not marker.exists()


@line("path with braces")
def test_paths_take_two_names_and_no_format():
    assert fill_in("x/{dataset}/{model}.npy", dataset="d", model="{m}") == "x/d/{m}.npy"
    assert fill_in("{{x}}/{model}", dataset="d", model="m") == "{x}/m"
    for pattern in (
        "{model.__class__}", "{model:>9999999999}", "{model!r}", "{0}", "{}", "{other}",
        "{model[0]}", "{", "}", "{model", "model}",
    ):  # fmt: skip
        with pytest.raises(ValueError, match="is none of"):
            fill_in(pattern, dataset="d", model="m")


@line("`package:NAME/…`")
def test_a_package_is_looked_up_and_not_imported(tmp_path, marker, monkeypatch):
    inner = tmp_path / "theirs" / "inner"
    inner.mkdir(parents=True)
    for folder in (tmp_path / "theirs", inner):
        (folder / "__init__.py").write_text(f"open({str(marker)!r}, 'w')\n")
        (folder / "x.txt").write_text("x")
    monkeypatch.syspath_prepend(tmp_path)
    assert locate("package:theirs/x.txt") == tmp_path / "theirs" / "x.txt"
    assert locate("package:theirs.inner/x.txt") == inner / "x.txt"
    for name in ("nowhere_at_all.x", ".theirs", "", "a b", "theirs."):
        with pytest.raises(DataError, match="is not installed"):
            locate(f"package:{name}/x.txt")
    assert not marker.exists()


@line("pattern of groups")
def test_a_pattern_of_groups_has_an_end(monkeypatch):
    monkeypatch.setattr(groups, "SECONDS", 0.3)
    ids = pd.DataFrame({"id": ["a" * 60 + "b"] * 3})
    rule = groups.parse_group({"dataset": "d", "group": "id=(a+)+$"})
    begun = time.perf_counter()
    with pytest.raises(ConfigError, match="3 ids were not matched in 0 s; repeat nothing"):
        groups.add_groups(ids, rule, None, frozenset())
    assert time.perf_counter() - begun < 5
    for pattern in ("(" * 1001, "(" * 900 + "a" + ")" * 900, "(a", "(a{99999999999999999999})"):
        with pytest.raises(ConfigError, match="column group"):
            groups.parse_group({"dataset": "d", "group": f"id={pattern}"})
    rule = groups.parse_group({"dataset": "d", "group": "id=(v[0-9]+)_"})
    table = pd.DataFrame({"id": ["v1_a", "v1_b", "v2_a"]})
    assert list(groups.add_groups(table, rule, None, frozenset())["group"]) == ["v1", "v1", "v2"]


@line("bundle")
def test_nothing_of_a_bundle_runs(tmp_path, marker):
    program = f"open({str(marker)!r}, 'w')\n"
    trap = pickle.dumps(Trap(tmp_path / "other"))
    (tmp_path / "other").unlink(missing_ok=True)
    for name in ("mine.py", "similarity/d/cka.py", "Snakefile", "similarity/../x.parquet"):
        path = tmp_path / "theirs.zip"
        manifest = {
            "format": "consilience bundle",
            "schema": 1,
            "study": {
                **{key: {} for key in ("models", "datasets", "metrics", "labels")},
                "settings": {"catalogs": {"metric_modules": ["mine.py"]}},
            },
            "files": {name: {"sha256": "0" * 64, "bytes": 3}},
        }
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("manifest.json", json.dumps(manifest))
            archive.writestr(name, program)
            archive.writestr("features/d/m.pt", trap)
        with pytest.raises(DataError):
            open_bundle(path)
    assert not marker.exists() and not (tmp_path / "other").exists()


@line("the project")
def test_the_projects_own_studies_need_no_consent():
    text = "".join(p.read_text(encoding="utf8") for p in (ROOT / "config").rglob("*.yaml"))
    rows = "".join(p.read_text(encoding="utf8") for p in (ROOT / "config").glob("*.tsv"))
    assert "metric_modules" not in text and "trust_remote_code" not in text + rows
    assert "__use_yte__" not in text
