"""What is in a features file, and what looks odd about it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from consilience.features.container import Entry, content_hash, mapped, read_entries
from consilience.features.reading import read_header

ROWS = 4096
"""Rows looked at together, so that a file need not fit into memory."""
DRAWN = 1024
"""Rows of which the directions are computed."""
NARROW = 0.95
UNEVEN = 100.0


def inspect_features(path: str | Path) -> dict[str, Any]:
    """Returns the header, statistics of every tensor and warnings about the features.

    Raises:
        FeaturesError: the file is missing, damaged, or no features file.
    """
    header = read_header(path)
    entries, _ = read_entries(path)
    names = [*header["layers"], *header.get("outputs", [])]
    tensors = {name: _describe(path, entries[name], name, header) for name in names}
    return {
        "file": str(path),
        "bytes": Path(path).stat().st_size,
        "header": {k: v for k, v in header.items() if k not in ("shapes", "hashes", "sums")},
        "tensors": tensors,
        "warnings": [
            f"{name}: {text}" for name, found in tensors.items() for text in found["warnings"]
        ],
    }


def _describe(path: str | Path, entry: Entry, name: str, header: dict[str, Any]) -> dict[str, Any]:
    x = mapped(path, entry)
    found: dict[str, Any] = {"shape": list(entry.shape), "dtype": entry.dtype.name}
    found["hash"] = content_hash(x)
    found |= _statistics(x)
    found["top_direction"] = _top_direction(x)
    found["warnings"] = []
    if found["hash"] != header["hashes"].get(name):
        found["warnings"].append("its content is not what the header says: the file is damaged")
    if name in header["layers"]:
        found["warnings"] += _warnings(found)
    elif found["not_finite"]:
        found["warnings"].append(_count(found["not_finite"], "row", "not finite"))
    return found


def _blocks(x: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(x), ROWS):
        yield np.asarray(x[start : start + ROWS], np.float64)


def _statistics(x: np.ndarray) -> dict[str, Any]:
    """Returns sums over (n, d) in one pass; values that are not finite count as 0."""
    low, high = np.full(x.shape[1], np.inf), np.full(x.shape[1], -np.inf)
    total = squares = not_finite = 0
    norms, seen = [], set()
    for block in _blocks(x):
        bad = ~np.isfinite(block)
        not_finite += int(bad.any(axis=1).sum())
        block = np.where(bad, 0, block)  # noqa: PLW2901
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
        total += block.sum()
        squares += (block**2).sum()
        norms.append(np.linalg.norm(block, axis=1))
        seen.update(hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in block)
    norm = np.concatenate(norms)
    mean = total / x.size
    return {
        "mean": float(mean),
        "sd": float(np.sqrt(max(squares / x.size - mean**2, 0))),
        "min": float(low.min()),
        "max": float(high.max()),
        "norm": {
            key: float(f(norm)) for key, f in (("min", min), ("median", np.median), ("max", max))
        },
        "not_finite": not_finite,
        "zero_rows": int((norm == 0).sum()),
        "constant_units": int((low == high).sum()) if len(x) > 1 else 0,
        "repeated_rows": len(x) - len(seen),
    }


def _top_direction(x: np.ndarray) -> float | None:
    """Returns the share of the variance along the first principal direction, of some rows."""
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), DRAWN)).astype(int))
    drawn = np.nan_to_num(np.asarray(x[rows], np.float64), posinf=0, neginf=0)
    drawn = drawn - drawn.mean(axis=0)
    gram = drawn @ drawn.T if len(rows) <= x.shape[1] else drawn.T @ drawn
    total = float(np.trace(gram))
    return float(np.linalg.eigvalsh(gram)[-1] / total) if total > 0 else None


def _warnings(found: dict[str, Any]) -> Iterator[str]:
    n, d = found["shape"]
    if found["not_finite"]:
        yield _count(found["not_finite"], "row", "not finite")
    if found["zero_rows"]:
        yield _count(found["zero_rows"], "row", "zero: cosine measures are undefined for them")
    if found["repeated_rows"] == n - 1 > 0:
        yield "all rows are alike: no measure is defined"
    elif found["repeated_rows"]:
        yield _count(found["repeated_rows"], "row", "the same as another row")
    if found["constant_units"]:
        yield f"{found['constant_units']} of {d} units are constant"
    norm = found["norm"]
    if norm["median"] and norm["max"] > UNEVEN * norm["median"]:
        times = norm["max"] / norm["median"]
        yield f"the largest row is {times:.0f} times as long as the median one: it decides alone"
    if found["top_direction"] and found["top_direction"] > NARROW and d > 1:
        share = f"{found['top_direction']:.0%}"
        yield f"one direction holds {share} of the variance: linear measures see little else"


def _count(count: int, what: str, verdict: str) -> str:
    return f"1 {what} is {verdict}" if count == 1 else f"{count} {what}s are {verdict}"


def as_text(found: dict[str, Any]) -> str:
    """Returns what `inspect_features` found as lines to read."""
    header = found["header"]
    lines = [f"{found['file']}  ({found['bytes']:,} bytes)"]
    for key in ("model", "dataset", "n", "dtype", "samples_hash"):
        value = header[key]["model"] if key == "model" else header[key]
        lines.append(f"  {key:15}{value}")
    for key, value in sorted(header.items()):
        if key in ("provenance", "language"):
            lines += [f"  {name:15}{text}" for name, text in sorted(value.items()) if text != ""]
        elif isinstance(value, str | int) and key not in ("dataset", "n", "dtype", "samples_hash"):
            lines.append(f"  {key:15}{value}")
    head = f"{'tensor':20}{'shape':>16}{'mean':>11}{'sd':>11}{'min':>11}{'max':>11}"
    lines += ["", f"{head}{'norm (median)':>15}{'top direction':>15}"]
    for name, one in found["tensors"].items():
        shape = " x ".join(map(str, one["shape"]))
        numbers = "".join(f"{one[key]:>11.4g}" for key in ("mean", "sd", "min", "max"))
        top = "" if one["top_direction"] is None else f"{one['top_direction']:.1%}"
        lines.append(f"{name:20}{shape:>16}{numbers}{one['norm']['median']:>15.4g}{top:>15}")
    lines.append("")
    lines += [f"warning: {text}" for text in found["warnings"]] or ["no warnings"]
    return "\n".join(lines)
