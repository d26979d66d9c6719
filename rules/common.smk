import gc
import os
from pathlib import Path

from consilience.config import Known, load_study, use_clone
from consilience.config.paths import Paths, looked_up
from consilience.errors import ConsilienceError
from consilience.features import EXTRACTION_CODE
from consilience.files import code_digest, digest, file_digest
from consilience.prefetch import describe, list_remote
from snakemake.exceptions import WorkflowError

use_clone(workflow.basedir)

ID = r"[A-Za-z0-9_.-]+"

# Planning makes millions of small objects that live to its end: looking for garbage among them at
# Python's own pace takes a tenth of the time.
gc.set_threshold(100_000, 50, 50)


def checked_study():
    """The study, or one message with all that is wrong with it."""
    files = [os.path.relpath(path) for path in workflow.configfiles]
    try:
        return load_study(config, where=files[0] if files else "--config")
    except ConsilienceError as error:
        raise WorkflowError(str(error)) from None


STUDY = checked_study()
SETTINGS = STUDY.settings
PATHS = Paths(STUDY)
config.update(SETTINGS)  # scripts find the defaults too


def code(script, *modules):
    """Hash of a step's script and of the library modules that decide its result."""
    path = Path(workflow.basedir, "workflow", "scripts", f"{script}.py")
    return digest([file_digest(path), code_digest(*modules)])


def source_code(kind, rows):
    """For each id the hash of what sources share, of its source, and of the library it names."""
    parts = lambda row: (
        *("__init__", "_*", row["source"] or "_"),
        row.get("name", "").partition(":")[0] or "_",
    )
    return {
        name: code_digest(*(f"{kind}/{part}" for part in parts(row)))
        for name, row in rows.items()
    }


MODEL_CODE = source_code("models", STUDY.models)
DATASET_CODE = source_code("datasets", STUDY.touched)
# For each model all that decides its features, besides the samples. One parameter and not five:
# Snakemake spends a tenth of a millisecond on every one of every job.
EXTRACTION = Known(
    "model",
    {
        name: {
            "row": row,
            "dtype": SETTINGS["features"]["dtype"],
            "autocast": SETTINGS["features"]["autocast"],
            "code": [code("features", *EXTRACTION_CODE), MODEL_CODE[name]],
        }
        for name, row in STUDY.extraction.items()
    },
)


# One pattern for all ids: alternatives of a thousand names would be tried for every file.
wildcard_constraints:
    dataset=ID,
    model=ID,
    metric=ID,
    shared=ID,


def scaled(amount):
    """A resource that grows with every retry."""
    return lambda wildcards, attempt: amount * attempt


def samples_with_labels(wildcards):
    """The true classes, for metrics that take them."""
    wanted = STUDY.labelled[wildcards.metric]
    return f"results/samples/{wildcards.dataset}.parquet" if wanted else []
