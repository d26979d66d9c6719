"""The pages on result files: `docs/results.md`, and the table of them in README.md."""

from consilience.docs.tables import table
from consilience.results import RESULT_FILES, ResultFile

HEAD = """# Result files

Every file that a study makes, and what each column of each table means. Written by `make docs` from
`consilience/results.toml`. Paths are below the study's folder: `results/` for the default study,
`results/NAME/` for the study of `NAME.yaml`, or what its key `results` says. Files that studies
share lie in `results/`, whichever study made them. Tables are Parquet; their metadata (settings,
hashes, code) are JSON under the key `consilience`, which `consilience.files.read_table` returns in
`.attrs`.
"""
START, END = "<!-- generated: results -->\n", "<!-- end -->"


def results_page() -> str:
    """Returns docs/results.md."""
    return "\n".join([HEAD, *map(_section, _shown())])


def fill_readme(page: str) -> str:
    """Returns README.md with its table of result files replaced."""
    before, found, rest = page.partition(START)
    if not found:
        raise ValueError(f"README.md has no place for the table of result files: add {START!r}")
    rows = [(f"`{file.pattern}`", file.what) for file in _shown()]
    content = table(["below the study's folder", "what it is"], rows)
    return f"{before}{START}{content}\n{rest[rest.index(END) :]}"


def _shown() -> list[ResultFile]:
    return [file for file in RESULT_FILES.values() if not file.hidden]


def _section(file: ResultFile) -> str:
    facts = {
        "shared by all studies": file.common,
        "in bundles": file.bundled,
        "of all models together": file.of_a_set,
        "on the explorer's page": bool(file.on_page),
    }
    said = [fact for fact, holds in facts.items() if holds]
    lines = [f"## `{file.pattern}`", "", f"{file.what[:1].upper()}{file.what[1:]}."]
    if said:
        lines[-1] += f" {', '.join(said).capitalize()}."
    if file.key:
        lines += ["", f"One row for each {', '.join(f'`{column}`' for column in file.key)}."]
    if file.columns:
        rows = [(f"`{name}`", unit, meaning) for name, (unit, meaning) in file.columns.items()]
        lines += ["", table(["column", "unit or range", "meaning"], rows)]
    return "\n".join([*lines, ""])
