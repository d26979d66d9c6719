"""The command `consilience layers`."""

import numpy as np
import pandas as pd
import pytest

import consilience as cs
from consilience.cli import main
from consilience.features import write_features


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6)).astype("float32")
    for name, depth in (("deep", 4), ("flat", 2)):
        layers = {f"block.{k}": (x + 0.5 * k * rng.normal(size=x.shape)) for k in range(depth)}
        header = {"model": {"model": name}, "dataset": "digits", "samples_hash": "s" * 64}
        stored = {layer: h.astype("float32") for layer, h in layers.items()}
        write_features(
            tmp_path / f"{name}.safetensors", stored, header, [f"s{k}" for k in range(40)]
        )
    return tmp_path / "deep.safetensors", tmp_path / "flat.safetensors"


def run(capsys, *arguments):
    status = main(["layers", *map(str, arguments)])
    return status, capsys.readouterr()


def test_the_most_similar_layers_are_told_and_all_are_written(files, capsys, tmp_path):
    status, shown = run(capsys, *files, "--out", tmp_path / "all.csv")
    assert status == 0
    table = cs.layers(*files)
    lines = shown.out.splitlines()
    assert "rows divided by their norms" in lines[0] and "40 samples" in lines[0]
    assert " ".join(lines[1].split()) == "layer of deep most similar of flat value calibrated"
    for line, layer in zip(lines[2:], table.attrs["layers"]["deep"], strict=True):
        own = table[table["layer_x"] == layer]
        best = own.loc[own["value"].idxmax()]
        value = [f"{best['value']:.3f}", f"{best['calibrated']:.3f}"]
        assert line.split() == [layer, best["layer_y"], *value]
    written = pd.read_csv(tmp_path / "all.csv")
    assert written["value"].tolist() == pytest.approx(table["value"].tolist(), rel=1e-15)


def test_a_model_with_itself_leaves_out_what_is_known(files, capsys):
    status, shown = run(capsys, files[0], files[0], "--metric", "procrustes")
    assert status == 0 and "smaller is more similar" in shown.out
    rows = [line.split() for line in shown.out.splitlines()[2:]]
    assert len(rows) == 4 and all(row[0] != row[1] for row in rows)


def test_the_figure_is_written(files, capsys, tmp_path):
    assert run(capsys, *files, "--out", tmp_path / "layers.png")[0] == 0
    assert (tmp_path / "layers.png").read_bytes()[:4] == b"\x89PNG"


def test_what_models_give_no_features_are_run(capsys, tmp_path):
    rng = np.random.default_rng(0)
    from_pil = pytest.importorskip("PIL.Image").fromarray
    for k in range(6):
        from_pil(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(tmp_path / f"{k}.png")
    status, shown = run(capsys, "pixels", "pixels", tmp_path, "--metric", "cka")
    assert status == 0 and "6 samples" in shown.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["deep", "flat"], "give what both models are to see as `data`"),
        (
            ["lite00", "squeezenet", "digits"],
            "no model 'lite00' in config/models.tsv; did you mean",
        ),
        (["pixels", "pixels", "digts"], "did you mean 'digits'"),
        (["{0}", "{1}", "--metric", "ckaa"], "unknown metric 'ckaa'; did you mean 'cka'"),
        (["{0}", "{1}", "--out", "layers.jpg"], "a figure ends in .png, .svg, .pdf"),
    ],
)
def test_mistakes_are_one_line(files, capsys, arguments, message):
    status, shown = run(capsys, *(one.format(*files) for one in arguments))
    assert status == 1 and message in shown.err and len(shown.err.splitlines()) == 1


def test_help_ends_with_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["layers", "--help"])
    assert (
        capsys.readouterr().out.rstrip().splitlines()[-2].startswith("  consilience layers lite0")
    )
