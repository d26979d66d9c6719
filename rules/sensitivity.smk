from consilience.metrics import get_metric


def metrics_with_curves():
    """The metrics that the study names for its curves, or all of its metrics of features."""
    facts = {
        metric: get_metric(spec["metric"], **spec["parameters"]).facts
        for metric, spec in STUDY.metrics.items()
    }
    return SETTINGS["sensitivity"]["metrics"] or [
        metric
        for metric in facts
        if facts[metric].input == "features" and not facts[metric].needs_labels
    ]


def sensitivities():
    """Sensitivity tables that the study asks for; none by default."""
    wanted = SETTINGS["sensitivity"]
    if not (wanted["n"] or wanted["k"] or wanted["k_share"]):
        return []
    return expand(
        "results/sensitivity/{dataset}/{metric}.parquet",
        dataset=wanted["datasets"] or STUDY.datasets,
        metric=metrics_with_curves(),
    )


rule sensitivity:
    """Similarities again on fewer stimuli and with other k, from the same features."""
    input:
        manifest="results/features/{dataset}/manifest.parquet",
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
        curves={
            key: SETTINGS["sensitivity"][key] for key in ["n", "k", "k_share", "draws"]
        },
        seed=SETTINGS["seed"],
        code=code("sensitivity", "sensitivity", "similarity", "pairs"),
        metric_code=lambda wc: STUDY.metric_code[wc.metric],
    script:
        "../workflow/scripts/sensitivity.py"


localrules:
    stability,


rule stability:
    """From which number of stimuli on the ranking of model pairs stays as it is."""
    input:
        sensitivities(),
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
        bound=SETTINGS["sensitivity"]["bound"],
        code=code("stability", "sensitivity", "consistency/sets"),
    script:
        "../workflow/scripts/stability.py"


rule all_sensitivity:
    """Curves over n and k, where the study asks for them."""
    input:
        sensitivities(),
        "results/sensitivity/stability.parquet" if sensitivities() else [],
