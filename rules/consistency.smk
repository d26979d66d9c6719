CONSISTENCY = SETTINGS["consistency"]


rule consistency:
    """Agreement of similarities between datasets by one metric, with intervals."""
    input:
        similarity=expand(
            "results/similarity/{dataset}/{{metric}}.parquet", dataset=STUDY.datasets
        ),
        reliability=expand(
            "results/reliability/{dataset}/{{metric}}.parquet", dataset=HALVED
        ),
        samples=expand("results/samples/{dataset}.parquet", dataset=STUDY.datasets),
    output:
        table="results/consistency/{metric}.parquet",
        means="results/consistency/means/{metric}.parquet",
        differences="results/consistency/differences/{metric}.parquet",
        influence="results/consistency/influence/{metric}.parquet",
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
        models=STUDY.groups(CONSISTENCY["groups"], CONSISTENCY["models"]),
        sets={
            name: sorted(STUDY.groups([], query))
            for name, query in CONSISTENCY["sets"].items()
        },
        settings={
            key: CONSISTENCY[key]
            for key in [
                "groups",
                "anchors",
                "methods",
                "bootstrap",
                "permutations",
                "min_models",
            ]
        },
        seed=SETTINGS["seed"],
        code=code("consistency", "consistency", "pairs"),
    script:
        "../workflow/scripts/consistency.py"


rule all_consistency:
    """Consistency by every metric."""
    input:
        expand("results/consistency/{metric}.parquet", metric=STUDY.metrics),
