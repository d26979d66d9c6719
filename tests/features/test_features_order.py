"""Rows and layers of other tools' files stand in the order of the numbers in their names."""

import logging
import random

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from consilience.cli import main
from consilience.errors import FeaturesError
from consilience.features import read_header, read_layer
from consilience.features.foreign import choose_layers, read_foreign
from consilience.features.importing import import_features
from consilience.features.numbered import in_order, listed
from consilience.files import natural_order
from consilience.samples import make_samples, read_samples

N = 26
X = np.stack([np.arange(N), np.arange(N) ** 2], axis=1).astype(np.float32)


def test_natural_order():
    names = ["a", "a1", "a02", "a2", "a2b", "a10", "a10b9", "a10b10", "b1/c9", "b1/c10", "b", "10"]
    wanted = [
        "10", "a", "a1", "a02", "a2", "a2b", "a10", "a10b9", "a10b10", "b", "b1/c9", "b1/c10",
    ]  # fmt: skip
    for seed in range(5):
        random.Random(seed).shuffle(names)
        assert sorted(names, key=natural_order) == wanted
    assert max(["x9", f"x1{'0' * 5000}"], key=natural_order) != "x9"


# Blocks of rows


def cuts(step):
    return [(start, min(start + step, N)) for start in range(0, N, step)]


def ranges(step, form="features_{0}-{1}"):
    return {form.format(a, b): X[a:b] for a, b in cuts(step)}


def counted(step, first=0, form="features_{}"):
    return {form.format(i): X[a:b] for i, (a, b) in enumerate(cuts(step), first)}


NAMINGS = {
    "ranges": ranges(2),
    "ranges of uneven length": ranges(3),
    "ranges with underscores": ranges(2, "features_{0}_{1}"),
    "padded ranges": ranges(2, "features_{0:04d}-{1:04d}"),
    "counted from 0": counted(2),
    "counted from 1": counted(2, 1),
    "counted and padded": counted(2, 1, "features_{:02d}"),
    "first rows": {f"features_{a}": X[a:b] for a, b in cuts(2)},
    "ends": {f"features_{b}": X[a:b] for a, b in cuts(3)},
    "one": ranges(N),
}


def as_npy(folder, name, x):
    np.save(folder / f"{name}.npy", x)


def as_npz(folder, name, x):
    np.savez(folder / f"{name}.npz", features=x)


def as_pt(folder, name, x):
    torch.save(torch.from_numpy(x.copy()), folder / f"{name}.pt")


def as_pth(folder, name, x):
    torch.save({"features": torch.from_numpy(x.copy())}, folder / f"{name}.pth")


def as_parquet(folder, name, x):
    pd.DataFrame({"features": list(x)}).to_parquet(folder / f"{name}.parquet")


def as_safetensors(folder, name, x):
    save_file({"features": x.copy()}, folder / f"{name}.safetensors")


def as_h5(folder, name, x):
    with pytest.importorskip("h5py").File(folder / f"{name}.h5", "w") as stream:
        stream["features"] = x


FORMATS = [as_npy, as_npz, as_pt, as_pth, as_parquet, as_safetensors, as_h5]


@pytest.mark.parametrize("naming", NAMINGS)
def test_blocks_in_a_folder(tmp_path, naming):
    for name, x in NAMINGS[naming].items():
        as_npy(tmp_path, name, x)
    found = read_foreign(tmp_path)
    np.testing.assert_array_equal(found.pieces[0].layers["features"], X)
    assert [file.stem for file in found.files] == list(NAMINGS[naming])
    assert [name.removesuffix(".npy") for name in found.pieces[0].blocks] == list(NAMINGS[naming])


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("naming", ["ranges", "counted from 1"])
def test_blocks_in_every_format(tmp_path, write, naming):
    for name, x in NAMINGS[naming].items():
        write(tmp_path, name, x)
    np.testing.assert_array_equal(read_foreign(tmp_path).pieces[0].layers["features"], X)


@pytest.mark.parametrize("kind", ["npz", "pt", "safetensors", "h5"])
def test_blocks_in_one_file(tmp_path, kind):
    path, blocks = tmp_path / f"x.{kind}", ranges(2)
    if kind == "npz":
        np.savez(path, **blocks)
    elif kind == "pt":
        torch.save({name: torch.from_numpy(x.copy()) for name, x in blocks.items()}, path)
    elif kind == "safetensors":
        save_file({name: x.copy() for name, x in blocks.items()}, path)
    else:
        with pytest.importorskip("h5py").File(path, "w") as stream:
            for name, x in blocks.items():
                stream[name] = x
    piece = read_foreign(path).pieces[0]
    assert list(piece.layers) == ["features"] and piece.blocks == tuple(blocks)
    np.testing.assert_array_equal(piece.layers["features"], X)


def test_numbered_blocks_in_one_hdf5_file(tmp_path):
    with pytest.importorskip("h5py").File(tmp_path / "x.h5", "w") as stream:
        for name, x in counted(2).items():
            stream[name] = x
    np.testing.assert_array_equal(read_foreign(tmp_path / "x.h5").pieces[0].layers["features"], X)


def test_several_layers_ids_and_labels_of_blocks_are_kept_together(tmp_path):
    for i, (a, b) in enumerate(cuts(2)):
        ids = [f"s{row}" for row in range(a, b)]
        content = {"ids": ids, "labels": np.arange(a, b), "y": X[a:b] + 1, "x": X[a:b]}
        np.savez(tmp_path / f"features_{i}.npz", **content)
    piece = read_foreign(tmp_path).pieces[0]
    assert list(piece.layers) == ["y", "x"] and piece.ids == tuple(f"s{row}" for row in range(N))
    np.testing.assert_array_equal(piece.layers["y"], X + 1)
    np.testing.assert_array_equal(piece.labels, np.arange(N))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"0-4": 4, "8-12": 4}, r"rows from 4 to before 8 are missing before 'features_8-12'"),
        ({"4-8": 4, "8-12": 4}, r"rows from 0 to before 4 are missing before 'features_4-8'"),
        ({"0-4": 4, "2-6": 4}, "'features_0-4' and 'features_2-6' both hold the row 2"),
        ({"0-4": 4, "0-8": 8}, "'features_0-4' and 'features_0-8' both hold the row 0"),
        ({"0-4": 4, "00-04": 4}, "both hold the row 0"),
        ({"0-4": 4, "4-8": 3}, "'features_4-8' has 3 rows, by its name 4"),
        ({"0-3": 4, "4-7": 4}, r"has 4 rows, by its name 3 .* rename .*\(features_0-4\)"),
        ({"4-0": 4}, "has 4 rows, by its name -4"),
        ({"0-4": 4, "1": 4}, "'features_0-4' says which rows it holds and 'features_1' does not"),
        ({"0": 4, "1": 4, "3": 4}, r"not numbered without gaps .* lacks is number 2\)"),
        ({"2": 4, "3": 4}, r"not numbered without gaps .* lacks is number 0\)"),
        ({"1": 4, "4": 4, "2": 4}, r"lacks is number 3\)"),
        ({"1": 4, "01": 4}, "'features_01' and 'features_1' have the same number"),
        ({"0-4": 4, "4-8_old": 4}, "'features_4-8_old' is called neither"),
    ],
)
def test_blocks_that_do_not_fit(rows, message):
    with pytest.raises(FeaturesError, match=message) as error:
        in_order({f"features_{name}": count for name, count in rows.items()}, "my/folder")
    assert str(error.value).startswith("my/folder: ") and "\n" not in str(error.value)


def test_folders_that_hold_more_than_one_matrix(tmp_path):
    as_npy(tmp_path, "features_0-2", X[:2])
    as_pt(tmp_path, "features_2-4", X[2:4])
    with pytest.raises(FeaturesError, match=r"blocks of rows as \.npy and as \.pt"):
        read_foreign(tmp_path)
    (tmp_path / "features_2-4.pt").unlink()
    as_npy(tmp_path, "features", X)
    with pytest.raises(FeaturesError, match=r"holds features\.npy and blocks of rows"):
        read_foreign(tmp_path)
    (tmp_path / "features.npy").unlink()
    as_npy(tmp_path, "features_2-4", X[2:4, :1])
    with pytest.raises(FeaturesError, match=r"features_2-4\.npy \(2, 1\)\); write them again"):
        read_foreign(tmp_path)
    (tmp_path / "features_0-2.npy").unlink()
    (tmp_path / "features_2-4.npy").unlink()
    np.savez(tmp_path / "features_0-2.npz", x=X[:2])
    np.savez(tmp_path / "features_2-4.npz", x=X[2:4], y=X[2:4])
    with pytest.raises(FeaturesError, match=r"has the layers x, features_2-4\.npz x, y"):
        read_foreign(tmp_path)


# Layers

LAYERS = [f"layer_{i}" for i in range(13)]


def layers_of(path, names):
    arrays = {name: X + i for i, name in enumerate(names)}
    if path.suffix == ".safetensors":
        save_file(arrays, path)
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".pt":
        torch.save({name: torch.from_numpy(x) for name, x in arrays.items()}, path)
    else:
        pd.DataFrame({name: list(x) for name, x in arrays.items()}).to_parquet(path)
    return read_foreign(path).pieces[0].layers


@pytest.mark.parametrize(
    "form", ["layer_{}", "blocks.{}.mlp", "encoder/layer/{}/output", "{}", "h{}_a", "l{:03d}"]
)
def test_safetensors_has_layers_in_natural_order(tmp_path, form):
    names = [form.format(i) for i in range(13)]
    shuffled = random.Random(0).sample(names, len(names))
    layers = layers_of(tmp_path / "x.safetensors", shuffled)
    assert list(layers) == names
    assert choose_layers(layers, ["last"], "x") == [names[12]]


def test_safetensors_of_several_types(tmp_path):
    arrays = {name: X.astype("f8" if i % 2 else "f4") for i, name in enumerate(LAYERS)}
    save_file(arrays, tmp_path / "x.safetensors")
    assert list(read_foreign(tmp_path / "x.safetensors").pieces[0].layers) == LAYERS


@pytest.mark.parametrize("end", ["npz", "pt", "parquet"])
def test_formats_that_keep_an_order_keep_it(tmp_path, end):
    names = ["stem", *LAYERS, "head"]
    assert list(layers_of(tmp_path / f"x.{end}", names)) == names
    assert list(layers_of(tmp_path / f"y.{end}", names[::-1])) == names[::-1]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("tracked", [False, True])
def test_hdf5_keeps_an_order_only_if_it_tracks_it(tmp_path, nested, tracked):
    names = random.Random(1).sample(LAYERS, len(LAYERS))
    with pytest.importorskip("h5py").File(tmp_path / "x.h5", "w", track_order=tracked) as stream:
        group = stream.create_group("net", track_order=tracked) if nested else stream
        for name in names:
            group[name] = X
    piece = read_foreign(tmp_path / "x.h5").pieces[0]
    found = [name.removeprefix("net/") for name in piece.layers]
    assert found == (names if tracked else LAYERS)
    assert piece.layer_order == (
        "the order of the file" if tracked else "the natural order of their names"
    )


def test_hdf5_that_tracks_an_order_without_an_index(tmp_path):
    h5py = pytest.importorskip("h5py")
    plist = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    plist.set_link_creation_order(h5py.h5p.CRT_ORDER_TRACKED)
    names = LAYERS[::-1]
    with h5py.File(h5py.h5f.create(str(tmp_path / "x.h5").encode(), fcpl=plist)) as stream:
        for name in names:
            stream[name] = X
    assert list(read_foreign(tmp_path / "x.h5").pieces[0].layers) == names


def test_hdf5_groups_in_natural_order_and_links_not_followed(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as stream:
        for name in LAYERS:
            stream[f"{name}/out"] = X
        stream["alias"] = h5py.SoftLink("/layer_3/out")
        stream["layer_9/up"] = stream["/"]  # a group that holds itself
    layers = read_foreign(tmp_path / "x.h5").pieces[0].layers
    assert list(layers) == [f"{name}/out" for name in LAYERS]


def test_patterns_select_in_the_order_of_the_layers():
    layers = dict.fromkeys(LAYERS)
    assert choose_layers(layers, ["last", "layer_2"], "x") == ["layer_2", "layer_12"]
    assert choose_layers(layers, ["layer_1?", "layer_?"], "x") == LAYERS


# What is said of it


@pytest.fixture
def samples(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(N):
        Image.new("RGB", (4, 4), (9 * number, 0, 0)).save(folder / f"{number:02d}.png")
    row = {"dataset": "d", "source": "folder", "name": str(folder), "modality": "image"}
    make_samples(row, 0, tmp_path / "d.parquet")
    return tmp_path / "d.parquet"


def test_orders_are_stated(tmp_path, samples, caplog, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, x in ranges(2).items():
        np.savez(folder / f"{name}.npz", **dict.fromkeys(("b", "a"), x))
    out = tmp_path / "out.safetensors"
    with caplog.at_level(logging.INFO):
        import_features(folder, samples, "m", out, order="samples")
    np.testing.assert_array_equal(read_layer(out, "a"), X)
    header = read_header(out)["provenance"]
    names = "features_0-2.npz, features_2-4.npz, …, features_24-26.npz"
    assert header["blocks"] == f"13 in the order of their numbers: {names}"
    assert header["last_layer"] == "a of 2, in the order of the file"
    assert names in caplog.text and "the last layer is a of 2" in caplog.text
    layers_of(tmp_path / "x.safetensors", LAYERS)
    command = ["import", str(tmp_path / "x.safetensors"), "--samples", str(samples), "--model", "m"]
    assert main([*command, "--order", "samples", "--layer", "last", "-o", str(out)]) == 0
    wanted = "layer_12 of 13, in the natural order of their names"
    assert f"last layer: {wanted}" in capsys.readouterr().out
    assert read_header(out)["layers"] == ["layer_12"]
    assert read_header(out)["provenance"]["last_layer"] == wanted
    np.testing.assert_array_equal(read_layer(out, "layer_12"), X + 12)


def test_nothing_is_stated_where_nothing_was_ordered(tmp_path, samples):
    as_npy(tmp_path, "x", X)
    import_features(tmp_path / "x.npy", samples, "m", tmp_path / "o.safetensors", order="samples")
    assert not {"blocks", "last_layer"} & set(read_header(tmp_path / "o.safetensors")["provenance"])
    assert listed(["a", "b"]) == "2 in the order of their numbers: a, b"


def test_samples_in_the_order_of_letters_are_told(tmp_path, samples, caplog):
    as_npy(tmp_path, "x", X)
    out = tmp_path / "o.safetensors"
    import_features(tmp_path / "x.npy", samples, "m", out, order="samples")
    assert not caplog.records
    for path in sorted((tmp_path / "pictures").iterdir()):
        path.rename(path.with_name(f"{int(path.stem)}.png"))
    row = {"dataset": "d", "source": "folder", "name": str(tmp_path / "pictures")}
    make_samples({**row, "modality": "image"}, 0, samples)
    import_features(tmp_path / "x.npy", samples, "m", out, order="samples")
    assert "where row 2 is 10.png" in caplog.text and "that row is 2.png" in caplog.text
    caplog.clear()
    ids = read_samples(samples).table["id"].tolist()
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    import_features(tmp_path / "x.npy", samples, "m", out, ids_path=tmp_path / "ids.txt")
    assert not caplog.records


# What stands in names and columns that are no layers


def test_layers_counted_from_the_end_come_last(tmp_path):
    names = ["layer_-1", "layer_-2", "layer_-12", "layer_0", "layer_3"]
    save_file({name: X for name in names}, tmp_path / "x.safetensors")
    with h5py.File(tmp_path / "x.h5", "w") as stream:
        for name in names:
            stream[name] = X
    wanted = ["layer_0", "layer_3", "layer_-12", "layer_-2", "layer_-1"]
    for path in (tmp_path / "x.safetensors", tmp_path / "x.h5"):
        assert list(read_foreign(path).pieces[0].layers) == wanted


def test_a_dash_behind_a_word_is_no_sign(tmp_path):
    names = ["layer-10", "layer-2", "a.1-3", "a.1-20"]
    save_file({name: X for name in names}, tmp_path / "x.safetensors")
    found = list(read_foreign(tmp_path / "x.safetensors").pieces[0].layers)
    assert found == ["a.1-3", "a.1-20", "layer-2", "layer-10"]


def units(**more):
    return {"u0": X[:, 0].astype(np.float64), "u1": X[:, 1].astype(np.float64), **more}


@pytest.mark.parametrize("index", [range(3, 3 + 5 * N, 5), [f"row {i}" for i in range(N)]])
def test_an_index_of_pandas_is_no_unit(tmp_path, index):
    pd.DataFrame(units(), index=index).to_parquet(tmp_path / "x.parquet")
    (x,) = read_foreign(tmp_path / "x.parquet").pieces[0].layers.values()
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (units(target_id=np.arange(N)), "'target_id' holds whole numbers"),
        (units(path=["a"] * N), "'path' holds .*no numbers; leave it out, or call it one of ids"),
        (units(when=pd.date_range("2020", periods=N)), "'when' holds timestamp.*no numbers"),
        ({"emb": list(X), "width": np.arange(N)}, "'width' stands beside the layer 'emb'"),
    ],
)
def test_a_column_that_is_no_unit_is_told(tmp_path, table, told):
    pd.DataFrame(table).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(FeaturesError, match=told):
        read_foreign(tmp_path / "x.parquet")


def test_a_folder_of_other_names_says_what_it_holds(tmp_path):
    for i in range(2):
        np.save(tmp_path / f"part-{i:05d}-of-00002.npy", X)
    with pytest.raises(FeaturesError, match=r"but part-00000-of-00002.npy, .* call blocks so"):
        read_foreign(tmp_path)


def test_columns_of_long_lists_are_layers(tmp_path):
    column = pa.array(X.tolist(), pa.large_list(pa.float32()))
    pq.write_table(pa.table({"emb": column}), tmp_path / "x.parquet")
    np.testing.assert_array_equal(read_foreign(tmp_path / "x.parquet").pieces[0].layers["emb"], X)


def test_what_holds_no_numbers_is_named(tmp_path):
    np.savez(tmp_path / "x.npz", features=X, filenames=[f"{i}.png" for i in range(N)])
    with pytest.raises(FeaturesError, match=r"'filenames' holds .* call it one of ids, id"):
        read_foreign(tmp_path / "x.npz")
    torch.save(torch.tensor(X).to_sparse(), tmp_path / "x.pt")
    with pytest.raises(FeaturesError, match=r"it is a sparse tensor .* plain tensor"):
        read_foreign(tmp_path / "x.pt")
