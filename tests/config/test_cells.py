"""Hand-written tables: what a line says, and what stands in no line's way."""

import itertools

import pytest

from consilience.config.catalogs import read_rows, read_variants
from consilience.config.origins import Origins
from consilience.config.shape import Problems
from consilience.errors import ConfigError
from consilience.files import lines_of

HEADER = ["model", "source", "name", "modality", "weights", "pool", "input_size",
          "family", "training", "year"]  # fmt: skip
ROWS = [
    ["r18", "timm", "resnet18", "image", "", "", "224", "resnet", "supervised", "2015"],
    ["r50", "timm", "resnet50", "image", "", "", "224", "resnet", "contrastive", "2015"],
    ["vit", "timm", "vit_base", "image", "", "cls", "224", "transformer", "supervised", "2020"],
    ["dino", "timm", "vit_small", "image", "dino.pth", "cls", "224", "transformer", "contrastive",
     "2021"],
    ["raw", "raw", "pixels", "image", "", "flatten", "8", "none", "none", "2024"],
]  # fmt: skip


def read(path, header, rows, key="model"):
    """The rows of a catalogue by id, and the problems with it."""
    text = "\n".join("\t".join(cells) for cells in [header, *rows]) + "\n"
    return read_text(path, text, key)


def read_text(path, text, key="model"):
    (path / "table.tsv").write_bytes(text if isinstance(text, bytes) else text.encode())
    problems = Problems()
    return read_rows([str(path / "table.tsv")], key, problems), problems.lines


def test_a_cell_short_in_the_middle_is_found_wherever_it_is(tmp_path):
    """Every cell of every row taken out: the line is refused, and named with what it says."""
    for number, place in itertools.product(range(len(ROWS)), range(len(HEADER) - 1)):
        rows = [list(cells) for cells in ROWS]
        del rows[number][place]
        _, problems = read(tmp_path, HEADER, rows)
        told = [line for line in problems if f"line {number + 2}" in line]
        assert told, (number, HEADER[place])
        assert any("9 cells for 10 columns" in line for line in told)


def test_the_sentence_says_what_stands_where(tmp_path):
    rows = [*ROWS, ["new", "timm", "resnet34", "image", "", "", "224", "supervised", "2016"]]
    _, problems = read(tmp_path, HEADER, rows)
    (line,) = problems
    for part in ("table.tsv line 7", "9 cells for 10 columns", "under 'training'",
                 "write every cell, blank ones too"):  # fmt: skip
        assert part in line


def test_a_line_may_end_early_where_no_cell_can_be_meant_for_another_column(tmp_path):
    rows = [cells[:-1] if n == 2 else list(cells) for n, cells in enumerate(ROWS)]
    rows += [["p", "raw", "pixels", "image"], ["q", "raw", "pixels", "image", "", "flatten"]]
    rows += [["s", "timm", "resnet26", "image", "", "", "224", "resnet"]]
    found, problems = read(tmp_path, HEADER, rows)
    assert not problems
    assert found["vit"]["year"] == "" and found["vit"]["training"] == "supervised"
    assert found["s"]["family"] == "resnet" and found["s"]["training"] == ""
    assert found["q"]["pool"] == "flatten" and set(found["p"]) == set(HEADER)


def test_a_new_column_that_no_line_has_yet_changes_nothing(tmp_path):
    found, problems = read(tmp_path, [*HEADER, "licence"], ROWS)
    assert not problems
    assert [found[cells[0]]["year"] for cells in ROWS] == [cells[-1] for cells in ROWS]


def test_what_nothing_tells_apart_is_refused(tmp_path):
    """One line, two columns of free text, one cell."""
    header = ["model", "source", "name", "modality", "family", "training"]
    _, problems = read(tmp_path, header, [["a", "raw", "pixels", "image", "resnet"]])
    assert "may belong under 'training'" in problems[0]
    found, problems = read(tmp_path, header, [["a", "raw", "pixels", "image", "resnet", ""]])
    assert not problems and found["a"]["family"] == "resnet"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("model source name modality\na raw pixels image\n", ("line 1", "spaces", "one tab")),
        ("model  source  name  modality\na  raw  pixels  image\n", ("line 1", "spaces", "one tab")),
        ("model,source,name,modality\na,raw,pixels,image\n", ("line 1", "commas", "one tab")),
        ("model;source;name;modality\na;raw;pixels;image\n", ("line 1", ";", "one tab")),
        ("model source\tname\tmodality\na raw\tpixels\timage\n", ("line 1", "spaces")),
        ("model\tsource\tname\tmodality\na raw pixels image\n", ("line 2", "1 cells", "spaces")),
        ("model\tsource\tname\tmodality\tkind\tkind\na\traw\tpixels\timage\tx\ty\n",
         ("line 1", "'kind' is there twice")),
        ("model\tsource\tname\tmodality\t\tkind\na\traw\tpixels\timage\tx\ty\n",
         ("line 1", "column 5 of 6 has no name")),
        ("model\tsource\tname\tmodality\na\traw\tpixels\timage\tx\n", ("line 2", "5 cells for 4")),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_read_has_one_problem(text, parts, tmp_path):
    _, problems = read_text(tmp_path, text)
    assert len(problems) == 1
    assert all(part in problems[0] for part in parts), problems


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("column", ["", "\t", "\t\t"])
def test_marks_ends_and_empty_columns_of_a_spreadsheet_are_no_cells(mark, end, column, tmp_path):
    lines = [
        f"model\tsource\tname\tmodality\tkind{column}",
        "# a comment",
        f"a\traw\tpixels\timage\tfine{column}",
        "",
        f"b\traw\tpixels\timage\t{column}",
    ]
    found, problems = read_text(tmp_path, mark + end.join([*lines, ""]).encode())
    assert not problems
    assert [list(row) for row in found.values()] == [
        ["model", "source", "name", "modality", "kind"]
    ] * 2
    assert [row["kind"] for row in found.values()] == ["fine", ""]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1d", "\x85"])
def test_rare_separators_cut_no_line(mark, tmp_path):
    text = f"model\tsource\tname\tmodality\tkind\na\traw\tpixels\timage\tone{mark}two\n"
    found, problems = read_text(tmp_path, text)
    assert not problems and found["a"]["kind"] == f"one{mark}two"
    assert lines_of(f"\ufeffa{mark}b\r\nc\n") == [f"a{mark}b", "c"]


def test_our_own_catalogues_have_no_problem():
    for name, key in (("config/models.tsv", "model"), ("config/datasets.tsv", "dataset")):
        problems = Problems()
        assert len(read_rows([name], key, problems)) > 30
        assert not problems.lines


def test_a_metric_given_twice_is_refused(tmp_path):
    path = tmp_path / "metrics.yaml"
    path.write_text("one: {metric: cka}\ntwo: {metric: rv}\none: {metric: rsa}\n")
    problems = Problems()
    read_variants([str(path)], problems)
    assert len(problems.lines) == 1 and "'one' is there twice" in problems.lines[0]
    path.write_text("one: {metric: cka, kernel: rbf, kernel: linear}\n")
    problems = Problems()
    read_variants([str(path)], problems)
    assert "'kernel' is there twice" in problems.lines[0]


# What spreadsheets and editors leave


PLAIN = "model\tsource\tname\tmodality\tfamily\nr18\ttimm\tresnet18\timage\tcnn, deep\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("cnn, deep", '"cnn, deep"'),
        "\n".join("\t".join(f'"{c}"' for c in line.split("\t")) for line in PLAIN.splitlines()),
        PLAIN.replace("deep\n", "deep\t\t\n"),
        "\n" + PLAIN,
        "# of our own\n#\n" + PLAIN,
    ],
    ids=["a quoted cell", "all quoted", "empty cells beside", "blank above", "comments above"],
)
def test_what_spreadsheets_and_editors_leave(tmp_path, text):
    rows, problems = read_text(tmp_path, text)
    assert not problems
    assert rows == read_text(tmp_path, PLAIN)[0]


def test_quotes_inside_of_a_cell_stay(tmp_path):
    text = PLAIN.replace("cnn, deep", '"a ""deep"" one"') + 'b\ttimm\tresnet50\timage\t12" wide\n'
    rows, problems = read_text(tmp_path, text)
    assert not problems
    assert [row["family"] for row in rows.values()] == ['a "deep" one', '12" wide']


@pytest.mark.parametrize("within", ["\t", "\n"])
def test_quotes_that_a_cell_does_not_close_are_told(tmp_path, within):
    _, problems = read_text(tmp_path, PLAIN.replace("cnn, deep", f'"cnn{within}deep"'))
    assert "line 2: '\"cnn' begins with a quote that its cell does not close" in problems[0]


@pytest.mark.parametrize("header", ["Model", "#model", "# model"])
def test_a_column_nearly_called_right_is_told(tmp_path, header):
    _, (problem,) = read_text(tmp_path, PLAIN.replace("model", header, 1))
    assert f"line 1: the column {header!r} is to be called 'model'; rename it" in problem


def test_columns_of_a_file_of_quoted_commas_are_told(tmp_path):
    _, (problem,) = read_text(tmp_path, '"model","source","name"\n"a","timm","resnet18"\n')
    assert "columns are separated by commas" in problem


def test_a_key_that_a_study_gives_twice_is_refused(tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text("seed: 1\nfeatures: {batch_size: 3}\nfeatures: {dtype: float16}\n")
    with pytest.raises(
        ConfigError, match=r"study.yaml: not valid YAML .*'features' is there twice"
    ):
        Origins.read([study])
