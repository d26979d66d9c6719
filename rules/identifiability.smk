rule identifiability:
    """Pairs of classifiers of one architecture: how close their predictions, how unlike the rest."""
    input:
        manifest=RESULTS["manifest"],
        samples=RESULTS["samples"],
    output:
        RESULTS["identifiability"],
    log:
        RESULTS.log("identifiability"),
    benchmark:
        RESULTS.benchmark("identifiability")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(60),
    params:
        models=PLAN.classifiers,
        logit_columns=lambda wc: PLAN.logit_columns[wc.dataset],
        settings=PLAN.distance_settings,
        seed=STUDY.settings["seed"],
        code=PLAN.code("identifiability"),
    script:
        "../workflow/scripts/identifiability.py"


localrules:
    identifiability_trend,


rule identifiability_trend:
    """Whether wider models are closer, with intervals that resample models."""
    input:
        PLAN.each("identifiability", dataset=PLAN.identified),
    output:
        RESULTS["identifiability_trend"],
    log:
        RESULTS.log("identifiability_trend"),
    benchmark:
        RESULTS.benchmark("identifiability_trend")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    params:
        settings=PLAN.trend_settings,
        seed=STUDY.settings["seed"],
        code=PLAN.code("identifiability_trend"),
    script:
        "../workflow/scripts/identifiability_trend.py"


rule constructed_kl:
    """Two constructed models whose KL divergence vanishes while they stay unlike."""
    output:
        RESULTS["constructed_kl"],
    log:
        RESULTS.log("constructed_kl"),
    benchmark:
        RESULTS.benchmark("constructed_kl")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    params:
        construction="kl",
        seed=PLAN.construction_seed,
        code=PLAN.code("constructed"),
    script:
        "../workflow/scripts/constructed.py"


rule constructed_perturbed:
    """A constructed model against itself with ever more noise on its features."""
    output:
        RESULTS["constructed_perturbed"],
    log:
        RESULTS.log("constructed_perturbed"),
    benchmark:
        RESULTS.benchmark("constructed_perturbed")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    params:
        construction="perturbed",
        seed=PLAN.construction_seed,
        code=PLAN.code("constructed"),
    script:
        "../workflow/scripts/constructed.py"


rule all_identifiability:
    """Closeness of predictions against representations, where the study asks for it."""
    input:
        PLAN.each("identifiability", dataset=PLAN.identified),
        PLAN.trends,
        PLAN.constructed,
