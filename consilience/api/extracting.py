"""What a model makes of pictures, texts, a dataset or a loader's batches."""

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from consilience.api.catalogue import Row, row_of, rows
from consilience.api.loading import Model, load_model
from consilience.api.values import Features
from consilience.datasets import Sample
from consilience.datasets.folder import decode
from consilience.errors import ConfigError, DataError, FeaturesError
from consilience.registry import did_you_mean

if TYPE_CHECKING:
    from PIL.Image import Image

SEED = 0
"""Of studies that do not say."""


def extract(
    model: Any,  # noqa: ANN401
    data: Any,  # noqa: ANN401
    *,
    batch_size: int = 8,
    workers: int = 0,
    device: str = "auto",
    **cells: Any,  # noqa: ANN401
) -> Features:
    """Returns what each layer of a model makes of n samples.

    Args:
        model: from `load_model`, or what that takes; or any object with `layers`, `preprocess` and
            `extract` as `consilience.models.Extractor` has them.
        data: one of

            - a list of pictures: PIL images, arrays (h, w, 3) of uint8, or paths;
            - a list of texts, for a model that reads text;
            - an array (n, d) of numbers, for a model that reads vectors;
            - a dataset: its id in config/datasets.tsv, a row as there, or a folder of pictures. Of
              a large one those samples are taken that a study takes (column `cap`, seed 0);
            - a `torch.utils.data.DataLoader`, or any iterable of batches: tensors (b, …), or tuples
              that begin with one, that the network reads as they are. Nothing preprocesses them
              but what made them.

        batch_size: samples per forward pass; of texts, 128 tokens count as one sample.
        workers: processes that decode and preprocess; 0: this one does.
        device: where it computes, if the model is loaded here.
        **cells: of the model's row to change, if it is loaded here, such as `layers="all"`.

    Returns:
        {layer: (n, d) float32}, in order of depth.

    Raises:
        ConfigError: an unknown model, dataset or column, with the nearest known one.
        DataError: a picture cannot be read.
        ModelError: the model cannot be loaded, or cannot read a sample.
        FeaturesError: features that are not finite, or of no fixed width.

    Cost: a forward pass over all samples; on a CPU one thread computes, as in the workflow, so
    that numbers do not depend on how many there are.
    """
    row = _dataset(data)
    if isinstance(model, str | Mapping):
        model = load_model(model, device=device, **cells)
    elif cells:
        name = next(iter(cells))
        raise ConfigError(f"{name!r} cannot be changed of a loaded model; give it to load_model")
    if hasattr(getattr(model, "extractor", model), "read"):
        raise ConfigError(
            "this model is features that another tool made; compare their files themselves"
        )
    run = _Run(model, batch_size, workers)
    if row is not None:
        return run.on_dataset(row)
    if isinstance(data, Sequence | np.ndarray) or _is_indexed(data):
        return run.on_stimuli(data)
    if isinstance(data, Iterable):
        return run.on_batches(data)
    raise FeaturesError(
        f"data are pictures, texts, a dataset or a loader of batches, not a {type(data).__name__}"
    )


def _is_indexed(data: Any) -> bool:  # noqa: ANN401
    """Returns whether data are stimuli by number, as torch's map-style datasets are."""
    return hasattr(data, "__getitem__") and hasattr(data, "__len__") and not _is_tensor(data)


def _is_tensor(data: Any) -> bool:  # noqa: ANN401
    return hasattr(data, "detach") and hasattr(data, "shape")


def _dataset(data: Any) -> Row | None:  # noqa: ANN401
    """Returns the row of the dataset that is named; None: stimuli are given themselves."""
    if isinstance(data, Mapping):
        return row_of("datasets", data, {})
    if isinstance(data, Path) or (isinstance(data, str) and Path(data).is_dir()):
        if not Path(data).is_dir():
            raise ConfigError(f"{data}: there is no such folder; of single pictures give a list")
        name = "".join(c if c.isalnum() or c in "_-" else "_" for c in Path(data).resolve().name)
        row = {"dataset": name.lstrip("_-") or "pictures", "source": "folder", "name": str(data)}
        return row_of("datasets", row | {"modality": "image"}, {})
    if isinstance(data, str):
        if data not in rows("datasets"):
            raise ConfigError(
                f"{data!r} is no dataset of config/datasets.tsv, no folder and no list of stimuli"
                f"{did_you_mean(data, rows('datasets'))}"
            )
        return row_of("datasets", data, {})
    return None


class _Run:
    """A model at work."""

    def __init__(self, model: Any, batch_size: int, workers: int) -> None:  # noqa: ANN401
        if batch_size < 1 or workers < 0:
            raise ConfigError(
                f"batch_size is {batch_size}, workers {workers}; the least are 1 and 0"
            )
        known = isinstance(model, Model)
        self.extractor = model.extractor if known else model
        self.name = model.name if known else type(model).__name__
        self.device = model.device if known else "cpu"
        self.modality = model.modality if known else ""
        self.batch_size, self.workers = batch_size, workers

    def on_dataset(self, row: Row) -> Features:
        """Returns the features of those samples of a dataset that a study takes."""
        from consilience.datasets import open_dataset  # noqa: PLC0415 - pictures' libraries
        from consilience.samples import iterate, make_samples, read_samples  # noqa: PLC0415

        if row.get("parent"):
            raise ConfigError(
                f"{row['dataset']!r} is a view of {row['parent']!r}; extract that and take its rows"
            )
        self._check_modality(row)
        with tempfile.TemporaryDirectory(prefix="consilience-") as folder:
            path = Path(folder, f"samples/{row['dataset']}.parquet")
            path.parent.mkdir()
            make_samples(row, SEED, path)
            samples = read_samples(path)
        dataset = open_dataset({**row, **samples.pin})
        ids = samples.table["id"].tolist()
        found = self._run(lambda: iterate(dataset, samples), ids, row["dataset"], dataset)
        return self._features(found, row["dataset"], samples.hash, ids)

    def on_stimuli(self, data: Any) -> Features:  # noqa: ANN401
        """Returns the features of pictures, texts or vectors, one after the other."""
        if not len(data):
            raise FeaturesError("there are no stimuli; give at least one")
        ids = [str(k) for k in range(len(data))]
        rows = partial(_samples, data, self.modality)
        return self._features(self._run(rows, ids, "the stimuli"), "", "", ids)

    def on_batches(self, data: Iterable[Any]) -> Features:
        """Returns the features of what a loader has preprocessed already."""
        from consilience.features.forward import Forward, steady  # noqa: PLC0415 - PyTorch

        forward = Forward(self.extractor, sys.maxsize, place=self.name)
        parts: list[dict[str, np.ndarray]] = []
        done = 0
        with steady(self.device):
            for given in data.split(self.batch_size) if _is_tensor(data) else data:
                batch = given[0] if isinstance(given, tuple | list) else given
                ids = [str(done + k) for k in range(len(batch))]
                parts.append(self._collect(ids, [(np.arange(len(ids)), batch, 1)], forward))
                done += len(ids)
        if not parts:
            raise FeaturesError("the loader has no batches; give at least one")
        widths = {name: {part[name].shape[1] for part in parts} for name in parts[0]}
        for name, found in widths.items():
            if len(found) > 1:
                raise FeaturesError(
                    f"{self.name}, layer {name!r}: batches have {sorted(found)} values per sample; "
                    "make all inputs of one size"
                )
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return self._features(whole, "", "", [str(k) for k in range(done)])

    def _run(
        self,
        rows: Callable[[], Iterable[tuple[int, Sample]]],
        ids: Sequence[str],
        where: str,
        dataset: Any = None,  # noqa: ANN401
    ) -> dict[str, np.ndarray]:
        """Returns {layer or output: (n, d)} of samples that the model preprocesses."""
        from consilience.features import batches  # noqa: PLC0415 - PyTorch
        from consilience.features.forward import Forward, steady  # noqa: PLC0415 - PyTorch

        size = getattr(self.extractor, "size", None)
        limit = self.batch_size * (batches.TOKENS if size else 1)
        chunk = batches.CHUNK if size else self.batch_size
        wanted = np.ones(len(ids), dtype=bool)
        place = f"model {self.name!r}, {where}"
        with steady(self.device):
            if dataset is not None and hasattr(self.extractor, "begin"):
                self.extractor.begin(dataset)
            stream = batches.Stream(rows, self.extractor.preprocess, wanted, chunk, self.workers)
            made = batches.make_batches(stream.chunks(), size, limit)
            forward = Forward(self.extractor, limit, place=place)
            return self._collect(ids, ((b.rows, b.inputs, b.cost) for b in made), forward)

    def _collect(
        self,
        ids: Sequence[str],
        batches: Iterable[tuple[np.ndarray, Any, int]],
        forward: Any,  # noqa: ANN401
    ) -> dict[str, np.ndarray]:
        """Returns what the network makes of batches (rows, inputs, cost), checked as it comes."""
        from consilience.features.extract import Collector  # noqa: PLC0415 - PyTorch

        collector = Collector(
            self.extractor, ids, "float32", f"model {self.name!r}", _Kept(len(ids))
        )
        for places, inputs, cost in batches:
            start = 0
            for count, outputs in forward(inputs, cost):
                collector.add(outputs, places[start : start + count])
                start += count
        collector.finish()
        found = {name: np.empty(e.shape, e.dtype) for name, e in collector.entries().items()}
        collector.fill(found)
        return found

    def _features(
        self, found: Mapping[str, np.ndarray], dataset: str, samples: str, ids: Sequence[str]
    ) -> Features:
        layers = {name: found[name] for name in self.extractor.layers}
        outputs = {name: x for name, x in found.items() if name not in layers}
        return Features(self.name, layers, outputs, dataset, samples, ids)

    def _check_modality(self, row: Row) -> None:
        if self.modality and self.modality not in row["modality"].split("+"):
            raise ConfigError(
                f"{self.name} reads {self.modality}, and {row['dataset']!r} holds {row['modality']}"
            )


class _Kept:
    """Where a `Collector` of features that stay in memory finds that nothing was made before."""

    notes: tuple[Mapping[str, int], ...] = ()

    def __init__(self, n: int) -> None:
        self.done = np.zeros(n, dtype=bool)
        self.widths: dict[str, int] = {}

    def parts(self) -> tuple:
        """Returns what an earlier run made: nothing."""
        return ()


def _samples(data: Any, modality: str) -> Iterator[tuple[int, Sample]]:  # noqa: ANN401
    for k in range(len(data)):
        yield k, _sample(k, data[k], modality)


def _sample(k: int, given: Any, modality: str) -> Sample:  # noqa: ANN401
    """Returns a stimulus as models take it; of a tuple, such as (picture, label), the first."""
    if isinstance(given, tuple | list) and len(given):
        given = given[0]
    place = f"stimulus {k}"
    if isinstance(given, str) and modality != "image":
        return Sample(str(k), place, text=given)
    if isinstance(given, str | Path):
        return Sample(str(k), str(given), image=partial(decode, Path(given), str(given)))
    if isinstance(given, np.ndarray) and given.ndim == 1:
        return Sample(str(k), place, vector=given.astype(np.float32))
    return Sample(str(k), place, image=partial(_picture, given, place))


def _picture(given: Any, place: str) -> "Image":  # noqa: ANN401
    """Returns a picture as RGB."""
    from PIL import Image  # noqa: PLC0415 - not for texts

    bytes_ = isinstance(given, np.ndarray) and given.dtype == np.uint8
    if bytes_ and (given.ndim == 2 or (given.ndim == 3 and given.shape[2] in (3, 4))):
        return Image.fromarray(given).convert("RGB")
    if not isinstance(given, Image.Image):
        what = f"{given.dtype} {given.shape}" if hasattr(given, "shape") else type(given).__name__
        raise DataError(
            f"{place} is a {what}; pictures are PIL images, paths or arrays (h, w, 3) of uint8, "
            "and tensors that a network reads as they are come from a DataLoader"
        )
    return given.convert("RGB")
