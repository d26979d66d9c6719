"""Texts to learn from: words with a class each, or bytes of which the next one is learnt."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from consilience.errors import DataError
from consilience.networks import Task
from consilience.networks.symbols import (
    SPECIAL,
    bytes_of,
    find_vocabulary,
    pad,
    reader_of,
    tokenizer_of,
    vocabulary_of,
)
from consilience.train.labelled import Labelled, Score, entropy

IGNORED = -100
"""The target where nothing is to be predicted, as PyTorch has it."""


class Texts(Labelled):
    """Texts with a class each, as the numbers of their words or tokens.

    Args:
        texts: n of them.
        labels: (n,) classes.
        task: of the training data, with its vocabulary.
        device: where batches are to lie.
    """

    CHUNK = 512

    def __init__(self, texts: Sequence[str], labels: Tensor, task: Task, device: str) -> None:
        read = reader_of(task)
        symbols = [read(text)[0] for text in texts]
        super().__init__(pad(symbols, read.padding), labels, task.classes, "text", device)
        self.task = task
        self._lengths = torch.tensor(list(map(len, symbols)))

    @staticmethod
    def task_of_folder(folder: str, classes: int, tokens: int) -> Task:
        """Returns the task of texts that the tokenizer of a folder of transformers reads."""
        most = min(tokens, tokenizer_of(folder).model_max_length)
        return Task("text", (most,), classes, len(vocabulary_of(folder)), tokenizer=folder)

    @staticmethod
    def task_of(texts: Sequence[str], classes: int, tokens: int, words: int) -> Task:
        """Returns the task of training texts: their most frequent `words` are the vocabulary."""
        found = find_vocabulary(texts, words)
        return Task("text", (tokens,), classes, SPECIAL + len(found), words=found)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns symbols (b, t) and labels (b,), cut to the longest text of the batch."""
        symbols, labels = super().take(rows)
        return symbols[:, : int(self._lengths[rows].max())], labels


class Windows:
    """Windows of texts, of which each byte is to be predicted from those before it.

    A window has so many bytes as a network reads, and the one behind them. No window goes beyond
    the end of its text, whose last one may be shorter. In training a window that others follow
    begins up to its length later than it does when scored, drawn anew for each step.

    Args:
        texts: in the order of samples.
        task: says how many bytes a network reads.
        device: where batches are to lie.

    Raises:
        DataError: no text has two bytes.
    """

    CHUNK = 256
    """Windows that are scored at a time."""
    blind, least = "always answering the frequencies of bytes", 1

    def __init__(self, texts: Sequence[str], task: Task, device: str) -> None:
        self.task, self._width = task, task.shape[0]
        parts = [part for part in map(bytes_of, texts) if len(part) > 1]
        if not parts:
            raise DataError("no text has two bytes, so that there is none to predict")
        ends = torch.tensor([len(part) for part in parts]).cumsum(0)
        starts = torch.cat([torch.zeros(1, dtype=torch.long), ends[:-1]])
        pairs = [
            (start, end)
            for first, end in zip(starts.tolist(), ends.tolist(), strict=True)
            for start in range(first, end - 1, self._width)
        ]
        self._stream = torch.frombuffer(bytearray(b"".join(parts)), dtype=torch.uint8).to(device)
        self._starts, self._ends = torch.tensor(pairs, device=device).T.contiguous()
        self.n, self._texts = len(pairs), len(parts)
        predicted = torch.frombuffer(bytearray(b"".join(p[1:] for p in parts)), dtype=torch.uint8)
        self.chance = entropy(predicted.long())

    def take(self, starts: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the bytes (b, t) of windows and those behind each of them, (b, t)."""
        places = starts[:, None] + torch.arange(self._width + 1, device=starts.device)
        inside = places < ends[:, None]
        found = self._stream[places.clamp(max=len(self._stream) - 1)].long()
        return found[:, :-1], torch.where(inside, found, IGNORED)[:, 1:]

    def loss(
        self, network: nn.Module, rows: Tensor, smoothing: float = 0.0, epoch: int = 0
    ) -> Tensor:
        """Returns the mean cross-entropy of the predicted bytes of some windows."""
        starts, ends = self._starts[rows], self._ends[rows]
        later = starts + torch.randint(0, self._width, starts.shape).to(starts)
        begin = torch.maximum(torch.minimum(later, ends - self._width - 1), starts)
        inputs, targets = self.take(begin, ends)
        scores = network(inputs).flatten(0, 1)
        scores = scores.float() if scores.element_size() < 4 else scores
        return nn.functional.cross_entropy(scores, targets.flatten(), label_smoothing=smoothing)

    @torch.no_grad()
    def score(self, network: nn.Module) -> Score:
        """Returns the mean cross-entropy over all predicted bytes, and the share that is right."""
        loss, right, n = 0.0, 0, 0
        for start in range(0, self.n, self.CHUNK):
            part = slice(start, start + self.CHUNK)
            inputs, targets = self.take(self._starts[part], self._ends[part])
            scores, targets = network(inputs).flatten(0, 1).double(), targets.flatten()
            loss += float(nn.functional.cross_entropy(scores, targets, reduction="sum"))
            right += int((scores.argmax(1) == targets).sum())
            n += int((targets != IGNORED).sum())
        return Score(loss / n, right / n, self._texts)
