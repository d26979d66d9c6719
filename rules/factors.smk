rule matched:
    """Consistency by one metric, with what follows from accuracy taken out."""
    input:
        similarity=PLAN.whole(PLAN.every("similarity")),
        accuracy=RESULTS["accuracy"],
    output:
        means=RESULTS["matched"],
        differences=RESULTS["matched_differences"],
    log:
        RESULTS.log("matched"),
    benchmark:
        RESULTS.benchmark("matched")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(60),
    params:
        models=PLAN.consistency_models,
        sets=PLAN.sets,
        settings=PLAN.matched_settings,
        seed=STUDY.settings["seed"],
        code=PLAN.code("matched"),
    script:
        "../workflow/scripts/matched.py"


rule factors:
    """What factors explain of the similarities of pairs by one metric."""
    input:
        PLAN.whole(PLAN.every("similarity")),
    output:
        RESULTS["factors"],
    log:
        RESULTS.log("factors"),
    benchmark:
        RESULTS.benchmark("factors")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(2000),
        runtime=PLAN.growing(60),
    params:
        models=PLAN.factor_models,
        settings=PLAN.share_settings,
        code=PLAN.code("factors"),
    script:
        "../workflow/scripts/factors.py"


rule dimensions:
    """How well other models predict the leading dimensions of each model, on one dataset."""
    input:
        manifest=RESULTS["manifest"],
        samples=RESULTS["samples"],
    output:
        RESULTS["dimensions"],
    log:
        RESULTS.log("dimensions"),
    benchmark:
        RESULTS.benchmark("dimensions")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(60),
    params:
        models=PLAN.factor_models,
        settings=PLAN.dimension_settings,
        code=PLAN.code("dimensions"),
    script:
        "../workflow/scripts/dimensions.py"


rule dimension_shares:
    """What factors explain of how universal dimensions are."""
    input:
        PLAN.each("dimensions", dataset=PLAN.dimensioned),
    output:
        RESULTS["dimension_shares"],
    log:
        RESULTS.log("dimension_shares"),
    benchmark:
        RESULTS.benchmark("dimension_shares")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(2000),
        runtime=PLAN.growing(60),
    params:
        models=PLAN.factor_models,
        settings=PLAN.share_settings,
        code=PLAN.code("dimension_shares"),
    script:
        "../workflow/scripts/dimension_shares.py"


rule all_factors:
    """What factors such as the objective explain, if the study asks for it."""
    input:
        PLAN.each("matched", metric=PLAN.matched),
        PLAN.each("factors", metric=PLAN.shared_out),
        PLAN.dimension_shares,
