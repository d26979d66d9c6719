"""Perceptrons: a network of its own, and what gives classes their vectors."""

from collections import OrderedDict

from torch import Tensor, nn

from consilience.errors import ConfigError

ACTIVATIONS = {"leaky_relu": nn.LeakyReLU, "relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


class FixedNorm(nn.Module):
    """Vectors scaled to one length L: L x / max(|x|, 1e-8)."""

    def __init__(self, length: float) -> None:
        super().__init__()
        self.length = length

    def forward(self, x: Tensor) -> Tensor:
        """Returns x: (…, d) with vectors of that length."""
        return self.length * x / x.norm(dim=-1, keepdim=True).clamp_min(1e-8)


class Perceptron(nn.Sequential):
    """Linear maps l1, l2, … with activations between them; the last one has no bias."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns (n, d) of inputs (n, …), flattened."""
        return super().forward(x.flatten(1))


def perceptron(
    inputs: int, width: int, depth: int, outputs: int, activation: str, norm: float
) -> Perceptron:
    """Returns a perceptron; `norm` 0 leaves the length of its outputs free."""
    if activation not in ACTIVATIONS:
        raise ConfigError(f"activation {activation!r} is none of {', '.join(ACTIVATIONS)}")
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for layer in range(1, depth + 1):
        parts[f"l{layer}"] = nn.Linear(inputs, width)
        parts[f"a{layer}"] = ACTIVATIONS[activation]()
        inputs = width
    parts[f"l{depth + 1}"] = nn.Linear(inputs, outputs, bias=False)
    if norm:
        parts["norm"] = FixedNorm(norm)
    return Perceptron(parts)
