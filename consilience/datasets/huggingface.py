"""Source `huggingface`: Parquet files of a hub repository, or of a folder of the same layout.

The column `name` is `owner/name`, `owner/name/folder` or a local folder. A file belongs to a split
if the split is one of the words of its path (`data/train-00000-of-00002.parquet`); without `splits`
all files are one pool. Files are read in the natural order of their names (`part-9` before
`part-10`), rows in that of the file. The files of a split lie in one configuration, and all files
that their names count (`00000-of-00002`) are there.

`columns` says what holds what, by default `image=image text=text label=label`; a label column that
is not named may be absent. Images are bytes, or the hub's records of bytes and path. Texts may be
lists: `captions` picks the first (default), the one of a number, or `all`, each with the picture as
a sample of its own. `pair=hypothesis` puts a second text behind the first one, with ` [SEP] `
between, by which tokenizers of BERT part two texts. Class names are those that the hub's library
wrote into the file; else classes are numbers, or the texts in alphabetical order.

The id of a sample is `FILE:ROW` (which a commit fixes), or the column `id=…`; captions but one of
`all` add `#NUMBER`, and those of one picture are a group.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from consilience.datasets import Sample
from consilience.datasets._base import (
    ROLES,
    check_tree,
    decode,
    files_below,
    pixel_span,
    split_roles,
)
from consilience.datasets._columns import choose_columns
from consilience.datasets._hub import named_repo, open_repo
from consilience.errors import DataError, check_reached
from consilience.files import natural_order
from consilience.limits import VARIABLE, limit
from consilience.limits.reading import DAMAGED, regular
from consilience.limits.tables import check_footer, rows_at_once

_COUNTED = re.compile(r"(.*?)([0-9]+)-of-([0-9]+)(?:-[0-9a-f]{16})?(.*)\.parquet")
PART = " [SEP] "
_ROWS = 64  # read at a time: pictures may be large


@dataclass(frozen=True)
class Tables:
    """The samples of the chosen files."""

    files: Mapping[str, Path]
    roles: Mapping[str, str]
    """For each file the role of its split."""
    columns: Mapping[str, str]
    """For some of `_columns.KINDS` the column."""
    captions: str
    classes: tuple[str, ...]
    pin: Mapping[str, str]
    verified: bool = False
    span: tuple[float, float] | None = None

    def __iter__(self) -> Iterator[Sample]:
        for name, path in self.files.items():
            number = 0
            for batch in _read(path, name, list(self.columns.values())):
                for record in batch:
                    yield from self._samples(record, name, number)
                    number += 1

    def _samples(self, record: Mapping[str, Any], name: str, number: int) -> Iterator[Sample]:
        """Yields the samples of one row: one, or one for each caption."""
        origin = f"{name}:{number}"
        cells = {kind: record[column] for kind, column in self.columns.items()}
        if "id" in cells and cells["id"] is None:
            raise DataError(f"{origin}: its {self.columns['id']!r} is blank; write an id for each")
        id_ = str(cells["id"]) if "id" in cells else origin
        texts = self._texts(cells.get("text"), origin)
        if "pair" in cells:
            texts = [self._joined(text, cells["pair"], origin) for text in texts]
        image = partial(_picture, cells["image"], origin, self.span) if "image" in cells else None
        several = self.captions == "all" and "text" in cells
        group = cells.get("group", id_ if several else None)
        for index, text in enumerate(texts):
            yield Sample(
                id=f"{id_}#{index}" if several else id_,
                origin=origin,
                split=self.roles[name],
                label=self._label(cells["label"], origin) if "label" in cells else None,
                text=text,
                group=None if group is None else str(group),
                image=image,
            )

    def _texts(self, cell: Any, origin: str) -> list[str | None]:  # noqa: ANN401
        texts = [_decoded(one, origin) for one in (cell if isinstance(cell, list) else [cell])]
        if self.captions == "all" and texts:
            return texts
        wanted = int(self.captions) if self.captions.isdecimal() else 0
        if wanted >= len(texts):
            raise DataError(f"{origin}: it has {len(texts)} captions, none of the number {wanted}")
        return [texts[wanted]]

    def _joined(self, text: str | None, pair: Any, origin: str) -> str:  # noqa: ANN401
        if text is None or not isinstance(pair, str):
            raise DataError(f"{origin}: it has no two texts, which `columns` names; write both")
        return f"{text}{PART}{pair}"

    def _label(self, cell: Any, origin: str) -> int:  # noqa: ANN401
        if isinstance(cell, int):
            return cell
        if not isinstance(cell, str):
            raise DataError(
                f"{origin}: its label is {cell!r}, neither a whole number nor a text; write one "
                "for each sample, or rename the column: samples without one have no label"
            )
        if cell not in self.classes:
            raise DataError(
                f"{origin}: its label {cell!r} is none of the classes that the file names "
                f"{_shown(self.classes)}; write the labels as their numbers, or correct the names"
            )
        return self.classes.index(cell)


def open(row: Mapping[str, Any]) -> Tables:
    """Returns the dataset in the repository or folder `row["name"]`.

    Raises:
        ConfigError: a cell of the row cannot be used.
        DataError: no Parquet files, none of a split, no such column, or a damaged file.
    """
    place = f"dataset {row.get('dataset')!r}"
    paths, pin = _locate(row, place)
    roles = _assign(list(paths), split_roles(row), place)
    files = {name: paths[name]() for name in roles}
    columns = choose_columns(row, {name: _schema(name, files[name]) for name in files}, place)
    classes = _classes(files, columns["label"]) if "label" in columns else ()
    verified = check_tree(row, files.items())
    captions = str(row.get("captions") or "first")
    return Tables(files, roles, columns, captions, classes, pin, verified, pixel_span(row))


def look_for(row: Mapping[str, Any]) -> None:
    """Raises an error if a folder, or the files of a split in it, are not there."""
    if not is_remote(row):
        place = f"dataset {row.get('dataset')!r}"
        _assign(list(_locate(row, place)[0]), split_roles(row), place)


def is_remote(row: Mapping[str, Any]) -> bool:
    """Returns whether the column `name` names something that must be fetched."""
    return bool(named_repo(str(row["name"])))


def prefetch(row: Mapping[str, Any]) -> None:
    """Fetches all files that the row needs, if they are not here."""
    open(row)


def _locate(row: Mapping[str, Any], place: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns {name: function that gives the path} of all Parquet files, and what pins them."""
    name = str(row["name"])
    if repo_name := named_repo(name):
        repo = open_repo(repo_name, str(row.get("revision") or ""))
        found = {file: partial(repo.path, file) for file in repo.files if _is_table(file)}
        pin = {"revision": repo.commit}
    else:
        root = Path(name).expanduser()
        if not root.is_dir():
            raise DataError(
                f"{place}: {name} is neither a folder nor a hub repository (owner/name); "
                "correct the column name"
            )
        names = sorted(filter(_is_table, files_below(root)), key=natural_order)
        found = {name: partial(Path, root / name) for name in names}
        pin = {}
    if not found:
        raise DataError(
            f"{place}: {name} holds no Parquet files; the hub keeps converted ones of many "
            "repositories under the revision refs/convert/parquet"
        )
    return found, pin


def _is_table(name: str) -> bool:
    return name.endswith(".parquet")


def _assign(names: list[str], roles: Mapping[str, str], place: str) -> dict[str, str]:
    """Returns {file: role} of the files of the chosen splits, in the order of the splits."""
    names = sorted(names, key=natural_order)
    chosen = {} if roles else dict.fromkeys(names, "")
    if not roles:  # one pool, but of one configuration
        for split in ROLES:
            own = [name for name in names if split in _words(name)]
            if own:
                _check_configuration(own, split, place)
    for split, role in roles.items():
        own = [name for name in names if split in _words(name)]
        if not own:
            shown = ", ".join(names[:5])
            raise DataError(f"{place}: no Parquet file of the split {split!r}; there are: {shown}")
        _check_configuration(own, split, place)
        if twice := next((name for name in own if name in chosen), ""):
            raise DataError(f"{place}: the file {twice} belongs to two of the splits; rename it")
        chosen |= dict.fromkeys(own, role)
    _check_counted(list(chosen), place)
    return chosen


def _check_configuration(names: list[str], split: str, place: str) -> None:
    """Raises DataError if files of one split lie in folders that are configurations of the hub."""
    folders = {}
    for name in names:
        above = name.split("/")
        depth = next(i for i, word in enumerate(above) if split in _words(word))
        folders.setdefault("/".join(above[:depth]), name)
    if len(folders) > 1:
        shown = ", ".join(list(folders.values())[:5])
        raise DataError(
            f"{place}: the split {split!r} is there in {len(folders)} folders, which are "
            f"configurations of their own ({shown}); name the folder too in the column name"
        )


def _check_counted(names: list[str], place: str) -> None:
    """Raises DataError unless all files are there that names such as `00000-of-00002` count."""
    found: dict[tuple[str, int, str], list[int]] = {}
    for name in names:
        if match := _COUNTED.fullmatch(name):
            before, number, count, after = match.groups()
            found.setdefault((before, int(count), after), []).append(int(number))
    for (before, count, after), numbers in found.items():
        there = set(numbers)  # a name may count more files than any memory has numbers
        if len(numbers) == count and there == set(range(1, count + 1)):  # counted from 1
            continue
        first = next((i for i in range(count) if i not in there), None)
        if first is not None or len(numbers) > count:
            what = "one is there twice" if first is None else f"number {first} is missing"
            raise DataError(
                f"{place}: there are {len(numbers)} of {count} files {before}NUMBER-of-{count}"
                f"{after}.parquet, {what}; complete the dataset, or rename the files if a part of "
                "it is meant"
            )


def _words(name: str) -> set[str]:
    """Returns the words of a path: `data/train-00000-of-00002.parquet` has `train` and `data`."""
    stem = name.removesuffix(".parquet")
    return {word for part in stem.split("/") for word in (part, *part.split("-"))}


def _schema(name: str, path: Path) -> pa.Schema:
    try:
        file = pq.ParquetFile(regular(path))
        check_footer(file, path, name)
        return file.schema_arrow
    except (*DAMAGED, pa.ArrowException) as error:
        check_reached(error, path)
        raise DataError(
            f"{name} ({path}) is no Parquet file, or damaged or cut off ({error}); fetch it again"
        ) from error


def _class_names(schema: pa.Schema, column: str, name: str) -> tuple[str, ...]:
    """Returns the class names that the hub's library wrote into a file."""
    try:
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    except (ValueError, RecursionError):  # of another tool
        return ()
    for key in ("info", "features", column, "names"):
        found = found.get(key) if isinstance(found, Mapping) else None
    if found and not (isinstance(found, list) and all(isinstance(one, str) for one in found)):
        raise DataError(
            f"{name}: its metadata `huggingface` name the classes of {column!r} as "
            f"{str(found)[:40]!r}, which is no list of names; write the file again"
        )
    return tuple(found or ())


def _classes(files: Mapping[str, Path], column: str) -> tuple[str, ...]:
    """Returns the class names: the files' own, else numbers, else the texts that occur."""
    first, names = next(iter(files)), ()
    for name, path in files.items():
        own = _class_names(_schema(name, path), column, name)
        names = own if name == first else names
        if own != names:
            raise DataError(
                f"{name} calls the classes of {column!r} {_shown(own)}, {first} {_shown(names)}, "
                "so one label would mean two things; write them again with the same names"
            )
    if names:
        return names
    found: set[Any] = set()
    for name, path in files.items():
        for batch in _read(path, name, [column], rows=1 << 16):
            found.update(record[column] for record in batch)
    found.discard(None)
    if len(kinds := {type(value).__name__ for value in found}) > 1:
        raise DataError(
            f"the column {column!r} of {', '.join(list(files)[:5])} holds values of the types "
            f"{' and '.join(sorted(kinds))}; write the labels in one way"
        )
    if all(isinstance(value, int) for value in found):
        rows = sum(pq.read_metadata(path).num_rows for path in files.values())
        if max(found, default=0) >= max(limit("classes"), rows):
            raise DataError(
                f"the column {column!r} of {first} holds {max(found)} for {rows} samples: numbers "
                "of things, not classes counted from 0; number the classes that occur, or if there "
                f"are so many, set {VARIABLE}=classes=NUMBER"
            )
        return tuple(map(str, range(max(found, default=-1) + 1)))
    return tuple(sorted(map(str, found)))


def _shown(names: tuple[str, ...]) -> str:
    more = ", …" if len(names) > 4 else ""
    return f"({', '.join(names[:4])}{more})" if names else "nothing"


def _read(
    path: Path, name: str, columns: list[str], rows: int = _ROWS
) -> Iterator[list[dict[str, Any]]]:
    try:
        with pq.ParquetFile(path) as table:
            at_once = rows_at_once(table, rows)
            for batch in table.iter_batches(batch_size=at_once, columns=columns):
                yield batch.to_pylist()
    except UnicodeDecodeError as error:
        raise DataError(f"{name} ({path}) has a text that is not in UTF-8 ({error})") from error
    except (*DAMAGED, pa.ArrowException) as error:
        check_reached(error, path)
        raise DataError(
            f"{name} ({path}) is damaged or cut off ({error}); delete it and fetch it again"
        ) from error


def _decoded(text: Any, origin: str) -> Any:  # noqa: ANN401
    try:
        return text.decode("utf8") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise DataError(f"{origin}: its text is not in UTF-8 ({error}); write it so") from error


def _picture(cell: Any, origin: str, span: tuple[float, float] | None) -> Any:  # noqa: ANN401
    content = cell.get("bytes") if isinstance(cell, Mapping) else cell
    if not isinstance(content, bytes):
        raise DataError(
            f"{origin}: its picture is not in the file (there is {str(cell)[:60]!r}); only "
            "Parquet files that hold the bytes can be read"
        )
    return decode(content, origin, span)
