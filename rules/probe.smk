# Patterns are planned faster than functions, and without views they say the same.
PROBED = {
    "features": "results/features/{dataset}/{model}.safetensors",
    "samples": "results/samples/{dataset}.parquet",
}
if PATHS.has_views:
    PROBED = {
        "features": looked_up(lambda wc: PATHS.features(wc.dataset, wc.model)),
        "samples": looked_up(lambda wc: PATHS.samples(wc.dataset)),
    }
PROBE = {key: SETTINGS["probe"][key] for key in SETTINGS["probe"] if key != "device"}
# For each dataset the probe files of its models.
PROBES = Known(
    "dataset",
    {
        dataset: expand(
            "results/probe/{dataset}/{model}.parquet", dataset=dataset, model=models
        )
        for dataset, models in STUDY.models_on.items()
    },
)
LABELLED = [d for d, row in STUDY.datasets.items() if row.get("labels") != "no"]
# The text tower of each model that names one of the study.
TOWERS = {
    model: row["text_tower"]
    for model, row in STUDY.models.items()
    if row.get("text_tower") in STUDY.models
}
TEMPLATES = Known(
    "dataset",
    {
        dataset: list(filter(None, map(str.strip, row.get("prompts", "").split("|"))))
        or PROBE["prompts"]
        for dataset, row in STUDY.datasets.items()
    },
)
LOGIT_COLUMNS = Known(
    "dataset", {d: row.get("logit_columns", "") for d, row in STUDY.datasets.items()}
)
PROBE_FILES = [path for dataset in LABELLED for path in PROBES[dataset]]


rule prompts:
    """Class names of one dataset as a text tower sees them."""
    input:
        samples="results/samples/{dataset}.parquet",
    output:
        "results/probe/prompts/{dataset}/{model}.safetensors",
    log:
        "logs/prompts/{dataset}/{model}.log",
    benchmark:
        "benchmarks/prompts/{dataset}/{model}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=scaled(4000),
        runtime=scaled(60),
    params:
        row=lambda wc: STUDY.extraction[wc.model],
        templates=lambda wc: TEMPLATES[wc.dataset],
        code=lambda wc: [code("prompts", "probe/zero_shot"), MODEL_CODE[wc.model]],
    script:
        "../workflow/scripts/prompts.py"


rule probe:
    """How well labels can be read off one model's features of one labelled dataset."""
    input:
        **PROBED,
        prompts=(
            looked_up(
                lambda wc: (
                    f"results/probe/prompts/{wc.dataset}/{TOWERS[wc.model]}.safetensors"
                    if wc.model in TOWERS
                    else []
                )
            )
            if TOWERS
            else []
        ),
    output:
        "results/probe/{dataset}/{model}.parquet",
    log:
        "logs/probe/{dataset}/{model}.log",
    benchmark:
        "benchmarks/probe/{dataset}/{model}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(4000),
        runtime=scaled(60),
    params:
        settings={k: PROBE[k] for k in PROBE if k != "prompts"},
        # A function would be asked once for every job of a study that has no use for it.
        columns=(
            looked_up(lambda wc: LOGIT_COLUMNS[wc.dataset])
            if any(LOGIT_COLUMNS.values())
            else ""
        ),
        seed=SETTINGS["seed"],
        code=code("probe", "probe", "samples", "features/manifest"),
    script:
        "../workflow/scripts/probe.py"


localrules:
    accuracy,


rule accuracy:
    """Probe accuracies of all models and datasets in one table: what figures read."""
    input:
        PROBE_FILES,
    output:
        "results/probe/accuracy.parquet",
    log:
        "logs/accuracy.log",
    benchmark:
        "benchmarks/accuracy.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    params:
        code=code("accuracy", "probe"),
    script:
        "../workflow/scripts/accuracy.py"


rule all_probe:
    """Probes of every model on every dataset that it can take."""
    input:
        PROBE_FILES,
        "results/probe/accuracy.parquet" if PROBE_FILES else [],
