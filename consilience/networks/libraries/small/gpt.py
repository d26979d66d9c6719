"""A transformer that predicts each byte of a text from those before it (Radford et al. 2019).

Bytes with learned positions go through `depth` blocks of `width` units and `heads` heads, whose
perceptrons have `expand` times as many, each state seeing those before it, and a normalisation,
behind which are the features, one for each byte. The scores of the next byte are their products
with the vectors of the bytes that enter (`tied`), or with others. `dropout` is that of the blocks
and of what enters them.
"""

import torch
from torch import Tensor, nn

from consilience.networks import TOKENS, Task
from consilience.networks.attention import Block, places, symbol_vectors
from consilience.networks.classifier import Classifier, at_least_one, expect


class Embedding(nn.Module):
    """From bytes (b, t) to features (b, t, d)."""

    def __init__(self, task: Task, blocks: nn.ModuleList, width: int, dropout: float) -> None:
        super().__init__()
        self.bytes = symbol_vectors(task.vocabulary, width)
        self.places = places(task.shape[0], width)
        self.dropout, self.blocks, self.norm = nn.Dropout(dropout), blocks, nn.LayerNorm(width)

    def forward(self, symbols: Tensor) -> Tensor:
        """Returns (b, t, d)."""
        x = self.dropout(self.bytes(symbols) + self.places[: symbols.shape[1]])
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


def build(
    task: Task,
    *,
    width: int = 64,
    depth: int = 2,
    heads: int = 2,
    expand: int = 4,
    dropout: float = 0.0,
    tied: bool = True,
) -> Classifier:
    """Returns the network of a task on texts."""
    at_least_one(width=width, depth=depth, heads=heads, expand=expand)
    expect(task, ("text",), TOKENS)
    blocks = [Block(width, heads, expand * width, dropout, causal=True) for _ in range(depth)]
    embedding = Embedding(task, nn.ModuleList(blocks), width, dropout)
    head = nn.Linear(width, task.vocabulary, bias=False)
    with torch.no_grad():
        head.weight.copy_(embedding.bytes.weight)
    if tied:
        head.weight = embedding.bytes.weight
    names = tuple(f"embedding.blocks.{block}" for block in range(depth))
    return Classifier(embedding, head, names)
