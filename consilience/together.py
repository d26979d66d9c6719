"""Jobs of one kind that a run makes: one that is up goes on with the files of others.

A job takes seconds to start, of which most is to import libraries, and many take less to do their
work. The workflow still has a job for each file. A job that is done with its own goes on, until it
has computed for a minute, with those of other jobs of its kind that this run is to make anyway;
these then only move what they find to its place. Nothing is made that was not asked for.

What is found counts only if it was made of the same parameters and, to the time stamp, the same
inputs. Whoever works on a job's files holds a lock. Where files of another job cannot be made, that
job tries itself and says what is wrong. Its messages stand in its own log, whoever made its files;
what it took, in the benchmark of the job that did. The list of jobs is written when a run starts
on this machine (on a cluster jobs run apart) and deleted, with all that was not taken, at its end.
"""

import fcntl
import hashlib
import importlib
import json
import logging
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

from consilience.logs import logged_apart

FOLDER = Path(".snakemake", "consilience", "together")
"""Below the working folder: lists of jobs, and what was made for them."""
SECONDS = 60.0
"""Until it has computed for so long, a job begins with files of others."""
LIMIT = 300
"""After so many seconds a job gives up the files of another one: those are slow, and their own job
saves and resumes its work."""
MOST = 500
"""Jobs of a kind beyond which none is listed, for every job reads the list."""

logger = logging.getLogger(__name__)


def list_jobs(
    jobs: Iterable[Any], kinds: Iterable[str] | None = None, folder: str | Path = FOLDER
) -> None:
    """Writes down which jobs of a run may have their files made by others of their kind.

    Args:
        jobs: all jobs of Snakemake that a run is to do.
        kinds: names of the scripts whose jobs count; None: of all with a module in
            `consilience.jobs`.
        folder: the place of the lists.
    """
    forget(folder)
    jobs = list(jobs)
    made = {str(path) for job in jobs for path in job.output}
    for kind in list_kinds() if kinds is None else kinds:
        own = [job for job in jobs if Path(str(job.rule.script or "")).stem == kind]
        if not 1 < len(own) <= MOST:
            continue
        listed = []
        for job in own:
            record = _record(job)
            if json.loads(json.dumps(record)) == record:  # else it would not be the same job
                awaited = sorted(made.intersection(record["input"]["values"]))
                listed.append({"job": record, "awaited": awaited})
        place = Path(folder, kind, "jobs.json")
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps(listed), encoding="utf8")


def list_kinds() -> list[str]:
    """Returns the kinds of jobs of which one goes on with others, by their modules."""
    paths = Path(__file__).with_name("jobs").glob("*.py")
    return sorted(path.stem for path in paths if path.stem != "__init__")


def forget(folder: str | Path = FOLDER) -> None:
    """Deletes the lists, and what was made and not taken."""
    shutil.rmtree(folder, ignore_errors=True)


def make_each(module: str, job: Any, folder: str | Path = FOLDER) -> None:  # noqa: ANN401
    """Makes the files of a job, or takes what another one made, and goes on with those of others.

    Args:
        module: `consilience.jobs.KIND`, whose function `make` makes the files of a job from its
            `input`, `output`, `params`, `wildcards`, `threads` and `config`; it is imported only
            when there are some to make.
        job: what Snakemake hands to the script.
        folder: the place of the lists.

    Raises:
        Exception: what `make` raises for the job itself.
    """
    listing = Path(folder, module.rpartition(".")[2], "jobs.json")
    if not listing.exists():
        _maker(module)(job)
        return
    own = _Work(_record(job), listing)
    with own.alone(wait=True):
        if own.taken():
            return
        own.begun.touch()
        _maker(module)(job)
    for entry in json.loads(listing.read_text(encoding="utf8")):
        if time.process_time() > SECONDS:
            return
        other = _Work(entry["job"], listing)
        with other.alone(wait=False) as free:
            if free and other.ready(entry["awaited"]):
                try:
                    other.make(_maker(module), job.config)
                except _LateError:  # stopped anywhere, in an import too: trust this process no more
                    logger.info("that takes too long and is left to its own job")
                    return


def _maker(module: str) -> Callable[[Any], None]:
    return importlib.import_module(module).make


class _Work:
    """The files of one job."""

    def __init__(self, record: Mapping[str, Any], listing: Path) -> None:
        self._record, self._listing = record, listing
        key = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]
        self._place = listing.with_name(key)
        self._marks = listing.with_name(f"{key}.json")
        self.begun = listing.with_name(f"{key}.begun")
        """There once somebody began with the files: only their own job then does."""

    @contextmanager
    def alone(self, *, wait: bool) -> Iterator[bool]:
        """Yields whether nobody else works on the files, and sees to it that nobody does."""
        with self._place.with_suffix(".lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                free = True
            except OSError:  # somebody does, or the file system has no locks
                free = False
            yield free

    def _inputs(self) -> list[list[int]]:
        """Returns for each input what is another whenever it is written."""
        found = [Path(path).stat() for path in self._record["input"]["values"]]
        return [[one.st_ino, one.st_size, one.st_mtime_ns] for one in found]

    def taken(self) -> bool:
        """Moves what somebody made to its place; returns whether there was anything."""
        if not self._marks.exists():
            return False
        if json.loads(self._marks.read_text(encoding="utf8")) != self._inputs():
            return False
        sys.stderr.write((self._place / "log").read_text(encoding="utf8"))
        for path in self._record["output"]["values"]:
            shutil.move(self._place / path, path)
        return True

    def ready(self, awaited: Iterable[str]) -> bool:
        """Returns whether nobody began with the files and all inputs are there.

        Args:
            awaited: those that this run makes: older ones do not count.
        """
        inputs = [Path(path) for path in self._record["input"]["values"]]
        if self.begun.exists() or not all(path.exists() for path in inputs):
            return False
        since = self._listing.stat().st_mtime_ns
        return all(Path(path).stat().st_mtime_ns >= since for path in awaited)

    def make(self, make: Callable[[Any], None], config: Mapping[str, Any]) -> None:
        """Makes the files apart, for their own job to take; says nothing where that fails."""
        self.begun.touch()
        record, marks = self._record, self._inputs()
        outputs = [str(self._place / path) for path in record["output"]["values"]]
        for path in outputs:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        job = SimpleNamespace(
            input=_Named(**record["input"]),
            output=_Named(outputs, record["output"]["names"]),
            params=_Named(**record["params"]),
            wildcards=_Named(**record["wildcards"]),
            threads=record["threads"],
            config=config,
        )
        logger.info("goes on with %s", record["output"]["values"][0])
        try:
            with logged_apart(self._place / "log"), _limited(LIMIT), warnings.catch_warnings():
                make(job)
        except Exception:
            logger.info("it is left to its own job")
            return
        self._marks.write_text(json.dumps(marks), encoding="utf8")


class _LateError(BaseException):
    """It takes too long; no error, so that nothing takes it for one."""


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    """Raises _LateError in what takes longer."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _LateError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class _Named(list):
    """Values in an order, some of them with names, as Snakemake has them."""

    def __init__(self, values: Iterable[Any], names: Mapping[str, Any]) -> None:
        super().__init__(values)
        self._found = {
            name: self[start] if end is None else self[start:end]
            for name, (start, end) in names.items()
        }
        self.__dict__.update(self._found)

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Returns the value of a name."""
        return self._found.get(name, default)

    def items(self) -> Iterable[tuple[str, Any]]:
        """Returns names with their values."""
        return self._found.items()


def _record(job: Any) -> dict[str, Any]:  # noqa: ANN401
    """Returns all that a script is told of its job, but the study's settings."""
    lists = {name: getattr(job, name) for name in ("input", "output", "params", "wildcards")}
    return {
        "threads": int(job.threads),
        **{
            name: {
                "values": [_plain(value) for value in found],
                "names": {key: list(place) for key, place in found._get_names()},
            }
            for name, found in lists.items()
        },
    }


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Returns paths as texts and tuples as lists, at any depth; all else as it is."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, str) else value
