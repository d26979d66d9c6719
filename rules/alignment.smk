from consilience.alignment import pairs_across

ACROSS = SETTINGS["alignment"]["across"]
# For each dataset the groups across which its models are aligned; empty for all pairs.
ALIGNED = Known(
    "dataset",
    {
        dataset: {m: STUDY.models[m].get(ACROSS, "") for m in models if ACROSS}
        for dataset, models in STUDY.models_on.items()
    },
)


rule alignment:
    """Similarity of models as a whole: reductions over all pairs of their layers, each with its null."""
    input:
        manifest="results/features/{dataset}/manifest.parquet",
    output:
        "results/alignment/{dataset}/{metric}.parquet",
    log:
        "logs/alignment/{dataset}/{metric}.log",
    benchmark:
        "benchmarks/alignment/{dataset}/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(6000),
        runtime=scaled(240),
    params:
        spec=lambda wc: STUDY.metrics[wc.metric],
        groups=lambda wc: ALIGNED[wc.dataset],
        permutations=SETTINGS["alignment"]["permutations"],
        seed=SETTINGS["seed"],
        store="results/alignment/{dataset}/.pairs/{metric}.parquet",
        code=code("alignment", "alignment", "calibration"),
        metric_code=lambda wc: STUDY.metric_code[wc.metric],
    script:
        "../workflow/scripts/alignment.py"


rule all_alignment:
    """Alignment of models on every dataset that has two to align, by the metrics that ask for it."""
    input:
        expand(
            "results/alignment/{dataset}/{metric}.parquet",
            dataset=[
                d
                for d in STUDY.datasets
                if pairs_across(ALIGNED[d], STUDY.models_on[d])
            ],
            metric=SETTINGS["alignment"]["metrics"],
        ),
