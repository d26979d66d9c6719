"""Where the workflow's scripts send messages: the log file of their rule."""

import logging
import sys
import traceback
from pathlib import Path
from types import TracebackType

from consilience.errors import ConsilienceError

DECIDES_NOTHING = True
"""No result depends on this module: see `consilience.code`."""


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


def _last_words(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if isinstance(error, ConsilienceError):
        print(f"error: {error}", file=sys.stderr)
    else:
        traceback.print_exception(kind, error, trace, file=sys.stderr)
