"""Texts that are varied by one easy operation on some of their words (EDA, Wei and Zou 2019)."""

from collections.abc import Mapping, Sequence
from string import punctuation

import numpy as np

from consilience.alterations.draws import floor_share, generator
from consilience.alterations.spec import Augmentation

Synonyms = Mapping[str, Sequence[str]]


def edit_text(
    text: str, id_: str, how: Augmentation, seed: int, synonyms: Synonyms | None = None
) -> str:
    """Returns a text after one operation on a share of its words, the same at every call.

    The operation is one of `how.operations`, each as likely, and touches max(1, ⌊eda · words⌋)
    words: `synonym` puts other words of the same meaning for them (as far as they have any),
    `swap` exchanges so many pairs of words, `delete` leaves them out, but for one of all, and
    `insert` adds so many words at any place: a synonym of a word of the text, or without synonyms
    such a word itself.

    Args:
        text: words are what stands between blanks.
        id_: of the sample.
        how: `eda` and `operations`.
        seed: the study seed, or that of a derived dataset.
        synonyms: {word in lower case: words of the same meaning} (`read_synonyms`).
    """
    words = text.split()
    if not how.eda or not words:
        return text
    rng = generator("eda", seed, id_)
    count = max(1, floor_share(how.eda, len(words)))
    operation = how.operations[int(rng.integers(len(how.operations)))]
    if operation == "synonym":
        words = _replace(words, count, rng, synonyms or {})
    elif operation == "swap":
        words = _swap(words, count, rng)
    elif operation == "delete":
        gone = rng.choice(len(words), min(count, len(words) - 1), replace=False)
        words = [word for place, word in enumerate(words) if place not in set(gone.tolist())]
    else:
        words = _insert(words, count, rng, synonyms or {})
    return " ".join(words)


def _swap(words: list[str], count: int, rng: np.random.Generator) -> list[str]:
    words = list(words)
    for _ in range(count if len(words) > 1 else 0):
        a, b = rng.choice(len(words), 2, replace=False)
        words[a], words[b] = words[b], words[a]
    return words


def _replace(
    words: list[str], count: int, rng: np.random.Generator, synonyms: Synonyms
) -> list[str]:
    words = list(words)
    able = [place for place, word in enumerate(words) if synonyms.get(_core(word))]
    for place in rng.choice(able, min(count, len(able)), replace=False) if able else ():
        words[place] = _synonym(words[place], rng, synonyms)
    return words


def _insert(
    words: list[str], count: int, rng: np.random.Generator, synonyms: Synonyms
) -> list[str]:
    able = [word for word in words if synonyms.get(_core(word))] or words
    words = list(words)
    for _ in range(count):
        word = able[int(rng.integers(len(able)))]
        words.insert(int(rng.integers(len(words) + 1)), _synonym(word, rng, synonyms))
    return words


def _synonym(word: str, rng: np.random.Generator, synonyms: Synonyms) -> str:
    """Returns a word of the same meaning, with the punctuation around the word; itself if none."""
    choice = synonyms.get(_core(word))
    if not choice:
        return word
    other = choice[int(rng.integers(len(choice)))]
    return word.replace(word.strip(punctuation), other, 1)


def _core(word: str) -> str:
    return word.strip(punctuation).lower()
