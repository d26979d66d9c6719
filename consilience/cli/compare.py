"""`consilience compare`: two features files compared, without Snakemake."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from consilience.api.measures import DEFAULT, Measure, find_measure
from consilience.api.shown import note_lines, null_lines, units_lines
from consilience.calibration import NULL, Permutations
from consilience.cli.features import CONTIGUOUS
from consilience.errors import ConfigError, FeaturesError, check_reached
from consilience.features.activations import REDUCTIONS, describe, reduce_pair
from consilience.features.foreign import ID_KEYS, LABEL_KEYS
from consilience.features.reading import check_content, check_same_stimuli, read_header
from consilience.files import METADATA_KEY, lines_of, text_of
from consilience.forms.groups import describe as describe_groups
from consilience.forms.groups import group_codes
from consilience.forms.inputs import INPUTS, model_inputs
from consilience.limits.arrays import check_npy, check_npz
from consilience.limits.reading import DAMAGED, regular
from consilience.metrics import Metric
from consilience.registry import did_you_mean
from consilience.samples.table import read_samples
from consilience.similarity.over_units import UNITS

FEATURES = "features"
"""The input that layers are."""


def add(commands: Any) -> None:  # noqa: ANN401
    """Adds the command to the parser's commands."""
    compare = commands.add_parser(
        "compare",
        help="similarity of two features files",
        description="Similarity of two matrices (samples, units) over the same samples. "
        + CONTIGUOUS,
    )
    compare.set_defaults(run=_compare)
    layer = ".npy, .npz or .safetensors; FILE:LAYER where it holds several"
    compare.add_argument("x", help=f"features of one model: {layer}")
    compare.add_argument("y", help="features of the other model, of the same samples in order")
    compare.add_argument(
        "--metric",
        default=DEFAULT,
        help="a variant of config/metrics.yaml, as in a study, which divides rows by their norms; "
        "or a metric's own name, of features as they are (default: %(default)s)",
    )
    compare.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="parameters of the metric; row_normalize=false for a variant of features as they are",
    )
    compare.add_argument(
        "--center", action="store_true", help="subtract the mean of each unit first"
    )
    compare.add_argument(
        "--row-normalize", action="store_true", help="divide each row by its norm first"
    )
    compare.add_argument(
        "--reduce",
        choices=sorted(REDUCTIONS),
        help="make matrices of maps (n, channels, h, w) or tokens (n, tokens, units)",
    )
    compare.add_argument("--labels", help="true classes (.npy), for metrics that need them")
    compare.add_argument(
        "--groups",
        help="which samples are of one thing, such as captions of a picture: a samples table "
        "(.parquet), .npy, or a text with a name on each line",
    )
    compare.add_argument("--null", action="store_true", help="compare with the permutation null")
    compare.add_argument(
        "--permutations",
        type=int,
        help="draw the null with so many (default: closed form where there is one, else 1000)",
    )
    compare.add_argument("--seed", type=int, default=0, help="of permutations and reductions")
    compare.add_argument("--json", action="store_true", help="print JSON")


def _compare(arguments: argparse.Namespace) -> int:
    from consilience.similarity import Task, compare  # noqa: PLC0415 - not for a mere --help

    if arguments.permutations is not None and arguments.permutations < 2:
        raise ConfigError(f"--permutations {arguments.permutations}: a null takes 2 or more")
    measure = _measure(arguments)
    metric, preprocessing, group_rows = measure.metric, measure.preprocessing, measure.group_rows
    permutations = Permutations(arguments.permutations or 1000, arguments.seed)
    shared = {"labels": _read(arguments.labels)} if arguments.labels else {}
    per_sample = INPUTS[metric.facts.main].per_sample
    headers = [_header(name) for name in (arguments.x, arguments.y)]
    if per_sample:
        check_same_stimuli(dict(zip((arguments.x, arguments.y), headers, strict=True)))
        _check_same_ids(arguments.x, arguments.y)
    x, y = (_read(name, metric.facts.main) for name in (arguments.x, arguments.y))
    sides = [
        {"file": name, "shape": list(side.shape), "dataset": header.get("dataset")}
        for name, side, header in zip((arguments.x, arguments.y), (x, y), headers, strict=True)
    ]
    if arguments.reduce:
        x, y = reduce_pair(x, y, arguments.reduce, seed=arguments.seed)
    groups = _groups(Path(arguments.groups), len(x)) if arguments.groups and per_sample else None
    in_blocks = groups is not None and group_rows != "mean"
    null = _null_kind(metric, arguments, in_blocks=in_blocks) if arguments.null else None
    task = Task(metric, preprocessing, null, permutations, shared, groups, group_rows)
    given = [
        _beside(name, metric, side)
        for name, side in zip((arguments.x, arguments.y), (x, y), strict=True)
    ]
    outcome = compare(task, *given)
    found = {
        "metric": metric.facts.name,
        "parameters": metric.parameters,
        **vars(preprocessing),
        **(describe(arguments.reduce, seed=arguments.seed) if arguments.reduce else {}),
        "x": sides[0],
        "y": sides[1],
        **({"n": len(x)} if per_sample else {}),
        **({"groups": describe_groups(groups)} if groups is not None else {}),
        "value": outcome["value"],
    }
    if outcome["value_units"] is not None:
        found |= {key: outcome[key] for key in UNITS}
    if null:
        found |= {"null": null, **{key: outcome[key] for key in NULL}}
    if null or outcome["note"]:
        found["note"] = outcome["note"]
    print(json.dumps(found, indent=2) if arguments.json else _text(found, measure))
    return 0


def _groups(path: Path, n: int) -> np.ndarray | None:
    """Returns the groups (n,) that a file names; None if all samples are alone."""
    if not path.exists():
        raise FeaturesError(f"{path}: no such file")
    if path.suffix == ".parquet":
        found = read_samples(path).groups
        return group_codes(np.arange(n) if found is None else found, n)
    named = path.suffix == ".npy"
    return group_codes(_read_npy(path, None) if named else lines_of(text_of(path)), n)


def _null_kind(metric: Metric, arguments: argparse.Namespace, *, in_blocks: bool) -> str:
    closed = metric.has_closed_form and not arguments.permutations and not in_blocks
    return "closed_form" if closed else "monte_carlo"


def _measure(arguments: argparse.Namespace) -> Measure:
    """Returns the metric that is meant, and what precedes it."""
    measure = find_measure(arguments.metric, read_settings(arguments.set))
    asked = {"center": arguments.center, "row_normalize": arguments.row_normalize}
    before = replace(measure.preprocessing, **{key: True for key, on in asked.items() if on})
    return replace(measure, preprocessing=before)


def read_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Returns what `--set NAME=VALUE` says, values as YAML reads them.

    Raises:
        ConfigError: one is not of this form, or its value cannot be read.
    """
    found = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting!r} is not NAME=VALUE")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"--set {setting!r}: the value cannot be read ({reason})") from None
    return found


def _place(name: str) -> tuple[Path, str | None]:
    """Returns the file and the layer that FILE or FILE:LAYER names."""
    path, layer = Path(name), None
    if not path.exists() and ":" in name:
        before, _, layer = name.rpartition(":")
        path = Path(before)
    return path, layer


def _header(name: str) -> dict[str, Any]:
    """Returns the header of a features file; nothing of any other one, or if it cannot be read."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - as above

    path, _ = _place(name)
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(regular(path), framework="numpy") as tensors:
            found = json.loads((tensors.metadata() or {}).get(METADATA_KEY.decode(), "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _check_same_ids(x: str, y: str) -> None:
    """Raises FeaturesError if two files both hold ids of their rows, and others."""
    ids = [_ids(name) for name in (x, y)]
    if None in ids or ids[0] == ids[1]:
        return
    row = next((i for i, (a, b) in enumerate(zip(*ids, strict=False)) if a != b), None)
    differ = (
        f"{len(ids[0])} and {len(ids[1])} ids" if row is None
        else f"row {row} is {ids[0][row]!r} in the one and {ids[1][row]!r} in the other"
    )  # fmt: skip
    raise FeaturesError(
        f"{x} and {y} are not of the same samples in the same order: {differ}; only such compare, "
        "so write both in one order"
    )


def _ids(name: str) -> list[str] | None:
    """Returns the ids that an .npz file holds beside its features; None of any other one."""
    path, _ = _place(name)
    if path.suffix != ".npz":
        return None
    try:
        check_npz(path)
        with np.load(path, allow_pickle=False) as arrays:
            key = next((key for key in ID_KEYS if key in arrays.files), None)
            return None if key is None else [str(one) for one in arrays[key].tolist()]
    except DAMAGED as error:
        check_reached(error, path)
        return None


def _beside(name: str, metric: Metric, side: np.ndarray) -> Any:  # noqa: ANN401
    """Returns a matrix of a features file with what else of the file the metric takes."""
    path, _ = _place(name)
    more = [key for key in model_inputs(metric.facts.inputs) if key != metric.facts.main]
    outputs = _header(name).get("outputs", {})
    found = {key: _read_safetensors(path, key) for key in more if key in outputs}
    return {metric.facts.main: side, **found} if found else side


def _read(name: str, main: str = FEATURES) -> np.ndarray:
    """Returns one matrix of a file; nothing in a file is ever executed.

    Args:
        name: FILE or FILE:LAYER.
        main: what is meant of a features file of which no layer is named.
    """
    path, layer = _place(name)
    if not path.exists():
        raise FeaturesError(f"{name}: no such file")
    readers = {".npy": _read_npy, ".npz": _read_npz, ".safetensors": _read_safetensors}
    if path.suffix not in readers:
        raise FeaturesError(
            f"{path}: cannot read {path.suffix or 'a file without suffix'}; use "
            f"{', '.join(readers)} (pickles are refused: they can execute code)"
        )
    try:
        header = {} if layer or main == FEATURES else _header(name)
        if header and main not in header.get("outputs", {}):
            raise FeaturesError(
                f"{path} holds no {main}, which the metric compares; name another file, or "
                "FILE:LAYER if a layer holds them"
            )
        return readers[path.suffix](path, main if header else layer)
    except DAMAGED as error:
        check_reached(error, path)
        raise FeaturesError(f"{path}: cannot be read ({error})") from None


def _read_npy(path: Path, layer: str | None) -> np.ndarray:
    if layer:
        raise FeaturesError(f"{path} holds one matrix, not the layer {layer!r}")
    check_npy(path)
    return np.load(path, allow_pickle=False)


def _read_npz(path: Path, layer: str | None) -> np.ndarray:
    check_npz(path)
    with np.load(path, allow_pickle=False) as arrays:
        layers = [name for name in arrays.files if name not in (*ID_KEYS, *LABEL_KEYS)]
        return arrays[_choose(path, layer, layers)]


def _read_safetensors(path: Path, layer: str | None) -> np.ndarray:
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - as above

    try:
        with safe_open(regular(path), framework="numpy") as tensors:
            known = list(tensors.keys())
            # of a features file the layers come first: logits and the like must be asked for
            header = (tensors.metadata() or {}).get(METADATA_KEY.decode())
            layers = read_header(path)["layers"] if header and layer is None else known
            name = _choose(path, layer, layers)
            x = tensors.get_tensor(name)
    except SafetensorError as error:
        raise FeaturesError(f"{path}: cannot be read ({error})") from None
    check_content(path, name, x)
    return x


def _choose(path: Path, layer: str | None, known: Sequence[str]) -> str:
    if layer is None and len(known) == 1:
        return known[0]
    if layer is None:
        named = ", ".join(f"{path}:{name}" for name in known)
        raise FeaturesError(f"{path} holds {len(known)} layers; name one: {named}")
    if layer not in known:
        raise FeaturesError(f"{path} has no layer {layer!r}{did_you_mean(layer, known)}")
    return layer


def _text(found: dict[str, Any], measure: Measure) -> str:
    before = measure.before
    if "reduction" in found:
        before += f", reduction {found['reduction']}"
    lines = [
        f"metric      {measure.title}",
        f"before it   {before}",
        f"x           {found['x']['file']}  {tuple(found['x']['shape'])}",
        f"y           {found['y']['file']}  {tuple(found['y']['shape'])}",
        *([f"samples     {found['n']}{_datasets(found)}"] if "n" in found else []),
        *([f"groups      {found['groups']}"] if "groups" in found else []),
        f"value       {found['value']:.6g}  ({measure.way})",
    ]
    if "value_units" in found:
        lines += units_lines(found)
    if "null" in found:
        lines += null_lines(found, found["null"])
    lines += note_lines(found.get("note"))
    return "\n".join(lines)


def _datasets(found: dict[str, Any]) -> str:
    """Returns whose samples they are, as far as the files tell."""
    named = {found[side]["file"]: found[side]["dataset"] for side in "xy"}
    datasets = " and ".join(sorted({repr(name) for name in named.values() if name}))
    silent = [file for file, dataset in named.items() if not dataset]
    text = f" of dataset {datasets}" if datasets else ""
    if silent:
        text += f"; {' and '.join(silent)} cannot tell of which: rows are taken in order"
    return text
