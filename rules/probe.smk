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


rule probe:
    """Accuracy of a linear probe on one model's features of one labelled dataset."""
    input:
        **PROBED,
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
        settings=SETTINGS["probe"],
        seed=SETTINGS["seed"],
        code=code("probe", "probe", "logistic", "samples", "features/views"),
    script:
        "../workflow/scripts/probe.py"


localrules:
    accuracy,


rule accuracy:
    """Probe accuracies of all models and datasets in one table: what figures read."""
    input:
        PATHS.probes(),
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
        PATHS.probes(),
        "results/probe/accuracy.parquet" if PATHS.probes() else [],
