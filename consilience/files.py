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
    ConfigError,
    ConsilienceError,
    DataError,
    RefusedError,
    StorageError,
    check_reached,
    no_room,
    number_of,
)
from consilience.leftovers import delete_strays, maker
from consilience.limits.reading import DAMAGED, read_text, regular
from consilience.limits.tables import check_footer
from consilience.places import check_kind, check_table
from consilience.renames import of_columns
from consilience.results import place_of
from consilience.sums import values_hash

METADATA_KEY = b"consilience"
ROOT = Path(__file__).parents[1]
"""The project: the folder that holds Snakefile, config and workflow."""
_HASH_KEY = b"consilience_sha256"
_VALUES_KEY = b"consilience_values_sha256"
_KIND_KEY = b"consilience_kind"


def lines_of(text: str) -> list[str]:
    """Returns the lines of a text that somebody wrote; a mark at its beginning is none of it.

    Only a line break ends one: `splitlines` also cuts at form feeds and separators such as U+2028,
    which may stand in a name or a cell.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return text.removesuffix("\n").split("\n") if text else []


def text_of(path: Path, name: str = "") -> str:
    """Returns what a text file says that somebody wrote, without a mark at its beginning.

    Messages call it by `name`, or by its path.

    Raises:
        ConfigError: it cannot be read, is larger than the limit, or is no text in UTF-8.
    """
    name = name or str(path)
    try:
        return read_text(path, "utf-8-sig")
    except RefusedError as error:
        raise ConfigError(f"{name}: {str(error).removeprefix(f'{path} ')}") from None
    except OSError as error:
        raise ConfigError(f"{name}: it cannot be read ({error.strerror})") from None


@contextmanager
def atomic(path: str | Path, *, durable: bool = True) -> Iterator[Path]:
    """Yields a temporary path in the same folder; renames it to `path` on success only.

    A reader sees the old file or the new one, never a part. On any exception, and on a kill
    between the two, `path` is untouched. What a killed one leaves is removed by the next process
    that writes into the folder.

    Args:
        path: the file.
        durable: that holds for a loss of power, too, and what was written stays: the content is
            on the disk before its name is, and both are at the end. False is for caches that are
            damaged without harm, since their readers see it.

    Cost: two waits for the disk, 5 to 30 ms, if `durable`.

    Raises:
        DataError: a folder is where the file is to be, or a file where its folder is to be.
        StorageError: there is no room, or the folder may not be written to.
    """
    path = Path(path)
    with storing(path):
        make_folder(path.parent)
    if path.is_dir():
        raise DataError(f"{path} is a folder, and a file is to be there; move it away, run again")
    delete_strays(path.parent)
    prefix = f".{path.name}.{maker()}."
    with storing(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        with storing(path, FULL):
            yield temporary
        with storing(path):
            temporary.chmod(0o666 & ~_umask())
            if durable:
                sync(temporary)
            temporary.replace(path)
            if durable:
                sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Returns once a file's content, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # some file systems know no such thing of folders
            raise
    finally:
        os.close(handle)


class new_folder:  # noqa: N801 - reads as what it does
    """Context: a temporary folder that becomes `out` on success and vanishes otherwise."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def __enter__(self) -> Path:
        with storing(self.out):
            make_folder(self.out.parent)
            delete_strays(self.out.parent)
            prefix = f".{self.out.name}.{maker()}."
            self._whole = tempfile.TemporaryDirectory(dir=self.out.parent, prefix=prefix)
        return Path(self._whole.name, "new")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._whole:
            if kind is None:
                new = Path(self._whole.name, "new")
                for path in [*new.rglob("*"), new]:
                    sync(path)
                new.rename(self.out)
                sync(self.out.parent)


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it; raises DataError if a file is in the place of one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        at = next(one for one in (folder, *folder.parents) if one.exists() and not one.is_dir())
        raise DataError(
            f"{at} is a file, and a folder is to be there; move it away, run again"
        ) from error


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

    The bytes depend on the content, and on which kind of table a place is for: no time stamp, no
    index.
    """
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    text = canonical_json(metadata).encode()
    # The pages have check sums, which any writer makes anew with whatever it writes.
    hashes = {_HASH_KEY: _frame_hash(arrow, text), _VALUES_KEY: values_hash(arrow)}
    kind = {_KIND_KEY: name.encode()} if (name := place_of(path)[0]) else {}
    arrow = arrow.replace_schema_metadata({METADATA_KEY: text, **hashes, **kind})
    with atomic(path) as temporary:
        # Else lists would be read back as of another type than the hash is of.
        pq.write_table(arrow, temporary, write_page_checksum=True, use_compliant_nested_type=False)


def read_table(path: str | Path) -> pd.DataFrame:
    """Returns the table of a Parquet file, with present column names; metadata is in `.attrs`.

    Tables of versions that kept no hash of the values are read without that check.

    Raises:
        DataError: the file is damaged, or its columns, values or metadata are others than were
            written, or another program has written it, or it is of another kind, dataset, model or
            metric than its place among results says.

    Cost: a SHA-256 over the values, half as much as the reading (7 ms for 20,000 pairs).
    """
    try:
        file = pq.ParquetFile(regular(path), page_checksum_verification=True)
        check_footer(file, path, path)
        arrow = file.read()
    except FileNotFoundError:
        raise
    except (*DAMAGED, pa.ArrowException) as error:
        check_reached(error, path)
        raise DataError(
            f"{path} is not a readable Parquet file ({error}); delete it and run snakemake again"
        ) from error
    return open_table(arrow, path)


def open_table(arrow: pa.Table, path: str | Path) -> pd.DataFrame:
    """Returns what `read_table` does of a table that was read from a file.

    Raises:
        DataError: see there.
    """
    metadata = arrow.schema.metadata or {}
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise DataError(
            f"{path} was not written by consilience, or another program has written it again; "
            "delete it and run snakemake again"
        )
    made = {_HASH_KEY: _frame_hash(arrow, text), _VALUES_KEY: values_hash(arrow)}
    known = {METADATA_KEY, _HASH_KEY, _VALUES_KEY, _KIND_KEY}
    if not known.issuperset(metadata) or any(
        metadata.get(key, found) != found for key, found in made.items()
    ):
        raise DataError(
            f"{path} was changed after it was written; delete it and run snakemake again"
        )
    try:
        attrs = json.loads(text.decode())
    except ValueError as error:
        raise DataError(f"{path}: its metadata are no JSON ({error}); make it again") from error
    if not isinstance(attrs, dict):
        raise DataError(f"{path}: its metadata are {type(attrs).__name__}, no names; make it again")
    table = of_columns(arrow.replace_schema_metadata(None).to_pandas())
    table.attrs = attrs
    check_kind(path, metadata.get(_KIND_KEY, b"").decode(errors="replace"))
    check_table(path, table)
    return table


def table_digest(path: str | Path) -> str:
    """Returns the SHA-256 of what a table says, by the hashes that it was written with.

    Bytes that say nothing, as those that Parquet notes of the least value, do not count. Read the
    table before: that is what proves the hashes.
    """
    metadata = pq.read_schema(path).metadata or {}
    made = [metadata.get(key, b"").decode(errors="replace") for key in (_HASH_KEY, _VALUES_KEY)]
    return digest(made) if all(made) else file_digest(path)


def _frame_hash(table: pa.Table, metadata: bytes) -> bytes:
    """Returns the SHA-256 of all of a table but its values."""
    columns = [[field.name, str(field.type)] for field in table.schema]
    return digest([columns, table.num_rows, metadata.decode(errors="replace")]).encode()


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


def fill_in(pattern: str, **values: str) -> str:
    """Returns a path with values in place of `{name}`; `{{` and `}}` stand for one brace.

    Unlike `str.format` it takes no widths, attributes or indexes, which a stranger's path may hold.

    Raises:
        ValueError: other braces.
    """

    def put(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        if found[1] not in values:
            known = ", ".join(f"{{{name}}}" for name in values)
            raise ValueError(f"{found[0][:80]!r} is none of {known}")
        return values[found[1]]

    return re.sub(r"\{\{|\}\}|\{([^{}]*)\}|[{}]", put, pattern)


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
    named = all(part.isidentifier() for part in (top, *parts))
    spec = importlib.util.find_spec(top) if named else None
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
