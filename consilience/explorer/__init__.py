"""The explorer: a study's results as one page that needs neither network nor server.

Charts are Vega-Lite, written with Altair and drawn by the library that the page carries. Numbers
are embedded as compressed columns. Beside the page lies `study.json`: what the study selected.
"""

import platform
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from consilience import __version__
from consilience.errors import DataError
from consilience.explorer.answers import add_behavior, add_consistency, add_differences
from consilience.explorer.checked import check_study
from consilience.explorer.contents import Contents, add_accuracy, add_curves, add_similarity
from consilience.explorer.grounding import add_grounding
from consilience.explorer.page import render
from consilience.files import atomic, canonical_json, digest, file_digest, read_table
from consilience.results import RESULT_FILES, STUDY_FILE, list_tables, read_study

__all__ = ["make_explorer", "remake_explorer"]


def make_explorer(
    out: str | Path,
    study_out: str | Path,
    tables: Mapping[str, Sequence[str | Path]],
    *,
    study: Mapping[str, Any],
    group: str | None = None,
    layer_pairs: int = 400_000,
    configfiles: Sequence[str] = (),
) -> None:
    """Writes the page and `study.json`.

    Args:
        out: results/explorer/index.html.
        study_out: results/explorer/study.json.
        tables: paths of result tables under `similarity`, and where there are any `consistency`,
            `differences` (of it), `behavior`, `relation` (of it), `sensitivity`, `probe` (one
            file), `grounding`, `grounding_ranks` and `grounding_differences`. Those of grounding
            are enough.
        study: `settings`, and the rows of `models`, `datasets` and `metrics` by id, `labels` of
            metrics.
        group: metadata column that colours the models at first.
        layer_pairs: most pairs of layers on the page, over all tables.
        configfiles: of the study, for the commands that make tables again.

    Raises:
        DataError: there is no similarity table nor one of grounding, or a file is not what it
            should be.
    """
    if not tables.get("similarity") and not tables.get("grounding"):
        raise DataError("the explorer needs a similarity table; give the study a metric")
    check_study(study)
    contents = Contents(*(sorted(study[key]) for key in ("models", "datasets", "metrics")))
    with threadpool_limits(1):  # sums split over threads would differ in the last bit
        add_similarity(contents, tables.get("similarity", ()), study["labels"], layer_pairs)
        add_consistency(contents, tables.get("consistency", ()))
        add_differences(contents, tables.get("differences", ()))
        add_behavior(contents, tables.get("behavior", ()), tables.get("relation", ()))
        add_curves(contents, tables.get("sensitivity", ()))
        add_grounding(
            contents, tables.get("grounding", ()), tables.get("grounding_ranks", ()),
            tables.get("grounding_differences", ()),
        )  # fmt: skip
        if tables.get("probe"):
            add_accuracy(contents, tables["probe"][0])
    frame = pd.DataFrame.from_dict(study["models"], orient="index").fillna("").astype(str)
    page = render(
        contents, frame.drop(columns="model", errors="ignore"), group,
        _provenance(tables, study, configfiles),
    )  # fmt: skip
    with atomic(study_out) as temporary:
        temporary.write_text(
            canonical_json({**study, "version": __version__, "files": list(configfiles)}),
            encoding="utf8",
        )
    with atomic(out) as temporary:
        temporary.write_text(page, encoding="utf8")


def remake_explorer(results: str | Path, group: str | None = None) -> Path:
    """Writes the page of a results folder without the workflow; returns its path.

    Args:
        results: a folder with explorer/study.json, such as a merge writes.
        group: metadata column that colours the models at first.
    """
    folder = Path(results)
    out, study_file = folder / "explorer" / "index.html", folder / STUDY_FILE
    study = read_study(folder)
    if study is None:
        raise DataError(f"{folder} has no explorer/study.json; run `snakemake all_explorer` first")
    tables: dict[str, list[Path]] = {f.on_page: [] for f in RESULT_FILES.values() if f.on_page}
    for kind, path in list_tables(folder, study):
        if kind.on_page:
            tables[kind.on_page].append(path)
    study.pop("version", None)
    files = study.pop("files", [])
    make_explorer(out, study_file, tables, study=study, group=group, configfiles=files)
    return out


def _provenance(
    tables: Mapping[str, Sequence[str | Path]],
    study: Mapping[str, Any],
    configfiles: Sequence[str],
) -> dict[str, Any]:
    command = shlex.join(["snakemake", *(["--configfile", *configfiles] if configfiles else [])])
    target = f"{command} --" if configfiles else command  # else a target were one more such file
    paths = [str(path) for step in tables.values() for path in step]
    facts = {
        "Study": ", ".join(configfiles) or "config/config.yaml",
        "Study SHA-256": digest(dict(study)),
        "Everything again": command,
        "Versions": f"consilience {__version__}, Python {platform.python_version()}, "
        f"numpy {np.__version__}, pandas {pd.__version__}, altair {alt.__version__}",
        **{f"Metric {name}": canonical_json(spec) for name, spec in study["metrics"].items()},
        **_samples(tables.get("similarity", ())),
    }
    files = [[path, file_digest(path), f"{target} {shlex.quote(path)}"] for path in paths]
    return {"facts": facts, "study": _readable(study["settings"]), "files": files}


def _samples(paths: Sequence[str | Path]) -> dict[str, str]:
    """Returns number and hash of the samples of each dataset."""
    by_folder = {Path(path).parent: path for path in paths}
    found = {}
    for folder, path in sorted(by_folder.items()):
        facts = read_table(path).attrs
        found[f"Dataset {folder.name}"] = f"{facts.get('n')} samples, {facts.get('samples_hash')}"
    return found


def _readable(settings: Mapping[str, Any], indent: str = "") -> str:
    """Returns settings as lines of `key: value`."""
    lines = []
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            lines.append(f"{indent}{key}:\n{_readable(value, indent + '  ')}")
        else:
            lines.append(f"{indent}{key}: {canonical_json(value)}")
    return "\n".join(lines)
