"""What a study and its catalogues cannot mean is refused, with its place (K19, K20)."""

import math

import pytest
import yaml
from clones import ROOT

from consilience.cli import main
from consilience.config import load_study
from consilience.config.origins import Origins
from consilience.config.shape import read_schema
from consilience.errors import ConfigError
from consilience.samples.groups import parse_group, read_groups
from consilience.samples.views import parse_view, read_classes

TWO = {"models": ["lite0", "pixels"], "datasets": ["digits"], "metrics": ["cka_debiased"]}
HUGE = 10**400


def refusal(**changes):
    with pytest.raises(ConfigError) as error:
        load_study({**TWO, **changes}, "my.yaml")
    lines = str(error.value).splitlines()
    assert len(lines) == 2, lines
    return lines[1].strip()


def numbers(schema, place=()):
    """Yields (place, part) of all numbers of a schema."""
    kinds = schema.get("type")
    if {"integer", "number"} & set(kinds if isinstance(kinds, list) else [kinds]):
        yield place, schema
    for key, part in schema.get("properties", {}).items():
        yield from numbers(part, (*place, key))
    if "items" in schema:
        yield from numbers(schema["items"], (*place, 0))
    for option in schema.get("anyOf", []):
        yield from numbers(option, place)


SETTINGS = list(numbers(read_schema("study")))


def test_every_number_of_a_study_has_bounds():
    assert len(SETTINGS) > 50
    for place, part in SETTINGS:
        assert {"minimum", "exclusiveMinimum"} & set(part), place
        assert {"maximum", "exclusiveMaximum"} & set(part), place


def test_every_number_of_networks_and_training_has_bounds():
    recipe = read_schema("recipes")["$defs"]["recipe"]["properties"]
    for block in ("input", "objective_options", "training", "seeds"):
        for place, part in numbers(recipe[block]):
            assert {"minimum", "exclusiveMinimum"} & set(part), (block, place)
            assert {"maximum", "exclusiveMaximum"} & set(part), (block, place)


def test_numbers_without_end_are_refused_everywhere():
    for value in (math.nan, math.inf, -math.inf, 1e300, 10**30, HUGE, -HUGE):
        for place, _ in SETTINGS:
            changes = setting = {}
            *outer, last = [key for key in place if key != 0]
            for key in outer:
                setting[key] = setting = {}
            setting[last] = [value] if place[-1] == 0 else value
            if outer == ["factors"]:
                setting["columns"] = ["objective"]
            text = refusal(**changes)
            assert text.startswith(f"my.yaml: {'.'.join([*outer, last])}"), (place, value)
            assert len(text) < 300


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": {"device": "gpu"}}, "features.device: 'gpu' does not have the form"),
        ({"features": {"device": "cuda:x"}}, "features.device: 'cuda:x' does not"),
        ({"train": {"device": "tpu"}}, "train.device: 'tpu' does not"),
        ({"models": "model"}, "models: the query 'model' cannot be read: model is no condition"),
        ({"models": "'x' * 10"}, "models: the query"),
        ({"consistency": {"sets": {3: "model == 'a'"}}}, "the key 3 is no text"),
        ({"models": ["lite0\0"]}, "models.0: it holds the sign '\\x00'"),
        ({"plots": {"group": "\ud800"}}, "plots.group: it holds the sign '\\ud800'"),
        ({"plots": {"group": yaml.safe_load("2020-01-01")}}, "2020-01-01 is a date to YAML"),
        ({"plots": {"group": b"x"}}, "is a bytes to YAML"),
        ({"plots": {"figures": {"a"}}}, "is a set to YAML"),
        ({"catalogs": {"models": ["config"]}}, "config: no such catalogue"),
        ({"catalogs": {"metrics": ["/dev/zero"]}}, "/dev/zero: no such catalogue"),
    ],
)
def test_what_cannot_be_meant(changes, said):
    assert said in refusal(**changes)


BYTES = {
    "latin": "model\tsource\tname\tmodality\nfür\traw\tpixels\timage\n".encode("latin-1"),
    "utf-16": "model\tsource\tname\tmodality\na\traw\tpixels\timage\n".encode("utf-16"),
    "picture": b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe",
}


@pytest.mark.parametrize("kind", ["models", "datasets", "metrics", "recipes"])
@pytest.mark.parametrize("name", BYTES)
def test_catalogues_that_are_no_text(kind, name, tmp_path):
    path = tmp_path / "mine.any"
    path.write_bytes(BYTES[name])
    assert f"{path}: is no text in UTF-8" in refusal(catalogs={kind: [str(path)]})


@pytest.mark.parametrize("name", BYTES)
def test_studies_that_are_no_text(name, tmp_path, capsys):
    path = tmp_path / "study.yaml"
    path.write_bytes(BYTES[name])
    with pytest.raises(ConfigError, match=r"study\.yaml: is no text in UTF-8"):
        Origins.read([path])
    assert main(["verify", str(path)]) == 1
    assert "is no text in UTF-8" in capsys.readouterr().err


def test_a_mark_at_the_beginning_is_none_of_a_text(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(TWO), encoding="utf-8-sig")
    assert Origins.read([path]).config == TWO
    rows = "\ufeffmodel\tsource\tname\tmodality\na\traw\tpixels\timage\n"
    (tmp_path / "m.tsv").write_text(rows, encoding="utf8")
    found = load_study({**TWO, "models": ["a"], "catalogs": {"models": [str(tmp_path / "m.tsv")]}})
    assert list(found.models) == ["a"]
    (tmp_path / "m.tsv").write_text(rows + rows, encoding="utf8")  # as `cat a b` makes it
    catalogs = {"models": [str(tmp_path / "m.tsv")]}
    with pytest.raises(ConfigError, match=r"m\.tsv line 3 .*it holds the sign '\\ufeff'"):
        load_study({**TWO, "models": ["a"], "catalogs": catalogs}, "my.yaml")


@pytest.mark.parametrize("content", ["[1, 2]", "3", "text", "{a: 1}", "{a: [1]}", "a:", "- a"])
@pytest.mark.parametrize("kind", ["metrics", "recipes"])
def test_catalogues_of_another_shape(kind, content, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(content, encoding="utf8")
    with pytest.raises(ConfigError) as error:
        load_study({**TWO, "catalogs": {kind: [str(path)]}}, "my.yaml")
    assert str(path) in str(error.value) or "recipe 'a'" in str(error.value)


def test_a_catalogue_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "m.tsv"
    path.write_text("model\n", encoding="utf8")

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_text", refused)
    with pytest.raises(ConfigError) as error:
        load_study({**TWO, "catalogs": {"models": [str(path)]}}, "my.yaml")
    assert f"{path}: it cannot be read (Permission denied)" in str(error.value)


def test_a_text_is_bounded(tmp_path, monkeypatch):
    path = tmp_path / "m.tsv"
    path.write_text("model\n" * 1000, encoding="utf8")
    monkeypatch.setenv("CONSILIENCE_LIMITS", "text_bytes=100")
    with pytest.raises(ConfigError, match=r"m\.tsv: declares 6,000 bytes, and at most 100"):
        load_study({**TWO, "catalogs": {"models": [str(path)]}}, "my.yaml")


HEADERS = [
    ("model\tsource\tname\tmodality\tmodality\n", "the column 'modality' is there twice"),
    ("model\tsource\tname\t\tmodality\n", "column 4 of 5 has no name"),
]


@pytest.mark.parametrize(("header", "said"), HEADERS)
def test_headers_that_say_two_things(header, said, tmp_path):
    (tmp_path / "m.tsv").write_text(header + "a\traw\tpixels\timage\tx\n", encoding="utf8")
    assert said in refusal(catalogs={"models": [str(tmp_path / "m.tsv")]})


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x0c", "\x85", "\x1c"])
def test_rare_separators_cut_no_line_of_groups_and_classes(mark, tmp_path):
    path = tmp_path / "g.tsv"
    path.write_text(f"id\tgroup\na{mark}b\tone\nc\tone\n", encoding="utf-8-sig")
    rule = parse_group({"dataset": "d", "group": f"file={path}"})
    assert read_groups(rule, {f"a{mark}b", "c"}) == {f"a{mark}b": "one", "c": "one"}
    path.write_text(f"class\tto\na{mark}b\tone\n", encoding="utf-8-sig")
    assert read_classes(str(path), (f"a{mark}b",)) == {("", 0): "one"}


@pytest.mark.parametrize("name", BYTES)
def test_tables_that_rows_name_are_texts(name, tmp_path):
    path = tmp_path / "g.tsv"
    path.write_bytes(BYTES[name])
    rule = parse_group({"dataset": "d", "group": f"file={path}"})
    with pytest.raises(ConfigError, match="is no text in UTF-8"):
        read_groups(rule, {"a"})
    with pytest.raises(ConfigError, match="is no text in UTF-8"):
        read_classes(str(path), ("a",))


@pytest.mark.parametrize(
    "cell", ["n=99999999999", "k=" + "9" * 5000, "per_class=0", "seed=" + "9" * 5000, "n=١"]
)
def test_views_have_numbers_with_an_end(cell):
    with pytest.raises(ConfigError, match="does not have the form"):
        parse_view({"dataset": "d", "view": cell})


@pytest.mark.parametrize("label", ["9" * 5000, "²", "-1", "1.0", ""])
def test_labels_of_class_tables_are_numbers(label, tmp_path):
    (tmp_path / "c.tsv").write_text(f"label\tto\n{label}\tone\n", encoding="utf8")
    with pytest.raises(ConfigError, match="is not from 0 to 0"):
        read_classes(str(tmp_path / "c.tsv"), ("a",))


@pytest.mark.parametrize("cell", ["9" * 5000, "100000", "0", "1e3", "-1"])
def test_cells_of_models_are_bounded(cell, tmp_path):
    rows = f"model\tsource\tname\tmodality\tinput_size\na\traw\tpixels\timage\t{cell}\n"
    (tmp_path / "m.tsv").write_text(rows, encoding="utf8")
    text = refusal(models=["a"], catalogs={"models": [str(tmp_path / "m.tsv")]})
    assert "input_size" in text and len(text) < 600


@pytest.mark.parametrize("column", ["source", "name", "weights"])
@pytest.mark.parametrize("cell", ["a" * 256, "x/" * 3000, "é" * 200])
def test_paths_and_names_that_no_file_can_have(column, cell, tmp_path):
    row = {"model": "a", "source": "raw", "name": "pixels", "modality": "image", column: cell}
    (tmp_path / "m.tsv").write_text("\t".join(row) + "\n" + "\t".join(row.values()) + "\n", "utf8")
    text = refusal(models=["a"], catalogs={"models": [str(tmp_path / "m.tsv")]})
    assert "letters between slashes, at most 255" in text
    assert "between slashes" in refusal(catalogs={"models": [cell]})


def test_no_file_of_the_project_holds_the_rest_of_a_merge():
    """A line of seven signs, as a merge leaves it (K23)."""
    marks = tuple(sign * 7 for sign in "<>")
    for path in [*ROOT.glob("*.*"), *ROOT.glob("[a-z]*/**/*")]:
        if path.suffix in (".md", ".py", ".yaml", ".smk", ".tsv", ".toml", ".cff", ".css", ".js"):
            for line in path.read_text(encoding="utf8", errors="replace").splitlines():
                assert not line.startswith(marks) and line.strip() != "=" * 7, path
