"""What a bundle says of itself in a form that archives and search engines read: RO-Crate 1.1.

`ro-crate-metadata.json` is made of what the manifest holds and nothing else: who made what from
what, with hashes and the licences of the catalogue. What is not known is left out, and so is every
path of a machine. With the workflow's file beside the tables it is a Workflow Run Crate, else a
Process Run Crate (profiles 0.5 of the working group on workflow runs).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from consilience.files import ROOT, canonical_json
from consilience.results import kind_of

CRATE, WORKFLOW = "ro-crate-metadata.json", "Snakefile"
BESIDE = (CRATE, WORKFLOW)
"""Files of a bundle that are no tables: for other readers; of them we read the bytes alone."""
UNLICENSED = "not stated; ask the authors of the results"

_CONTEXT = ["https://w3id.org/ro/crate/1.1/context", {"sha256": "http://schema.org/sha256"}]
_BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
_PROCESS = "https://w3id.org/ro/wfrun/process/0.5"
_OF_WORKFLOWS = (
    "https://w3id.org/ro/wfrun/workflow/0.5",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
)
_NAMES = {
    _PROCESS: ("Process Run Crate", "0.5"),
    _OF_WORKFLOWS[0]: ("Workflow Run Crate", "0.5"),
    _OF_WORKFLOWS[1]: ("Workflow RO-Crate", "1.0"),
    _BIOSCHEMAS: ("Bioschemas ComputationalWorkflow", "1.0"),
}
_SNAKEMAKE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
_PARQUET = "application/vnd.apache.parquet"
_ADDRESS = re.compile(r"^(?:https?://|hub:|package:)\S+")

Entity = dict[str, Any]


def workflow_text() -> bytes | None:
    """Returns the workflow's file, if the package lies beside it."""
    path = ROOT / WORKFLOW
    return path.read_bytes() if path.is_file() else None


def describe(
    manifest: Mapping[str, Any], date: str, licence: str = "", workflow: bytes | None = None
) -> bytes:
    """Returns `ro-crate-metadata.json` of a bundle.

    Args:
        manifest: of the bundle: study, and the bytes and SHA-256 of each table.
        date: of publication, ISO 8601.
        licence: of the results, a URL or a name; empty: not stated.
        workflow: the content of the workflow's file in the bundle; None: there is none.
    """
    study, files = manifest["study"], manifest["files"]
    inputs = [*_models(study["models"]), *_datasets(study["datasets"])]
    tables = [_table(name, files[name], study) for name in sorted(files)]
    engine = {
        "@id": "#consilience",
        "@type": "SoftwareApplication",
        "name": "Consilience",
        "softwareVersion": str(manifest["consilience"]),
        "license": {"@id": "https://spdx.org/licenses/MIT"},
    }
    run = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": "The run of the study that made these tables",
        "instrument": {"@id": engine["@id"] if workflow is None else WORKFLOW},
        "object": _one_or_all(_ids(inputs)),
        "result": _one_or_all(_ids(tables)),
    }
    profiles = [_PROCESS, *(_OF_WORKFLOWS if workflow is not None else ())]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": "Similarities of neural representations",
        "description": _sentence(study, len(tables)),
        "datePublished": date,
        "license": licence or UNLICENSED,
        "conformsTo": _one_or_all({"@id": profile} for profile in profiles),
        "hasPart": [{"@id": "manifest.json"}, *_ids(tables)],
        "mentions": {"@id": run["@id"]},
    }
    head = {
        "@id": CRATE,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": _one_or_all(
            {"@id": address} for address in ("https://w3id.org/ro/crate/1.1", *profiles[2:])
        ),
    }
    own = {
        "@id": "manifest.json",
        "@type": "File",
        "name": "Settings, rows of models and datasets, and the SHA-256 of each table",
        "encodingFormat": "application/json",
    }
    graph = [head, root, own, engine, _licence(), run, *map(_profile, profiles)]
    if workflow is not None:
        root["mainEntity"] = {"@id": WORKFLOW}
        root["hasPart"].insert(0, {"@id": WORKFLOW})
        graph += [*_workflow(engine), _profile(_BIOSCHEMAS)]
    graph += [*inputs, *_metrics(study), *tables]
    return canonical_json({"@context": _CONTEXT, "@graph": graph}).encode()


def _sentence(study: Mapping[str, Any], tables: int) -> str:
    counts = ", ".join(f"{len(study[kind])} {kind}" for kind in ("models", "datasets", "metrics"))
    return f"{tables} tables of a study of {counts}: similarities of all pairs, and what follows."


def _one_or_all(values: Iterable[Entity]) -> Entity | list[Entity]:
    """Returns values as JSON-LD writes them where they are compact: one alone is no list."""
    found = list(values)
    return found[0] if len(found) == 1 else found


def _ids(entities: list[Entity]) -> list[Entity]:
    return [{"@id": entity["@id"]} for entity in entities]


def _licence() -> Entity:
    return {
        "@id": "https://spdx.org/licenses/MIT",
        "@type": "CreativeWork",
        "name": "MIT License",
    }


def _profile(address: str) -> Entity:
    name, version = _NAMES[address]
    return {"@id": address, "@type": "CreativeWork", "name": name, "version": version}


def _workflow(engine: Mapping[str, Any]) -> list[Entity]:
    return [
        {
            "@id": WORKFLOW,
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "name": "Workflow of Consilience",
            "encodingFormat": "text/plain",
            "conformsTo": {"@id": _BIOSCHEMAS},
            "version": engine["softwareVersion"],
            "programmingLanguage": {"@id": _SNAKEMAKE},
            "license": engine["license"],
        },
        {
            "@id": _SNAKEMAKE,
            "@type": "ComputerLanguage",
            "name": "Snakemake",
            "identifier": {"@id": "https://snakemake.github.io"},
            "url": {"@id": "https://snakemake.github.io"},
        },
    ]


def _models(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[Entity]:
    for model, row in sorted(rows.items()):
        yield _of_row(
            "model",
            model,
            alternateName=_text(row, "name"),
            sha256=_text(row, "sha256"),
            identifier="".join(_ADDRESS.findall(_text(row, "weights"))),
            version=_text(row, "revision"),
        )


def _datasets(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[Entity]:
    for dataset, row in sorted(rows.items()):
        known = {"license": _text(row, "licence"), "version": _text(row, "revision")}
        yield _of_row("dataset", dataset, **known)


def _of_row(kind: str, name: str, **known: str) -> Entity:
    """Returns what is known of a row of a catalogue; empty texts are left out."""
    head = {"@id": f"#{kind}/{name}", "@type": "CreativeWork", "name": name}
    return head | {key: value for key, value in known.items() if value}


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""


def _metrics(study: Mapping[str, Any]) -> Iterator[Entity]:
    for metric, spec in sorted(study["metrics"].items()):
        yield {
            "@id": f"#metric/{metric}",
            "@type": "DefinedTerm",
            "name": metric,
            "description": str(study["labels"].get(metric, metric)),
            "termCode": canonical_json(spec),
        }


def _table(name: str, described: Mapping[str, Any], study: Mapping[str, Any]) -> Entity:
    kind = kind_of(name)
    about = [
        {"@id": f"#{one}/{value}"}
        for one, value in (kind[1].items() if kind else ())
        if one in ("model", "dataset", "metric") and value in study[f"{one}s"]
    ]
    return {
        "@id": name,
        "@type": "File",
        "name": kind[0].step if kind else name,
        "encodingFormat": _PARQUET,
        "contentSize": str(described["bytes"]),
        "sha256": described["sha256"],
        **({"about": _one_or_all(about)} if about else {}),
    }
