def probes():
    """Probe files of every model on every labelled dataset that it can take."""
    return [
        f"results/probe/{dataset}/{model}.parquet"
        for dataset, row in STUDY.datasets.items()
        if row.get("labels") != "no"
        for model in STUDY.models_on[dataset]
    ]


rule probe:
    """Accuracy of a linear probe on one model's features of one labelled dataset."""
    input:
        features="results/features/{dataset}/{model}.safetensors",
        samples="results/samples/{dataset}.parquet",
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
        code=code("probe", "probe", "logistic"),
    script:
        "../workflow/scripts/probe.py"


localrules:
    accuracy,


rule accuracy:
    """Probe accuracies of all models and datasets in one table: what figures read."""
    input:
        probes(),
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
        probes(),
        "results/probe/accuracy.parquet" if probes() else [],
