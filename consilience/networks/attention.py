"""Blocks of transformers."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from consilience.errors import ConfigError


class Attention(nn.Module):
    """Attention of several heads (Vaswani et al. 2017).

    Args:
        width: of states; a multiple of `heads`.
        heads: how many.
        dropout: of attention weights.
        causal: whether a state sees those before it only.
    """

    def __init__(self, width: int, heads: int, dropout: float, *, causal: bool) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"width {width} is no multiple of {heads} heads")
        self.heads, self.dropout, self.causal = heads, dropout, causal
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """Returns (b, t, d) of states (b, t, d); `seen`: (b, t), which of them may be seen."""
        b, t, d = x.shape
        q, k, v = self.into(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mask = None if seen is None else seen[:, None, None]
        dropout = self.dropout if self.training else 0.0
        found = scaled_dot_product_attention(q, k, v, mask, dropout, self.causal)
        return self.out(found.transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    """Attention and a perceptron with GELU, each with a way past it and a normalisation.

    Args:
        width: of states.
        heads: of the attention.
        hidden: units of the perceptron.
        dropout: behind both, and of attention weights.
        first: whether normalisation stands before each of both, rather than behind the sum.
        causal: whether a state sees those before it only.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        dropout: float = 0.0,
        *,
        first: bool = True,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.first = first
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout, causal=causal)
        self.perceptron = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """Returns (b, t, d) of states (b, t, d); `seen`: (b, t), which of them may be seen."""
        if self.first:
            x = x + self.dropout(self.attention(self.norm1(x), seen))
            return x + self.dropout(self.perceptron(self.norm2(x)))
        x = self.norm1(x + self.dropout(self.attention(x, seen)))
        return self.norm2(x + self.dropout(self.perceptron(x)))


def places(count: int, width: int) -> nn.Parameter:
    """Returns learned positions (count, width), drawn with a deviation of 0.02."""
    return nn.Parameter(0.02 * torch.randn(count, width))


def symbol_vectors(count: int, width: int) -> nn.Embedding:
    """Returns learned vectors of symbols, (count, width), drawn with a deviation of 0.02.

    PyTorch's own deviation of 1 leaves positions and context little to say at first: a classifier
    of 2,400 glosses then ends at an accuracy of 0.57 rather than 0.75.
    """
    found = nn.Embedding(count, width)
    nn.init.normal_(found.weight, std=0.02)
    return found
