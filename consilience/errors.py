"""The errors that users see: each says what was found, where, and what to do."""


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


class RefusedError(DataError, FeaturesError, ModelError):
    """An input that is no regular file, or asks for more than `consilience.limits` allow.

    It is of the kinds that readers of stimuli, features and weights raise, so that whoever handles
    theirs handles it too.
    """


class StorageError(ConsilienceError):
    """A file that cannot be written: no room, or not the right to."""


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
