from consilience.metrics import METRICS


rule similarity:
    """Similarities of all pairs of models on one dataset by one metric; known pairs are reused."""
    input:
        manifest="results/features/{dataset}/manifest.parquet",
        # the true classes, for metrics that take them
        samples=lambda wc: (
            f"results/samples/{wc.dataset}.parquet"
            if METRICS[STUDY.metrics[wc.metric]["metric"]].class_facts.needs_labels
            else []
        ),
    output:
        "results/similarity/{dataset}/{metric}.parquet",
    log:
        "logs/similarity/{dataset}/{metric}.log",
    benchmark:
        "benchmarks/similarity/{dataset}/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(SETTINGS["similarity"]["max_memory_mb"] + 2000),
        runtime=scaled(60),
    params:
        spec=lambda wc: STUDY.metrics[wc.metric],
        store="results/similarity/{dataset}/.pairs/{metric}.parquet",
        fresh=SETTINGS["fresh"],
        code=code("similarity", "similarity", "pairs", "calibration"),
        metric_code=lambda wc: STUDY.metric_code[wc.metric],
    script:
        "../workflow/scripts/similarity.py"


rule all_similarity:
    """Similarity tables of every dataset and metric."""
    input:
        expand(
            "results/similarity/{dataset}/{metric}.parquet",
            dataset=STUDY.datasets,
            metric=STUDY.metrics,
        ),
