"""Where the workflow's scripts send messages: the log file of their rule; and who reads it."""

import logging
import sys
import traceback
from pathlib import Path
from types import TracebackType

from consilience.errors import ConsilienceError

DECIDES_NOTHING = True
"""No result depends on this module: see `consilience.code`."""

LINES = 12
"""Of a failed step's log that are shown."""


def log_to(path: str | Path) -> None:
    """Sends logging, standard error and the last words of the process to a file.

    An error that the user can act on is written as its message; anything else with a traceback.
    """
    stream = Path(path).open("w", buffering=1, encoding="utf8")  # noqa: SIM115 - open to the end
    sys.stderr = stream
    logging.basicConfig(
        stream=stream, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.captureWarnings(True)
    sys.excepthook = _last_words


class FailureTeller(logging.Handler):
    """Prints why jobs failed where Snakemake was asked to be quiet and says only that they did.

    A handler of Snakemake's logger: its record of a failed job names the rule and its logs.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Prints the end of the logs of a failed job."""
        names = getattr(record, "log", None)
        if getattr(record, "rule_name", None) is None or not isinstance(names, list):
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


def _last_words(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if isinstance(error, ConsilienceError):
        print(f"error: {error}", file=sys.stderr)
    else:
        traceback.print_exception(kind, error, trace, file=sys.stderr)
