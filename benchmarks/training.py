"""Measures what training small networks together saves: writes benchmarks/training.md.

The networks of the study `identifiability` (radial points, 4 classes, two features), 5 seeds of 4
widths: as stacks, as the step `train` takes them; one after another with the same code; and one
after another as the published loop does it, which runs f once per label and once more, in float32
with log-likelihoods in float64, over PyTorch's DataLoader. CPU seconds of one thread, not wall
clock; the three take turns in steps, and medians over rounds are given.

Usage: python benchmarks/training.py [--steps 300] [--rounds 5]
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from consilience import __version__
from consilience.datasets import open_dataset
from consilience.networks import Task, build
from consilience.train.altered import Stimuli
from consilience.train.inputs import open_data
from consilience.train.labelled import Labelled
from consilience.train.settings import Settings
from consilience.train.single import Single
from consilience.train.stacked import Stacked

ROW = {"dataset": "radial", "source": "synthetic", "name": "radial classes=4", "modality": "vector"}
SPEC = {"dataset": "radial", "modality": "vector", "objective": "classes", "input": {}}
WIDTHS, SEEDS, BATCH, CLASSES = (16, 32, 64, 128), 5, 128, 4
TASK = Task("vector", (2,), CLASSES)
STEPS = 15072
"""Of one model of the study."""
OUT = Path(__file__).with_suffix(".md")


def network(width: int, seed: int) -> nn.Module:
    """Returns f and g of one width as they are first."""
    return build("small:mlp", {"width": width, "dimension": 2, "labels": width}, TASK, seed)


def published(data: TensorDataset, width: int, seed: int, steps: int) -> None:
    """Trains one network as the published code does."""
    model = network(width, seed)
    optimiser = torch.optim.Adam(model.parameters(), 1e-4)
    labels, done = torch.eye(CLASSES)[:, :-1], 0
    while done < steps:
        for inputs, targets in DataLoader(data, BATCH, shuffle=True):
            scores = [
                (model.embedding(inputs) * model.head.network(labels[k : k + 1])).sum(1).double()
                for k in range(CLASSES)
            ]
            own = (model.embedding(inputs) * model.head.network(labels[targets])).sum(1).double()
            loss = (torch.logsumexp(torch.stack(scores, 1), 1) - own).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            done += 1
            if done == steps:
                return


def settings(steps: int) -> Settings:
    """Returns those of the study."""
    return Settings.of({"lr": 1e-4, "steps": steps, "batch_size": BATCH})


def stacked(data: Labelled, width: int, steps: int) -> None:
    """Trains all networks of one width together."""
    networks = [network(width, seed) for seed in range(SEEDS)]
    training = Stacked(networks, [data] * SEEDS, settings(steps), [{"order": 0}] * SEEDS)
    for step in range(steps):
        training.step(step)


def single(data: Labelled, width: int, steps: int) -> None:
    """Trains them one after another."""
    for seed in range(SEEDS):
        seeds = {"order": 0, "noise": 0}
        training = Single(network(width, seed), data, settings(steps), seeds, nullcontext)
        for step in range(steps):
            training.step(step)


def loop(data: Labelled, width: int, steps: int) -> None:
    """Trains them one after another as published."""
    for seed in range(SEEDS):
        published(TensorDataset(data.inputs, data.labels), width, seed, steps)


def main() -> None:
    """Measures and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = open_data(Stimuli(list(open_dataset(ROW)), CLASSES), SPEC)
    ways: dict[str, Callable[[Labelled, int, int], None]] = {
        "in a stack": stacked, "one by one": single, "the published loop": loop,
    }  # fmt: skip
    taken = {(way, width): [] for way in ways for width in WIDTHS}
    for _ in range(given.rounds):
        for width in WIDTHS:
            for way, run in ways.items():
                began = time.process_time()
                run(data, width, given.steps)
                taken[way, width].append(time.process_time() - began)
    OUT.write_text(page(taken, given.steps, given.rounds), encoding="utf8")
    print(OUT.read_text(encoding="utf8"))


def page(taken: dict[tuple[str, int], list[float]], steps: int, rounds: int) -> str:
    """Returns the page."""
    ways = list(dict.fromkeys(way for way, _ in taken))
    median = {key: statistics.median(values) for key, values in taken.items()}
    lines = [
        "# Training",
        "",
        f"By `python benchmarks/training.py`, consilience {__version__}, torch "
        f"{torch.__version__}, {platform.machine()}. CPU milliseconds per step of {SEEDS} "
        f"networks (radial points, 4 classes, batches of {BATCH}), one thread, medians of {rounds} "
        f"rounds of {steps} steps in which the ways take turns.",
        "",
        f"| width | {' | '.join(ways)} | published / stack |",
        f"| --- |{' --- |' * (len(ways) + 1)}",
    ]
    for width in WIDTHS:
        cells = [f"{1000 * median[way, width] / steps:.2f}" for way in ways]
        ratio = median[ways[-1], width] / median[ways[0], width]
        lines.append(f"| {width} | {' | '.join(cells)} | {ratio:.1f} |")
    total = {way: sum(median[way, width] for width in WIDTHS) for way in ways}
    cells = [f"{1000 * total[way] / steps:.2f}" for way in ways]
    ratio = total[ways[-1]] / total[ways[0]]
    whole = total[ways[0]] / steps * STEPS / 60
    lines += [
        f"| all | {' | '.join(cells)} | {ratio:.1f} |",
        "",
        f"All {len(WIDTHS) * SEEDS} networks of {STEPS} steps take {whole:.1f} CPU minutes in "
        "stacks.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
