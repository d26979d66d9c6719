"""Pictures of which something else than their class is learnt; see `networks.objectives`.

What is drawn for a picture (views, masks, turns) depends on its id, the epoch, and the seed `draw`
of the model; for scores on its id alone, so that all models are scored on the same.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from consilience.alterations.draws import keys, order_ids
from consilience.alterations.streams import stream
from consilience.networks import CONTRASTIVE, IMAGE_TEXT, MASKED, ROTATION, Task
from consilience.networks.objectives import TURNS
from consilience.networks.symbols import SPECIAL, Words, find_vocabulary, pad
from consilience.train.labelled import Score
from consilience.train.losses import image_text_loss, nt_xent

SCORED = 2048
"""Pictures that are scored at a time, where the loss does not depend on it."""


class Unlabelled:
    """What all of these have in common.

    Args:
        ids: of the n samples.
        pictures: (n, channels, h, w) bytes.
        spec: what is trained; `objective_options` holds all options of the objective.
        device: where batches are to lie.
    """

    least = 1
    """Pictures that a batch needs."""
    together = False
    """Whether the loss depends on how many pictures there are in a batch."""
    blind = ""
    """The answer whose loss is `chance`."""

    def __init__(
        self, ids: Sequence[str], pictures: Tensor, spec: Mapping[str, Any], device: str
    ) -> None:
        how, size = spec["input"], spec["training"].get("batch_size", 128)
        self._ids, self.pictures, self.n = list(ids), pictures.to(device), len(pictures)
        self._mean, self._deviation, self._device = how["mean"], how["deviation"], device
        self._objective, self._options = spec["objective"], spec["objective_options"]
        self.task = Task("image", tuple(pictures.shape[1:]), 0, objective=self._objective)
        batch = self.n if size == "all" else min(size, self.n)
        parts = max(self.n // (batch if self.together else SCORED), 1)
        order = torch.from_numpy(order_ids(self._ids, "score").copy())
        self._scored = list(torch.tensor_split(order, parts))
        self._score_keys = keys(self._ids, self._objective, "score")
        self._keys = self._keys_of(spec["seeds"])

    def _keys_of(self, seeds: Mapping[str, int]) -> Any:  # noqa: ANN401
        return keys(self._ids, self._objective, seeds["study"], seeds["draw"])

    def of_model(self, seeds: Mapping[str, int]) -> Self:
        """Returns the same pictures with the draws of another model."""
        other = copy.copy(self)
        other._keys = self._keys_of(seeds)
        return other

    def numbers(self, rows: Tensor, count: int, epoch: int | None, *more: int) -> Tensor:
        """Returns (b, count) numbers in [0, 1): of an epoch of training, or of scores (None)."""
        own = self._score_keys if epoch is None else self._keys
        found = stream(own[rows.cpu().numpy()], count, 0 if epoch is None else epoch, *more)
        return torch.from_numpy(found).float().to(self._device)

    def shares(self, rows: Tensor) -> Tensor:
        """Returns pictures with values in [0, 1]."""
        return self.pictures[rows].float() / 255

    def scaled(self, shares: Tensor) -> Tensor:
        """Returns pictures as a network takes them."""
        return (shares - self._mean) / self._deviation

    def compare(self, network: nn.Module, rows: Tensor, epoch: int | None) -> Tensor:
        """Returns the mean loss on pictures as an epoch sees them, or scores do (None)."""
        raise NotImplementedError

    @property
    def chance(self) -> float:
        """The loss of a network that sees nothing: `blind`."""
        raise NotImplementedError

    def loss(
        self, network: nn.Module, rows: Tensor, smoothing: float = 0.0, epoch: int = 0
    ) -> Tensor:
        """Returns the mean loss on a batch in training."""
        del smoothing  # of classes
        return self.compare(network, rows, epoch)

    @torch.no_grad()
    def score(self, network: nn.Module) -> Score:
        """Returns the mean loss over all pictures; a head that tells no class has no accuracy."""
        losses = (float(self.compare(network, rows, None)) * len(rows) for rows in self._scored)
        return Score(sum(losses) / self.n, None, self.n)

    def _mean_of(self, of_count: Any) -> float:  # noqa: ANN401 - a function of a number
        """Returns the mean over scored pictures of what depends on how many are scored together."""
        return sum(of_count(len(rows)) * len(rows) for rows in self._scored) / self.n


class Contrastive(Unlabelled):
    """Two views of each picture are to be more alike than those of others (Chen et al. 2020).

    A view is a random part of the picture of at least `crop` of its side, at full size (bilinear),
    mirrored with probability `flip`, whose contrast (about its mean) is multiplied by a factor in
    1 ± `jitter`, to which a value in ± `jitter` / 2 is added, cut to [0, 1].
    """

    least = 2
    together = True
    blind = "all views alike"

    @property
    def chance(self) -> float:
        """log(2n - 1), n the pictures that are scored together."""
        return self._mean_of(lambda n: math.log(2 * n - 1))

    def compare(self, network: nn.Module, rows: Tensor, epoch: int | None) -> Tensor:
        """Returns the normalised cross-entropy of two views, from one pass of both."""
        views = torch.cat([self.view(rows, epoch, number) for number in range(2)])
        first, second = network(views).float().chunk(2)
        return nt_xent(first, second, self._options["temperature"])

    def view(self, rows: Tensor, epoch: int | None, number: int) -> Tensor:
        """Returns one view of each picture, as a network takes it."""
        side, x, y, flip, contrast, light = self.numbers(rows, 6, epoch, number).T
        pictures, how = self.shares(rows), self._options
        side = how["crop"] + (1 - how["crop"]) * side
        affine = torch.zeros(len(rows), 2, 3, device=self._device)
        affine[:, 0, 0] = torch.where(flip < how["flip"], -side, side)
        affine[:, 1, 1] = side
        affine[:, 0, 2], affine[:, 1, 2] = (1 - side) * (2 * x - 1), (1 - side) * (2 * y - 1)
        grid = affine_grid(affine, list(pictures.shape), align_corners=False)
        found = grid_sample(pictures, grid, padding_mode="border", align_corners=False)
        mean, jitter = found.mean((1, 2, 3), keepdim=True), how["jitter"]
        factor = (1 + jitter * (2 * contrast - 1)).view(-1, 1, 1, 1)
        more = (jitter * (light - 0.5)).view(-1, 1, 1, 1)
        return self.scaled(((found - mean) * factor + mean + more).clamp(0, 1))


class Masked(Unlabelled):
    """What is hidden of a picture is to be told from the rest (He et al. 2022, as a principle).

    Of the squares of `patch` x `patch` pixels ⌊ratio · count⌋, at least one, are hidden: they have
    the value that enters as 0. The loss is the mean squared error over hidden pixels alone.
    """

    blind = "the mean of each pixel"

    @property
    def chance(self) -> float:
        """The mean over pixels of their variance over pictures: each is hidden equally often."""
        total, squares = 0.0, 0.0
        for rows in self._scored:
            found = self.scaled(self.shares(rows)).double()
            total, squares = total + found.sum(0), squares + (found**2).sum(0)
        return float((squares / self.n - (total / self.n) ** 2).mean())

    def compare(self, network: nn.Module, rows: Tensor, epoch: int | None) -> Tensor:
        """Returns the mean squared error over hidden pixels."""
        pictures, hidden = self.scaled(self.shares(rows)), self.hidden(rows, epoch)
        found = network(pictures.masked_fill(hidden, 0.0)).float()
        return ((found - pictures) ** 2 * hidden).sum() / (hidden.sum() * pictures.shape[1])

    def hidden(self, rows: Tensor, epoch: int | None) -> Tensor:
        """Returns (b, 1, h, w), which pixels are hidden."""
        patch, (high, wide) = self._options["patch"], self.task.shape[1:]
        high, wide = high // patch, wide // patch
        order = self.numbers(rows, high * wide, epoch).argsort(dim=1, stable=True)
        count = max(int(self._options["ratio"] * high * wide), 1)
        found = torch.zeros(order.shape, dtype=torch.bool, device=self._device)
        found.scatter_(1, order[:, :count], value=True)
        found = found.view(-1, 1, high, wide)
        return found.repeat_interleave(patch, 2).repeat_interleave(patch, 3)


class Rotation(Unlabelled):
    """By which of four turns a picture was turned is to be told (Gidaris et al. 2018)."""

    blind = "all turns alike"
    chance = math.log(TURNS)

    def compare(self, network: nn.Module, rows: Tensor, epoch: int | None) -> Tensor:
        """Returns the mean cross-entropy of the turns, one for each picture."""
        turns = (TURNS * self.numbers(rows, 1, epoch)[:, 0]).long().clamp(max=TURNS - 1)
        return cross_entropy(network(self.turned(rows, turns)).float(), turns)

    def turned(self, rows: Tensor, turns: Tensor) -> Tensor:
        """Returns pictures turned by so many right angles, (b,)."""
        pictures = self.scaled(self.shares(rows))
        every = torch.stack([torch.rot90(pictures, k, (2, 3)) for k in range(TURNS)])
        return every[turns, torch.arange(len(rows), device=self._device)]


class ImageText(Unlabelled):
    """Pictures and their texts are to be more alike than those of others.

    Args:
        *given: see `Unlabelled`.
        texts: of the n samples.
        tokens, vocabulary: most words of a text, and of all.
        like: the task of the training data, if these are others: its words have symbols.
        **more: see `Unlabelled`.
    """

    least = 2
    together = True
    blind = "all pictures and texts alike"

    def __init__(
        self,
        *given: Any,  # noqa: ANN401
        texts: Sequence[str],
        tokens: int,
        vocabulary: int,
        like: Task | None = None,
    ) -> None:
        super().__init__(*given)
        words = find_vocabulary(texts, vocabulary) if like is None else like.words
        self.task = replace(self.task, words=words, vocabulary=SPECIAL + len(words))
        read = Words(replace(self.task, shape=(tokens,)))
        found = [tuple(read(text)[0]) for text in texts]
        numbers = {text: number for number, text in enumerate(dict.fromkeys(found))}
        self.which = torch.tensor([numbers[text] for text in found]).to(self._device)
        self.symbols = pad(list(numbers)).to(self._device)
        """(k, t) of the texts that there are."""

    @property
    def chance(self) -> float:
        """log(n), n the pictures that are scored together."""
        return self._mean_of(math.log)

    def compare(self, network: nn.Module, rows: Tensor, epoch: int | None) -> Tensor:
        """Returns the symmetric cross-entropy of pictures and their texts, as they are."""
        del epoch  # nothing is drawn
        there, which = self.which[rows].unique(return_inverse=True)
        texts = getattr(network, "module", network).head.read(self.symbols[there])
        pictures = network(self.scaled(self.shares(rows)))
        return image_text_loss(pictures.float(), texts.float(), which, self._options["temperature"])


KINDS: dict[str, type[Unlabelled]] = {
    CONTRASTIVE: Contrastive,
    MASKED: Masked,
    ROTATION: Rotation,
    IMAGE_TEXT: ImageText,
}
"""By objective."""
