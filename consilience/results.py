"""The files of a study's results: which there are, where they lie, and what their columns mean.

The table itself is `results.toml` beside this module. Rules take their paths from it, and so do
bundles, merges, the explorer, the summary, `verify` and the pages that document them.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from consilience.limits.reading import parse_json, read_text
from consilience.renames import present

FOLDER = "results"
ID = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
"""Form of the id of a dataset, model, metric, split, recipe or figure; `id_problem` says more."""
LONGEST_ID = 100
"""Letters; with what stands beside an id in a name, file systems take 255."""
_REPEATED = re.compile(r"(.+?)\1{14,}$", re.DOTALL)
"""Snakemake gives up names that end in 20 repetitions, and then plans nothing for them."""
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def id_problem(name: str) -> str:
    """Returns why a text cannot be an id, in words; "" if it can.

    Ids name files and folders, on any file system, and stand in the patterns of Snakemake.
    """
    if len(name) > LONGEST_ID:
        return f"{name[:20]!r}… has {len(name)} letters; an id has at most {LONGEST_ID}"
    if not re.fullmatch(ID, name):
        return (
            f"{name!r} is no id: it begins with a letter or digit, and goes on with letters, "
            "digits, `_`, `.` and `-`"
        )
    if ".." in name or name.endswith("."):
        return f"{name!r} is no id: it has two dots beside each other, or ends in one"
    return f"{name!r} is no id: {problem}" if (problem := file_problem(name)) else ""


def file_problem(name: str) -> str:
    """Returns why a text cannot be part of the name of a file, in words; "" if it can."""
    if len(name) > LONGEST_ID:
        return f"it has {len(name)} letters, at most {LONGEST_ID}"
    if odd := re.search(r"[\x00-\x1f\x7f/\\{}]", name):
        return f"it has {odd[0]!r}, which names of files cannot have"
    if _DEVICES.fullmatch(name):
        return "Windows keeps this name for a device"
    if repeated := _REPEATED.search(name):
        return f"it ends in {repeated[1]!r} again and again, which Snakemake does not plan"
    return ""


def same_on_disk(names: Iterable[str]) -> list[tuple[str, str]]:
    """Returns pairs of ids that differ in capitals alone, and so are one file on some disks."""
    first: dict[str, str] = {}
    return [
        (first[small], name)
        for name in sorted(set(names))
        if first.setdefault(small := name.casefold(), name) != name
    ]


Columns = Mapping[str, tuple[str, str]]
"""{column: (unit or range, meaning)}."""


@dataclass(frozen=True)
class ResultFile:
    """One kind of file under the results folder."""

    name: str
    """Of the rule that makes it, or `RULE_PART` for what a rule makes besides."""
    pattern: str
    """Path below the study's folder, with wildcards."""
    what: str
    """For the reader of README."""
    columns: Columns = field(default_factory=dict)
    """Of a table; empty for other files."""
    key: tuple[str, ...] = ()
    """Columns that tell its rows apart."""
    optional_key: tuple[str, ...] = ()
    """Those of them that tables of earlier versions lack."""
    optional: tuple[str, ...] = ()
    """Other columns that they lack."""
    common: bool = False
    """Whether all studies share it: it depends on no choice of models, datasets or metrics."""
    bundled: bool = False
    """Whether a bundle carries it."""
    of_a_set: bool = False
    """Whether its rows are of all models together, so that bundles cannot be united in it."""
    of_all_pairs: bool = False
    """Whether it is made of all pairs of models, so that a study that has only some lacks it."""
    on_page: str = ""
    """Under which name the explorer's page takes it; empty: not at all."""
    summarized: bool = False
    """Whether the summary of a run counts it."""

    @property
    def step(self) -> str:
        """The folder that it lies in, the noun of its step."""
        return self.pattern.partition("/")[0]

    @property
    def is_table(self) -> bool:
        """Whether it is a Parquet table."""
        return self.pattern.endswith(".parquet")

    @property
    def hidden(self) -> bool:
        """Whether it is a record of a run rather than a result."""
        return "/." in self.pattern

    @property
    def wildcards(self) -> list[str]:
        """The names of its wildcards, in order."""
        return re.findall(r"{(\w+)}", self.pattern)

    def matches(self, name: str) -> dict[str, str] | None:
        """Returns the wildcards of a path below the study's folder; None: another kind of file."""
        escaped = re.escape(self.pattern).replace(r"\{", "{").replace(r"\}", "}")
        found = re.fullmatch(re.sub(r"{(\w+)}", rf"(?P<\1>{ID})", escaped), name)
        if not found or any(map(id_problem, found.groups())):
            return None
        return found.groupdict()


def _read_columns(text: str, groups: Mapping[str, Columns]) -> Columns:
    columns: dict[str, tuple[str, str]] = {}
    for line in filter(None, text.splitlines()):
        if line.startswith("*"):
            columns |= groups[line[1:]]
        else:
            name, unit, meaning = line.split(" | ")
            columns[name] = (unit, meaning)
    return columns


def _read_files() -> dict[str, ResultFile]:
    content = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf8"))
    groups: dict[str, Columns] = {}
    for name, text in content["groups"].items():  # one may name those above it
        groups[name] = _read_columns(text, groups)
    files = {}
    for name, facts in content["files"].items():
        facts["columns"] = _read_columns(facts.get("columns", ""), groups)
        for key in ("key", "optional_key", "optional"):
            facts[key] = tuple(facts.get(key, "").split())
        files[name] = ResultFile(name, **facts)
    return files


RESULT_FILES: dict[str, ResultFile] = _read_files()
"""All kinds of files that a study makes, by name; stores and shelves (`.pairs`) are caches."""
STUDY_FILE = RESULT_FILES["explorer_study"].pattern
DEEPEST = max(file.pattern.count("/") for file in RESULT_FILES.values()) + 1
KINDS = ("dataset", "model", "metric")
"""What a path says of a table, by the names of wildcards and of the table's columns."""
STEPS = sorted({file.step for file in RESULT_FILES.values()})
"""The folders of a study's results; no study is called like one of them."""


def kind_of(name: str) -> tuple[ResultFile, dict[str, str]] | None:
    """Returns what kind of file a path below a study's folder names, with its wildcards."""
    for file in RESULT_FILES.values():
        if (wildcards := file.matches(name)) is not None:
            return file, wildcards
    return None


def place_of(path: str | Path) -> tuple[str, dict[str, str]]:
    """Returns what a path is that of, by its end: the kind of file, and dataset, model, metric.

    ("", {}) for paths of no file of results, such as hidden ones.
    """
    return _place_of(Path(path).absolute().parts[-DEEPEST:])


@cache
def _place_of(parts: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    # The longest first: `grounding/samples/x` is no `samples/x`.
    for file in sorted(RESULT_FILES.values(), key=lambda file: -file.pattern.count("/")):
        tail = parts[-file.pattern.count("/") - 1 :]
        ids = file.matches("/".join(tail))
        if ids is not None and not any(part.startswith(".") for part in tail):
            return file.name, {kind: ids[kind] for kind in KINDS if kind in ids}
    return "", {}


def list_tables(
    folder: str | Path,
    study: Mapping[str, Any] | None = None,
    **facts: Any,  # noqa: ANN401
) -> Iterator[tuple[ResultFile, Path]]:
    """Yields the visible tables that lie in a study's folder, kind by kind, sorted.

    Args:
        folder: of the study.
        study: what it selects, as `read_study` returns it: tables of datasets and metrics that it
            had before and has no more are left out. None: all tables.
        **facts: only of kinds that have these facts, such as `name="similarity"`.
    """
    for file in RESULT_FILES.values():
        wanted = all(getattr(file, fact) == value for fact, value in facts.items())
        if wanted and file.is_table and not file.hidden:
            pattern = re.sub(r"{\w+}", "*", file.pattern)
            for path in sorted(Path(folder).glob(pattern)):
                name = path.relative_to(folder).as_posix()
                ids = None if "/." in f"/{name}" else file.matches(name)  # hidden: of a killed run
                if ids is not None and _selects(study, ids):
                    yield file, path


def _selects(study: Mapping[str, Any] | None, ids: Mapping[str, str]) -> bool:
    kinds = {kind: f"{kind}s" for kind in ids if kind in ("model", "dataset", "metric")}
    return study is None or all(
        present(many, ids[one]) in {present(many, id_) for id_ in study.get(many, {})}
        for one, many in kinds.items()
    )


def read_study(folder: str | Path) -> dict[str, Any] | None:
    """Returns what a study selects, as its folder says; None if it does not say."""
    path = Path(folder, STUDY_FILE)
    return parse_json(read_text(path), path) if path.is_file() else None


@dataclass(frozen=True)
class Results:
    """Where the files of one study lie, as patterns for rules."""

    folder: str = FOLDER
    """Of what is the study's own: tables, figures, the page."""
    common: str = FOLDER
    """Of what studies share: samples, features, known pairs."""

    def __getitem__(self, name: str) -> str:
        """Returns the path of a kind of file, with its wildcards."""
        file = RESULT_FILES[name]
        return f"{self.common if file.common else self.folder}/{file.pattern}"

    def of(self, name: str, **wildcards: str) -> str:
        """Returns the path of one file."""
        return self[name].format(**wildcards)

    @property
    def import_plan(self) -> str:
        """Returns the file that says which imported features are read together."""
        return f"{self.folder}/features/.imports.json"

    def known(self, step: str) -> str:
        """Returns where a step keeps pairs between runs: by dataset and metric, for all studies."""
        return f"{self.common}/{step}/{{dataset}}/.pairs/{{metric}}.parquet"

    def shelf(self, dataset: str, sharing: str) -> str:
        """Returns where lists that metrics share are kept between runs, for all studies."""
        return f"{self.common}/similarity/{dataset}/.shared/{sharing}"

    def log(self, name: str, model: str = "{model}") -> str:
        """Returns the log of the rule of that name; `model` stands for several that it makes."""
        return self._record("logs", name, "log").replace("{model}", model)

    def benchmark(self, name: str, model: str = "{model}") -> str:
        """Returns the benchmark of the rule of that name, in the same way."""
        return self._record("benchmarks", name, "tsv").replace("{model}", model)

    def records(self, kind: str, *, common: bool = False) -> str:
        """Returns the folder of a kind of records, `logs` or `benchmarks`, of the study's jobs.

        Args:
            kind: the folder for all studies.
            common: of jobs whose files studies share.
        """
        folder = self.common if common else self.folder
        below = f"/{folder}".removeprefix(f"/{FOLDER}/") if folder != FOLDER else ""
        return f"{kind}/{below.strip('/')}".rstrip("/")

    def _record(self, kind: str, name: str, suffix: str) -> str:
        file = RESULT_FILES[name]
        place = self.records(kind, common=file.common)
        parts = "/".join(f"{{{wildcard}}}" for wildcard in file.wildcards)
        return f"{place}/{name}/{parts}.{suffix}" if parts else f"{place}/{name}.{suffix}"
