"""Names that a page gives as code, held against what exists: what is stale is told with its kind.

What a word claims to be decides what it is held against, the narrower the better:

- after "source", and in the column `source` of an example row: the sources that there are
- `a.b` where a is a key of the study: the keys of the study
- `key: value` and `key=value`: keys of the study and of catalogues, parameters, keys of views and
  of alterations
- a command, in a block of a shell or in backticks: targets of make and Snakemake, studies, and the
  parser of `consilience`, which reads the whole line
- a path into a folder of the project, or below `results/`: files, and folders that steps write
- any other single word: all of these, and names and one-word texts in the code of the package,
  which is where columns of results are made; comments and docstrings do not count

Words of other kinds (addresses, placeholders in capitals, numbers, foreign paths) claim nothing.
"""

import ast
import contextlib
import fnmatch
import importlib
import io
import re
import shlex
from functools import cache

import yaml
from clones import ROOT, STUDIES, project_files

from consilience import cli, datasets, docs, models
from consilience.alterations.spec import FORMS
from consilience.config.shape import read_schema
from consilience.metrics import METRICS
from consilience.networks import list_architectures
from consilience.results import RESULT_FILES, STEPS
from consilience.samples.groups import KINDS
from consilience.samples.views import View

ELSEWHERE = {"merged", "runs", "data", "checkpoints", "ndf", "npy"}
"""Folders and packages of examples, which are the reader's own."""


def stale(page: str) -> list[str]:
    """Returns what a page's hand-written part says that does not exist, as "kind: word"."""
    text = docs.outside(page)
    found = [problem for kind, block in _blocks(text) for problem in _of_block(kind, block)]
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for words in re.findall(r"\b[Ss]ources?:?((?:,? (?:and |or )?`[^`]+`)+)", prose):
        found += [f"source: {w}" for w in re.findall(r"`([^`]+)`", words) if w not in _sources()]
    for word in re.findall(r"`([^`]+)`", prose.replace("\n", " ")):
        found += _of_word(word)
    return found


def _blocks(text):
    return re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)


def _of_block(kind, block):
    if kind in ("bash", "sh"):
        lines = (line.partition(" #")[0] for line in block.splitlines() if line[:1] != "#")
        return [problem for line in lines if line.strip() for problem in _of_command(line)]
    if kind == "tsv":
        header, *rows = [line.split("\t") for line in block.splitlines()]
        problems = [f"column: {cell}" for cell in header if cell not in _columns()]
        place = header.index("source") if "source" in header else None
        cells = [row[place] for row in rows if place is not None]
        return problems + [f"source: {cell}" for cell in cells if cell and cell not in _sources()]
    return []


def _of_word(word):
    """Returns what is wrong with a word by the first kind that it claims to be."""
    kinds = {
        r"(snakemake|make|consilience|python) .*": _of_command,
        r"consilience\..*": _of_library,
        r".*/.*": _of_path,
        r"\w+: .+": _of_yaml,
        r"(?!key=)[a-z]\w*=\S+": lambda word: _unknown("key", word.partition("=")[0], _keys()),
        rf"({'|'.join(key for key in _study() if '.' not in key)})\.[a-z_.]+": lambda word: (
            _unknown("key of the study", word, _study())
        ),
        r"--[a-z-]+": lambda word: _unknown("option", word, _options()),
        r"(?!\w*[A-Z]{2})[a-z_]\w*(\(.*\))?": lambda word: _unknown(
            "word", word.partition("(")[0], _words() | ELSEWHERE
        ),
    }
    check = next((check for kind, check in kinds.items() if re.fullmatch(kind, word)), None)
    return check(word) if check else []


def _unknown(kind, word, known):
    return [] if word in known else [f"{kind}: {word}"]


def _of_library(word):
    return [] if _importable(word) else [f"name of the library: {word}"]


def _of_yaml(word):
    return [p for key in _keys_of(yaml.safe_load(word)) for p in _unknown("key", key, _keys())]


def _keys_of(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *_keys_of(inner))


def _of_command(line):
    program, *words = shlex.split(line.replace("(", "").replace(")", ""))
    if program == "make":
        return [f"target of make: {w}" for w in words if "=" not in w and w not in _make_targets()]
    if program == "snakemake":
        return [problem for word in words for problem in _of_argument(word)]
    if program == "python" and words[:1] != ["-m"]:
        return _of_path(words[0])
    if program == "consilience" and words[0] != "--help":
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            try:
                cli._parser().parse_args(words)
            except SystemExit as stop:
                if stop.code:
                    return [f"command: {line.strip()} ({said.getvalue().splitlines()[-1]})"]
    return []


def _of_argument(word):
    if word.startswith("all_") and word not in _rules():
        return [f"target of Snakemake: {word}"]
    return _of_path(word) if "/" in word else []


def _of_path(word):
    first, _, rest = word.rstrip("/").partition("/")
    if first in {path.parts[0] for path in project_files()}:
        names = [path.as_posix() for path in project_files()]
        pattern = word.rstrip("/")
        there = any(fnmatch.fnmatch(n, pattern) or n.startswith(f"{pattern}/") for n in names)
        return [] if there else [f"path: {word}"]
    rooms = {"merge.json", *STEPS}
    if first == "results" and rest:
        study, _, below = rest.partition("/")
        if _is_study(study):
            rest = below or "figures"
        return [] if rest.partition("/")[0] in rooms else [f"path: {word}"]
    if re.match(r"[a-z]+/.*\{\w+\}", word):  # a table, below results/
        return [] if first in rooms else [f"path: {word}"]
    return []


def _is_study(name):
    """Whether a folder of results is that of a shipped study, or of a placeholder."""
    parts = name.split("+")
    return name.isupper() or all(
        part in "ab" or part in {p.stem for p in STUDIES} for part in parts
    )


def _importable(name):
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        with contextlib.suppress(ImportError):
            found = importlib.import_module(".".join(parts[:length]))
            return all((found := getattr(found, part, None)) is not None for part in parts[length:])
    return False


@cache
def _sources():
    return {*models.list_sources(), *datasets.list_sources()}


@cache
def _columns():
    headers = {"model", "dataset"}
    for name in ("models", "datasets"):
        lines = (ROOT / "config" / f"{name}.tsv").read_text(encoding="utf8").splitlines()
        headers |= {*read_schema(name)["properties"], *lines[0].split("\t")}
    return headers


@cache
def _study():
    def walk(schema, prefix=""):
        for key, part in schema.get("properties", {}).items():
            yield f"{prefix}{key}"
            yield from walk(part, f"{prefix}{key}.")

    return set(walk(read_schema("study")))


@cache
def _keys():
    parameters = {key for cls in METRICS.values() for key in cls().parameters}
    study = {part for key in _study() for part in key.split(".")}
    metrics = {"metric", "label", "row_normalize", "center", "clip"}
    cells = {*View.__dataclass_fields__, *KINDS, *FORMS}
    recipes = _recipe_keys(read_schema("recipes")["$defs"]["recipe"])
    recipes |= {f"options.{key}" for _, options in list_architectures().values() for key in options}
    return study | parameters | metrics | _columns() | cells | recipes


@cache
def _make_targets():
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@cache
def _rules():
    texts = [path.read_text() for path in (ROOT / "rules").glob("*.smk")]
    return {"all", *re.findall(r"^rule (\w+):", "\n".join(texts), re.MULTILINE)}


@cache
def _options():
    texts = [p.read_text() for folder in ("benchmarks", "consilience/cli")
             for p in (ROOT / folder).glob("*.py")]  # fmt: skip
    return {"--help", "--profile", *re.findall(r'"(--[a-z-]+)"', "\n".join(texts))}


@cache
def _words():
    """Everything that may stand for itself."""
    words = _sources() | _keys() | _rules() | {"make", "snakemake", "consilience"}
    words |= {column for file in RESULT_FILES.values() for column in file.columns}
    words |= set(METRICS) | set(yaml.safe_load((ROOT / "config" / "metrics.yaml").read_text()))
    for name in ("models", "datasets"):
        lines = (ROOT / "config" / f"{name}.tsv").read_text(encoding="utf8").splitlines()
        words |= {cell for line in lines for cell in line.split("\t")}
    for name in ("study", "models", "datasets"):
        words |= set(re.findall(r"\w+", str(_values(read_schema(name)))))
    words |= set(yaml.safe_load((ROOT / "config" / "recipes.yaml").read_text(encoding="utf8")))
    for path in (ROOT / "consilience").rglob("*.py"):
        words |= _names_in(ast.parse(path.read_text(encoding="utf8")))
    words |= {part for path in project_files() for part in (path.stem, *path.parts)}
    return words


def _recipe_keys(schema):
    """Returns keys of recipes, alone and as a sweep names them (`training.lr`)."""
    found = set()
    for key, part in schema.get("properties", {}).items():
        inner = _recipe_keys(part)
        found |= {key, *inner, *(f"{key}.{name}" for name in inner)}
    return found


def _values(schema):
    own = [schema.get("enum", []), schema.get("default", "")]
    return own + [_values(part) for part in schema.get("properties", {}).values()]


def _names_in(tree):
    """Returns names that code defines, and texts in it that are one word; no docstring is."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.Constant(value=str(text)) if re.fullmatch(r"\w+", text):
                found.add(text)
    return found
