"""Where the workflow's scripts send messages: the log file of their rule; and who reads it."""

import io
import logging
import sys
import traceback
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TextIO

from consilience.errors import explain

DECIDES_NOTHING = True
"""No result depends on this module: see `consilience.code`."""

LINES = 12
"""Of a failed step's log that are shown."""


def log_to(path: str | Path) -> None:
    """Sends logging, standard error and the last words of the process to a file.

    An error that the user can act on is written as its message; anything else with a traceback.
    Where the file cannot be written, on a full disk, all goes to the standard error that there was.
    """
    sys.excepthook = partial(_last_words, Path(path), sys.stderr)
    stream = sys.stderr = _Log(Path(path), sys.stderr)
    logging.basicConfig(
        stream=stream, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.captureWarnings(True)


class logged_apart:  # noqa: N801 - reads as what it does
    """Context: what is logged within, after `log_to`, goes to another file."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._before = sys.stderr
        sys.stderr = _Log(self._path, self._before)
        handlers = logging.getLogger().handlers
        self._handlers = [h for h in handlers if getattr(h, "stream", None) is self._before]
        for handler in self._handlers:
            handler.setStream(sys.stderr)

    def __exit__(self, *_: object) -> None:
        sys.stderr = self._before
        for handler in self._handlers:
            handler.setStream(self._before)


class _Log(io.TextIOBase):
    """A log file; once it cannot be written, what there was before in its place."""

    def __init__(self, path: Path, before: TextIO) -> None:
        self._before = before
        self._raw: io.RawIOBase | None = None
        try:
            self._raw = path.open("wb", buffering=0)
        except OSError as error:
            self._give_up(error)

    def write(self, text: str) -> None:  # type: ignore[override]
        """Writes a text at once."""
        content = text.encode("utf8", "backslashreplace")
        while self._raw is not None and content:
            try:
                content = content[self._raw.write(content) or 0 :]
            except OSError as error:
                self._give_up(error)
        if content:
            self._before.write(content.decode("utf8", "replace"))

    def _give_up(self, error: OSError) -> None:
        self._raw = None
        print(f"the log cannot be written ({error})", file=self._before)

    def flush(self) -> None:
        """Does nothing: all is written at once."""


class FailureTeller(logging.Handler):
    """Prints why jobs failed where Snakemake was asked to be quiet and says only that they did.

    A handler of Snakemake's logger: its record of a failed job names the rule and its logs, as does
    that of a job that begins, whose logs may still be there from an earlier run.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Prints the end of the logs of a failed job."""
        names = getattr(record, "log", None)
        if record.levelno < logging.ERROR or not isinstance(names, list):
            return
        for name in names:
            path = Path(str(name).split(" (", maxsplit=1)[0])
            if not path.is_file():
                continue
            found = path.read_text(encoding="utf8", errors="replace").splitlines()
            # From the last error on; its last lines where it does not end in one.
            starts = [number for number, line in enumerate(found) if line.startswith("error: ")]
            end = found[starts[-1] :] if starts else found
            head = f"Error in rule {record.rule_name} ({path}):"
            text = "\n    ".join([head, *end[-LINES:]])
            if text not in self._told:  # Snakemake speaks of a job again at the end
                self._told.add(text)
                print(text, file=sys.stderr)


_LOWER = {
    "features": "features.batch_size",
    "similarity": "similarity.max_memory_mb",
    "similarity_shard": "similarity.max_memory_mb",
    "shared": "similarity.max_memory_mb",
    "alignment": "similarity.max_memory_mb",
    "reliability": "similarity.max_memory_mb",
    "sensitivity": "similarity.max_memory_mb",
    "explorer": "explorer.layer_pairs",
    "train": "batch_size of the recipe",
}
"""What of a study a step needs less memory with."""


def _last_words(
    path: Path,
    before: TextIO,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    step = next((part for part in path.parts if part in _LOWER), path.parent.name)
    lower = _LOWER.get(step, "the number of models or samples")
    remedy = f"lower {lower}, or give the job more memory (--set-resources RULE:mem_mb=NUMBER)"
    said = explain(error, f"the job of {path}", remedy)
    stream = sys.stderr or before
    if said:
        print(f"error: {said}", file=stream)
    else:
        traceback.print_exception(kind, error, trace, file=stream)
