"""`consilience import`, `export` and `inspect`: features files from and to other tools."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from consilience.errors import FeaturesError
from consilience.features.importing import import_features
from consilience.features.inspection import as_text, inspect_features
from consilience.features.reading import read_header, read_layer
from consilience.files import atomic
from consilience.models.imported import ORDERS

CONTIGUOUS = (
    "Before safetensors.numpy.save_file, pass arrays through np.ascontiguousarray: of a transposed "
    "array (X.T) it stores the numbers in another order, and nothing in the file shows it."
)
"""What safetensors 0.8 does, for the help of commands that read its files."""


def add(commands: Any) -> None:  # noqa: ANN401
    """Adds the commands to the parser's commands."""
    _add_import(commands)
    export = commands.add_parser(
        "export",
        help="one layer of a features file as .npy or .pt",
        description="Writes one layer (or output) of a features file for other tools.",
    )
    export.set_defaults(run=_export)
    export.add_argument("file", help="a features file")
    export.add_argument("--layer", required=True, help="the layer, or an output such as logits")
    export.add_argument("-o", "--out", required=True, help="the .npy or .pt file to write")
    inspect = commands.add_parser(
        "inspect",
        help="what is in a features file",
        description="Header, shapes, statistics and warnings of a features file.",
    )
    inspect.set_defaults(run=_inspect)
    inspect.add_argument("file", help="a features file")
    inspect.add_argument("--json", action="store_true", help="print JSON")


def _add_import(commands: Any) -> None:  # noqa: ANN401
    command = commands.add_parser(
        "import",
        help="a features file from features made elsewhere",
        description="Makes a features file of .npy, .npz, .pt, .h5, .parquet or .safetensors, or "
        "of a folder in the layout of thingsvision, CLIP_benchmark or similarity_consistency. "
        + CONTIGUOUS,
    )
    command.set_defaults(run=_import)
    command.add_argument("file", help="the file or folder")
    command.add_argument("--samples", required=True, help="results/samples/{dataset}.parquet")
    command.add_argument("--model", required=True, help="id of the model")
    command.add_argument("-o", "--out", required=True, help="the features file to write")
    command.add_argument(
        "--order",
        choices=sorted(ORDERS),
        default="ids",
        help="; ".join(f"{name}: {meaning}" for name, meaning in sorted(ORDERS.items())),
    )
    command.add_argument("--ids", help="text file with the id of each row, if FILE has none")
    command.add_argument(
        "--layer", nargs="*", default=[], help="names or patterns of layers (default: all)"
    )


def _import(arguments: argparse.Namespace) -> int:
    import_features(
        arguments.file,
        arguments.samples,
        arguments.model,
        arguments.out,
        order=arguments.order,
        ids_path=arguments.ids,
        layers=arguments.layer,
    )
    provenance = read_header(arguments.out)["provenance"]
    for what in ("blocks", "last_layer"):
        if what in provenance:
            print(f"{what.replace('_', ' ')}: {provenance[what]}")
    print(f"{arguments.out} written; `consilience inspect {arguments.out}` shows what is in it")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    out = Path(arguments.out)
    writers = {".npy": _write_npy, ".pt": _write_pt}
    if out.suffix not in writers:
        raise FeaturesError(f"{out}: write {' or '.join(writers)}, not {out.suffix or 'no suffix'}")
    x = read_layer(arguments.file, arguments.layer)
    with atomic(out) as temporary:
        writers[out.suffix](temporary, x)
    print(f"{out} written: {x.dtype} {x.shape}")
    return 0


def _write_npy(path: Path, x: np.ndarray) -> None:
    np.save(path, x)


def _write_pt(path: Path, x: np.ndarray) -> None:
    import torch  # noqa: PLC0415 - only for this

    torch.save(torch.from_numpy(x), path)


def _inspect(arguments: argparse.Namespace) -> int:
    found = inspect_features(arguments.file)
    print(json.dumps(found, indent=2) if arguments.json else as_text(found))
    return 0
