"""A vision transformer (Dosovitskiy et al. 2021) on small pictures.

Patches of `patch` x `patch` pixels and a class token, with learned positions, go through `depth`
blocks of `width` units and `heads` heads, whose perceptrons have `expand` times as many. Then come
the class token behind a normalisation, a linear map of it to `dimension` features if that is not 0,
and a head: linear (with or without `bias`), or with `labels` (a width) a perceptron over the
labels, as in `small:mlp`. `dropout` is that of the blocks.
"""

import torch
from torch import Tensor, nn

from consilience.errors import ConfigError
from consilience.networks import Task
from consilience.networks.attention import Block, places
from consilience.networks.classifier import Classifier, at_least_one, expect, make_head, output_map


class Embedding(nn.Module):
    """From pictures (b, channels, h, w) to features (b, d)."""

    def __init__(self, patches: nn.Module, count: int, blocks: nn.ModuleList, width: int) -> None:
        super().__init__()
        self.patches, self.blocks = patches, blocks
        self.start, self.places = places(1, width), places(count + 1, width)
        self.norm = nn.LayerNorm(width)
        self.out: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Returns (b, d)."""
        tokens = self.patches(x).flatten(2).mT
        x = torch.cat([self.start.expand(len(x), 1, -1), tokens], 1) + self.places
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x[:, 0]))


def build(  # noqa: PLR0913 - options
    task: Task,
    *,
    patch: int = 4,
    width: int = 64,
    depth: int = 4,
    heads: int = 4,
    expand: int = 4,
    dropout: float = 0.0,
    dimension: int = 0,
    bias: bool = True,
    labels: int = 0,
) -> Classifier:
    """Returns the network of a task on pictures of one size."""
    at_least_one(patch=patch, width=width, depth=depth, heads=heads, expand=expand)
    expect(task, ("image",))
    channels, size, _ = task.shape
    if size % patch:
        raise ConfigError(f"pictures of {size} pixels have no patches of {patch}; set input.size")
    blocks = [Block(width, heads, expand * width, dropout) for _ in range(depth)]
    cut = nn.Conv2d(channels, width, patch, stride=patch)
    embedding = Embedding(cut, (size // patch) ** 2, nn.ModuleList(blocks), width)
    embedding.out, dimension = output_map(width, dimension)
    head = make_head(task, dimension, bias=bias, labels=labels)
    names = tuple(f"embedding.blocks.{block}" for block in range(depth))
    return Classifier(embedding, head, names, prefix=1)
