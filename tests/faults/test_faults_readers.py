"""K19 and K21: damaged and odd files are one sentence, wherever they are read."""

import datetime
import json
import os
import pickle
import struct
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file

from consilience.datasets import open_dataset
from consilience.errors import ConsilienceError
from consilience.explorer import make_explorer
from consilience.features import content_hash
from consilience.features.foreign import read_foreign
from consilience.features.reading import read_header
from consilience.files import fill_in, locate
from consilience.models import _gguf, load_model


@contextmanager
def refused(match):
    with pytest.raises(ConsilienceError, match=match) as caught:
        yield caught
    assert "\n" not in str(caught.value)
    assert "In PyTorch 2.6" not in str(caught.value) and "allowlist" not in str(caught.value)


# Features

HEADER = {
    "layers": ["l"], "outputs": [], "model": {"model": "m"}, "dataset": "d", "samples_hash": "0",
    "n": 3, "dtype": "float32", "shapes": {"l": [3, 2]},
    "hashes": {"l": content_hash(np.ones((3, 2), np.float32))},
}  # fmt: skip


def write_header(path, text):
    save_file({"l": np.ones((3, 2), np.float32)}, path, {"consilience": text})


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "its header is no JSON"),
        ("[" * 5000, "nests JSON deeper"),
        ("[1]", "its header is no mapping"),
        ("3", "its header is no mapping"),
        (json.dumps(HEADER | {"layers": "l"}), "no layers of the type list"),
        (json.dumps(HEADER | {"layers": []}), "no list of layers"),
        (json.dumps(HEADER | {"layers": ["k"]}), "'k', of which the file has no tensor"),
        (json.dumps(HEADER | {"model": "m"}), "no model of the type dict"),
        (json.dumps(HEADER | {"model": {}}), "no name of the model"),
        (json.dumps(HEADER | {"samples_hash": None}), "no samples_hash of the type str"),
        (
            json.dumps(HEADER | {"hashes": {}}),
            "'l', of which the file has no tensor",
        ),
    ],
)
def test_headers_of_features(tmp_path, text, match):
    path = tmp_path / "m.safetensors"
    write_header(path, text)
    with refused(match):
        read_header(path)
    with refused(match):
        read_foreign(path)
    write_header(path, json.dumps(HEADER))
    assert read_header(path) == HEADER and read_foreign(path).pieces[0].rows == 3


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (torch.eye(3).to_sparse(), "a sparse tensor"),
        (torch.eye(3).to_sparse_csr(), "a sparse tensor"),
        (torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8), "a quantised tensor"),
        (torch.empty(3, 2, device="meta"), "a tensor without values"),
    ],
    ids=["coo", "csr", "quantised", "meta"],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_no_plain_ones(tmp_path, x, match):
    torch.save({"a": x}, tmp_path / "x.pt")
    with refused(f"'a' is {match}"):
        read_foreign(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "pattern",
    ["{dataset:>999999999999}", "{dataset!r}", "{model[0]}", "{}", "{0}", "{x}", "a}", "{"],
)
def test_paths_have_no_formats(pattern):
    with pytest.raises(ValueError, match=r"is none of \{dataset\}, \{model\}"):
        fill_in(f"features/{pattern}.npy", dataset="d", model="m")
    assert fill_in("a/{dataset}/{model}.{{x}}.npy", dataset="d", model="m") == "a/d/m.{x}.npy"


@pytest.mark.parametrize("uri", ["package:no_such.part/x", "package:.x/y", "package:json.no/x"])
def test_packages_that_are_not_there(uri):
    with refused("is not installed|no such file or folder"):
        locate(uri)


def test_a_package_is_found_and_not_run(tmp_path, monkeypatch):
    (tmp_path / "marked" / "part").mkdir(parents=True)
    (tmp_path / "marked" / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (tmp_path / "marked" / "part" / "data").write_text("x")
    monkeypatch.syspath_prepend(tmp_path)
    assert locate("package:marked.part/data").read_text() == "x"
    assert not (tmp_path / "ran").exists()


# GGUF


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(settings=(), tensors=b"", counts=None):
    made = b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in settings)
    tensors_and_settings = counts or (0, len(settings))
    return b"GGUF" + struct.pack("<IQQ", 3, *tensors_and_settings) + made + tensors


def number(value):
    return struct.pack("<I", value)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (gguf(counts=(0, 2**63)), "declares 9,223,372,036,854,775,808 settings"),
        (gguf([("a", 8, struct.pack("<Q", 2**63))]), "declares 9,.* bytes of a text"),
        (gguf([("a", 9, struct.pack("<IQ", 8, 2**63))]), "declares 9,.* entries of a list"),
        (gguf([("a", 9, struct.pack("<IQ", 9, 1) * 5000)]), "lists in one another"),
        (gguf([("a", 77, b"")]), "a setting is of the type 77"),
        (gguf([("general.alignment", 4, number(0)), ("z", 4, number(1))]), "alignment is '0'"),
        (gguf([("general.alignment", 8, text("x"))]), "alignment is 'x'"),
        (gguf([("a", 4, number(1)), ("a", 4, number(2))]), "'a' is there twice"),
        (gguf([("a", 4, number(1))], text("t") + number(2**32 - 1), (1, 1)), "has 4294967295 axes"),
        (gguf()[:20], "cannot be read"),
    ],
)
def test_damaged_gguf(tmp_path, content, match):
    (tmp_path / "x.gguf").write_bytes(content)
    with refused(match):
        _gguf.load({"model": "m", "name": "x"}, tmp_path / "x.gguf")


LLAMA = [
    ("general.architecture", 8, text("llama")),
    ("tokenizer.ggml.model", 8, text("gpt2")),
    ("tokenizer.ggml.pre", 8, text("smollm")),
]


def test_gguf_without_a_vocabulary(tmp_path):
    (tmp_path / "x.gguf").write_bytes(gguf(LLAMA))
    with refused("lacks the setting tokenizer.ggml.tokens"):
        _gguf.load({"model": "m", "name": "x"}, tmp_path / "x.gguf")
    wrong = [*LLAMA, ("tokenizer.ggml.tokens", 9, struct.pack("<IQI", 4, 1, 7))]
    (tmp_path / "x.gguf").write_bytes(gguf(wrong))
    with refused("has another kind of value as tokenizer.ggml.tokens"):
        _gguf.load({"model": "m", "name": "x"}, tmp_path / "x.gguf")


# Stimuli


def row_of(folder, table, metadata=None, **cells):
    folder.mkdir(exist_ok=True)
    pq.write_table(table.replace_schema_metadata(metadata), folder / "train.parquet")
    row = {"dataset": "d", "source": "huggingface", "name": str(folder), "modality": "text"}
    return row | cells


def named(names):
    features = {"label": {"names": names}}
    return {"huggingface": json.dumps({"info": {"features": features}})}


@pytest.mark.parametrize(
    ("labels", "metadata", "match"),
    [
        (["a", "z"], named(["a", "b"]), "its label 'z' is none of the classes"),
        ([0, 1], named({"a": 0}), "name the classes of 'label' as .* no list of names"),
        ([0, 1], named("ab"), "no list of names"),
        ([0, 1], named([0, 1]), "no list of names"),
        ([[0], [1]], None, "holds list"),
    ],
)
def test_labels_of_parquet(tmp_path, labels, metadata, match):
    table = pa.table({"text": ["a", "b"], "label": labels})
    with refused(match):
        list(open_dataset(row_of(tmp_path / "d", table, metadata)))


@pytest.mark.parametrize("text", ["{", "[1]", "null", "3", '{"info": [1]}', "[" * 5000])
def test_metadata_of_other_tools_are_passed_over(tmp_path, text):
    table = pa.table({"text": ["a", "b"], "label": [0, 1]})
    dataset = open_dataset(row_of(tmp_path / "d", table, {"huggingface": text}))
    assert dataset.classes == ("0", "1")


def test_texts_that_are_not_in_utf8(tmp_path):
    bad = pa.array([b"ok", b"\xff\xfe"], pa.binary())
    with refused("d.*train.parquet:1: its text is not in UTF-8|train.parquet:1"):
        list(open_dataset(row_of(tmp_path / "d", pa.table({"text": bad}))))
    good = row_of(tmp_path / "d", pa.table({"text": pa.array([b"ok"], pa.binary())}))
    assert [sample.text for sample in open_dataset(good)] == ["ok"]
    cast = pa.Array.from_buffers(pa.string(), 2, bad.buffers())
    with refused("has a text that is not in UTF-8"):
        list(open_dataset(row_of(tmp_path / "d", pa.table({"text": cast}))))


def test_names_of_pictures_that_are_no_text(tmp_path):
    (tmp_path / "d" / "a").mkdir(parents=True)
    (tmp_path / "d" / "a" / os.fsdecode(b"\xff.png")).touch()
    for source in ("folder", "huggingface"):
        with refused("whose name is no text in UTF-8; rename it"):
            open_dataset({"dataset": "d", "source": source, "name": str(tmp_path / "d")})


def test_folders_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "d" / "a").mkdir(parents=True)
    scan = os.scandir

    def forbid(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", forbid)
    with refused("d/a cannot be read .Permission denied."):
        open_dataset({"dataset": "d", "source": "folder", "name": str(tmp_path / "d")})


# Pickles


def write_marker(path, marker):
    """A pickle that would make a file."""

    class Marker:
        def __reduce__(self):
            return open, (str(marker), "w")

    path.write_bytes(pickle.dumps(Marker(), 2))


@pytest.mark.parametrize("value", [{"a": 1}, {1, 2}, datetime.date(2020, 1, 1), "x", 5, None])
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.filterwarnings("ignore")
def test_plain_pickles_as_weights(tmp_path, value, protocol):
    path = tmp_path / "w.pth"
    path.write_bytes(pickle.dumps(value, protocol))
    row = {"model": "m", "source": "checkpoint", "name": "torchvision:resnet18"}
    with refused("it is a pickle .* If you trust it, convert it once") as caught:
        load_model(row | {"weights": str(path)})
    assert "( )" not in str(caught.value) and "Unsupported" not in str(caught.value)
    path.rename(tmp_path / "x.pt")
    with refused(r"cannot be read as tensors .*save the tensors alone") as caught:
        read_foreign(tmp_path / "x.pt")
    assert "( )" not in str(caught.value) and "weights_only" not in str(caught.value)


CONFIGS = {
    "transformers": ("config.json", "pytorch_model.bin", {
        "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 8, "vocab_size": 9,
        "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
    }),
    "timm": ("config.json", "pytorch_model.bin", {"architecture": "resnet18", "num_classes": 9}),
    "open_clip": ("open_clip_config.json", "open_clip_pytorch_model.bin", {
        "model_cfg": {
            "embed_dim": 8,
            "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
            "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 64, "heads": 1,
                         "layers": 1},
        },
        "preprocess_cfg": {},
    }),
}  # fmt: skip


@pytest.mark.parametrize("source", CONFIGS)
@pytest.mark.parametrize("kind", ["marker", "plain"])
@pytest.mark.filterwarnings("ignore")
def test_pickles_in_folders_of_libraries(tmp_path, source, kind):
    folder = tmp_path / "folder"
    folder.mkdir()
    name, weights, config = CONFIGS[source]
    (folder / name).write_text(json.dumps(config))
    vocabulary = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d"])
    (folder / "vocab.txt").write_text(vocabulary)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    if kind == "marker":
        write_marker(folder / weights, tmp_path / "ran")
    else:
        (folder / weights).write_bytes(pickle.dumps({"a": 1}, 4))
    place = str(folder) if source == "transformers" else f"local-dir:{folder}"
    modality = "text" if source == "transformers" else "image"
    row = {"model": "m", "source": source, "name": place, "modality": modality}
    with refused("it is a pickle .* If you trust it, convert it once"):
        load_model(row)
    assert not (tmp_path / "ran").exists()


# The explorer

STUDY = {
    "settings": {}, "models": {"m": {"model": "m"}}, "datasets": {"d": {"dataset": "d"}},
    "metrics": {"cka": {"metric": "cka"}}, "labels": {"cka": "CKA"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"metrics": ["cka"]}, "no mapping 'metrics'"),
        ({"datasets": None}, "no mapping 'datasets'"),
        ({"models": {3: {}}}, "names 3 among its models, no text"),
        ({"models": {"m": "row"}}, "model 'm' of the study is no row"),
        ({"labels": {"cka": 3}}, "the label of the metric 'cka' is 3, no text"),
        ({"metrics": {}}, "has the metric 'cka', none of the study's"),
        ({"datasets": {}}, "has the dataset 'd', none of the study's"),
        ({"models": {}}, "has the model '.*', none of the study's"),
    ],
)
def test_studies_that_do_not_fit_their_tables(tmp_path, table, changes, match):
    with refused(match):
        make_explorer(
            tmp_path / "x", tmp_path / "s", {"similarity": [table]}, study=STUDY | changes
        )


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A similarity table of two models on the dataset d."""
    from consilience.features.manifest import write_manifest  # noqa: PLC0415
    from consilience.features.store import write_features  # noqa: PLC0415
    from consilience.similarity import make_similarity  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("table")
    paths = [folder / f"{name}.safetensors" for name in ("m", "k")]
    rng = np.random.default_rng(0)
    for path in paths:
        header = {"model": {"model": path.stem}, "dataset": "d", "samples_hash": "0" * 64}
        x = rng.standard_normal((20, 3)).astype(np.float32)
        write_features(path, {"l": x}, header, [str(i) for i in range(20)])
    write_manifest(paths, folder / "manifest.parquet")
    make_similarity(
        folder / "manifest.parquet", folder / "cka.parquet", dataset="d", metric_id="cka",
        spec={
            "metric": "cka", "parameters": {}, "layers": "all", "permutations": 0,
            "preprocessing": {"row_normalize": False, "center": False},
        },
    )  # fmt: skip
    return folder / "cka.parquet"
