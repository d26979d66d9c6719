"""The command `consilience check-metric`."""

import pytest

from consilience.checking import CHECKS
from consilience.cli import main
from consilience.metrics import METRICS, keep_metrics

SOUND = """\
from dataclasses import dataclass

import numpy as np

from consilience.metrics import Metric, MetricError, metric, rounding


@metric("{name}", symmetric=True, bounds=(-1.0, 1.0), self_value={self_value}, is_metric=False,
        larger_is_more_similar=True, citation="me2026",
        invariant_to=["permutation", "orthogonal", "isotropic_scaling"])
@dataclass(frozen=True)
class Norms(Metric):
    power: float = 1.0

    def prepare(self, x):
        norms = np.linalg.norm(x, axis=1)
        if np.ptp(norms) <= rounding(x) * norms.max():
            {constant}
        norms = (norms / norms.max()) ** self.power
        return (norms - norms.mean()) / np.linalg.norm(norms - norms.mean())

    def compare(self, a, b):
        return float(a @ b)
"""
REFUSE = 'raise MetricError("all samples have the same norm")'


@pytest.fixture(autouse=True)
def forgotten():
    before = set(METRICS)
    yield
    keep_metrics([])
    assert set(METRICS) == before


def check(capsys, tmp_path, *arguments, text=None, **changed):
    path = tmp_path / "mine.py"
    given = {"name": "norms", "self_value": 1.0, "constant": REFUSE} | changed
    path.write_text(text or SOUND.format(**given), encoding="utf8")
    status = main(["check-metric", str(path), *arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_a_sound_metric(capsys, tmp_path):
    status, out, _ = check(capsys, tmp_path)
    assert status == 0
    assert "mine.py: norms (power=1.0)" in out and "no check failed" in out
    assert [line.split()[:2] for line in out.splitlines()[1:-1]] == [
        ["held", f"{name}:"] for name in CHECKS
    ]


def test_a_wrong_fact_is_told_and_fails(capsys, tmp_path):
    status, out, _ = check(capsys, tmp_path, "norms", self_value=0.5)
    assert status == 1
    assert "FAILED    symmetry_bounds_and_self_value: " in out
    assert "n=40, d=200: a self pair has the value" in out
    assert "2 checks failed" in out  # that one, and shapes


def test_checks_that_are_meant_to_fail(capsys, tmp_path):
    """A metric that gives constant features a value says so."""
    constant = "return np.zeros(len(x))"
    meant = ["constant_features_are_refused", "what_varies_by_rounding_only_is_constant"]
    assert check(capsys, tmp_path, constant=constant)[0] == 1
    status, out, _ = check(capsys, tmp_path, "--except", *meant, constant=constant)
    assert status == 0
    assert out.count("excepted ") == 2 and "features of 1.0 only have the value 0.0" in out


def test_parameters_are_set(capsys, tmp_path):
    assert "norms (power=2)" in check(capsys, tmp_path, "--set", "power=2")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["other"], "mine.py: it registers no metric 'other'; known: norms"),
        (["--set", "powr=2"], "metric 'norms' has no parameter 'powr'; did you mean 'power'?"),
        (["--set", "power"], "--set 'power' is not NAME=VALUE"),
        (["--except", "scales"], "there is no check 'scales'; did you mean 'scale'?"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys, tmp_path):
    status, out, err = check(capsys, tmp_path, *arguments)
    assert (status, out) == (1, "")
    assert message in err and err.count("\n") == 1


def test_a_broken_file_is_one_line(capsys, tmp_path):
    status, _, err = check(capsys, tmp_path, text="def f(:\n")
    assert status == 1 and "mine.py line 1: invalid syntax; correct it" in err
