"""`consilience layers`: every layer of one model with every layer of another, in order of depth."""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from consilience.api.measures import DEFAULT, find_measure
from consilience.cli.compare import read_settings
from consilience.errors import ConfigError

FIGURES = (".png", ".svg", ".pdf")
EXAMPLE = """\
example:
  consilience layers lite0 squeezenet photo_crops --out layers.png
  consilience layers results/features/digits/minilm.safetensors other.safetensors
"""


def add(commands: Any) -> None:  # noqa: ANN401
    """Adds the command to the parser's commands."""
    command = commands.add_parser(
        "layers",
        help="all layers of one model with all of another",
        description="Similarity of every layer of one model with every layer of another, or with "
        "its own, and what chance would give. Prints for each layer of the first the most similar "
        "one of the other.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=_layers)
    model = "id of config/models.tsv (all its layers), or a features file"
    command.add_argument("x", metavar="MODEL_X", help=model)
    command.add_argument("y", metavar="MODEL_Y", help=f"{model}; MODEL_X again for its own layers")
    command.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        help="what both see: id of config/datasets.tsv or a folder of pictures; not needed for "
        "features files",
    )
    command.add_argument(
        "--metric",
        default=DEFAULT,
        help="a variant of config/metrics.yaml, as in a study, or a metric's own name, of features "
        "as they are (default: %(default)s)",
    )
    command.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="parameters of the metric"
    )
    command.add_argument(
        "--permutations",
        type=int,
        default=0,
        help="for the null of a metric without a closed form (default: it has none)",
    )
    command.add_argument("--batch-size", type=int, default=8, help="samples per forward pass")
    command.add_argument(
        "-o", "--out", help=f"write the figure ({', '.join(FIGURES)}) or all values (.csv)"
    )


def _layers(arguments: argparse.Namespace) -> int:
    from consilience.api.offered import layers, plot  # noqa: PLC0415 - not for a mere --help

    out = Path(arguments.out) if arguments.out else None
    if out and out.suffix not in (*FIGURES, ".csv"):
        raise ConfigError(
            f"--out {out}: a figure ends in {', '.join(FIGURES)}, a table in .csv; "
            f"{out.suffix or 'a name without suffix'} is neither"
        )
    settings = read_settings(arguments.set)
    find_measure(arguments.metric, settings)  # before anything is extracted
    table = layers(
        arguments.x,
        None if arguments.x == arguments.y else arguments.y,
        arguments.data,
        arguments.metric,
        permutations=arguments.permutations,
        batch_size=arguments.batch_size,
        **settings,
    )
    print(_text(table))
    if out and out.suffix == ".csv":
        pd.DataFrame(table).to_csv(out, index=False, lineterminator="\n")
    elif out:
        plot.layers(table).savefig(out, dpi=300)
    return 0


def _text(table: pd.DataFrame) -> str:
    """Returns for each layer of x the most similar layer of y, its own self left out."""
    x, y = table.attrs["pair"]
    sign = 1 if table.attrs["facts"]["larger_is_more_similar"] else -1
    both = pd.DataFrame(table)
    if x == y:  # either order of a symmetric metric stands once
        sides = {"layer_x": "layer_y", "layer_y": "layer_x"}
        both = pd.concat([both, both.rename(columns=sides)], ignore_index=True)
        both = both[both["layer_x"] != both["layer_y"]]
    known = both[both["value"].notna()]
    lines = []
    for layer in table.attrs["layers"][x]:
        own = known[known["layer_x"] == layer]
        if len(own):
            best = own.loc[(sign * own["value"]).idxmax()]
            lines.append([layer, best["layer_y"], best["value"], best["calibrated"]])
        else:
            lines.append([layer, "none has a value", None, None])
    columns = [f"layer of {x}", f"most similar of {y}", "value", "calibrated"]
    shown = pd.DataFrame(lines, columns=columns)
    if shown["calibrated"].isna().all():
        shown = shown.drop(columns="calibrated")
    failed = int(table["value"].isna().sum())
    note = [f"{failed} pairs have no value: {table['failure'].dropna().iloc[0]}"] if failed else []
    heading = f"{table.attrs['words']} ({table.attrs['way']}), {table.attrs['n']} samples"
    rows = shown.to_string(index=False, float_format="{:.3f}".format, na_rep="–")
    return "\n".join([heading, rows, *note])
