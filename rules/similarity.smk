SHARED = STUDY.shared if SETTINGS["similarity"]["together"] else {}
SHARED_BY = {metric: shared for shared, ids in SHARED.items() for metric in ids}


rule shared:
    """Pairs of all metrics that work on the same products or neighbour lists, made once."""
    input:
        manifest="results/features/{dataset}/manifest.parquet",
    output:
        "results/similarity/{dataset}/.shared/{shared}.parquet",
    log:
        "logs/shared/{dataset}/{shared}.log",
    benchmark:
        "benchmarks/shared/{dataset}/{shared}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(SETTINGS["similarity"]["max_memory_mb"] + 2000),
        runtime=scaled(120),
    params:
        specs=lambda wc: {id: STUDY.metrics[id] for id in SHARED[wc.shared]},
        stores=lambda wc: {
            id: f"results/similarity/{wc.dataset}/.pairs/{id}.parquet"
            for id in SHARED[wc.shared]
        },
        fresh=SETTINGS["fresh"],
        code=code("shared", "similarity", "calibration"),
        metric_code=lambda wc: {id: STUDY.metric_code[id] for id in SHARED[wc.shared]},
    script:
        "../workflow/scripts/shared.py"


rule similarity:
    """Similarities of all pairs of models on one dataset by one metric; known pairs are reused."""
    input:
        manifest="results/features/{dataset}/manifest.parquet",
        samples=samples_with_labels,
        # its pairs, where they are made together with those of others. Not `ancient`: Snakemake
        # would then overlook what else changed for this job whenever they are made again.
        shared=lambda wc: (
            f"results/similarity/{wc.dataset}/.shared/{SHARED_BY[wc.metric]}.parquet"
            if wc.metric in SHARED_BY
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
        fresh=lambda wc: SETTINGS["fresh"] and wc.metric not in SHARED_BY,
        code=code("similarity", "similarity", "calibration"),
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
