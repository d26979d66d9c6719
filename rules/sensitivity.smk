CURVES = SETTINGS["sensitivity"]
# The metrics that the study names for its curves, or all of them.
CURVE_METRICS = CURVES["metrics"] or list(STUDY.metrics)
SENSITIVITIES = (
    expand(
        "results/sensitivity/{dataset}/{metric}.parquet",
        dataset=CURVES["datasets"] or STUDY.datasets,
        metric=CURVE_METRICS,
    )
    if CURVES["n"] or CURVES["k"] or CURVES["k_share"]
    else []
)


rule sensitivity:
    """Similarities again on fewer stimuli and with other k, from the same features."""
    input:
        manifest="results/features/{dataset}/manifest.parquet",
        samples=samples_with_labels,
    output:
        "results/sensitivity/{dataset}/{metric}.parquet",
    log:
        "logs/sensitivity/{dataset}/{metric}.log",
    benchmark:
        "benchmarks/sensitivity/{dataset}/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2 * SETTINGS["similarity"]["max_memory_mb"] + 2000),
        runtime=scaled(120),
    params:
        spec=lambda wc: STUDY.metrics[wc.metric],
        curves={key: CURVES[key] for key in ["n", "k", "k_share", "draws"]},
        seed=SETTINGS["seed"],
        code=code("sensitivity", "sensitivity", "similarity"),
        metric_code=lambda wc: STUDY.metric_code[wc.metric],
    script:
        "../workflow/scripts/sensitivity.py"


localrules:
    stability,


rule stability:
    """From which number of stimuli on the ranking of model pairs stays as it is."""
    input:
        SENSITIVITIES,
    output:
        "results/sensitivity/stability.parquet",
    log:
        "logs/stability.log",
    benchmark:
        "benchmarks/stability.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    params:
        bound=CURVES["bound"],
        code=code("stability", "sensitivity", "pairs/sets"),
    script:
        "../workflow/scripts/stability.py"


rule all_sensitivity:
    """Curves over n and k, where the study asks for them."""
    input:
        SENSITIVITIES,
        "results/sensitivity/stability.parquet" if SENSITIVITIES else [],
