"""Texts as networks see them, in training and after it: numbers of words or tokens, or bytes.

A word is what `split_words` says, in small letters. Symbols 0 to 2 are padding, any word that the
vocabulary lacks, and the class token, with which every text begins; `words[i]` is symbol i + 3.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from consilience.errors import ConfigError
from consilience.networks import Task
from consilience.networks.hub import find_folder

PADDING, UNKNOWN, CLASS = range(3)
SPECIAL = 3
"""Symbols before those of words."""
BYTES = 256
"""Symbols of texts that are read byte by byte."""
_WORD = re.compile(r"\[\w+\]|\w+(?:['’]\w+)*")


def split_words(text: str) -> list[str]:
    """Returns the words of a text: runs of letters and digits, also in brackets, in small letters.

    >>> split_words("[CLASS3] The dog's tail, 2 times.")
    ['[class3]', 'the', "dog's", 'tail', '2', 'times']
    """
    return _WORD.findall(text.lower())


def find_vocabulary(texts: Iterable[str], most: int) -> tuple[str, ...]:
    """Returns the most frequent words of texts, equally frequent ones in alphabetical order."""
    counts = Counter(word for text in texts for word in split_words(text))
    return tuple(sorted(counts, key=lambda word: (-counts[word], word))[:most])


class Words:
    """Reads texts by words, behind a class token.

    Args:
        task: says how many words are read at most, and which have a symbol of their own.
    """

    padding = PADDING

    def __init__(self, task: Task) -> None:
        self._most = task.shape[0]
        self._numbers = {word: number for number, word in enumerate(task.words, SPECIAL)}

    def __call__(self, text: str) -> tuple[list[int], bool]:
        """Returns the symbols of a text, and whether its end was cut off."""
        found = [self._numbers.get(word, UNKNOWN) for word in split_words(text)]
        return [CLASS, *found[: self._most]], len(found) > self._most

    def __str__(self) -> str:
        return f"at most {self._most} words of {len(self._numbers)}, behind a class token"


class Tokens:
    """Reads texts by the tokenizer of a folder of transformers.

    Args:
        task: says which folder, and how many tokens are read at most.

    Raises:
        ConfigError: the tokenizer has no token for padding.
    """

    def __init__(self, task: Task) -> None:
        self._most, self._tokenizer = task.shape[0], tokenizer_of(task.tokenizer)
        if self._tokenizer.pad_token_id is None:
            raise ConfigError(f"the tokenizer of {task.tokenizer} has no token for padding")
        self.padding: int = self._tokenizer.pad_token_id

    def __call__(self, text: str) -> tuple[list[int], bool]:
        """Returns the symbols of a text, and whether its end was cut off."""
        found = self._tokenizer(text, verbose=False)["input_ids"]
        if len(found) <= self._most:
            return list(found), False
        cut = self._tokenizer(text, truncation=True, max_length=self._most)
        return list(cut["input_ids"]), True

    def __str__(self) -> str:
        return f"{type(self._tokenizer).__name__}, at most {self._most} tokens"


def reader_of(task: Task) -> Words | Tokens:
    """Returns what reads the texts of a task."""
    return Tokens(task) if task.tokenizer else Words(task)


def tokenizer_of(folder: str) -> Any:  # noqa: ANN401
    """Returns the tokenizer of a folder of transformers; see `find_folder`."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - takes seconds, and few need it

    return AutoTokenizer.from_pretrained(
        find_folder(folder), local_files_only=True, trust_remote_code=False
    )


def vocabulary_of(folder: str) -> dict[str, int]:
    """Returns {token: symbol} of the tokenizer of a folder of transformers."""
    return tokenizer_of(folder).get_vocab()


def bytes_of(text: str) -> bytes:
    """Returns a text in UTF-8."""
    return text.encode("utf8", "surrogatepass")


def pad(texts: Sequence[Sequence[int]], padding: int = PADDING) -> Tensor:
    """Returns symbols (b, t) of texts, padded to the longest of them."""
    width = max(map(len, texts))
    found = torch.full((len(texts), width), padding)
    for row, text in enumerate(texts):
        found[row, : len(text)] = torch.tensor(list(text), dtype=torch.long)
    return found
