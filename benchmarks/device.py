"""Measures a GPU against this machine's CPU and against its own rates: writes benchmarks/device.md.

Usage, on a machine with a CUDA device, in one command of less than 8 minutes:

    python benchmarks/device.py [--samples 10000] [--models 64] [--device cuda]

Wall seconds, with the device's work waited for. Tables are made by `pairwise`, as a study makes
them. The CPU's table is not made but scaled from tables of a few models, with a thread for each
core. On a CPU it refuses, as its page is of a GPU; `--device cpu --small`
checks that all of it runs, and writes nothing.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from consilience import __version__
from consilience.datasets import Sample
from consilience.features.extract import Collector
from consilience.features.forward import Forward, autocast, device_name, tune
from consilience.features.shards import Shards
from consilience.metrics import InnerProductMetric, Metric, get_metric
from consilience.models import load_model
from consilience.networks import Task as NetworkTask
from consilience.networks import build
from consilience.probe import ProbeSettings, probe
from consilience.similarity import Engine, pairwise
from consilience.similarity import task as tasks
from consilience.train.labelled import Labelled
from consilience.train.settings import Settings
from consilience.train.single import Single

OUT = Path(__file__).with_suffix(".md")
WIDTHS = (768, 1024)
METRICS = {
    "cka": {},
    "cka of distances": {"kernel": "rbf", "sigma": 0.8},
    "rsa": {},
    "distance_correlation": {},
    "procrustes": {},
    "shape": {},
    "nbs": {},
    "bures": {},
    "aligned_cosine": {},
    "cca": {},
    "svcca": {},
    "pwcca": {},
}
SUBSETS = (2, 5)
"""Models of the tables that the CPU makes, from which a model's and a pair's cost follow."""
SLOW = {"pwcca": 16}
"""Models of the tables of metrics whose pairs a device takes one by one."""
LIMIT = 1e-6


class Clock:
    """Wall seconds of a device that works while the program goes on."""

    def __init__(self, device: str) -> None:
        self.cuda = torch.device(device).type == "cuda"
        self.device = device

    def __call__(self, work: Callable[[], object]) -> tuple[float, object]:
        """Returns the seconds that work takes and what it gives."""
        self.wait()
        began = time.perf_counter()
        result = work()
        self.wait()
        return time.perf_counter() - began, result

    def wait(self) -> None:
        """Waits for the device."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def peak(self, *, reset: bool = False) -> float:
        """Returns the most memory that was taken since the last reset, in GiB."""
        if not self.cuda:
            return 0.0
        if reset:
            torch.cuda.reset_peak_memory_stats(self.device)
        return torch.cuda.max_memory_allocated(self.device) / 2**30


def sides(n: int, models: int, widths: tuple[int, int]) -> dict[str, np.ndarray]:
    """Float32 rows of unit norm that share 32 dimensions, of falling strength in the others."""
    rng = np.random.default_rng(0)
    shared, found = rng.standard_normal((n, 32), dtype=np.float32), {}
    for m in range(models):
        d = widths[m % 2]
        x = shared @ rng.standard_normal((32, d), dtype=np.float32)
        x += rng.standard_normal((n, d), dtype=np.float32) * (8 / np.arange(1, d + 1) ** 0.5)
        found[f"m{m:03}"] = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return found


def product_rate(clock: Clock, dtype: torch.dtype, size: int) -> float:
    """Returns multiply-adds a second, times 2, of a square product in full precision."""
    x = torch.rand((size, size), device=clock.device, dtype=dtype)
    clock(lambda: x @ x)
    return 2 * size**3 / statistics.median(clock(lambda: x @ x)[0] for _ in range(5))


def operations(name: str, n: int, models: int, widths: tuple[int, int]) -> float:
    """Returns the operations of a table that cannot be avoided."""
    pairs = models * (models - 1) / 2 * (2 if name == "pwcca" else 1)
    if isinstance(get_metric(name), InnerProductMetric):
        return n * n * statistics.mean(widths) * models + pairs * n * n
    return pairs * 2.0 * n * widths[0] * widths[1]


def tables(clock: Clock, n: int, models: int, widths: tuple[int, int]) -> list[str]:
    """Returns the page's lines about tables of all models."""
    x = sides(n, models, widths)
    rates = {
        kind: product_rate(clock, kind, widths[1] * 4) for kind in (torch.float32, torch.float64)
    }
    lines = [
        f"This device's products, of square matrices: {rates[torch.float32] / 1e12:.1f} TFLOP/s in "
        f"float32 without TF32, {rates[torch.float64] / 1e12:.1f} in float64.",
        "",
        "| metric | device, s | CPU, s (scaled) | times | share of the rate | peak GiB | largest "
        "difference |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    cpu = Engine(threads=os.cpu_count() or 1, max_memory=16 * 2**30)
    there = Engine(threads=cpu.threads, max_memory=cpu.max_memory, device=clock.device)
    far = []
    for label, parameters in METRICS.items():
        name = label.split()[0]
        metric = get_metric(name, **parameters)
        count = min(models, SLOW.get(name, models))
        given = dict(list(x.items())[:count])
        pairwise(metric, dict(list(x.items())[:2]), engine=there)  # loads kernels
        clock.peak(reset=True)
        spent, table = clock(lambda m=metric, g=given: pairwise(m, g, engine=there))
        peak = clock.peak()
        scaled, part = on_cpu(clock, metric, x, count, cpu)
        both = part.merge(table, on=["model_x", "model_y"], suffixes=("", "_there"))
        off = float((both["value"] - both["value_there"]).abs().max())
        tiled = isinstance(metric, InnerProductMetric)
        rate = rates[torch.float32 if tiled else torch.float64]
        fewer = "" if count == models else f", {count} models"
        share = operations(name, n, count, widths) / spent / rate
        lines.append(
            f"| {label}{fewer} | {spent:.2f} | {scaled:.1f} | {scaled / spent:.1f} | {share:.0%} | "
            f"{peak:.1f} | {off:.1e} |"
        )
        if not off <= LIMIT * (1 + float(both["value"].abs().max())):
            far.append(f"{label} by {off:.1e}")
    lines += [
        "",
        f"{models} models, n = {n:,}, {widths[0]} and {widths[1]} units. The CPU made the table of "
        f"{' and '.join(map(str, SUBSETS))} models with {cpu.threads} threads; what a model and a "
        "pair take follows from both, and the table from that. Share: of the device's rate of "
        "float32 (rotations: float64) products, of the operations that cannot be avoided: "
        "Gram matrices and their products, or cross products. Difference: of all values that "
        "both made.",
        "",
        "**Further apart than 1e-6: " + "; ".join(far) + ".**" if far else "All within 1e-6.",
    ]
    return lines


def on_cpu(
    clock: Clock, metric: Metric, x: dict[str, np.ndarray], models: int, engine: Engine
) -> tuple[float, pd.DataFrame]:
    """Returns the seconds that a table takes on the CPU, from smaller ones, and the larger."""
    spent = []
    for count in SUBSETS:
        some = dict(list(x.items())[:count])
        seconds, table = clock(lambda s=some: pairwise(metric, s, engine=engine))
        spent.append(seconds)
    low, high = SUBSETS
    pair = (spent[1] / high - spent[0] / low) / ((high - 1) / 2 - (low - 1) / 2)
    pair = max(0.0, pair)
    model = max(0.0, spent[1] / high - pair * (high - 1) / 2)
    return models * model + models * (models - 1) / 2 * pair, table


def language_model(folder: Path, *, small: bool) -> dict[str, str]:
    """Writes a language model's configuration and a tokenizer of words, and returns its row."""
    from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: PLC0415
    from transformers import LlamaConfig, PreTrainedTokenizerFast  # noqa: PLC0415

    size = (32, 2, 2, 1, 64, 100) if small else (576, 30, 9, 3, 1536, 49_152)
    width, blocks, heads, keys, inner, words = size
    config = LlamaConfig(
        hidden_size=width,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=keys,
        intermediate_size=inner,
        vocab_size=words,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(folder)
    vocabulary = {"[UNK]": 0, **{f"w{i}": i for i in range(1, 100)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[UNK]")
    fast.save_pretrained(folder)
    row = {"model": "lm", "source": "transformers", "name": str(folder), "weights": "random"}
    return {**row, "modality": "text", "layers": "last"}


def extraction(clock: Clock, folder: Path, *, small: bool) -> list[str]:
    """Returns the page's lines about features: the network alone, and all that is beside it."""
    vit = {"model": "vit", "source": "timm", "weights": "random"}
    vit["name"] = "test_vit" if small else "vit_base_patch16_224"
    count, batch = (8, 4) if small else (2048, 128)
    rng = np.random.default_rng(0)
    lines = [
        "| network | precision | bare pass, ms a sample | extraction | beside it | peak GiB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for label, row in (
        ("ViT-B/16", vit),
        ("135 M language model", language_model(folder, small=small)),
    ):
        for precision, compiled in (("none", False), ("bfloat16", False), ("bfloat16", True)):
            if small and precision != "none":
                continue
            extractor = load_model(row, clock.device)
            tune(extractor, clock.device, precision=precision, compiled=compiled)
            if row is vit:
                edge = int(extractor.network.patch_embed.img_size[0])
                inputs = list(torch.rand((count, 3, edge, edge)).unbind())
            else:
                texts = [" ".join(f"w{i}" for i in rng.integers(1, 100, 128)) for _ in range(count)]
                inputs = [
                    extractor.preprocess(Sample(str(i), "", text=t)) for i, t in enumerate(texts)
                ]
            context = autocast(precision, clock.device)
            parts = [inputs[i : i + batch] for i in range(0, count, batch)]
            bare, whole = one_way(clock, extractor, parts, context, batch), []
            clock.peak(reset=True)
            for turn in range(3):
                shards = Shards(folder / f"{precision}{compiled}{turn}.safetensors", "0", count)
                ids = [str(i) for i in range(count)]
                collector = Collector(extractor, ids, "float32", label, shards)
                forward = Forward(extractor, batch, context, label)
                whole.append(clock(lambda f=forward, c=collector, p=parts: run(f, c, p))[0])
            ratio = statistics.median(whole) / bare - 1
            name = precision + (", compiled" if compiled else "")
            each = f"{1000 * bare / count:.3f} | {1000 * statistics.median(whole) / count:.3f}"
            lines.append(f"| {label} | {name} | {each} | {ratio:+.1%} | {clock.peak():.1f} |")
    lines += [
        "",
        f"{count} samples, batches of {batch}, texts of 128 tokens, random weights; medians of 3. "
        "The bare pass repeats one batch that lies on the device. Extraction is everything from "
        "decoded samples to checked arrays; decoding is done by other processes, and not counted.",
    ]
    return lines


def one_way(clock: Clock, extractor: object, parts: list, context: Callable, batch: int) -> float:
    """Returns the seconds of as many passes of the network alone."""
    given: dict[str, object] = {}
    network = extractor.network

    def keep(_module: object, args: tuple, kwargs: dict) -> None:
        given.update(args=args, kwargs=kwargs)

    hook = network.register_forward_pre_hook(keep, with_kwargs=True)
    with torch.inference_mode(), context():
        extractor.extract(parts[0])
    hook.remove()

    def passes() -> None:
        with torch.inference_mode(), context():
            for _ in parts:
                network(*given["args"], **given["kwargs"])

    passes()
    return statistics.median(clock(passes)[0] for _ in range(3))


def run(forward: Forward, collector: Collector, parts: list) -> None:
    """Extracts all parts."""
    start = 0
    with torch.inference_mode():
        for part in parts:
            for count, outputs in forward(part):
                collector.add(outputs, np.arange(start, start + count))
                start += count


def probes(clock: Clock, *, small: bool) -> list[str]:
    """Returns the page's lines about one probe."""
    n, d, classes = (300, 16, 3) if small else (10_000, 768, 100)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    x = rng.standard_normal((classes, d))[labels] + 3 * rng.standard_normal((n, d))
    train, spent, found = np.arange(n) % 5 > 0, {}, {}
    for device in ("cpu", clock.device):
        settings = ProbeSettings(seeds=(0,), device=device)
        spent[device], table = clock(lambda s=settings: probe(x, labels, train, s))
        found[device] = float(table["top1"].iloc[0])
    same = abs(found["cpu"] - found[clock.device])
    return [
        f"One probe of {n:,} rows, {d} units, {classes} classes, all penalties: "
        f"{spent[clock.device]:.1f} s, on the CPU {spent['cpu']:.1f} s; top-1 accuracies differ by "
        f"{same:.1e}."
    ]


def training(clock: Clock, *, small: bool) -> list[str]:
    """Returns the page's lines about training a small network."""
    n, steps, batch = (64, 3, 16) if small else (5000, 300, 256)
    data, spent = torch.rand((n, 3, 32, 32)), {}
    labels = torch.randint(10, (n,), generator=torch.manual_seed(0))
    task = NetworkTask("image", (3, 32, 32), 10)
    for device in ("cpu", clock.device):
        count = max(2, steps // (10 if device == "cpu" else 1))
        given = Labelled(data, labels, 10, "image", device)
        settings = Settings.of({"lr": 1e-3, "steps": count, "batch_size": batch})
        network = build("small:cnn", {}, task, 0).to(device)
        single = Single(network, given, settings, {"order": 0, "noise": 0}, nullcontext)
        single.step(0)
        spent[device] = clock(lambda s=single, c=count: [s.step(i) for i in range(1, c)])[0]
        spent[device] /= count - 1
    return [
        f"A step of a small convolutional network, 32 × 32 pixels, batches of {batch}: "
        f"{1000 * spent[clock.device]:.2f} ms, on the CPU {1000 * spent['cpu']:.1f} ms."
    ]


def main(arguments: list[str] | None = None) -> str:
    """Measures, and writes the page if the device is a GPU; returns it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args(arguments)
    cuda = given.device.startswith("cuda")
    if cuda and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --device cpu --small checks that all of it runs")
    if not cuda and not given.small:
        parser.error("the page is of a GPU; add --small, which checks that all of it runs")
    # the engine's `cpu` is this package, `cpu:0` PyTorch's own CPU, which takes a GPU's way
    clock = Clock("cpu:0" if given.device == "cpu" else given.device)
    small = given.small
    n, models, widths = (300, 6, (72, 96)) if small else (given.samples, given.models, WIDTHS)
    before, began = tasks.TILED_SAMPLES, time.perf_counter()
    tasks.TILED_SAMPLES = 1 if small else before
    try:
        with tempfile.TemporaryDirectory() as folder:
            parts = {
                "Tables": tables(clock, n, models, widths),
                "Features": extraction(clock, Path(folder), small=small),
                "Probes": probes(clock, small=small),
                "Training": training(clock, small=small),
            }
    finally:
        tasks.TILED_SAMPLES = before
    lines = [
        "# A GPU against the CPU",
        "",
        f"By `python benchmarks/device.py`, consilience {__version__}, torch {torch.__version__}, "
        f"{device_name(given.device)}, {os.cpu_count()} CPU cores; "
        f"{time.perf_counter() - began:.0f} s in all.",
    ]
    for title, own in parts.items():
        lines += ["", f"## {title}", "", *own]
    page = "\n".join(lines) + "\n"
    if cuda and not small:
        OUT.write_text(page, encoding="utf8")
    return page


if __name__ == "__main__":
    sys.stdout.write(main())
