rule consistency:
    """Agreement of similarities between datasets by one metric, with intervals."""
    input:
        expand(
            "results/similarity/{dataset}/{{metric}}.parquet", dataset=STUDY.datasets
        ),
    output:
        "results/consistency/{metric}.parquet",
    log:
        "logs/consistency/{metric}.log",
    benchmark:
        "benchmarks/consistency/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(4000),
        runtime=scaled(60),
    params:
        models=STUDY.groups(
            SETTINGS["consistency"]["groups"], SETTINGS["consistency"]["models"]
        ),
        settings={
            key: SETTINGS["consistency"][key]
            for key in ["groups", "methods", "bootstrap", "permutations", "min_models"]
        },
        seed=SETTINGS["seed"],
        code=code("consistency", "consistency"),
    script:
        "../workflow/scripts/consistency.py"


rule all_consistency:
    """Consistency by every metric."""
    input:
        expand("results/consistency/{metric}.parquet", metric=STUDY.metrics),
