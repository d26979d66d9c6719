"""The script library of the page: packed once, and kept for the next page."""

import hashlib
import importlib.metadata
import logging
from functools import cache

import altair as alt
import vl_convert

from consilience.errors import DataError, StorageError
from consilience.files import atomic, cache_folder

logger = logging.getLogger(__name__)

ADDRESSES = 66 << 30
"""Bytes of address space, not of memory, that the packing JavaScript engine reserves."""


@cache
def script_library() -> str:
    """Returns Vega, Vega-Lite and Vega-Embed as one script, from the package vl-convert.

    Cost: some seconds the first time. It is then kept in the cache folder, under the versions that
    it is made of and with its own hash.

    Raises:
        DataError: a limit of the process forbids to pack it, which would end the process.
    """
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    maker = importlib.metadata.version("vl-convert-python")
    path = cache_folder() / "explorer" / f"vega-{version}-{maker}.js"
    if path.is_file():
        mark, _, text = path.read_bytes().partition(b"\n")
        if mark.decode("latin1") == hashlib.sha256(text).hexdigest():
            return text.decode("utf8")
        logger.warning("%s is damaged and made again", path)
    if (most := _addresses()) < ADDRESSES:
        raise DataError(
            f"packing the page's script library takes {ADDRESSES >> 30} GB of address space and "
            f"this process may have {most >> 30} (ulimit -v); make one page where there is no such "
            f"limit, which keeps the library in {path.parent}, or lift the limit"
        )
    text = vl_convert.javascript_bundle(vl_version=version).replace("</script", "<\\/script")
    content = text.encode("utf8")
    try:
        with atomic(path) as temporary:
            temporary.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    except (StorageError, DataError) as error:  # it costs time only
        logger.warning("%s", error)
    return text


def _addresses() -> int:
    """Returns the bytes of address space that this process may have."""
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return ADDRESSES
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return ADDRESSES if soft == resource.RLIM_INFINITY else soft
