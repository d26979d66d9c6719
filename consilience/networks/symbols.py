"""Texts as networks of ours see them, in training and after it: numbers of words, or bytes.

A word is what `split_words` says, in small letters. Symbols 0 to 2 are padding, any word that the
vocabulary lacks, and the class token, with which every text begins; `words[i]` is symbol i + 3.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

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


def number_words(words: Sequence[str]) -> dict[str, int]:
    """Returns {word: symbol}."""
    return {word: number for number, word in enumerate(words, SPECIAL)}


def symbols_of(text: str, numbers: Mapping[str, int], most: int) -> tuple[list[int], bool]:
    """Returns the class token and the symbols of the first words, and if there were more.

    Args:
        text: any.
        numbers: of `number_words`.
        most: words that are read.
    """
    found = [numbers.get(word, UNKNOWN) for word in split_words(text)]
    return [CLASS, *found[:most]], len(found) > most


def bytes_of(text: str) -> bytes:
    """Returns a text in UTF-8."""
    return text.encode("utf8", "surrogatepass")


def pad(texts: Sequence[Sequence[int]]) -> Tensor:
    """Returns symbols (b, t) of texts, padded to the longest of them."""
    width = max(map(len, texts))
    found = torch.full((len(texts), width), PADDING)
    for row, text in enumerate(texts):
        found[row, : len(text)] = torch.tensor(list(text), dtype=torch.long)
    return found
