rule consistency:
    """Agreement of similarities between datasets by one metric, with intervals."""
    input:
        similarity=PLAN.whole(PLAN.every("similarity")),
        reliability=PLAN.every("reliability", PLAN.halved),
        samples=PLAN.each("samples", dataset=STUDY.datasets),
    output:
        table=RESULTS["consistency"],
        means=RESULTS["consistency_means"],
        differences=RESULTS["consistency_differences"],
        influence=RESULTS["consistency_influence"],
    log:
        RESULTS.log("consistency"),
    benchmark:
        RESULTS.benchmark("consistency")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(60),
    params:
        models=PLAN.consistency_models,
        sets=PLAN.sets,
        settings=PLAN.consistency_settings,
        seed=STUDY.settings["seed"],
        code=PLAN.code("consistency"),
    script:
        "../workflow/scripts/consistency.py"


rule all_consistency:
    """Consistency by every metric."""
    input:
        PLAN.each("consistency", metric=PLAN.metrics_of_all_pairs()),
