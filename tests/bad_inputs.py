"""Files that are not what they say, drawn at random, and what reading each of them ends in.

Every kind of file that we read is written once as it should be and then spoilt: cut, flipped, with
pieces taken out, put in twice or written over, and with numbers that are far too large. What holds
a check sum of ours must read as it was or be refused; what others write may read as something else.
"""

import io
import json
import random
import re
import resource
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from campaign import CLEAR, SAME, SILENT, Ending, Finished, in_child
from gguf_files import GGUF_SETTINGS, gguf_tensors, write_gguf
from PIL import Image
from safetensors.numpy import save_file

from consilience.bundle import open_bundle, write_bundle
from consilience.config import load_study
from consilience.datasets import open_dataset
from consilience.errors import ConfigError, ConsilienceError
from consilience.features import read_layer
from consilience.features.foreign import read_foreign
from consilience.files import digest, read_table
from consilience.models import _gguf
from consilience.networks import Task, build
from consilience.networks.weights import read_trained, write_trained
from consilience.similarity.shelf import Shelf

ANOTHER = "read as something else"
"""An ending that is right where nothing in the file says what it should be."""
ROOM = 6 << 30
"""Bytes of address space that reading a file of some kilobytes may add."""


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    name: str
    file: Path
    read: Callable[[Path], str]
    """Returns a digest of all that was read."""
    sealed: bool
    """Whether a check sum of ours must find every change."""


def kinds(study: Finished, folder: Path) -> list[Kind]:
    """Writes a sound file of every kind and returns how each is read."""
    folder.mkdir(parents=True, exist_ok=True)
    kept, rng = study.kept, np.random.default_rng(0)
    features = next(kept.glob("features/one/p4.safetensors"))
    table = next(kept.glob("*/similarity/one/cka_debiased.parquet"))
    write_bundle(table.parents[2], folder / "bundle.zip")
    x = rng.normal(size=(48, 3)).astype(np.float32)
    np.save(folder / "x.npy", x)
    np.savez(folder / "x.npz", layer=x)
    save_file({"layer": x}, folder / "x.safetensors")
    pd.DataFrame(x, columns=["a", "b", "c"]).to_parquet(folder / "x.parquet")
    _shard(folder / "shard.tar")
    _parquet_dataset(folder / "train.parquet")
    _trained(folder / "trained.safetensors")
    write_gguf(folder / "model.gguf", GGUF_SETTINGS, gguf_tensors(8))
    Shelf(folder / "shelf" / "forms", ROOM).put("form", {"x": x}, {"n": 48})
    return [
        Kind("features", features, _features, sealed=True),
        Kind("table", table, _table, sealed=True),
        Kind("samples", kept / "samples" / "one.parquet", _table, sealed=True),
        Kind("bundle", folder / "bundle.zip", _bundle, sealed=True),
        Kind("trained weights", folder / "trained.safetensors", _weights, sealed=True),
        Kind("shelf", folder / "shelf" / "forms" / "form.safetensors", _shelf, sealed=True),
        Kind("model in GGUF", folder / "model.gguf", _language_model, sealed=False),
        *(
            Kind(f"imported {suffix}", folder / f"x.{suffix}", _foreign, sealed=False)
            for suffix in ("npy", "npz", "safetensors", "parquet")
        ),
        Kind("tar shard", folder / "shard.tar", _shards, sealed=False),
        Kind("dataset in Parquet", folder / "train.parquet", _parquet, sealed=False),
        Kind("picture", _picture(folder / "p.png"), _folder, sealed=False),
        *(
            Kind(name, study.folder / name, _study(study.folder, name), sealed=False)
            for name in (*CATALOGS.values(), "study.yaml")
        ),
    ]  # fmt: skip


def spoilt(kind: Kind, count: int, seed: int = 0) -> Iterator[bytes]:
    """Yields contents that differ from the sound one."""
    chance, sound = random.Random(f"{kind.name} {seed}"), kind.file.read_bytes()
    ways = [_cut, _flip, _take_out, _put_twice, _write_over, _enlarge]
    while count:
        content = chance.choice(ways)(sound, chance)
        if content != sound:
            count -= 1
            yield content


def ending_of(kind: Kind, content: bytes, folder: Path) -> Ending:
    """Reads a file with some content, in a child of bounded memory, and says what that ends in."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / kind.file.name
    path.write_bytes(content)
    note = folder / "note"
    note.unlink(missing_ok=True)

    def play() -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
        try:
            note.write_text(kind.read(path))
        except ConsilienceError as error:
            note.write_text(f"error: {error}")

    ending = in_child(play, folder / "log", seconds=20)
    if ending.kind != SAME:
        return ending
    said = note.read_text()
    if said.startswith("error: "):
        return Ending(CLEAR, said)
    if said == kind.read(kind.file):
        return ending
    return Ending(SILENT if kind.sealed else ANOTHER, said)


def _cut(sound: bytes, chance: random.Random) -> bytes:
    return sound[: chance.randrange(len(sound))]


def _flip(sound: bytes, chance: random.Random) -> bytes:
    content = bytearray(sound)
    for _ in range(chance.choice([1, 1, 2, 8])):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def _piece(sound: bytes, chance: random.Random) -> slice:
    start = chance.randrange(len(sound))
    return slice(start, start + chance.choice([1, 4, 16, 200]))


def _take_out(sound: bytes, chance: random.Random) -> bytes:
    piece = _piece(sound, chance)
    return sound[: piece.start] + sound[piece.stop :]


def _put_twice(sound: bytes, chance: random.Random) -> bytes:
    piece = _piece(sound, chance)
    return sound[: piece.stop] + sound[piece] + sound[piece.stop :]


def _write_over(sound: bytes, chance: random.Random) -> bytes:
    piece = _piece(sound, chance)
    size = len(sound[piece])
    filling = chance.choice([bytes(size), b"\xff" * size, chance.randbytes(size)])
    return sound[: piece.start] + filling + sound[piece.stop :]


def _enlarge(sound: bytes, chance: random.Random) -> bytes:
    """Writes a number that is far too large in the place of one."""
    found = list(re.finditer(rb"\d+", sound))
    if not found:
        return _write_over(sound, chance)
    place = chance.choice(found)
    number = chance.choice([b"99999999999", b"-1", b"9223372036854775807", b"1e999", b"0"])
    return sound[: place.start()] + number + sound[place.end() :]


def _features(path: Path) -> str:
    return _arrays([read_layer(path, "pixels")])


def _table(path: Path) -> str:
    return _frame(read_table(path))


def _bundle(path: Path) -> str:
    bundle = open_bundle(path)
    return digest([bundle.digest(), [_frame(bundle.table(name)) for name in bundle.files]])


def _weights(path: Path) -> str:
    trained = read_trained(path)
    return digest([trained.header, _arrays([x.numpy() for x in trained.state.values()])])


def _shelf(path: Path) -> str:
    """Returns what a shelf keeps; what is damaged it makes again, and says so."""
    place = path.parent / "taken" / "forms"  # by its name a file knows its own
    place.mkdir(parents=True, exist_ok=True)
    (place / "form.safetensors").write_bytes(path.read_bytes())
    found = Shelf(place, ROOM).get("form")
    if found is None:
        raise ConfigError("made again")
    return digest([_arrays(list(found[0].values())), found[1]])


def _language_model(path: Path) -> str:
    model, tokenizer, *_ = _gguf.load({"model": "m", "name": "x"}, path)
    state = [x.float().numpy() for x in model.state_dict().values()]
    return digest([_arrays(state), tokenizer.get_vocab()])


def _foreign(path: Path) -> str:
    pieces = read_foreign(path).pieces
    return _arrays([x for piece in pieces for x in piece.layers.values()])


def _arrays(arrays: list[np.ndarray]) -> str:
    return digest([[x.tobytes().hex(), list(x.shape), str(x.dtype)] for x in arrays])


def _frame(table: pd.DataFrame) -> str:
    return digest([table.to_csv(), json.dumps(table.attrs, sort_keys=True, default=str)])


def _folder(path: Path) -> str:
    """Returns what a folder of pictures holds in which the file lies beside a sound one."""
    root = path.parent / "root"
    (root / "a").mkdir(parents=True, exist_ok=True)
    _picture(root / "a" / "sound.png")
    (root / "a" / "p.png").write_bytes(path.read_bytes())
    return _samples({"source": "folder", "name": str(root)})


def _shards(path: Path) -> str:
    return _samples({"source": "webdataset", "name": str(path)})


def _parquet(path: Path) -> str:
    return _samples({"source": "huggingface", "name": str(path.parent), "splits": "train"})


def _samples(row: dict[str, str]) -> str:
    dataset = open_dataset({"dataset": "d", "modality": "image", **row})
    found = []
    for sample in dataset:
        picture = np.asarray(sample.image().convert("RGB")) if sample.image else np.zeros(1)
        found.append([sample.id, sample.label, sample.text, picture.tobytes().hex()])
    return digest(found)


def _study(home: Path, file: str) -> Callable[[Path], str]:
    """Returns a reader of a study with another file in the place of one of its own."""

    def read(path: Path) -> str:
        places = {name: home / name for name in CATALOGS.values()} | {file: path}
        try:
            config = yaml.safe_load(places.get("study.yaml", home / "study.yaml").read_bytes())
        except (yaml.YAMLError, ValueError) as error:
            raise ConfigError(f"as Snakemake says of it: {error}") from None
        if not isinstance(config, dict):
            raise ConfigError("as Snakemake says of it: no mapping")
        if isinstance(config.get("catalogs"), dict):
            config["catalogs"] = {kind: [str(places[n])] for kind, n in CATALOGS.items()}
        study = load_study(config)
        return digest([study.models, study.datasets, study.metrics, study.settings])

    return read


CATALOGS = {"models": "models.tsv", "datasets": "datasets.tsv", "metrics": "metrics.yaml"}


def _trained(path: Path) -> None:
    task, options = Task("vector", (2,), 4), {"width": 8, "dimension": 2, "labels": 8}
    network = build("small:mlp", options, task, 0)
    spec = {"architecture": "small:mlp", "options": options}
    write_trained(path, network.state_dict(), {"spec": spec, "task": task.as_dict()})


def _picture(path: Path) -> Path:
    pixels = np.random.default_rng(1).integers(0, 255, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def _shard(path: Path) -> None:
    picture = _picture(path.with_suffix(".png")).read_bytes()
    with tarfile.open(path, "w") as archive:
        for number in range(3):
            for suffix, content in (("png", picture), ("cls", str(number % 2).encode())):
                info = tarfile.TarInfo(f"{number}.{suffix}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def _parquet_dataset(path: Path) -> None:
    picture = _picture(path.with_suffix(".png")).read_bytes()
    images = [{"bytes": picture, "path": f"{k}.png"} for k in range(4)]
    pd.DataFrame({"image": images, "label": [0, 1, 0, 1]}).to_parquet(path)
