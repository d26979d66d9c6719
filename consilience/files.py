"""Files that are whole or absent, hashes, seeds, and where packaged files lie."""

import hashlib
import importlib.util
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from consilience.errors import (
    FORBIDDEN,
    FULL,
    ConsilienceError,
    DataError,
    StorageError,
    no_room,
    number_of,
)
from consilience.limits.reading import regular
from consilience.limits.tables import check_table
from consilience.renames import of_columns

METADATA_KEY = b"consilience"
ROOT = Path(__file__).parents[1]
"""The project: the folder that holds Snakefile, config and workflow."""
_HASH_KEY = b"consilience_sha256"


def lines_of(text: str) -> list[str]:
    """Returns the lines of a text that somebody wrote; a mark at its beginning is none of it.

    Only a line break ends one: `splitlines` also cuts at form feeds and separators such as U+2028,
    which may stand in a name or a cell.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return text.removesuffix("\n").split("\n") if text else []


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; renames it to `path` on success only.

    A reader sees the old file or the new one, never a part. On any exception, and on a kill
    between the two, `path` is untouched.

    Raises:
        StorageError: there is no room, or the folder may not be written to.
    """
    path = Path(path)
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix
        )
    os.close(handle)
    temporary = Path(name)
    try:
        with storing(path, FULL):
            yield temporary
        with storing(path):
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def storing(path: str | Path, numbers: Sequence[int] = (*FULL, *FORBIDDEN)) -> Iterator[None]:
    """Turns a full disk, and a folder that may not be written to, into one clear error.

    Args:
        path: what is to be written.
        numbers: the errors of the operating system that count.

    Raises:
        StorageError: says which file, why, and what to do.
    """
    try:
        yield
    except ConsilienceError:
        raise
    except Exception as error:
        if (number := number_of(error)) not in numbers:
            raise
        raise StorageError(no_room(number, path)) from error


def write_table(table: pd.DataFrame, path: str | Path, metadata: Mapping[str, Any]) -> None:
    """Writes a Parquet file atomically; `metadata` goes into its footer as JSON.

    The bytes depend on the content alone: no time stamp, no index.
    """
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    text = canonical_json(metadata).encode()
    # The pages have check sums of their own; columns, types and metadata have none.
    arrow = arrow.replace_schema_metadata({METADATA_KEY: text, _HASH_KEY: _frame_hash(arrow, text)})
    with atomic(path) as temporary:
        # Else lists would be read back as of another type than the hash is of.
        pq.write_table(arrow, temporary, write_page_checksum=True, use_compliant_nested_type=False)


def read_table(path: str | Path) -> pd.DataFrame:
    """Returns the table of a Parquet file, with present column names; metadata is in `.attrs`."""
    try:
        file = pq.ParquetFile(regular(path), page_checksum_verification=True)
        check_table(file, Path(path).stat().st_size, path)
        arrow = file.read()
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path} is not a readable Parquet file ({error}); delete it and run snakemake again"
        ) from error
    metadata = arrow.schema.metadata or {}
    text = metadata.get(METADATA_KEY, b"{}")
    if metadata.get(_HASH_KEY, (made := _frame_hash(arrow, text))) != made:
        raise DataError(
            f"{path} was changed after it was written; delete it and run snakemake again"
        )
    table = of_columns(arrow.to_pandas())
    table.attrs = json.loads(text)
    return table


def _frame_hash(table: pa.Table, metadata: bytes) -> bytes:
    """Returns the SHA-256 of all of a table but its values."""
    columns = [[field.name, str(field.type)] for field in table.schema]
    return digest([columns, table.num_rows, metadata.decode()]).encode()


def canonical_json(value: Any) -> str:  # noqa: ANN401
    """Returns JSON that depends on the value alone: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:  # noqa: ANN401
    """Returns the SHA-256 of any JSON-like value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@cache
def _file_digest(path: Path, _size: int, _mtime: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_digest(path: str | Path) -> str:
    """Returns the SHA-256 of a file's bytes."""
    path = regular(path)
    stat = path.stat()
    return _file_digest(path, stat.st_size, stat.st_mtime_ns)


def natural_order(name: str) -> tuple[Any, ...]:
    """Returns the key that sorts names by the numbers in them: `layer_9` before `layer_10`."""
    words = re.split("([0-9]+)", name)  # words and numbers take turns
    words[1::2] = [number.lstrip("0") for number in words[1::2]]
    return tuple((len(w), w) if i % 2 else w for i, w in enumerate(words)), name


def derive_seed(*parts: str | int) -> int:
    """Returns a 63-bit seed from the study seed and the ids of the thing drawn.

    Two draws share a seed only if all parts are equal; no draw depends on another one.
    """
    text = canonical_json([str(part) for part in parts])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def locate(uri: str, sha256: str = "") -> Path:
    """Returns the local path that `uri` names, after checking its SHA-256 if one is given.

    `package:NAME/inner/path` is a file or folder inside an installed Python package (the package
    is found, not imported), `sdist:FILE` a source archive under `share/consilience` of the Python
    environment, anything else a path. The hash of a folder is that of its `model.safetensors`.

    Raises:
        DataError: nothing is there, or its hash differs.
    """
    path = regular(_resolve(uri))
    if not path.exists():
        raise DataError(f"{uri}: no such file or folder ({path}){_remedy(uri)}")
    weights = path / "model.safetensors" if path.is_dir() else path
    if sha256 and (found := file_digest(weights)) != sha256:
        raise DataError(
            f"{uri}: the SHA-256 of {weights} is {found}, expected {sha256}; "
            "the file is damaged or another version: install it again"
        )
    return path


def find(name: str) -> Path:
    """Returns a configuration file's path: in the working folder if there, else in the project."""
    return Path(name) if Path(name).exists() else ROOT / name


def cache_folder() -> Path:
    """Returns the folder for what is fetched or drawn once: `$CONSILIENCE_CACHE` or a default."""
    return Path(os.environ.get("CONSILIENCE_CACHE") or "~/.cache/consilience").expanduser()


def _resolve(uri: str) -> Path:
    scheme, _, rest = uri.partition(":")
    if scheme == "sdist":
        return Path(sys.prefix) / "share" / "consilience" / rest
    if scheme != "package":
        return Path(uri).expanduser()
    package, _, inner = rest.partition("/")
    top, *parts = package.split(".")  # to find a part, Python would import what it is a part of
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"{uri}: the Python package {package!r} is not installed{_remedy(uri)}")
    return Path(spec.submodule_search_locations[0], *parts) / inner


def _remedy(uri: str) -> str:
    if uri.startswith(("package:", "sdist:")):
        return "; `make setup` installs what the demo needs (envs/demo.txt)"
    return "; correct the path in the catalogue row"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
