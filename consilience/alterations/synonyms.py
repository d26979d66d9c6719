"""Words of the same meaning, out of WordNet's data files."""

from pathlib import Path

from consilience.errors import DataError
from consilience.limits.reading import read_text

FILES = ("data.noun", "data.verb", "data.adj", "data.adv")


def read_synonyms(folder: str | Path) -> dict[str, tuple[str, ...]]:
    """Returns {word in lower case: other words of its synsets, in alphabetical order}.

    Only single words count, not terms of several.

    Args:
        folder: with the four data files of WordNet 3, as in Debian's package wordnet-base.

    Raises:
        DataError: one of them is not there, or has lines of another form.
    """
    found: dict[str, set[str]] = {}
    for name in FILES:
        path = Path(folder).expanduser() / name
        if not path.is_file():
            raise DataError(
                f"{path}: no such file; name the folder of WordNet's data files, such as "
                "/usr/share/wordnet of Debian's wordnet-base"
            )
        for line in read_text(path).split("\n"):
            if line and not line.startswith("  "):
                words = _words(line, path)
                for word in words:
                    found.setdefault(word, set()).update(words - {word})
    return {word: tuple(sorted(others)) for word, others in found.items() if others}


def _words(line: str, path: Path) -> set[str]:
    """Returns the single words of a line: their number, in base 16, is the fourth cell."""
    cells = line.split(" ")
    try:
        words = cells[4 : 4 + 2 * int(cells[3], 16) : 2]
    except (IndexError, ValueError) as error:
        raise DataError(f"{path}: {line[:40]!r} is no line of WordNet's data") from error
    # adjectives may say where they stand: `galore(ip)`
    return {word.partition("(")[0].lower() for word in words if "_" not in word}
