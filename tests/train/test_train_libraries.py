"""Networks of other libraries, trained and extracted as ours are."""

import importlib.metadata

import numpy as np
import pytest
import torch
from given import INPUT, extractor_of, pictures, spec, train

from consilience.errors import ConfigError, ModelError
from consilience.networks import Task, build, versions_of
from consilience.networks.weights import read_header, read_trained

COLOURED = {**INPUT, "size": 32, "channels": 3}
NETWORKS = ["timm:test_resnet", "timm:test_vit", "torchvision:shufflenet_v2_x0_5"]


@pytest.fixture(scope="module", params=NETWORKS)
def trained(request, tmp_path_factory):
    """Returns the file of a network of another library, after a few steps."""
    return train(tmp_path_factory.mktemp("libraries"), pictures(), given(request.param))


def given(architecture, **changes):
    training = {"lr": 0.002, "steps": 12, "batch_size": 20}
    return spec(architecture, {}, **{"input": COLOURED, "training": training, **changes})


def by_hand(sample):
    values = np.asarray(sample.image().resize((32, 32), 2), np.float32) / 255
    return torch.from_numpy((values - 0.5) / 0.25).permute(2, 0, 1)[None]


def test_networks_of_libraries_train_and_are_extracted(trained):
    header, samples = read_header(trained), list(pictures())[:3]
    losses = header["history"]["loss"]
    assert losses[-1] < 0.7 * losses[0]
    extractor, network = extractor_of(trained, layers="all"), read_trained(trained).network()
    assert extractor.layers[-1] == "features"
    found = extractor.extract([extractor.preprocess(sample) for sample in samples])
    entered = []
    network.parts.head.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    with torch.no_grad():
        scores = network(torch.cat([by_hand(sample) for sample in samples]))
    assert torch.allclose(found["logits"], scores, atol=1e-4)
    assert torch.allclose(found["features"], entered[0].float(), atol=1e-4)
    vectors = torch.from_numpy(extractor.unembedding)
    assert torch.allclose(
        scores, found["features"] @ vectors.T + network.parts.head.bias, atol=1e-4
    )


def test_fine_tuning_keeps_all_but_a_head_for_other_classes(tmp_path, caplog):
    """A file with a head for three classes is taken whole, of one for five all but the head."""
    caplog.set_level("INFO")
    state = {}
    for classes in (3, 5):
        network = build("timm:test_resnet", {}, Task("image", (3, 32, 32), classes), classes)
        state[classes] = network.state_dict()
        torch.save(state[classes], tmp_path / f"{classes}.pt")

    def tuned(classes, steps):
        training = {"lr": 1e-9, "steps": steps, "batch_size": 20}
        weights = str(tmp_path / f"{classes}.pt")
        wanted = given("timm:test_resnet", training=training, weights=weights)
        folder = tmp_path / f"{classes}.{steps}"
        return read_trained(train(folder, pictures(), wanted)).state

    for steps in (0, 1):
        found = tuned(3, steps)
        assert all(torch.allclose(found[k], w) for k, w in state[3].items() if k.endswith("weight"))
    assert "so it is new" not in caplog.text
    found = tuned(5, 1)
    assert torch.allclose(found["conv1.0.weight"], state[5]["conv1.0.weight"])
    assert len(found["fc.weight"]) == 3
    assert "so it is new" in caplog.text
    with pytest.raises(ModelError, match=r"'fc.(bias|weight)' has the shape"):
        tuned(5, 0)


def test_other_weights_at_the_same_place_are_another_start(tmp_path):
    wanted = given("timm:test_resnet", weights=str(tmp_path / "w.pt"),
                   training={"steps": 0, "batch_size": 20})  # fmt: skip
    found = []
    for seed in (0, 1):
        network = build("timm:test_resnet", {}, Task("image", (3, 32, 32), 3), seed)
        torch.save(network.state_dict(), tmp_path / "w.pt")
        found.append(read_trained(train(tmp_path, pictures(), wanted)).state["fc.weight"])
        assert torch.equal(found[-1], network.state_dict()["fc.weight"])
    assert not torch.equal(*found)


@pytest.mark.parametrize(
    ("architecture", "options", "shape", "message"),
    [
        ("timm:resnet19", {}, (3, 32, 32), "did you mean 'resnet18'"),
        ("timm:test_resnet", {"depth": 3}, (3, 32, 32), "unexpected keyword argument 'depth'"),
        ("torchvision:resnet81", {}, (3, 32, 32), "torchvision has no image classifier"),
        ("torchvision:resnet18", {}, (1, 32, 32), "three channels"),
        ("torchvision:vit_b_16", {}, (3, 30, 30), "indivisible by patch size"),
        ("torchvision:alexnet", {}, (3, 32, 32), "takes no pictures of the shape"),
        ("keras:resnet50", {}, (3, 32, 32), "is none of"),
    ],
)
def test_what_libraries_lack_or_cannot_take_is_refused(architecture, options, shape, message):
    with pytest.raises(ConfigError, match=message):
        build(architecture, options, Task("image", shape, 3))


def test_the_version_of_a_library_decides_what_is_trained(trained, monkeypatch):
    header = read_header(trained)
    library = header["spec"]["architecture"].partition(":")[0]
    assert header[library] == importlib.metadata.version(library)
    assert versions_of("small:mlp") == {}
    assert set(versions_of("pyg:GCN")) == {"torch-geometric"}
    monkeypatch.setattr("consilience.train.jobs.versions_of", lambda _: {library: "0"})
    other = train(trained.parent, pictures(), header["spec"])
    assert read_header(other)[library] == "0"
