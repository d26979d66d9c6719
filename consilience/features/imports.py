"""Features of many models that other tools made: whoever needs one first reads all of a dataset.

A job takes seconds to start and hundredths to read a small file. The workflow has a job for each
features file, which only moves it to its place; the first of them that does not find its file
reads those of all models on the dataset, into a folder beside the features, and the others wait.

Files in the folder carry the hash of all that decides them besides the samples, and count if they
are newer than these. What lies in its place already and is made of the same is not read: a hidden
file says what each was made of, and the hash of its header, which has those of its content.
"""

import fcntl
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from consilience.errors import ConsilienceError, FeaturesError, RefusedError
from consilience.features.extract import extract_features
from consilience.features.reading import read_header
from consilience.files import atomic, canonical_json, digest
from consilience.limits.reading import parse_json, read_text
from consilience.logs import log_to
from consilience.samples import read_samples

logger = logging.getLogger(__name__)

NOTES = ".imports.json"
"""What the features beside it were made of."""


def import_together(
    plan: str | Path,
    dataset: str,
    model: str,
    samples: str | Path,
    folder: str | Path,
    out: str | Path,
) -> None:
    """Writes the features of one imported model, and into a folder those of others that lack.

    Args:
        plan: JSON file, for each dataset: `models`, what decides the features of each (`row`,
            `dtype`, `autocast`, `code`), the `dataset` alike, `names` of their files in the folder
            and further `settings` of `extract_features`.
        dataset: its id.
        model: which is wanted.
        samples: samples/{dataset}.parquet.
        folder: beside the features files.
        out: the features file to write.

    Raises:
        ConsilienceError: see `extract_features`; other models that cannot be read are only logged.
    """
    asked, folder, out = parse_json(read_text(plan), plan)[dataset], Path(folder), Path(out)
    with _alone(folder) as alone:
        work = _Work(asked, Path(samples), folder)
        problem = work.need(model, own=True)
        for other in asked["models"] if alone else ():
            if other != model:
                work.need(other)
        work.finish()
        if problem is not None:
            raise problem
        work.path(model).replace(out)


class _Work:
    """What one process imports."""

    def __init__(self, asked: Mapping[str, Any], samples: Path, folder: Path) -> None:
        self._asked, self._samples, self._folder = asked, samples, folder
        self._notes = _read_notes(folder.parent / NOTES)
        self._hash = read_samples(samples).hash
        self._since = samples.stat().st_mtime_ns
        names = {name for one in asked["names"].values() for name in (one, _failed(one))}
        for path in folder.glob("[!.]*"):
            if path.name not in names or path.stat().st_mtime_ns < self._since:
                path.unlink()

    def path(self, model: str) -> Path:
        """Returns where a model's features lie in the folder."""
        return self._folder / self._asked["names"][model]

    def need(self, model: str, *, own: bool = False) -> ConsilienceError | None:
        """Imports a model unless that is done; returns why it cannot be."""
        decides, path = self._asked["models"][model], self.path(model)
        key = digest([decides, self._asked["dataset"], self._hash])
        there = self._folder.parent / f"{model}.safetensors"
        failed = path.with_name(_failed(path.name))
        done = failed.exists() or self._notes.get(model) == [key, _mark(there)]
        if path.exists() or (done and not own):
            return None
        kept = {name: decides[name] for name in ("dtype", "autocast")} | self._asked["settings"]
        row = self._asked["dataset"]["row"]
        try:
            extract_features(decides["row"], row, self._samples, path, **kept)
        except ConsilienceError as error:
            failed.touch()  # its own job says why, others need not try
            logger.warning("model %r cannot be read", model)
            return error
        logger.info("model %r is read", model)
        self._notes[model] = [key, _mark(path)]
        return None

    def finish(self) -> None:
        """Writes down what was made of what."""
        with atomic(self._folder.parent / NOTES) as temporary:
            temporary.write_text(canonical_json(self._notes), encoding="utf8")


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Lets one process at a time work in a folder; yields whether the file system sees to that."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: each job reads its own file
            yield False
            return
        yield True


def _failed(name: str) -> str:
    return name.removesuffix(".safetensors") + ".failed"


def _mark(path: Path) -> str:
    """Returns the hash of a file's header; "" of one that is not there, or damaged."""
    try:
        return digest(read_header(path))
    except FeaturesError:
        return ""


def _read_notes(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(read_text(path), path)
    except (FileNotFoundError, RefusedError):  # all is read again
        return {}
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    log_to(sys.argv[1])
    import_together(*sys.argv[2:])
