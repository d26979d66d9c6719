rule behavior:
    """How far every two models differ in what they do on one labelled dataset."""
    input:
        probe=lambda wc: PROBES[wc.dataset],
        manifest="results/features/{dataset}/manifest.parquet",
        samples="results/samples/{dataset}.parquet",
    output:
        "results/behavior/{dataset}.parquet",
    log:
        "logs/behavior/{dataset}.log",
    benchmark:
        "benchmarks/behavior/{dataset}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(4000),
        runtime=scaled(60),
    params:
        logit_columns=lambda wc: LOGIT_COLUMNS[wc.dataset],
        code=code("behavior", "behavior", "probe", "metrics/outputs", "similarity"),
    script:
        "../workflow/scripts/behavior.py"


rule relation:
    """Similarity of model pairs against how far they differ in what they do, by one metric."""
    input:
        similarity=expand(
            "results/similarity/{dataset}/{{metric}}.parquet", dataset=LABELLED
        ),
        behavior=expand("results/behavior/{dataset}.parquet", dataset=LABELLED),
    output:
        table="results/behavior/relation/{metric}.parquet",
        domains="results/behavior/domains/{metric}.parquet",
    log:
        "logs/relation/{metric}.log",
    benchmark:
        "benchmarks/relation/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(4000),
        runtime=scaled(60),
    params:
        domains={d: STUDY.datasets[d].get("domain", "") for d in LABELLED},
        settings=SETTINGS["behavior"],
        seed=SETTINGS["seed"],
        code=code("relation", "behavior", "consistency", "pairs"),
    script:
        "../workflow/scripts/relation.py"


rule all_behavior:
    """Behavior on every labelled dataset, and how it goes together with similarity."""
    input:
        expand("results/behavior/{dataset}.parquet", dataset=LABELLED),
        (
            expand("results/behavior/relation/{metric}.parquet", metric=STUDY.metrics)
            if LABELLED
            else []
        ),
