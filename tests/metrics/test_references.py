"""Every metric is held to a value that it did not give itself, or says why there is none."""

import ast
from dataclasses import dataclass
from functools import cache

import pytest
from test_metrics import readme_example

from consilience.docs.independent import MARKER, TESTS, checked_against, read_independent
from consilience.errors import ConfigError
from consilience.metrics import METRICS, list_metrics, metric

DECLARED = read_independent()


def undeclared(names):
    """Those of the metrics for which no test declares an independent value, or why none is."""
    return sorted(set(names) - {found.metric for found in DECLARED})


def test_every_metric_has_an_independent_value_or_a_reason():
    missing = undeclared(list_metrics())
    assert not missing, [str(error_of(name)) for name in missing]


def error_of(name):
    with pytest.raises(ConfigError) as error:
        checked_against(name, DECLARED)
    return error.value


def test_a_metric_without_one_is_found(monkeypatch):
    known = {name: METRICS[name] for name in METRICS}
    monkeypatch.setattr(METRICS, "_entries", known)
    facts = vars(readme_example()[0].facts) | {"name": "lonely"}

    @metric(**facts)
    @dataclass(frozen=True)
    class Lonely(type(readme_example()[0])):
        """A metric that nobody has checked."""

    assert METRICS["lonely"] is Lonely
    assert undeclared(list_metrics()) == ["lonely"]
    with pytest.raises(AssertionError, match=r"lonely.* has no independent value: compare it"):
        test_every_metric_has_an_independent_value_or_a_reason()


@cache
def texts_of(file):
    """The texts in a test module's code, but for its marks."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = [m for m in node.decorator_list if MARKER not in ast.unparse(m)]
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {node.value for node in constants if isinstance(node.value, str)}


@pytest.mark.parametrize("found", DECLARED, ids=lambda found: f"{found.metric}-{found.test}")
def test_declarations_stand_where_the_metric_is_computed(found):
    assert found.metric in METRICS, f"{found.test} declares a metric that does not exist"
    assert found.metric in texts_of(found.test.partition("::")[0])


def write(folder, decorators):
    lines = [*decorators, "def test_it():", "    pass", ""]
    (folder / "test_new.py").write_text("\n".join(lines), encoding="utf8")
    return read_independent(folder)


def test_declarations_are_read(tmp_path):
    found = write(
        tmp_path,
        [
            '@pytest.mark.reference("one", "two", by="scipy")',
            '@pytest.mark.reference("one", by="its definition")',
            '@pytest.mark.parametrize("x", [1])',
            '@pytest.mark.reference("three", none="drawn at random, and no other code has it")',
        ],
    )
    assert [(d.metric, d.by) for d in found] == [
        ("one", "scipy"), ("two", "scipy"), ("one", "its definition"), ("three", ""),
    ]  # fmt: skip
    assert {d.test for d in found} == {"test_new.py::test_it"}
    assert checked_against("one", found) == "scipy; its definition"
    assert checked_against("three", found).startswith("nothing independent: drawn at random")


@pytest.mark.parametrize(
    "arguments", ['by="scipy"', '"one"', '"one", by=""', '"one", by="a", none="b"', 'NAME, by="a"']
)
def test_declarations_that_say_nothing_are_refused(tmp_path, arguments):
    with pytest.raises(ConfigError, match=r"test_new.py::test_it: .*the marker `reference`"):
        write(tmp_path, [f"@pytest.mark.reference({arguments})"])
