"""How far an attack on one network misleads another one."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from consilience.causes.selection import SELF
from consilience.errors import DataError
from consilience.features.forward import choose_device, device_name
from consilience.files import write_table
from consilience.networks.exact import exactly
from consilience.transfer.attack import Attack, mislead, signs_of
from consilience.transfer.networks import CHUNK, Network, Pictures, read_network, read_pictures

logger = logging.getLogger(__name__)

LEAST = 50
"""Pictures that a success is a share of."""
COLUMNS = (
    dict.fromkeys(["dataset", "kind", "family", "train_set", "draw"], "str")
    | {"overlap": "float64", "control": "str", "model_x": "str", "model_y": "str", "side_x": "str",
       "side_y": "str", "size": "int64", "eps": "float64", "steps": "int64",
       "momentum": "float64", "n_known": "int64", "n": "int64", "n_flat": "int64"}
    | dict.fromkeys(["clean_x", "clean_y", "success", "success_noise", "success_published"],
                    "float64")
    | {"failure": "string"}
)  # fmt: skip
"""Of the table, with their types."""


@dataclass(frozen=True)
class Trials:
    """Which attacks are made, with which pictures."""

    eps: Sequence[float | str]
    """The most that pixels change, as numbers or `16/255`."""
    steps: int
    momentum: Sequence[float]
    """Each with each eps; 0 is PGD."""
    images: int
    """The most pictures."""
    seed: int
    """Of the study."""

    @property
    def sizes(self) -> list[float]:
        """Each eps as a number."""
        return [parse_eps(value) for value in self.eps]

    @property
    def attacks(self) -> list[Attack]:
        """All of them."""
        return [Attack(eps, self.steps, mu) for eps, mu in product(self.sizes, self.momentum)]


@dataclass(frozen=True)
class Seen:
    """What a network makes of pictures."""

    known: np.ndarray
    """(n,) whether it knows their class."""
    labels: np.ndarray
    """(n,) their class as it numbers them; −1: it has none."""
    right: np.ndarray
    """(n,) whether it finds that."""
    noisy: Mapping[float, np.ndarray]
    """For each eps (n,) whether it does so under random signs."""


def look(network: Network, pictures: Pictures, sizes: Sequence[float]) -> Seen:
    """Returns what a network makes of pictures, as they are and under random signs.

    Args:
        network: of the shape of the pictures.
        pictures: n of them.
        sizes: of the signs, eps.
    """
    labels = network.numbers(pictures.names)[pictures.labels]
    known, pixels = labels >= 0, pictures.pixels
    noisy = {
        eps: known & (network.answers(signs_of(pictures.ids, pixels, eps)) == labels)
        for eps in sizes
    }
    return Seen(known, labels, known & (network.answers(pixels) == labels), noisy)


def compare(
    x: Network, seen: Mapping[str, Seen], others: Sequence[Network], pictures: Pictures,
    attack: Attack, least: int = LEAST,
) -> list[dict[str, Any]]:  # fmt: skip
    """Returns a row for each of other networks, and one for x, of an attack on x.

    Of the n pictures that both find right as they are, and whose class both know:
    success = share that y finds no more, success_noise = the same under random signs.
    success_published = share of all pictures of classes that both know which y has wrong under the
    attack, what it had wrong before included. Fewer than `least` pictures give no value.

    Args:
        x: what is attacked.
        seen: for x and each of the others what it makes of the pictures.
        others: victims; those that take pictures of another shape get a reason for no value.
        pictures: of the shape that x takes.
        attack: how.
        least: pictures for a value.
    """
    own = seen[x.id]
    misled, flat = pictures.pixels.clone(), np.zeros(len(own.known), bool)
    for rows in torch.from_numpy(np.flatnonzero(own.known)).split(CHUNK):
        labels = torch.from_numpy(own.labels)[rows].to(misled.device)
        made, still = mislead(x.scores, pictures.pixels[rows], labels, attack)
        misled[rows], flat[rows.numpy()] = made, still.cpu().numpy()
    found = []
    for y in (x, *others):
        row = {"model_x": x.id, "model_y": y.id, "size": x.shape[1], **vars(attack)}
        if y.shape != x.shape:
            failure = f"the networks take pictures of {_said(x)} and of {_said(y)}"
            found.append(row | dict.fromkeys(("n_known", "n", "n_flat"), 0) | {"failure": failure})
            continue
        right = y.answers(misled) == seen[y.id].labels
        found.append(row | _shares(own, seen[y.id], right, flat, attack.eps, least))
    return found


def _said(network: Network) -> str:
    return f"{network.shape[0]} channels and {network.shape[1]} pixels"


def _shares(
    x: Seen, y: Seen, right: np.ndarray, flat: np.ndarray, eps: float, least: int
) -> dict[str, Any]:
    """Returns the numbers of a row; (n,) whether y is right under the attack, what is flat of x."""
    known, both = x.known & y.known, x.right & y.right
    n_known, n, n_flat = int(known.sum()), int(both.sum()), int((both & flat).sum())
    found: dict[str, Any] = {"n_known": n_known, "n": n, "n_flat": n_flat}
    if n_known:
        found |= {"clean_x": x.right[known].mean(), "clean_y": y.right[known].mean()}
    if n_known >= least:
        found["success_published"] = 1 - right[known].mean()
    if n >= least:
        kept = y.noisy[eps][both]
        return found | {"success": 1 - right[both].mean(), "success_noise": 1 - kept.mean()}
    if not n_known:
        return found | {"failure": "no picture is of a class that both networks know"}
    return found | {
        "failure": f"both networks find {n} of {n_known} pictures right, and fewer than {least} "
        "give no value; raise causes.transfer.images"
    }


def make_transfer(
    weights: Mapping[str, str | Path],
    samples_path: str | Path,
    outs: Mapping[str, str | Path],
    *,
    row: Mapping[str, Any],
    victims: Mapping[str, Mapping[str, Mapping[str, Any]]],
    learnt: Mapping[str, str],
    device: str = "auto",
    **how: Any,  # noqa: ANN401
) -> None:
    """Writes results/transfer/{dataset}/{model}.parquet for several models that are attacked.

    Args:
        weights: for each model, attacked or a victim, its file of trained weights.
        samples_path: results/samples/{dataset}.parquet.
        outs: for each model that is attacked the table to write, with the columns of `COLUMNS`.
        row: of the dataset.
        victims: for each of them its victims, with what the study says of the pair: `kind`,
            `family`, `train_set`, `draw`, `overlap`, `control`, `side_x`, `side_y`.
        learnt: for each model the hash of what it was to learn.
        device: `auto` (CUDA if there is any), or a name that PyTorch knows.
        **how: the fields of `Trials`.

    Raises:
        DataError: the samples have no classes, or none that models did not learn from.
        ModelError: a network that tells no classes of pictures.

    Cost: for each model and attack `steps` passes forward and back, and one pass of each victim.
    """
    device = choose_device(device)
    trials = Trials(**how)
    with exactly(device):
        networks = {m: read_network(path, m, device, learnt[m]) for m, path in weights.items()}
        tables = _tables(networks, row, samples_path, victims, trials, device)
    made = {"device": device_name(device), "least": LEAST, "settings": vars(trials)}
    for model, out in outs.items():
        table = pd.DataFrame(tables[model], columns=list(COLUMNS))
        write_table(table.assign(dataset=row["dataset"]).astype(COLUMNS), out, made)


def _tables(
    networks: Mapping[str, Network],
    row: Mapping[str, Any],
    samples_path: str | Path,
    victims: Mapping[str, Mapping[str, Mapping[str, Any]]],
    trials: Trials,
    device: str,
) -> dict[str, list[dict[str, Any]]]:
    """Returns the rows of each model that is attacked."""
    sets: dict[tuple[int, int], Pictures] = {}
    seen: dict[str, Seen] = {}
    given = {"count": trials.images, "seed": trials.seed, "device": device}
    for network in networks.values():
        if network.shape not in sets:
            learnt = any(one.learnt == row["dataset"] for one in networks.values())
            sets[network.shape] = read_pictures(
                row, samples_path, network.shape, learnt=learnt, **given
            )
        seen[network.id] = look(network, sets[network.shape], trials.sizes)
    found: dict[str, list[dict[str, Any]]] = {}
    for model, partners in victims.items():
        x, others = networks[model], [networks[name] for name in partners]
        told = {model: own_row(partners)} | dict(partners)
        found[model] = [
            told[made["model_y"]] | made
            for attack in trials.attacks
            for made in compare(x, seen, others, sets[x.shape], attack)
        ]
        logger.info("model %s: %d victims, %d rows", model, len(others), len(found[model]))
    return found


def own_row(partners: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what is said of a model as its own victim: what all its pairs have in common."""
    first = next(iter(partners.values()), {})
    kept = {key: first.get(key, "") for key in ("kind", "family", "train_set", "draw", "side_x")}
    return kept | {"side_y": kept["side_x"], "overlap": np.nan, "control": SELF}


def parse_eps(value: float | str) -> float:
    """Returns the largest change of a pixel, of [0, 1], given as a number or as `16/255`.

    Raises:
        DataError: it is not from 0 to 1.
    """
    top, _, bottom = str(value).partition("/")
    number = float(top) / float(bottom or 1)
    if not 0 <= number <= 1:
        raise DataError(
            f"causes.transfer.eps: {value} is not from 0 to 1, the range of pixels; write 16/255 "
            "for 16 of 255 levels"
        )
    return number
