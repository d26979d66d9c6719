"""Whether a folder of results is what it says it is: every hash, computed again."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from consilience.errors import ConsilienceError
from consilience.features.absence import absent
from consilience.features.container import content_hash, mapped, read_entries
from consilience.features.manifest import manifest_of
from consilience.features.reading import read_header
from consilience.features.versions import mixed_versions, say_mixed
from consilience.files import canonical_json, digest, read_table
from consilience.results import list_tables
from consilience.samples import read_samples
from consilience.sums import check_sum


class Problem(NamedTuple):
    """What is wrong with one file."""

    file: str
    text: str


class Verified(NamedTuple):
    """What was looked at, what was wrong, and what is no fault but should be known."""

    counts: dict[str, int]
    problems: list[Problem]
    notes: list[Problem]


def verify_results(
    folder: str | Path, expected: Iterable[str] = (), shared: Iterable[str | Path] = ()
) -> Verified:
    """Returns all problems of a folder of results; nothing is written.

    Samples are compared with their own hash; trained weights with the hash of their header, and
    with the samples that they learnt from; features with the hashes of their header and with
    their samples; manifests with the features; similarities with the manifests; tables and stores
    of known pairs with the hash of their values. What others were made of and is gone is told, too.

    Features and samples that a study shares with others are found by its manifests.

    Args:
        folder: of a study's results.
        expected: files that must be there.
        shared: folders whose samples and features are looked at, too.
    """
    check = _Check(Path(folder), [], {})
    check.find_shared(map(Path, shared))
    samples = check.samples()
    check.weights(samples)
    headers = check.features(samples)
    manifests = check.manifests(headers)
    check.similarities(manifests)
    check.tables(samples)
    check.stores()
    check.presence(expected)
    check.absence()
    return Verified(check.counts, check.problems, check.notes)


class _Check:
    """One walk through a folder of results."""

    def __init__(self, folder: Path, problems: list[Problem], counts: dict[str, int]) -> None:
        self._folder, self.problems, self.counts = folder, problems, counts
        self.notes: list[Problem] = []
        self._roots = [folder]
        """Where samples and features lie: here, and in the folders that studies share."""

    def find_shared(self, shared: Iterable[Path]) -> None:
        """Notes the folders in which features lie that manifests name, besides those given."""
        self._roots += [root for root in shared if root not in self._roots]
        for path in sorted(self._folder.glob("features/*/manifest.parquet")):
            try:
                files = read_table(path)["file"]
            except Exception:
                continue
            for file in files:
                root = Path(os.path.normpath(path.parent / file)).parents[2]
                if root not in self._roots:
                    self._roots.append(root)

    def _report(self, path: Path, text: str) -> None:
        self.problems.append(Problem(Path(os.path.relpath(path, self._folder)).as_posix(), text))

    def _files(self, step: str, pattern: str, roots: Sequence[Path] = ()) -> Iterator[Path]:
        """Yields the files of a step; hidden ones are caches and what runs leave behind."""
        for root in roots or [self._folder]:
            for path in sorted((root / step).glob(pattern)):
                if not any(part.startswith(".") for part in path.relative_to(root).parts):
                    self.counts[step] = self.counts.get(step, 0) + 1
                    yield path

    def _attempt(self, path: Path, make: Callable[[], Any]) -> Any:  # noqa: ANN401
        try:
            return make()
        except ConsilienceError as error:
            self._report(path, str(error))
        except Exception as error:
            self._report(path, f"cannot be read ({type(error).__name__}: {error})")
        return None

    def samples(self) -> dict[str, str]:
        """Returns the samples hash by dataset."""
        hashes = {}
        for path in self._files("samples", "*.parquet", self._roots):
            found = self._attempt(path, lambda path=path: read_samples(path))
            if found is not None:
                hashes[path.stem] = found.hash
        return hashes

    def weights(self, samples: Mapping[str, str]) -> None:
        """Checks trained weights."""
        for path in self._files("train", "*.safetensors", self._roots):
            self._attempt(path, lambda path=path: self._weights_file(path, samples))

    def _weights_file(self, path: Path, samples: Mapping[str, str]) -> None:
        try:
            from consilience.networks.weights import read_trained  # noqa: PLC0415 - PyTorch
        except ImportError:
            self.notes.append(Problem(str(path), "not looked at, which takes PyTorch"))
            return
        header = read_trained(path).header
        for key, place in (("dataset", "train"), ("test", "test")):
            dataset, learnt = header["spec"].get(key, ""), header["data"][place].get("samples")
            if samples.get(dataset, learnt) != learnt:
                self._report(path, f"is of other samples than {dataset!r} has now")

    def features(self, samples: Mapping[str, str]) -> dict[Path, dict[str, Any]]:
        """Returns the headers of sound features files."""
        headers = {}
        for path in self._files("features", "*/*.safetensors", self._roots):
            header = self._attempt(path, lambda path=path: read_header(path))
            if header is None:
                continue
            before = len(self.problems)
            self._attempt(path, lambda p=path, h=header: self._features_file(p, h, samples))
            if len(self.problems) == before:
                headers[path.resolve()] = header
        return headers

    def _features_file(
        self, path: Path, header: Mapping[str, Any], samples: Mapping[str, str]
    ) -> None:
        entries, _ = read_entries(path)
        names = [*header["layers"], *header.get("outputs", [])]
        if sorted(names) != sorted(entries):
            self._report(path, f"holds {sorted(entries)}, its header lists {sorted(names)}")
            return
        for name in names:
            x, summed = mapped(path, entries[name]), header.get("sums", {}).get(name)
            if content_hash(x) != header["hashes"][name]:
                self._report(path, f"the content of {name!r} has not the hash of the header")
            elif summed is not None and check_sum(x) != summed:
                self._report(path, f"the content of {name!r} has not the sum of the header")
        place = (header["dataset"], header["model"]["model"])
        if place != (path.parent.name, path.stem):
            self._report(path, f"its header says model {place[1]!r} on dataset {place[0]!r}")
        known = samples.get(path.parent.name)
        if known and known != header["samples_hash"]:
            self._report(path, "its features are of other samples than the samples table has")

    def manifests(self, headers: Mapping[Path, dict[str, Any]]) -> dict[str, pd.DataFrame]:
        """Returns the manifests by dataset, once compared with the features."""
        manifests = {}
        for path in self._files("features", "*/manifest.parquet"):
            listed = self._attempt(path, lambda path=path: read_table(path))
            if listed is None:
                continue
            manifests[path.parent.name] = listed
            self._note_versions(path, listed, headers)
            self._attempt(path, lambda p=path, t=listed: self._manifest(p, t, headers))
        return manifests

    def _note_versions(
        self, path: Path, listed: pd.DataFrame, headers: Mapping[Path, dict[str, Any]]
    ) -> None:
        """Notes features that were made under different versions; old manifests say nothing."""
        files = {(path.parent / file).resolve() for file in listed["file"].unique()}
        own = {headers[file]["model"]["model"]: headers[file] for file in files & set(headers)}
        if mixed := mixed_versions(own):
            place = Path(os.path.relpath(path, self._folder)).as_posix()
            self.notes.append(Problem(place, say_mixed(mixed, path.parent.name)))

    def _manifest(
        self, path: Path, listed: pd.DataFrame, headers: Mapping[Path, dict[str, Any]]
    ) -> None:
        for model, rows in listed.groupby("model"):
            file = path.parent / rows["file"].iloc[0]
            header = headers.get(file.resolve())
            if header is not None:
                whole, attrs = manifest_of({file: header}, path)
                if "rows" in listed.attrs:
                    whole = _as_view(whole, listed)
                if not _same(rows, whole) or not _listed(listed.attrs, attrs):
                    self._report(path, f"what it says of {model!r} is not what {file.name} is")
            elif not file.exists():
                self._report(path, f"lists {file.name}, which is not there")

    def similarities(self, manifests: Mapping[str, pd.DataFrame]) -> None:
        """Compares the hash columns of similarity tables with the manifests."""
        for path in self._files("similarity", "*/*.parquet"):
            table = self._attempt(path, lambda path=path: read_table(path))
            manifest = manifests.get(path.parent.name)
            if table is None or manifest is None:
                continue
            self._attempt(path, lambda p=path, t=table, m=manifest: self._similarity(p, t, m))

    def _similarity(self, path: Path, table: pd.DataFrame, manifest: pd.DataFrame) -> None:
        known = {(row.model, row.layer): row.hash for row in manifest.itertuples(index=False)} | {
            (row["model"], row["output"]): row["hash"] for row in manifest.attrs["outputs"]
        }
        wrong = set()
        for side in ("x", "y"):
            ends = table[[f"model_{side}", f"layer_{side}", f"hash_{side}"]]
            for model, layer, found in ends.drop_duplicates().itertuples(index=False):
                if known.get((model, layer)) != found:
                    wrong.add(f"{model} ({layer})")
        if wrong:
            shown = ", ".join(sorted(wrong)[:3]) + (", …" if len(wrong) > 3 else "")
            self._report(path, f"{len(wrong)} layers have other features than then: {shown}")
        if table.attrs.get("samples_hash") != manifest.attrs["samples_hash"]:
            self._report(path, "it was computed on other samples")

    def tables(self, samples: Mapping[str, str]) -> None:
        """Reads all other tables, whose values have a hash."""
        for kind, path in list_tables(self._folder):
            if kind.name in ("samples", "manifest", "similarity"):
                continue
            self.counts[kind.step] = self.counts.get(kind.step, 0) + 1
            table = self._attempt(path, lambda path=path: read_table(path))
            known = samples.get(path.parent.name)
            if table is None or not known or "samples_hash" not in table.attrs:
                continue
            if table.attrs["samples_hash"] != known:
                self._report(path, "it was computed on other samples")

    def stores(self) -> None:
        """Reads the stores of known pairs, which are hidden."""
        for root in self._roots:
            for path in sorted(root.glob("*/*/.pairs/*.parquet")):
                if not path.name.startswith("."):
                    self._attempt(path, lambda path=path: read_table(path))

    def absence(self) -> None:
        """Reports what other files were made of and is gone."""
        for path, text in absent(self._folder, self._roots):
            self._report(path, text)

    def presence(self, expected: Iterable[str]) -> None:
        """Reports what a study asks for and is not there."""
        for name in expected:
            if not Path(name).exists():
                self._report(Path(name), "is not there; run snakemake to make it")


def _as_view(table: pd.DataFrame, listed: pd.DataFrame) -> pd.DataFrame:
    """Returns the lines of whole files as the manifest of some of their rows has them."""
    rows = np.array(listed.attrs["rows"], dtype=np.int64)
    hashes = [digest([one, content_hash(rows)]) for one in table["hash"]]
    return table.assign(n=len(rows), hash=hashes, samples_hash=listed.attrs["samples_hash"])


def _same(listed: pd.DataFrame, made: pd.DataFrame) -> bool:
    return canonical_json(_rows(listed)) == canonical_json(_rows(made))


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(table.to_json(orient="records"))


def _listed(attrs: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
    """Returns whether a manifest's metadata hold those of one model."""
    if any(attrs["headers"].get(model) != one for model, one in made["headers"].items()):
        return False
    if "rows" in attrs:  # a view has a name, samples and hashes of its own
        return True
    outputs = all(output in attrs["outputs"] for output in made["outputs"])
    return outputs and all(attrs[key] == made[key] for key in ("samples_hash", "dataset"))
