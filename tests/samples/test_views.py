"""Views: what they choose, and that their features are the parent's, row by row."""

import random
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from test_samples import row, toy

from consilience.config import load_study
from consilience.config.plan import Plan
from consilience.config.shape import read_schema
from consilience.datasets import open_dataset
from consilience.errors import ConfigError, DataError, FeaturesError
from consilience.features import read_header, read_layer, write_features
from consilience.features.extract import extract_features
from consilience.features.manifest import make_manifest
from consilience.files import ROOT, read_table
from consilience.probe import make_probe
from consilience.results import Results
from consilience.samples import (
    Samples,
    choose_samples,
    hash_samples,
    make_samples,
    read_chain,
    read_samples,
)
from consilience.samples.draw import RULES
from consilience.samples.views import choose_view, parse_view, read_classes
from consilience.similarity import make_similarity

CLASSES = tuple(f"class {i}" for i in range(5))


def parent_of(sizes, **cells):
    """Samples of a pool with the given class sizes."""
    cells = row(**cells)
    dataset = toy(sizes)
    table = choose_samples(dataset, cells, 0)
    metadata = {"pool": table.attrs["pool"]}
    return Samples(table, hash_samples(table), dataset.classes, cells, metadata)


def parent_with_splits(train, test):
    cells = row()
    samples = [*toy(train, "train"), *toy(test, "test")]
    listing = toy(train).__class__(tuple(samples), CLASSES, verified=True)
    table = choose_samples(listing, cells, 0)
    return Samples(table, hash_samples(table), CLASSES, cells, {"pool": table.attrs["pool"]})


def view_of(parent, view="", seed=0, **cells):
    cells = {"dataset": "v", "parent": "toy", "view": view, "modality": "text"} | cells
    table, classes, notes = choose_view(cells, seed, parent)
    chosen = parent.table.iloc[table["parent_row"].astype(int)]
    assert table["id"].tolist() == chosen["id"].tolist()
    assert table["text"].tolist() == chosen["text"].tolist()
    assert table["row"].tolist() == list(range(len(table)))
    assert table["parent_row"].is_monotonic_increasing
    assert notes["parent_hash"] == parent.hash
    return table, classes


def class_counts(table):
    return sorted(Counter(table["label"].tolist()).values())


def test_random_subsets_are_nested_for_a_seed_and_others_for_another():
    parent = parent_of([40, 30, 20])
    small, large = (set(view_of(parent, f"n={n}")[0]["id"]) for n in (10, 40))
    other = set(view_of(parent, "n=40 seed=1")[0]["id"])
    assert small < large
    assert (len(small), len(large), len(other)) == (10, 40, 40)
    assert other != large
    assert len(view_of(parent, "n=1000")[0]) == 90


def test_halves_share_nothing_and_leave_nothing_out():
    parent = parent_of([21, 20])
    a, b = (set(view_of(parent, f"half={half}")[0]["id"]) for half in "ab")
    assert not a & b
    assert a | b == set(parent.table["id"])
    assert (len(a), len(b)) == (21, 20)


def test_some_classes_and_some_of_each():
    parent = parent_of([9, 8, 7, 2, 9])
    table, classes = view_of(parent, "k=3 per_class=5")
    assert len(classes) == 3
    assert set(classes) < set(CLASSES)
    assert sorted(set(table["label"])) == [0, 1, 2]
    old = parent.table["label"].iloc[table["parent_row"].astype(int)].tolist()
    assert [classes[new] for new in table["label"]] == [CLASSES[label] for label in old]
    table, _ = view_of(parent, "per_class=5")
    assert class_counts(table) == [2, 5, 5, 5, 5]


def test_a_cap_takes_what_it_would_take_in_the_parent_itself():
    table, _ = view_of(parent_of([40, 30, 5]), "seed=0", cap="31")
    assert table["id"].tolist() == parent_of([40, 30, 5], cap="31").table["id"].tolist()


def test_splits_are_kept_or_one_is_taken_as_a_pool():
    parent = parent_with_splits([8, 8, 8, 8, 8], [4, 4, 4, 4, 4])
    table, _ = view_of(parent, "n=10")
    assert table["split"].value_counts().to_dict() == {"train": 10, "test": 10}
    table, _ = view_of(parent, "split=train", test_share="0.5")
    assert set(table["id"].str[:5]) == {"train"}
    assert table["split"].value_counts().to_dict() == {"train": 20, "test": 20}
    with pytest.raises(ConfigError, match=r"column test_share: .* splits of their own"):
        view_of(parent, "n=10", test_share="0.5")


def test_new_labels_by_a_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["label\tclass\tto\tsplit", "3\tx\tbig\ttrain", "0\tx\tbig\ttest", "1\tx\tsmall\t"]
    (tmp_path / "new.tsv").write_text("\n".join(lines))
    parent = parent_with_splits([2, 2, 2, 2, 2], [3, 3, 3, 3, 3])
    table, classes = view_of(parent, "classes=new.tsv")
    assert classes == ("big", "small")
    found = Counter(zip(table["split"], table["id"].str[-3], table["label"], strict=True))
    wanted = {("train", "3", 0): 2, ("test", "0", 0): 3, ("train", "1", 1): 2, ("test", "1", 1): 3}
    assert found == wanted


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("label\tname\n1\tx", "its columns are .*it needs `to`"),
        ("label\tto\n9\tx", "line 2: the label '9' is not from 0 to 4"),
        ("class\tto\nclas 1\tx", "line 2: the class 'clas 1' is not there; did you mean 'class 1'"),
        ("label\tto\n1\tx\n1\ty", "line 3: the class 1 has a line already"),
        ("label\tto\tsplit\n1\tx\tval", "line 2: the split 'val' is neither"),
        ("label\tclass\tto\n1\tanimal", "line 2: 2 cells for 3 columns; .* blank ones too"),
        ("label\tto\n1\tx\ty", "line 2: 3 cells for 2 columns"),
        ("label\tto\n\n1\tx\n1", "line 4: 1 cells for 2 columns"),
        ("label to\n1 x", "separated by one tab"),
        ("label\tto\tto\n1\tx\ty", "the column 'to' is there twice"),
    ],
)
def test_tables_of_classes_that_cannot_be_used(tmp_path, text, problem):
    (tmp_path / "new.tsv").write_text(text)
    with pytest.raises(ConfigError, match=problem):
        read_classes(str(tmp_path / "new.tsv"), CLASSES)


def test_marks_and_rare_separators_are_no_cells_of_a_table_of_classes(tmp_path):
    (tmp_path / "new.tsv").write_bytes("\ufefflabel\tto\r\n1\tx\u2028y\r\n\r\n2\tz\n".encode())
    found = read_classes(str(tmp_path / "new.tsv"), CLASSES)
    assert found == {("", 1): "x\u2028y", ("", 2): "z"}


def test_views_that_cannot_be_made(tmp_path):
    unlabelled = parent_of([6])
    unlabelled.table["label"] = pd.array([pd.NA] * 6, dtype="Int32")
    with pytest.raises(DataError, match="have no label each, so the view 'k=2' cannot"):
        view_of(unlabelled, "k=2")
    with pytest.raises(DataError, match="has 2 classes, not 3"):
        view_of(parent_of([3, 3]), "k=3")
    (tmp_path / "none.tsv").write_text("label\tto\n0\t")
    with pytest.raises(DataError, match="holds no sample"):
        view_of(parent_of([3, 3]), f"classes={tmp_path / 'none.tsv'}")


@pytest.mark.parametrize(
    ("view", "problem"),
    [
        ("m=3", "unknown key 'm'"),
        ("n=3 n=4", "'n' is given twice"),
        ("n=0", "'n=0' does not have the form n="),
        ("half=c", "'half=c' does not have the form"),
    ],
)
def test_bad_views_are_named(view, problem):
    with pytest.raises(ConfigError, match=f"dataset 'v', column view .*{problem}"):
        parse_view({"dataset": "v", "view": view})


# --- the rule of the paper ------------------------------------------------------------------------


def test_the_papers_cap_is_numpys_choice_class_by_class():
    sizes = [40, 7, 25, 12]
    dataset = toy(sizes)
    table = choose_samples(dataset, row(cap="30", rule="similarity_consistency"), 5)
    labels = np.array([sample.label for sample in dataset])
    np.random.seed(42)  # noqa: NPY002 - as they did
    wanted = []
    for label in range(4):
        positions = np.where(labels == label)[0]
        count = min(sizes[label], 8)
        wanted.extend(np.random.choice(positions, count, replace=False))  # noqa: NPY002
    ids = [sample.id for sample in dataset]
    assert table["id"].tolist() == [ids[i] for i in sorted(wanted)]
    assert len(table) == 31  # 7 + 3 × ceil(30 / 4)
    whole = choose_samples(dataset, row(cap="84", rule="similarity_consistency"), 5)
    assert len(whole) == 84


def test_the_papers_imagenet_subset_is_pythons_sample_class_by_class():
    parent = parent_of([30, 20, 25])
    table, _ = view_of(parent, "per_class=6", rule="similarity_consistency")
    random.seed(42)
    wanted = []
    for label in range(3):
        wanted += random.sample(np.flatnonzero(parent.table["label"] == label).tolist(), 6)
    assert table["parent_row"].tolist() == sorted(wanted)


@pytest.mark.parametrize(
    ("name", "classes", "each", "total"),
    [("living17", 17, 2, 34), ("entity30", 30, 4, 120), ("entity13", 13, 10, 130),
     ("nonliving26", 26, 2, 52)],
)  # fmt: skip
def test_breeds_are_of_the_published_sizes(name, classes, each, total):
    imagenet = tuple(f"n{i}" for i in range(1000))
    new = read_classes(f"config/classes/{name}.tsv", imagenet)
    assert len(set(new.values())) == classes
    for split in ("train", "test"):
        named = [to for (where, _), to in new.items() if where == split]
        assert len(named) == total
        assert set(Counter(named).values()) == {each}
    assert len({label for _, label in new}) == 2 * total  # source and target classes are disjoint


def test_cifar100_has_twenty_superclasses_of_five():
    text = (ROOT / "config/classes/cifar100_coarse.tsv").read_text().splitlines()[1:]
    names = tuple(line.split("\t")[1] for line in text)
    assert names == tuple(sorted(names, key=lambda name: name.replace(" ", "_")))
    new = read_classes("config/classes/cifar100_coarse.tsv", names)
    assert Counter(Counter(new.values()).values()) == {5: 20}
    assert new["", names.index("tulip")] == "flowers"
    assert new["", names.index("willow tree")] == "trees"


# --- features by row ------------------------------------------------------------------------------

MODELS = [
    {"model": "p4", "source": "raw", "name": "pixels", "modality": "image", "input_size": "4"},
    {"model": "p6", "source": "raw", "name": "pixels", "modality": "image", "input_size": "6"},
    {"model": "vit", "source": "timm", "name": "test_vit", "modality": "image",
     "weights": "random:0"},
]  # fmt: skip
SPEC = {
    "metric": "cka", "parameters": {}, "layers": "all", "permutations": 0,
    "preprocessing": {"row_normalize": True, "center": False},
}  # fmt: skip


def extract(folder, dataset):
    samples, paths = folder / f"{dataset['dataset']}.parquet", []
    make_samples(dataset, 0, samples)
    for model in MODELS:
        paths.append(folder / dataset["dataset"] / f"{model['model']}.safetensors")
        extract_features(model, dataset, samples, paths[-1])
    return samples, paths


def similarities(manifest, folder, metric="cka"):
    out, dataset = folder / "similarity.parquet", read_table(manifest).attrs["dataset"]
    spec = SPEC | {"metric": metric}
    make_similarity(manifest, out, dataset=dataset, metric_id=metric, spec=spec)
    return read_table(out).set_index(["model_x", "layer_x", "model_y", "layer_y"])


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """(folder, samples, features) of a dataset of its own."""
    folder = tmp_path_factory.mktemp("shapes")
    whole = {"dataset": "whole", "source": "packaged", "name": "shapes:60", "modality": "image"}
    return folder, *extract(folder, whole)


def make_view(shapes, name, parent_samples, view, **cells):
    cells = {"dataset": name, "parent": "-", "view": view, "modality": "image"} | cells
    make_samples(cells, 0, shapes[0] / f"{name}.parquet", parent_samples)
    return shapes[0] / f"{name}.parquet"


def test_a_view_has_the_similarities_and_probes_of_its_own_extraction(shapes, tmp_path):
    """The same pictures as a folder of their own, extracted anew, give the same numbers."""
    _, samples, features = shapes
    half = make_view(shapes, "half", samples, "half=b")
    few = make_view(shapes, "few", half, "per_class=5")
    view, rows, source = read_chain([few, half, samples])
    assert source.row["dataset"] == "whole"
    pictures = {s.id: s.image() for s in open_dataset(source.row)}
    for line in view.table.itertuples():
        path = tmp_path / "pictures" / view.classes[line.label] / f"{line.row:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures[line.id].save(path)
        assert source.table["id"].iloc[rows[line.row]] == line.id
    own = {"dataset": "own", "source": "folder", "name": str(tmp_path / "pictures")}
    own_samples, own_features = extract(tmp_path, own | {"modality": "image"})
    order = read_samples(own_samples).table["id"].str[-7:-4].astype(int).to_numpy()

    manifests = shapes[0] / "few" / "manifest.parquet", tmp_path / "own" / "manifest.parquet"
    make_manifest(features, [few, half, samples], manifests[0])
    make_manifest(own_features, [], manifests[1])
    columns = ["value", "null_mean", "null_sd"]
    for metric in ("cka", "mutual_knn"):
        found, wanted = (similarities(m, tmp_path, metric) for m in manifests)
        assert found.attrs["n"] == len(view.table)
        np.testing.assert_allclose(found[columns], wanted[columns], rtol=0, atol=1e-6)
    for view_features, own_file in zip(features, own_features, strict=True):
        layer = read_header(own_file)["layers"][-1]
        x = read_layer(view_features, layer)[rows][order]
        np.testing.assert_allclose(x, read_layer(own_file, layer), atol=1e-5)

    probed = []
    for files in ((features[0], [few, half, samples]), (own_features[0], [own_samples])):
        make_probe(*files, tmp_path / "probe.parquet", seeds=(0,), penalties=[0.01])
        probed.append(read_table(tmp_path / "probe.parquet"))
    assert set(probed[0]["dataset"]) == {"few"}
    assert probed[0]["n_classes"].tolist() == [4]
    assert probed[0]["n_train"].iloc[0] + probed[0]["n_test"].iloc[0] == len(view.table)


def test_a_views_identity_is_its_content_and_its_rows(shapes, tmp_path):
    _, samples, features = shapes
    hashes = []
    for name, view in [("a", "n=20"), ("b", "n=20"), ("c", "n=20 seed=1")]:
        path = make_view(shapes, name, samples, view)
        make_manifest(features, [path, samples], tmp_path / "manifest.parquet")
        table = read_table(tmp_path / "manifest.parquet")
        assert set(table["n"]) == {20}
        assert set(table["samples_hash"]) == {read_samples(path).hash}
        hashes.append(tuple(table["hash"]))
    assert hashes[0] == hashes[1]
    assert not set(hashes[0]) & set(hashes[2])


def test_views_of_other_samples_are_refused(shapes, tmp_path):
    folder, samples, features = shapes
    view = make_view(shapes, "of_whole", samples, "n=9")
    other = {"dataset": "other", "source": "packaged", "name": "shapes:40", "modality": "image"}
    make_samples(other, 0, folder / "other.parquet")
    with pytest.raises(
        DataError, match=r"of_whole.parquet is a view of other samples than 'other'"
    ):
        make_manifest(features, [view, folder / "other.parquet"], tmp_path / "m.parquet")
    header = read_header(features[0])
    foreign = {key: header[key] for key in ("model", "dataset")} | {"samples_hash": "0" * 64}
    write_features(tmp_path / "f.safetensors", {"a": np.ones((60, 1))}, foreign, list("x" * 60))
    with pytest.raises(FeaturesError, match="other samples"):
        make_manifest([tmp_path / "f.safetensors"], [view, samples], tmp_path / "m.parquet")
    assert not (tmp_path / "m.parquet").exists()


# --- in a study -----------------------------------------------------------------------------------


def views_study(tmp_path, *lines):
    header = "dataset\tsource\tname\tmodality\tparent\tview\n"
    text = header + "base\tpackaged\tshapes\timage\t\t\n" + "".join(f"{line}\n" for line in lines)
    (tmp_path / "datasets.tsv").write_text(text)
    study = {
        "seed": 0, "models": ["pixels"], "datasets": ["v"], "metrics": ["cka_debiased"],
        "catalogs": {"datasets": [str(tmp_path / "datasets.tsv")]},
    }  # fmt: skip
    return load_study(study, "my.yaml")


def test_a_view_of_stimuli_without_labels_is_not_probed(tmp_path):
    study = views_study(tmp_path, "v\t\t\timage\tbase\thalf=a")
    assert Plan(study, Results()).probe_files == ["results/probe/v/pixels.parquet"]
    study.parents["base"]["labels"] = "no"
    assert Plan(study, Results()).probe_files == []


def test_the_rules_are_those_of_the_schema():
    assert read_schema("datasets")["properties"]["rule"]["enum"] == list(RULES)


def test_a_parent_need_not_be_selected(tmp_path):
    study = views_study(tmp_path, "u\t\t\timage\tbase\thalf=a", "v\t\t\timage\tu\tn=3")
    assert list(study.datasets) == ["v"]
    assert study.chains["v"] == ["v", "u", "base"]
    assert list(study.extracted) == ["base"]
    assert study.models_on["base"] == ["pixels"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["v\t\t\timage\tbas\tn=3"], "its parent 'bas' is not in the catalogue; did you mean 'base'?"),  # noqa: E501
        (["v\t\t\timage\tu\tn=3", "u\t\t\timage\tv\tn=3"], "it is a view of itself (v of u of v)"),
        (["v\t\t\timage+text\tbase\tn=3"], "it holds text, which its parent 'base' does not"),
        (["v\t\t\timage\tbase\tnn=3"], "column view ('nn=3'): unknown key 'nn'; did you mean 'n'?"),
        (["v\t\t\timage\tbase\tclasses=no.tsv"], "no.tsv: no such table of classes"),
        (["v\t\t\timage\tbase\t"], "line 3 (v): view: '' should be non-empty"),
        (["v\tpackaged\tshapes\timage\tbase\tn=3"], "line 3 (v): source: 'packaged'"),
        (["v\tpackaged\t\timage\t\t"], "line 3 (v): name: '' should be non-empty"),
        (["v\tpackaged\tshapes\timage\t\tn=3"], "line 3 (v): view: 'n=3'"),
    ],
)  # fmt: skip
def test_views_that_a_study_refuses(tmp_path, lines, message):
    with pytest.raises(ConfigError) as error:
        views_study(tmp_path, *lines)
    assert message in str(error.value)
