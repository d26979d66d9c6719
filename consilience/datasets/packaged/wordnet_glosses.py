"""Builder `wordnet_glosses`: definitions of nouns, with the field that the noun is of.

WordNet 3.0 (Miller 1995; Princeton's WordNet licence): the file `data.noun` of Debian's package
wordnet-base, in the folder that follows the colon, such as `wordnet_glosses:/usr/share/wordnet`
(which is the default).

A text is the gloss of a synset up to its first example; the label is the lexicographer's file that
the synset is in. Of the 26 files of nouns the 8 with 3,209 synsets or more are taken, whose names
are kinds of things: 57,223 texts of 11 words on average. Some glosses are those of two synsets.
"""

from pathlib import Path

from consilience import files
from consilience.datasets import Sample
from consilience.datasets._base import Listing
from consilience.datasets.packaged import BUILDERS
from consilience.errors import DataError

FOLDER = "/usr/share/wordnet"
FILE = "data.noun"
SHA256 = "fea17d2f9656611334eac790e5d69e47645fa180c4aa481fb4cd9b3520754ca2"
CLASSES = {
    5: "animal",
    6: "artifact",
    18: "person",
    20: "plant",
    4: "act",
    10: "communication",
    26: "state",
    15: "location",
}
"""Number of a lexicographer's file, and what it is called."""
_EXAMPLE = '; "'


@BUILDERS.register("wordnet_glosses")
def open_wordnet_glosses(argument: str) -> Listing:
    """Returns the glosses in the order of the file; ids are `n` and the place of the synset in it.

    Raises:
        DataError: the file is missing or another one.
    """
    path = look_for(argument)
    files.locate(str(path), SHA256)
    samples = tuple(read_glosses(path))
    return Listing(samples, tuple(CLASSES.values()), verified=True)


def look_for(argument: str) -> Path:
    """Returns the path of the file; raises DataError if it is not there."""
    path = Path(argument or FOLDER).expanduser() / FILE
    if not path.is_file():
        raise DataError(
            f"wordnet_glosses: {path}: no such file; install Debian's wordnet-base, or write "
            "wordnet_glosses:FOLDER with the folder that holds it"
        )
    return path


def read_glosses(path: Path) -> list[Sample]:
    """Returns the glosses of the synsets of `CLASSES` in a data file of WordNet.

    A line is: place in the file, number of the lexicographer's file, kind of word, words and
    pointers, ` | `, gloss. Lines that begin with two blanks are the licence.
    """
    labels = {number: label for label, number in enumerate(CLASSES)}
    samples = []
    for line in files.lines_of(path.read_text(encoding="utf-8")):
        if line.startswith("  "):
            continue
        entry, _, gloss = line.partition(" | ")
        offset, number = entry.split()[:2]
        if int(number) in labels:
            id_, text = f"n{offset}", gloss.partition(_EXAMPLE)[0].strip()
            origin = f"{path.name}: {offset}"
            samples.append(Sample(id=id_, origin=origin, label=labels[int(number)], text=text))
    return samples
