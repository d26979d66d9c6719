"""Heads of networks that learn something else than classes from pictures.

What enters a head are the features, as of a classifier; in training alone is the head used. With
one seed, embeddings of all objectives begin at the same weights, for heads are drawn after them.

- `contrastive`: a perceptron of one hidden layer, of the width of the features, to `JOINT` numbers
  (Chen et al. 2020, SimCLR).
- `masked`: a perceptron of one hidden layer of `DECODER` units, to the pixels of the whole picture;
  it sees the features alone, whatever the network, and no state of a patch.
- `rotation`: linear scores of four turns (Gidaris et al. 2018).
- `image_text`: a linear map to `JOINT` numbers, beside which stands the text side: the mean of
  learned vectors of a text's words, and a linear map of it (Radford et al. 2021, CLIP, with a small
  text side).
"""

import torch
from torch import Tensor, nn

from consilience.networks import CONTRASTIVE, IMAGE_TEXT, MASKED, ROTATION, Task
from consilience.networks.symbols import PADDING

JOINT = 128
"""Numbers of a projection."""
DECODER = 256
TURNS = 4
"""By 0, 90, 180 and 270 degrees."""


def objective_head(task: Task, dimension: int) -> nn.Module:
    """Returns the head of a network that learns one of `OF_PICTURES`.

    Args:
        task: with the objective; of texts the symbols, of pictures the shape.
        dimension: of the features that enter it.
    """
    if task.objective == CONTRASTIVE:
        return _perceptron(dimension, dimension, JOINT)
    if task.objective == MASKED:
        return Decoder(dimension, task.shape)
    if task.objective == ROTATION:
        return nn.Linear(dimension, TURNS)
    if task.objective == IMAGE_TEXT:
        return TextSide(dimension, task.vocabulary)
    raise ValueError(f"no head for {task.objective!r}")


def _perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class Decoder(nn.Module):
    """From features (b, d) to pictures (b, channels, h, w)."""

    def __init__(self, dimension: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.network = _perceptron(dimension, DECODER, int(torch.Size(shape).numel()))

    def forward(self, features: Tensor) -> Tensor:
        """Returns (b, channels, h, w)."""
        return self.network(features).view(-1, *self.shape)


class TextSide(nn.Module):
    """From features (b, d) to vectors (b, `JOINT`), which texts have too."""

    def __init__(self, dimension: int, symbols: int) -> None:
        super().__init__()
        self.pictures = nn.Linear(dimension, JOINT)
        self.symbols = nn.Embedding(symbols, JOINT)
        nn.init.normal_(self.symbols.weight, std=JOINT**-0.5)
        self.texts = nn.Linear(JOINT, JOINT)

    def forward(self, features: Tensor) -> Tensor:
        """Returns (b, `JOINT`), of any length."""
        return self.pictures(features)

    def read(self, texts: Tensor) -> Tensor:
        """Returns vectors (k, `JOINT`), of any length, of texts (k, t), padded."""
        seen = (texts != PADDING).unsqueeze(2).float()
        return self.texts((self.symbols(texts) * seen).sum(1) / seen.sum(1).clamp_min(1))
