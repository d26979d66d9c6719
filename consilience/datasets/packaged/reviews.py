"""Builder `movie_snippets`: sentences of film reviews with a sentiment.

Snippets rated by people for Hutto and Gilbert, "VADER", ICWSM 2014; they come in the source archive
of the package vaderSentiment 3.3.2 (not in its wheel). The code is under the MIT licence, the
sentences are third parties' reviews: they are read from where they were installed and never
written anywhere but into the samples table of one's own results.

The label is the sign of the mean rating (−4 to 4); ratings within ±0.5 are left out as undecided.
"""

import hashlib
import io
import tarfile
from pathlib import Path

from consilience import files
from consilience.datasets import Sample
from consilience.datasets._base import Listing
from consilience.datasets.packaged import BUILDERS, refuse_argument
from consilience.errors import DataError

FILE = "sdist:vaderSentiment-3.3.2.tar.gz"
INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
INNER_SHA256 = "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa"
TABLE = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
UNDECIDED = 0.5
"""Mean ratings of at most this size have no label."""
CLASSES = ("negative", "positive")


@BUILDERS.register("movie_snippets")
def open_movie_snippets(argument: str) -> Listing:
    """Returns the snippets in the order of the file; ids are the file's own numbers.

    Raises:
        DataError: the archive is missing or another one.
    """
    refuse_argument("movie_snippets", argument)
    samples = []
    # Not splitlines(): a sentence may hold one of the rarer line separators.
    for line in _table(files.locate(FILE)).strip().split("\n"):
        id_, score, text = line.split("\t")
        if abs(float(score)) > UNDECIDED:
            origin, label = f"{TABLE}: {id_}", int(float(score) > 0)
            samples.append(Sample(id=id_, origin=origin, label=label, text=text.strip()))
    return Listing(tuple(samples), CLASSES, verified=True)


def _table(path: Path) -> str:
    """Returns the text of the table, read in memory out of the archive in the archive."""
    inner = _member(path.read_bytes(), INNER, str(path))
    found = hashlib.sha256(inner).hexdigest()
    if found != INNER_SHA256:
        raise DataError(
            f"{path}: {INNER} has the SHA-256 {found}, expected {INNER_SHA256}; "
            "fetch the source archive of vaderSentiment 3.3.2 again (`make setup`)"
        )
    return _member(inner, TABLE, INNER).decode("utf-8")


def _member(archive: bytes, name: str, origin: str) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
            member = opened.extractfile(name)
            return member.read() if member else b""
    except (tarfile.TarError, OSError, EOFError, KeyError) as error:
        raise DataError(
            f"{origin}: cannot read {name} ({error}); "
            "fetch the source archive of vaderSentiment 3.3.2 again (`make setup`)"
        ) from error
