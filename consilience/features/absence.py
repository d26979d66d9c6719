"""What a folder of results lacks: files that others in it were made of, and that are gone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from consilience.results import RESULT_FILES, list_tables

OF_FEATURES = ("similarity", "alignment", "reliability", "sensitivity")
"""Kinds of tables that are made of what a manifest lists."""
OF_SIMILARITIES = {
    name
    for name, file in RESULT_FILES.items()
    if file.step in ("consistency", "factors", "behavior") and file.wildcards == ["metric"]
}
"""Kinds of tables that are made of the similarity tables of a metric."""
MERGED = "merge.json"
"""In folders that were united of bundles, which carry no samples, features or single probes."""


def absent(folder: Path, roots: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Yields (file, what is wrong) of files that are gone, and of tables whose inputs are.

    Args:
        folder: of a study's results.
        roots: it, and the folders with samples and features that studies share.
    """
    if (folder / MERGED).exists():
        return
    tables: dict[str, set[str]] = {}
    metrics: dict[str, Path] = {}
    for kind, path in list_tables(folder):
        ids = kind.matches(path.relative_to(folder).as_posix()) or {}
        if "dataset" in ids and kind.name not in ("samples", "manifest"):
            tables.setdefault(ids["dataset"], set()).add(kind.name)
        if kind.name in OF_SIMILARITIES:
            metrics.setdefault(ids["metric"], path)
    extracted = {dataset for root in roots for dataset in _datasets(root, "*.safetensors")}
    views = _datasets(folder, "manifest.parquet")
    for dataset in sorted(extracted | views | set(tables)):
        what = "tables" if dataset in tables else "features"
        there = f"is not there, and {what} of {dataset!r} are; run snakemake to make it again"
        places = [_at(root, "samples", dataset) for root in roots]
        if not any(path.exists() for path in places):
            yield places[-1], there
        needed = dataset in _datasets(folder, "*.safetensors") or tables.get(dataset, set()) & set(
            OF_FEATURES
        )
        # Where studies share features, each of them has its own manifest below.
        below = any(folder.glob(f"*/features/{dataset}/manifest.parquet"))
        if needed and not below and not _at(folder, "manifest", dataset).exists():
            yield _at(folder, "manifest", dataset), there
    for metric, path in sorted(metrics.items()):
        similar = RESULT_FILES["similarity"].pattern.format(dataset="*", metric=metric)
        if not any(folder.glob(similar)):
            yield path, f"is made of similarities by {metric!r}, and none of them is there"


def _datasets(root: Path, pattern: str) -> set[str]:
    found = {path.parent.name for path in root.glob(f"features/*/{pattern}")}
    return {name for name in found if not name.startswith(".")}


def _at(folder: Path, name: str, dataset: str) -> Path:
    return folder / RESULT_FILES[name].pattern.format(dataset=dataset)
