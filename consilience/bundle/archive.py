"""Bundles on disk: written whole, read only where every byte is what the manifest says."""

import datetime
import hashlib
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from consilience import __version__
from consilience.bundle.crate import BESIDE, CRATE, WORKFLOW, describe, workflow_text
from consilience.bundle.schema import problems_of, strangers, study_problems
from consilience.bundle.signing import SIGNATURE, check_signature, sign
from consilience.errors import DataError, check_reached
from consilience.files import atomic, canonical_json, new_folder, open_table, storing
from consilience.limits import hold, hold_unpacked, limit
from consilience.limits.reading import DAMAGED, parse_json, regular
from consilience.limits.tables import read_whole
from consilience.renames import of_results, of_table
from consilience.results import STUDY_FILE, kind_of, list_tables, read_study

FORMAT, SCHEMA = "consilience bundle", 1
MANIFEST = "manifest.json"
UNSOUND = (*DAMAGED, pa.ArrowException)
"""What a table that is none may raise."""
MOST_SHOWN = 20
_UNFIT = "cannot be handed on; make again what is named"
UNREADABLE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError, EOFError)
"""What reading from a damaged or locked zip may raise."""


def bundled(name: str) -> bool:
    """Returns whether a path is that of a table of a bundle; no other is ever read or written."""
    found = kind_of(name)
    return found is not None and found[0].bundled


@dataclass(frozen=True)
class Bundle:
    """A checked bundle, or a results folder seen as one.

    Attributes:
        path: where it lies, for messages.
        study: settings and rows, as the explorer's step writes them.
        files: {name: {sha256, bytes}}.
        read: the bytes of a table by its name, checked.
    """

    path: str
    study: dict[str, Any]
    files: dict[str, dict[str, Any]]
    read: Callable[[str], bytes]

    def table(self, name: str) -> pd.DataFrame:
        """Returns a table; its metadata are in `.attrs`."""
        try:
            content, place = self.read(name), f"{self.path}: {name}"
            arrow = read_whole(content, place)
            table = of_table(open_table(arrow, place))
        except UNSOUND as error:
            raise DataError(f"{self.path}: {name} is not a readable table ({error})") from error
        return table

    def digest(self) -> str:
        """Returns one SHA-256 over study and tables."""
        content = canonical_json({"study": self.study, "files": self.files})
        return hashlib.sha256(content.encode()).hexdigest()


def write_bundle(
    results: str | Path,
    out: str | Path,
    *,
    date: str = "",
    licence: str = "",
    key: str | Path | None = None,
) -> Bundle:
    """Writes the tables of a results folder as a bundle: a zip if `out` ends so, else a folder.

    Equal results of one date give equal bytes, but for signatures, which are drawn anew.

    Args:
        results: the folder.
        out: what is written; it must not exist.
        date: of publication (ISO 8601); empty: today.
        licence: of the results, an address or a name; empty: not stated.
        key: file of a private key to sign with: see `consilience.bundle.signing`.

    Raises:
        DataError: the folder is no results folder, a table is not what it should be, `out` exists,
            the date is none, or nothing can be signed with the key.
    """
    bundle, out = _of_results(Path(results)), Path(out)
    _proved(bundle, study_problems(bundle.study), _UNFIT)
    if out.exists():
        raise DataError(f"{out} exists; delete it or choose another name")
    parts = _parts(bundle, _date(date), licence)
    if key is not None:
        digests = {name: _described(content)["sha256"] for name, content in parts.items()}
        digests |= {name: described["sha256"] for name, described in bundle.files.items()}
        parts[SIGNATURE] = sign(digests, key)
    if out.suffix == ".zip":
        with atomic(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name in [*parts, *bundle.files]:
                archive.writestr(_zipped(name), parts.get(name) or bundle.read(name))
        return bundle
    with new_folder(out) as folder:
        for name in [*parts, *bundle.files]:
            content = parts.get(name) or bundle.read(name)
            with storing(out):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
    return bundle


def _date(date: str) -> str:
    try:
        return (datetime.date.fromisoformat(date) if date else datetime.date.today()).isoformat()
    except ValueError as error:
        raise DataError(f"{date!r} is no date such as 2026-11-28 ({error})") from None


def _parts(bundle: Bundle, date: str, licence: str) -> dict[str, bytes]:
    """Returns the files of a bundle that are no tables, the manifest first."""
    manifest = {
        "format": FORMAT,
        "schema": SCHEMA,
        "consilience": __version__,
        "study": bundle.study,
        "files": bundle.files,
    }
    workflow = workflow_text()
    beside = {} if workflow is None else {WORKFLOW: workflow}
    beside[CRATE] = describe(manifest, date, licence, workflow)
    manifest["beside"] = {name: _described(content) for name, content in beside.items()}
    return {MANIFEST: canonical_json(manifest).encode(), **beside}


def _zipped(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # of 1980: no time of writing
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info


def open_bundle(path: str | Path, signers: Sequence[str | Path] = ()) -> Bundle:
    """Returns a bundle (zip or folder) or a results folder after checking all of it.

    Args:
        path: where it lies.
        signers: files of public keys, one of which must have signed it; none: nobody need.

    Raises:
        DataError: lists everything that is wrong with it.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such bundle")
    if path.is_dir() and not (path / MANIFEST).exists():
        if signers:
            raise DataError(f"{path} is a results folder, which nobody signs; ask for a bundle")
        bundle = _of_results(path)
        return _proved(bundle, study_problems(bundle.study), _UNFIT)
    names, read = _folder(path) if path.is_dir() else _zip(path)
    manifest = _manifest(path, read)
    listed = manifest["files"] | manifest["beside"]
    checked = _checked(path, read, listed)
    bundle = Bundle(str(path), manifest["study"], manifest["files"], checked)
    problems = [*study_problems(bundle.study), *_odd_names(names, manifest)]
    problems += _changed(manifest["beside"], names, checked)
    if signers and not problems:
        _check_signed(path, names, read, listed, signers)
    return _proved(bundle, problems, "is damaged or not a bundle; ask for it again")


def _changed(
    beside: Mapping[str, Any], names: list[str], read: Callable[[str], bytes]
) -> list[str]:
    """Returns what is wrong with the files of a bundle that are no tables."""
    problems = []
    for name in beside:
        try:
            if name in names:
                read(name)
        except DataError as error:
            problems.append(str(error))
    return problems


def _check_signed(
    path: Path,
    names: list[str],
    read: "Reader",
    listed: Mapping[str, Any],
    signers: Sequence[str | Path],
) -> None:
    signature = read(SIGNATURE, limit("text_bytes") + 1) if SIGNATURE in names else None
    hold("text_bytes", len(signature or b""), f"{path}: {SIGNATURE}", "bytes")
    digests = {name: described["sha256"] for name, described in listed.items()}
    digests[MANIFEST] = _described(read(MANIFEST, limit("text_bytes") + 1))["sha256"]
    check_signature(str(path), digests, signature, signers)


def _refusal(path: str, what: str, problems: Sequence[str]) -> str:
    shown = "\n".join(f"  {problem}" for problem in problems[:MOST_SHOWN])
    more = len(problems) - MOST_SHOWN
    return f"{path} {what}:\n{shown}" + (f"\n  and {more} more" if more > 0 else "")


def _problems(bundle: Bundle) -> list[str]:
    """Returns all that is wrong with the tables of a bundle and what it says of them."""
    problems = []
    for name in bundle.files:
        try:
            table = bundle.table(name)
            found = list(problems_of(name, table))
            problems += found or strangers(name, table, bundle.study)
        except DataError as error:
            problems.append(str(error))
    return problems


def _proved(bundle: Bundle, found: Iterable[str], what: str) -> Bundle:
    """Returns a bundle in present names, its tables checked.

    Raises:
        DataError: says `what`, with the problems that were found, or else those of its tables.
    """
    problems = list(found)
    if not problems:
        bundle = _renamed(bundle)
        problems = _problems(bundle)
    if problems:
        raise DataError(_refusal(bundle.path, what, problems))
    return bundle


def _renamed(bundle: Bundle) -> Bundle:
    """Returns a bundle in present names, with the bytes that it has."""
    study, names = of_results(bundle.study, bundle.files)
    files = {new: bundle.files[old] for new, old in names.items()}
    return replace(bundle, study=study, files=files, read=lambda name: bundle.read(names[name]))


def _of_results(results: Path) -> Bundle:
    content = read_study(results)
    if content is None:
        raise DataError(
            f"{results} has no {STUDY_FILE}, which says what the study selected; "
            "run `snakemake all_explorer` first, or give the folder named results"
        )
    content.pop("files", None)  # where a study's file lies is nobody else's business
    found = list_tables(results, content, bundled=True)
    names = sorted(path.relative_to(results).as_posix() for _, path in found)
    if not any(name.startswith("similarity/") for name in names):
        raise DataError(f"{results} has no similarity table; run snakemake first")

    def read(name: str) -> bytes:
        return regular(results / name).read_bytes()

    files = {name: _described(read(name)) for name in names}
    return Bundle(str(results), content, files, read)


def _described(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


Reader = Callable[[str, int], bytes]


def _folder(path: Path) -> tuple[list[str], Reader]:
    """Returns the files of a folder and how to read at most so many bytes of one; no links."""
    listed, size = [], 0
    for found in path.rglob("*"):
        if found.is_symlink():
            raise DataError(f"{path}: {found.relative_to(path)} is a link; a bundle has none")
        if found.is_dir():
            continue
        listed.append(regular(found))
        size += found.stat().st_size
        hold("archive_members", len(listed), path, "files or more")
        hold("bundle_bytes", size, path, "bytes or more")

    def read(name: str, most: int) -> bytes:
        with (path / name).open("rb") as stream:
            return stream.read(min(most, os.fstat(stream.fileno()).st_size + 1))

    return [found.relative_to(path).as_posix() for found in listed], read


def _zip(path: Path) -> tuple[list[str], Reader]:
    try:
        with zipfile.ZipFile(regular(path)) as archive:
            infos = archive.infolist()
            hold("archive_members", len(infos), path, "files")
            size = sum(info.file_size for info in infos)
            hold_unpacked(size, path.stat().st_size, path, "bundle_bytes")
    except (zipfile.BadZipFile, OSError) as error:
        check_reached(error, path)
        raise DataError(f"{path} is neither a folder nor a zip ({error})") from error
    names = [info.filename for info in infos]
    if len(set(names)) < len(names):
        raise DataError(f"{path}: a name occurs twice in the zip; ask for the bundle again")
    if links := [info.filename for info in infos if stat.S_ISLNK(info.external_attr >> 16)]:
        raise DataError(f"{path}: {links[0]} is a link; a bundle has none")

    def read(name: str, most: int) -> bytes:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(name) as stream:
                return stream.read(most)
        except UNREADABLE as error:
            check_reached(error, path)
            raise DataError(f"{path}: {name} cannot be read ({error})") from error

    return names, read


def _manifest(path: Path, read: Reader) -> dict[str, Any]:
    try:
        content = read(MANIFEST, limit("text_bytes") + 1)
    except (KeyError, FileNotFoundError) as error:
        raise DataError(f"{path} has no readable {MANIFEST}, so it is no bundle") from error
    manifest = parse_json(content, f"{path} has no readable {MANIFEST}, so it is no bundle: it")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise DataError(f"{path}: {MANIFEST} is not that of a {FORMAT}")
    if manifest.get("schema") != SCHEMA:
        raise DataError(
            f"{path} has schema version {manifest.get('schema')}, this consilience reads {SCHEMA}; "
            f"use consilience {manifest.get('consilience')} or newer"
        )
    files, study = manifest.get("files"), manifest.get("study")
    beside = manifest.setdefault("beside", {})
    wanted = ("settings", "models", "datasets", "metrics", "labels")
    sound = isinstance(files, dict) and isinstance(study, dict) and isinstance(beside, dict)
    sound = sound and set(beside) <= set(BESIDE)
    sound = sound and all(isinstance(study.get(key), dict) for key in wanted)
    rows = [row for key in wanted[1:3] for row in study[key].values()] if sound else []
    sound = sound and all(isinstance(row, dict) for row in rows)
    if not sound or not all(_sound(described) for described in (files | beside).values()):
        raise DataError(f"{path}: {MANIFEST} lacks files or study; ask for the bundle again")
    return manifest


def _sound(described: Any) -> bool:  # noqa: ANN401
    return (
        isinstance(described, dict)
        and isinstance(described.get("sha256"), str)
        and isinstance(described.get("bytes"), int)
        and 0 <= described["bytes"] <= limit("bundle_bytes")
    )


def _odd_names(names: list[str], manifest: Mapping[str, Any]) -> list[str]:
    files = manifest["files"] | manifest["beside"]
    problems = [f"{n!r}: no path of a bundle" for n in manifest["files"] if not bundled(n)]
    known = {MANIFEST, SIGNATURE, *files}
    problems += [
        f"{name!r} is not in the manifest"
        for name in names
        if name not in known and not name.endswith("/")
    ]
    return problems + [f"{name!r} is missing" for name in files if name not in names]


def _checked(path: Path, read: Reader, listed: Mapping[str, Any]) -> Callable[[str], bytes]:
    def checked(name: str) -> bytes:
        wanted = listed[name]
        content = read(name, wanted["bytes"] + 1)
        if _described(content) != {key: wanted[key] for key in ("sha256", "bytes")}:
            raise DataError(f"{name}: its bytes are not those that {path.name}'s manifest names")
        return content

    return checked
