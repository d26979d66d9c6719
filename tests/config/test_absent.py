"""What a row names and is not there, told without a deep-learning library."""

import subprocess
import sys

import numpy as np
import open_clip
import pytest
import timm
import torchvision

from consilience.config import absent as names
from consilience.config.absent import find_absent


def absent(source, name, weights="", **options):
    row = {"model": "m", "source": source, "name": name, "weights": weights, "modality": "image"}
    return find_absent(row, "d", **options)


def test_names_of_sources_are_those_of_the_libraries():
    assert names._registered("timm")[1] == set(timm.list_models())
    known = torchvision.models.list_models(module=torchvision.models)
    assert names._registered("torchvision")[1] == set(known)


def test_every_published_name_is_known():
    found = {name: absent("timm", name) for name in timm.list_pretrained()}
    found |= {f"{a}/{t}": absent("open_clip", f"{a}/{t}") for a, t in open_clip.list_pretrained()}
    for name in torchvision.models.list_models(module=torchvision.models):
        for weights in ("DEFAULT", *(w.name for w in torchvision.models.get_model_weights(name))):
            found[f"{name} {weights}"] = absent("torchvision", name, weights)
    assert len(found) > 1500
    assert {name: text for name, text in found.items() if text} == {}


@pytest.mark.parametrize("name", ["vit_base_patch16_224_in21k", "hf-hub:timm/x", "resnet18"])
def test_former_names_and_those_of_the_hub_pass(name):
    assert absent("timm", name) == ""


@pytest.mark.parametrize(
    ("source", "name", "weights", "message"),
    [
        ("timm", "resnet81", "", "timm has no model 'resnet81'; did you mean 'resnet18'?"),
        ("timm", "resnet18.a1_in2k", "", "timm has no weights 'a1_in2k' of any model"),
        ("checkpoint", "timm:resnet81", "x.pt", "x.pt: no such file or folder"),
        ("checkpoint", "timm:resnet81", "", "timm has no model 'resnet81'"),
        ("hub", "torchvision:resnet81", "https://a/b", "torchvision has no image classifier"),
        ("torchvision", "resnet18", "IMAGENET9", "torchvision has no weights 'IMAGENET9'"),
        ("torchvision", "resnet18", "./w.pth", r"w.pth: no such file or folder"),
        ("torchvision", "resnet18/IMAGENET9", "", "torchvision has no weights 'IMAGENET9'"),
        ("open_clip", "ViT-B-33/openai", "", "open_clip has no model 'ViT-B-33'"),
        ("open_clip", "ViT-B-32/opnai", "", "open_clip has no weights 'opnai'"),
        ("open_clip", "local-dir:nowhere", "", "nowhere: no such file or folder"),
        ("transformers", "./nowhere", "", "nowhere: no such file or folder"),
        ("transformers", "package:timm/nowhere", "", "package:timm/nowhere: no such file"),
        ("transformers", "gpt2", "models/q.gguf", "q.gguf: no such file or folder"),
        ("imported", "f/{dataset}/{model}.npy", "", "f/d/m.npy: no such file or folder of"),
    ],
)
def test_what_is_not_there(source, name, weights, message):
    assert message in absent(source, name, weights)


def test_what_is_there_or_elsewhere(tmp_path):
    np.save(tmp_path / "d.npy", np.ones(2))
    for source, name, weights in (
        ("imported", str(tmp_path / "{dataset}.npy"), ""),
        ("imported", "{data}.npy", ""),  # the source says why
        ("raw", "pixels", ""),
        ("timm", "resnet18", "random:1"),
        ("torchvision", "resnet18/IMAGENET1K_V1", ""),
        ("transformers", "owner/name", ""),
        ("transformers", "owner/name", "hf-hub:owner/other/file"),
        ("hub", "owner/repository/entry", ""),
    ):
        assert absent(source, name, weights) == ""
    assert absent("timm", "resnet18", "package:nowhere/x", installed=False) == ""
    assert "not installed" in absent("timm", "resnet18", "package:nowhere/x")


def test_no_deep_learning_library_is_loaded():
    code = (
        "import sys; from consilience.config.absent import find_absent as f\n"
        "print(f({'source': 'timm', 'name': 'resnet81'}, 'd'))\n"
        "assert not {'torch', 'timm', 'torchvision', 'open_clip'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "did you mean 'resnet18'" in done.stdout
