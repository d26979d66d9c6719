"""The commands `consilience bundle` and `consilience merge`: results to hand on."""

import argparse
import shutil

from consilience.errors import DataError


def add(commands: argparse._SubParsersAction) -> None:
    """Adds both commands."""
    bundle = commands.add_parser(
        "bundle",
        help="results as one small file to hand on",
        description="Tables of a results folder with their hashes; no stimuli or features.",
    )
    bundle.set_defaults(run=_bundle)
    bundle.add_argument("results", help="the folder results of a study")
    bundle.add_argument("-o", "--out", required=True, help="NAME.zip, or a folder; must not exist")
    bundle.add_argument("--licence", default="", help="of the results: an address or a name")
    bundle.add_argument("--date", default="", help="of publication, such as 2026-11-28 (today)")
    bundle.add_argument("--sign", metavar="KEY", help="private key (PEM) of an elliptic curve")
    merge = commands.add_parser(
        "merge",
        help="check bundles and unite them",
        description="Checks bundles (zips, folders or results folders; one alone is unpacked) and "
        "writes their union as a new results folder. Contradictions are refused.",
    )
    merge.set_defaults(run=_merge)
    merge.add_argument("bundles", nargs="+", metavar="BUNDLE")
    merge.add_argument("-o", "--out", required=True, help="the new folder; must not exist")
    merge.add_argument(
        "--require-signer", action="append", default=[], metavar="KEY",
        help="public key (PEM): refuse what none of these has signed; may be given again",
    )  # fmt: skip
    merge.add_argument("--page", action="store_true", help="also make explorer/index.html of it")


def _bundle(arguments: argparse.Namespace) -> int:
    from consilience.bundle import write_bundle  # noqa: PLC0415 - not for a mere --help

    bundle = write_bundle(
        arguments.results, arguments.out,
        date=arguments.date, licence=arguments.licence, key=arguments.sign,
    )  # fmt: skip
    size = sum(described["bytes"] for described in bundle.files.values())
    print(f"{arguments.out}: {len(bundle.files)} tables, {size / 1e6:.1f} MB before compression")
    return 0


def _merge(arguments: argparse.Namespace) -> int:
    from consilience.bundle import merge_bundles  # noqa: PLC0415 - as above

    merged = merge_bundles(arguments.bundles, arguments.out, signers=arguments.require_signer)
    print(f"{arguments.out}: {len(merged.tables)} tables of {len(arguments.bundles)} bundles")
    for note in merged.notes:
        print(f"note: {note}")
    if arguments.page:
        try:
            _page(arguments.out)
        except BaseException:
            shutil.rmtree(arguments.out)  # it was made just now, and is not all that was asked for
            raise
    return 0


def _page(results: str) -> None:
    try:
        from consilience.explorer import remake_explorer  # noqa: PLC0415 - needs the workflow's extra
    except ImportError as error:
        raise DataError(
            f"the page needs the package {error.name}; pip install 'consilience[workflow]'"
        ) from None
    print(remake_explorer(results))
