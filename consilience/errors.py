"""The errors that users see: each says what was found, where, and what to do."""

import errno
import os
import re


class ConsilienceError(Exception):
    """Any problem that the user can act on."""


class ConfigError(ConsilienceError):
    """A study or a catalogue that cannot be used; the message lists every problem."""


class DataError(ConsilienceError):
    """Stimuli that are missing, damaged or not what the dataset row says."""


class DepthError(DataError):
    """A sound picture whose values have no agreed range, or another than the row says."""


class ModelError(ConsilienceError):
    """A model that cannot be built or whose weights do not fit."""


class FeaturesError(ConsilienceError):
    """Features that are missing, damaged, not finite, or belong to other samples."""


class MetricError(ConsilienceError):
    """A similarity that is not defined for the given features."""


class RefusedError(ConfigError, DataError, FeaturesError, ModelError):
    """An input that is no regular file, or asks for more than `consilience.limits` allow.

    It is of the kinds that readers of catalogues, stimuli, features and weights raise: whoever
    handles theirs handles it too.
    """


class StorageError(ConsilienceError):
    """A file that cannot be written or reached: no room, not the right to, or a sick disk."""


_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "status_alloc_failed",  # of CUDA's libraries
)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error of PyTorch or Python means that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(text in str(error).lower() for text in _OUT_OF_MEMORY)


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No room: on the disk, of the user's share, or in one file."""
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
SICK = tuple(
    getattr(errno, name)
    for name in (
        "EIO", "ESTALE", "ETIMEDOUT", "EREMOTEIO", "ENOTCONN", "ECONNRESET", "EHOSTDOWN",
        "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENOLCK", "EMFILE", "ENFILE",
    )
    if hasattr(errno, name)
)  # fmt: skip
"""Storage cannot be reached now, or no more files can be opened: it says nothing of a file."""
_OS_ERROR = re.compile(r"(?:os error|errno|Errno) ([0-9]+)")


def number_of(error: BaseException) -> int:
    """Returns the number of an error of the operating system, 0 if it is none.

    Libraries that are no Python pass it on in their text alone.
    """
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = _OS_ERROR.search(str(error))
    return int(found[1]) if found else 0


def no_room(number: int, path: object) -> str:
    """Returns what to say of a file that cannot be written, by the number of the error."""
    if number in FULL:
        remedy = "make room and run again"
    else:
        remedy = "give yourself the right to write there, or name another folder, and run again"
    return f"{path} cannot be written: {os.strerror(number).lower()}; {remedy}"


def check_reached(error: BaseException, path: object) -> None:
    """Raises StorageError if a file was not read for reasons that say nothing of its content.

    Whoever reads files calls it before they say that one is damaged: a network file system that is
    away for a moment is no reason to delete anything.

    Args:
        error: that reading ended in.
        path: of the file.
    """
    if (number := number_of(error)) in SICK:
        raise StorageError(
            f"{path} cannot be reached: {os.strerror(number).lower()}; nothing is known of its "
            "content: look at the disk or network it lies on, and run again"
        ) from error


def explain(error: BaseException, what: str, remedy: str) -> str:
    """Returns the one sentence of an error that a user can do something about; "" of any other.

    Args:
        error: that ends a step or a command.
        what: the step or command, such as `the step similarity`.
        remedy: what to do if memory runs out, such as `lower similarity.max_memory_mb`.
    """
    if isinstance(error, ConsilienceError):
        return str(error)
    if is_out_of_memory(error):
        said = (str(error).strip().splitlines() or ["no more is there"])[0]
        return f"memory runs out in {what} ({said}); {remedy}"
    number = number_of(error) if isinstance(error, OSError) else 0
    place = getattr(error, "filename", None)
    if number in FULL:
        return no_room(number, place or f"what {what} makes")
    if number and place:
        return f"{place}: {os.strerror(number).lower()}, met in {what}; mend that and run again"
    return ""
