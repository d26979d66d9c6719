"""A transformer encoder that tells the class of a text (Vaswani et al. 2017).

Words, each a symbol of the vocabulary of the training texts, behind a class token, with learned
positions, go through `depth` blocks of `width` units and `heads` heads, whose perceptrons have
`expand` times as many, with normalisation behind each sum. Then come the state of the class token,
a linear map of it to `dimension` features if that is not 0, and a head: linear (with or without
`bias`), or with `labels` (a width) a perceptron over the labels, as in `small:mlp`. `dropout` is
that of the blocks and of what enters them.
"""

from torch import Tensor, nn

from consilience.networks import Task
from consilience.networks.attention import Block, places, symbol_vectors
from consilience.networks.classifier import Classifier, at_least_one, expect, make_head, output_map
from consilience.networks.symbols import PADDING


class Embedding(nn.Module):
    """From symbols (b, t) to features (b, d)."""

    def __init__(self, task: Task, blocks: nn.ModuleList, width: int, dropout: float) -> None:
        super().__init__()
        self.words = symbol_vectors(task.vocabulary, width)
        self.places = places(task.shape[0] + 1, width)
        self.norm, self.dropout, self.blocks = nn.LayerNorm(width), nn.Dropout(dropout), blocks
        self.out: nn.Module = nn.Identity()

    def forward(self, symbols: Tensor) -> Tensor:
        """Returns (b, d)."""
        seen = symbols != PADDING
        x = self.dropout(self.norm(self.words(symbols) + self.places[: symbols.shape[1]]))
        for block in self.blocks:
            x = block(x, seen)
        return self.out(x[:, 0])


def build(  # noqa: PLR0913 - options
    task: Task,
    *,
    width: int = 48,
    depth: int = 3,
    heads: int = 4,
    expand: int = 2,
    dropout: float = 0.1,
    dimension: int = 0,
    bias: bool = True,
    labels: int = 0,
) -> Classifier:
    """Returns the network of a task on texts."""
    at_least_one(width=width, depth=depth, heads=heads, expand=expand)
    expect(task, ("text",))
    blocks = [Block(width, heads, expand * width, dropout, first=False) for _ in range(depth)]
    embedding = Embedding(task, nn.ModuleList(blocks), width, dropout)
    embedding.out, dimension = output_map(width, dimension)
    head = make_head(task, dimension, bias=bias, labels=labels)
    names = tuple(f"embedding.blocks.{block}" for block in range(depth))
    return Classifier(embedding, head, names)
