"""The tiled pass on a device of PyTorch, such as a GPU; see `consilience.similarity.engine.tiles`.

Tiles are as large as the device's memory lets them be. Values agree with those of the CPU to the
precision of float32, not in every digit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from consilience.errors import ConfigError
from consilience.forms.groups import Between
from consilience.forms.tiles import BINS, TileForm, TileSums, write_entries
from consilience.similarity.engine.tiles import INNER, entry_range

EDGES = (4096, 2048, 1024, 512)
CPU_MEMORY = 2 * 1024**3
"""What the pass takes at most where the device is the CPU."""


class _HostRows:
    """Features that the device cannot hold: rows travel when they are asked for."""

    def __init__(self, x: np.ndarray, device: str) -> None:
        self._x, self._device = torch.from_numpy(x), device

    def __getitem__(self, rows: slice) -> torch.Tensor:
        return self._x[rows].to(self._device)


def sums_on_device(
    models: Sequence[Sequence[TileForm]], device: str, groups: np.ndarray | None = None
) -> list[tuple[np.ndarray, list[TileSums]]]:
    """Returns for each kernel Σ a b off the diagonal for every two of M models, and their sums.

    Args:
        models: over the same n samples, each with the forms of its K kernels, which have the same
            rows and so share their products.
        device: a name that PyTorch knows.
        groups: (n,) pairs within one count as 0; None: all pairs count.

    Returns:
        K times a matrix (M, M) and M sums.

    Raises:
        ConfigError: PyTorch does not know the device, or this machine does not have it.
    """
    n, count, kernels = len(models[0][0].rows), len(models), len(models[0])
    free = free_memory(device)
    fits = sum(forms[0].nbytes for forms in models) < free // 2
    edge = next((e for e in EDGES if 4 * kernels * count * e * e < free // 4), EDGES[-1])
    with exact_products(), torch.inference_mode():
        moved = [_moved(forms, device, fits) for forms in models]
        tables = [
            _rank_table(here[0], forms[0], edge, groups)
            for here, forms in zip(moved, models, strict=True)
        ]
        products = torch.zeros((kernels, count, count), dtype=torch.float64, device=device)
        rows = torch.zeros((kernels, count, n), dtype=torch.float64, device=device)
        buffer = torch.empty((kernels, count, edge * edge), device=device)
        for i, j in _tiles(n, edge):
            shape = i.stop - i.start, j.stop - j.start
            size = shape[0] * shape[1]
            within = None if groups is None else _places(Between(groups).same(i, j), device)
            for m, forms in enumerate(moved):
                blocks = [buffer[k, m, :size].view(shape) for k in range(kernels)]
                _write(forms, tables[m], i, j, blocks)
                if within is not None:
                    buffer[:, m, :size][:, within] = 0
                for k, block in enumerate(blocks):
                    rows[k, m, i] += block.sum(1, dtype=torch.float64)
                    rows[k, m, j] += block.sum(0, dtype=torch.float64)
            for start in range(0, size, INNER):
                part = buffer[:, :, start : min(start + INNER, size)]
                products += (part @ part.mT).double()
        products, rows = 2 * products.cpu().numpy(), rows.cpu().numpy()
    return [
        (
            products[k],
            [
                TileSums(
                    rows[k, m],
                    float(products[k, m, m]),
                    *(forms[k].diagonal, forms[k].cubes, forms[k].heavy, forms[k].units),
                )
                for m, forms in enumerate(models)
            ],
        )
        for k in range(kernels)
    ]


def _write(
    forms: Sequence[TileForm],
    table: tuple[float, float, torch.Tensor] | None,
    i: slice,
    j: slice,
    blocks: Sequence[torch.Tensor],
) -> None:
    """Writes one model's entries above the diagonal, for each kernel into its block."""
    write_entries(forms, i, j, blocks)
    if table is not None:
        (last,), (low, scale, ranks) = blocks, table
        last.copy_(ranks[_steps(last, low, scale)])
    if i.start == j.start:
        for block in blocks:
            block.triu_(1)


def _places(found: np.ndarray, device: str) -> torch.Tensor:
    """Returns where a block is true, as places in its flat form."""
    return torch.from_numpy(np.flatnonzero(found)).to(device)


def _tiles(n: int, edge: int) -> list[tuple[slice, slice]]:
    starts = range(0, n, edge)
    parts = [slice(start, min(start + edge, n)) for start in starts]
    return [(i, j) for number, i in enumerate(parts) for j in parts[number:]]


@contextmanager
def exact_products() -> Iterator[None]:
    """Multiplies float32 as such, not in TF32, whatever the process is set to."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def free_memory(device: str) -> int:
    """Returns the bytes that a device has free; of the CPU, what may be taken.

    Raises:
        ConfigError: PyTorch does not know the device, or this machine does not have it.
    """
    try:
        torch.empty(0, device=device)
        kind = torch.device(device).type
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"similarity.device {device!r} cannot be used: {reason}; write cpu"
        ) from error
    return torch.cuda.mem_get_info(device)[0] if kind == "cuda" else CPU_MEMORY


def _moved(forms: Sequence[TileForm], device: str, fits: bool) -> list[TileForm]:
    """Returns the forms on the device, with one copy of their rows."""

    def tensor(x: np.ndarray | None) -> torch.Tensor | None:
        return None if x is None else torch.from_numpy(x).to(device)

    rows = tensor(forms[0].rows) if fits else _HostRows(forms[0].rows, device)
    half = tensor(forms[0].half)
    return [replace(form, rows=rows, half=half, offsets=tensor(form.offsets)) for form in forms]


def _rank_table(
    form: TileForm, own: TileForm, edge: int, groups: np.ndarray | None
) -> tuple[float, float, torch.Tensor] | None:
    """Returns the start of the steps, how many there are per unit, and the rank of each."""
    if not own.ranked:
        return None
    low, high = map(float, entry_range(own))
    scale, n = (BINS - 1) / (high - low), len(own.rows)
    counts: torch.Tensor | int = 0
    for i, j in _tiles(n, edge):
        steps = _steps(form.entries(i, j), low, scale)
        counted = torch.ones_like(steps, dtype=torch.bool)
        if i.start == j.start:
            counted.triu_(1)
        if groups is not None:
            counted.view(-1)[_places(Between(groups).same(i, j), str(steps.device))] = False
        if groups is not None or i.start == j.start:
            steps = steps[counted]
        counts = counts + torch.bincount(steps.flatten(), minlength=BINS)
    pairs = (n * (n - 1) if groups is None else Between(groups).pairs) / 2
    middle = counts.cumsum(0) - counts / 2
    return low, scale, ((middle - pairs / 2) / (pairs / np.sqrt(12))).float()


def _steps(block: torch.Tensor, low: float, scale: float) -> torch.Tensor:
    return ((block - low) * scale).clamp_(0, BINS - 1).long()
