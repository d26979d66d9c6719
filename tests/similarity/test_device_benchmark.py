"""benchmarks/device.py runs whole on a CPU, where it writes nothing, and refuses to make a page."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "device.py"


@pytest.fixture
def benchmark():
    spec = importlib.util.spec_from_file_location("device_benchmark", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_of_it_runs_on_a_cpu_and_nothing_is_written(benchmark, monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "OUT", tmp_path / "device.md")
    page = benchmark.main(["--device", "cpu", "--small"])
    assert not (tmp_path / "device.md").exists()
    assert "All within 1e-6." in page
    for name in benchmark.METRICS:
        assert f"| {name} | " in page
    for word in ("ViT-B/16", "135 M language model", "One probe", "A step of"):
        assert word in page
    assert "nan" not in page


@pytest.mark.parametrize("arguments", [["--device", "cpu"], ["--device", "cuda"]])
def test_without_a_gpu_there_is_no_page(benchmark, arguments, monkeypatch, capsys):
    monkeypatch.setattr(benchmark.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        benchmark.main(arguments)
    assert "--small" in capsys.readouterr().err
