"""Queries: what they select is what pandas selects of texts; what they cannot say runs nothing."""

import random
import time

import pandas as pd
import pytest
import yaml
from clones import STUDIES

from consilience.config import load_study, queries
from consilience.config.queries import read_query, select_rows
from consilience.config.selection import frame
from consilience.errors import ConfigError

ROWS = {
    "a": {"model": "a", "objective": "ssl", "width": "4", "my column": "x", "class": "1"},
    "b": {"model": "b", "objective": "supervised", "width": "16", "my column": "", "class": "2"},
    "c": {"model": "c", "objective": "", "width": "", "my column": "x"},
    "d": {"model": "d", "objective": "ssl_new", "width": "wide", "my column": "it's", "class": "1"},
}


def chosen(query, rows=ROWS):
    return "".join(select_rows(query, rows)[0])


def refusal(query, columns=tuple(ROWS["a"])):
    with pytest.raises(ConfigError) as error:
        read_query(query, columns)
    return str(error.value)


def by_pandas(query, rows):
    return list(frame(rows).query(query).index)


PUBLISHED = {
    "dataset not in '*_learnt'": "not dataset.str.endswith('_learnt')",
    "recipe in 'vision_*'": "recipe.str.startswith('vision_')",
}
"""What studies said before pandas was asked no more."""


def test_every_study_of_the_project_selects_what_pandas_selects(monkeypatch):
    asked = []
    plain = queries.select_rows

    def both(query, rows):
        found = plain(query, rows)
        for now, before in PUBLISHED.items():
            query = query.replace(now, before)
        assert found[0] == by_pandas(query, rows), query
        asked.append(query)
        return found

    monkeypatch.setattr("consilience.config.selection.select_rows", both)
    for path in STUDIES:
        load_study(yaml.safe_load(path.read_text(encoding="utf8")), path.name)
    assert len(asked) > 15 and sum(".str." in query for query in asked) == 4


def test_queries_drawn_at_random_select_what_pandas_selects():
    draw = random.Random(17)
    words = ["", "ssl", "ssl_new", "supervised", "x", "16", "4"]
    columns = ["model", "objective", "width", "`my column`"]
    rows = {
        f"m{k}": {
            column.strip("`"): f"m{k}" if column == "model" else draw.choice(words)
            for column in columns
        }
        for k in range(30)
    }

    def comparison():
        column = draw.choice(columns)
        kind = draw.randrange(5)
        if kind == 0:
            return f"{column} {draw.choice(['in', 'not in'])} {draw.sample(words, 3)!r}"
        if kind == 1:
            return f"{draw.choice(words)!r} {draw.choice(['<', '<='])} {column} <= 'ssl_new'"
        if kind == 2:
            return f"{column} {draw.choice(['==', '!='])} {draw.choice(columns)}"
        return f"{column} {draw.choice(['==', '!=', '<', '>', '>='])} {draw.choice(words)!r}"

    def condition(depth):
        kind = draw.randrange(4) if depth else 0
        if kind == 0:
            return comparison()
        if kind == 1:
            return f"not ({condition(depth - 1)})"
        word = ("and", "or")[kind - 2]
        return f"({condition(depth - 1)}) {word} {condition(depth - 1)}"

    sizes = set()
    for _ in range(150):
        query = condition(3)
        found = select_rows(query, rows)[0]
        assert found == by_pandas(query, rows), query
        sizes.add(len(found))
    assert len(sizes) > 10  # not all of them everything or nothing


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("width == 4", "a"),
        ("width == 4.0", "a"),
        ("width != 4", "bcd"),
        ("width in [16, 'wide']", "bd"),
        ("width not in [4]", "bcd"),
        ("width != 'wide' and width > 3", "ab"),
        ("width != 'wide' and not width > 3", "c"),
        ("model < 'd' and 3 < width <= 16", "ab"),
        ("model < 'd' and -1 < width", "ab"),
        ("`my column` == 'x'", "ac"),
        ('`my column` == "it\'s"', "d"),
        ("`class` == '1'", "ad"),
        ("`class` == ''", "c"),
        ("objective in 'ssl*'", "ad"),
        ("objective in '*s*l*'", "ad"),
        ("objective in '*vis*'", "b"),
        ("objective in '*'", "abcd"),
        ("objective not in '*_new' and objective in '*'", "abc"),
        ("objective in 'ssl*ssl'", ""),
        ("model in ('a', 'b',)", "ab"),
        ("model == 'a' or model == 'b' and width == 0", "a"),
        ("model == 'a'\n  or model == 'b'", "ab"),
    ],
)
def test_what_comparisons_mean(query, names):
    assert chosen(query) == names


def test_a_cell_that_is_no_number_is_told():
    with pytest.raises(ConfigError, match="a cell is 'wide', which is neither smaller nor larger"):
        chosen("width > 3")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("objectiv == 'ssl'", "there is no column 'objectiv'; did you mean 'objective'?"),
        ("`objectiv` == 'ssl'", "there is no column 'objectiv'; did you mean 'objective'?"),
        ("model", "model is no condition; compare it, as in `model == 'x'`"),
        ("'model'", "'model' is no condition"),
        ("model == 'a' and width", "width is no condition"),
        ("model.str.startswith('a_')", "is a call; write `model in 'a_*'`"),
        ("`my column`.str.contains('a_')", "` in '*a_*'`"),
        ("model.isin(['a'])", "is a call; write `model in [...]`"),
        ("model.isna()", "is a call; write `model == ''`"),
        ("(model == 'a') & (width == 4)", "has & or |; write `and` or `or`"),
        ("~(model == 'a')", "has ~; write `not`"),
        ("model = 'a'", "write == for what is the same"),
        ("model == ['a']", "is a list; write `in`"),
        ("'a' in model", "write `model in '*a*'`"),
        ("model in 'a'", "the pattern 'a' has no `*`"),
        ("model in ['a' 'b']", "two texts stand side by side"),
        ("model == 'a' # and width == 4", "it has a comment"),
        ("model == True", "True is neither a text nor a number"),
        ("model == None", "None is neither a text nor a number"),
        ("model == 'a", "it has no second '"),
        ("model == f'{model}'", "a letter stands before the quotes"),
        ("model == b'a'", "a letter stands before the quotes"),
        ("model is 'a'", "a query has no `is`"),
        ("'a' == 'a'", "is compared with no column"),
        ("class == '1'", "a column that is a word of Python"),
        ("model == 1e999", "the number inf is too large"),
        ("model == 2 + 2", "`2 + 2` cannot stand here"),
        ("model == 10**10**10", "cannot stand here"),
        ("model == 'a' * 10**9", "cannot stand here"),
        ("model['a'] == 'a'", "cannot stand here"),
        ("model.size == 4", "`model.size` cannot stand here"),
        ("[m for m in model] == 'a'", "cannot stand here"),
        ("(lambda: 1)() == 1", "cannot stand here"),
        ("index == 'a'", "there is no column 'index'"),
        ("", "invalid syntax"),
    ],
)  # fmt: skip
def test_what_is_no_query_is_refused_in_one_sentence(query, message):
    text = refusal(query)
    assert message in text and "\n" not in text


MARK = "made_by_a_query"


@pytest.mark.parametrize(
    "query",
    [
        "@pd.io.common.os.system('touch MARK')",
        "__import__('os').system('touch MARK') == 0",
        "model.to_csv('MARK') == model",
        "model.to_csv('MARK') or model == 'a'",
        "model == model.map(print)",
        "model.__class__.__mro__ == 'a'",
        "open('MARK', 'w') in [model]",
        "model in [open('MARK', 'w')]",
        "(x := open('MARK', 'w')) == model",
        "model == (yield)",
        "`model`.to_pickle('MARK') == 'a'",
        "model == `open('MARK', 'w')`",
    ],
)
def test_nothing_of_a_query_runs(query, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refusal(query.replace("MARK", MARK))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "query",
    [
        "model == 'a' or " * 700 + "model == 'a'",
        "not " * 2400 + "model == 'a'",
        "(" * 190 + "model == 'a'" + ")" * 190,
        "-" * 9900 + "1 == model",
        "model" + ".a" * 4900,
        "model" + "[0]" * 3300,
        "model == " + "9" * 9900,
        "model in 'a" + "*a" * 4900 + "*b'",
        "[" * 9000,
        "'" * 9001,
        "`" * 9001,
        "model == '\udc80'",
        "model == '\0'",
    ],
)
def test_queries_are_bounded(query):
    rows = {"r": {"model": "a" * 20_000}}
    begun = time.process_time()
    try:
        select_rows(query, rows)
    except ConfigError as error:
        assert len(str(error)) < 300
    assert time.process_time() - begun < 2


def test_a_table_need_not_be_text_for_pandas_to_agree():
    """The comparison with pandas above is one: it would see a wrong order of texts."""
    assert by_pandas("width > '2'", ROWS) == list("ad") == list(chosen("width > '2'"))
    assert isinstance(frame(ROWS), pd.DataFrame)
