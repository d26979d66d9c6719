from consilience.alignment import pairs_across


def aligned_groups(dataset):
    """The groups across which the models of a dataset are aligned; empty for all pairs."""
    across = SETTINGS["alignment"]["across"]
    return {
        m: STUDY.models[m].get(across, "") for m in STUDY.models_on[dataset] if across
    }


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
        groups=lambda wc: aligned_groups(wc.dataset),
        permutations=SETTINGS["alignment"]["permutations"],
        seed=SETTINGS["seed"],
        store="results/alignment/{dataset}/.pairs/{metric}.parquet",
        fresh=SETTINGS["fresh"],
        code=code("alignment", "alignment", "calibration"),
        metric_code=lambda wc: STUDY.metric_code[wc.metric],
    script:
        "../workflow/scripts/alignment.py"


# The datasets that have two models to align.
ALIGNED = (
    [d for d in STUDY.datasets if pairs_across(aligned_groups(d), STUDY.models_on[d])]
    if SETTINGS["alignment"]["metrics"]
    else []
)


rule all_alignment:
    """Alignment of models on every dataset that has two to align, by the metrics that ask for it."""
    input:
        expand(
            "results/alignment/{dataset}/{metric}.parquet",
            dataset=ALIGNED,
            metric=SETTINGS["alignment"]["metrics"],
        ),
