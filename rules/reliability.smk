rule reliability:
    """Similarities of all pairs of models on random halves of one dataset's stimuli."""
    input:
        manifest="results/features/{dataset}/manifest.parquet",
        samples=samples_with_labels,
    output:
        "results/reliability/{dataset}/{metric}.parquet",
    log:
        "logs/reliability/{dataset}/{metric}.log",
    benchmark:
        "benchmarks/reliability/{dataset}/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2 * SETTINGS["similarity"]["max_memory_mb"] + 2000),
        runtime=scaled(120),
    params:
        spec=lambda wc: STUDY.metrics[wc.metric],
        splits=SETTINGS["reliability"]["splits"],
        seed=SETTINGS["seed"],
        code=code("reliability", "reliability", "similarity"),
        metric_code=lambda wc: STUDY.metric_code[wc.metric],
    script:
        "../workflow/scripts/reliability.py"


# Without splits there is nothing to make, and nothing else asks for it.
HALVED = STUDY.datasets if SETTINGS["reliability"]["splits"] else []


rule all_reliability:
    """Similarities on halves of the stimuli of every dataset, by every metric."""
    input:
        expand(
            "results/reliability/{dataset}/{metric}.parquet",
            dataset=HALVED,
            metric=STUDY.metrics,
        ),
