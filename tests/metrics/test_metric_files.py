"""Metrics in files of the user's own, outside the package."""

import numpy as np
import pytest

from consilience.config import load_study
from consilience.errors import ConfigError
from consilience.metrics import METRICS, get_metric, keep_metrics, load_metrics, metric_of

MINE = """\
from dataclasses import dataclass

import numpy as np

from consilience.metrics import Metric, metric


@metric("{name}", symmetric=True, bounds=(0.0, 1.0), self_value=1.0, is_metric=False,
        larger_is_more_similar=True, citation="me2026", invariant_to={{"permutation"}})
@dataclass(frozen=True)
class Mine(Metric):
    width: float = 1.0

    def prepare(self, x):
        return x.sum(axis=1)

    def compare(self, a, b):
        return float(np.exp(-np.abs(a - b).mean() / {width}))
"""


@pytest.fixture(autouse=True)
def forgotten():
    before = set(METRICS)
    yield
    keep_metrics([])
    assert set(METRICS) == before


@pytest.fixture
def mine(tmp_path):
    def write(name="mine", width="self.width", file="mine.py", text=MINE):
        (tmp_path / file).write_text(text.format(name=name, width=width), encoding="utf8")
        return str(tmp_path / file)

    return write


def value(name="mine", **parameters):
    x = np.arange(12.0).reshape(4, 3)
    return get_metric(name, **parameters)(x, x + 1)


def test_a_file_registers_its_metrics_once_per_content(mine):
    assert load_metrics(mine()) == load_metrics(mine()) == ("mine",)
    assert value() == pytest.approx(np.exp(-3), abs=1e-12)  # rows sum to 3 more
    assert value(width=3.0) == pytest.approx(np.exp(-1), abs=1e-12)
    load_metrics(mine(width="6"))
    assert value() == pytest.approx(np.exp(-0.5), abs=1e-12)
    load_metrics(mine(name="other"))
    assert "other" in METRICS and "mine" not in METRICS


def test_a_spec_names_its_file(mine):
    spec = {"metric": "mine", "parameters": {"width": 2.0}, "file": mine()}
    assert metric_of(spec).parameters == {"width": 2.0}
    assert metric_of({"metric": "cka", "parameters": {}}) == get_metric("cka")


BROKEN = [
    ("x = (\n", r"mine\.py line 1: '\(' was never closed; correct it"),
    ("import nowhere_at_all\n", r"mine\.py line 1: ModuleNotFoundError: No module named 'nowhere"),
    ("\n\nraise SystemExit(3)\n", r"mine\.py line 3: SystemExit: 3"),
    ("x = 1\n", r"mine\.py: it registers no metric; put @metric"),
    (MINE.format(name="cka", width=1), r"line 8: metric 'cka' is registered twice; give yours"),
    (
        MINE.format(name="mine", width=1).replace(" = 1.0", ""),
        "'mine' cannot be made without param",
    ),
    (MINE.format(name="mine", width=1).replace("(Metric)", ""), "'mine' is no subclass of Metric"),
    (MINE.format(name="mine", width=1).replace("citation", "cites"), r"TypeError: .*'cites'"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_what_is_wrong_with_a_file_is_one_sentence(text, message, tmp_path):
    (tmp_path / "mine.py").write_text(text, encoding="utf8")
    before = set(METRICS)
    with pytest.raises(ConfigError, match=message) as error:
        load_metrics(str(tmp_path / "mine.py"))
    assert "\n" not in str(error.value)
    assert set(METRICS) == before


def test_missing_files_and_other_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file"):
        load_metrics(str(tmp_path / "none.py"))
    (tmp_path / "weights.pt").write_bytes(b"raise SystemExit")
    with pytest.raises(ConfigError, match=r"it is no \.py file"):
        load_metrics(str(tmp_path / "weights.pt"))


@pytest.fixture(autouse=True)
def trusted(tmp_path, monkeypatch):
    monkeypatch.setenv("CONSILIENCE_TRUST", str(tmp_path))


def study_of(*files, metrics=("cka_biased",), catalogs=None):
    chosen = {"models": ["lite0", "lite1"], "datasets": ["digits"], "metrics": list(metrics)}
    return load_study({**chosen, "catalogs": {"metric_modules": list(files), **(catalogs or {})}})


def test_a_study_selects_metrics_of_files_by_name_and_by_variant(mine, tmp_path):
    (tmp_path / "m.yaml").write_text("wide: {metric: mine, width: 9}\n", encoding="utf8")
    names = ["config/metrics.yaml", str(tmp_path / "m.yaml")]
    study = study_of(mine(), metrics=["mine", "wide", "cka_biased"], catalogs={"metrics": names})
    assert study.metrics["mine"]["file"] == study.metrics["wide"]["file"] == mine()
    assert study.metrics["wide"]["parameters"] == {"width": 9}
    assert "file" not in study.metrics["cka_biased"]
    codes = study.metric_code
    assert codes["mine"] == codes["wide"] != codes["cka_biased"]


def test_the_content_of_a_file_is_the_code_of_its_metrics(mine, tmp_path):
    codes = study_of(mine(), metrics=["mine", "cka_biased"]).metric_code
    moved = study_of(mine(file="moved.py"), metrics=["mine", "cka_biased"]).metric_code
    assert moved == codes
    edited = study_of(mine(width="7"), metrics=["mine", "cka_biased"]).metric_code
    assert edited["mine"] != codes["mine"] and edited["cka_biased"] == codes["cka_biased"]


def test_a_study_knows_no_metric_of_another_study(mine):
    study_of(mine(), metrics=["mine"])
    with pytest.raises(ConfigError, match="'mine' is not in the catalogue"):
        study_of(metrics=["mine"])


def test_a_study_says_where_the_file_is_named(mine, tmp_path):
    with pytest.raises(ConfigError, match=r"catalogs\.metric_modules\[1\]: .*no such file"):
        study_of(mine(), str(tmp_path / "gone.py"))
    with pytest.raises(ConfigError, match="'mine' is registered twice; give yours another name"):
        study_of(mine(), mine(file="again.py"))
    with pytest.raises(
        ConfigError, match="a variant 'cka_rbf_median' of the metric 'cka'; give yours"
    ):
        study_of(mine(name="cka_rbf_median"))
    with pytest.raises(ConfigError, match=r"'a b' does not match|a b"):
        study_of(mine(name="a b"))
