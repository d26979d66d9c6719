rule causes:
    """Pairs of models whose data overlap by a known share, by one metric on one dataset."""
    input:
        similarity=RESULTS["similarity"],
        learned=PLAN.cause_learned,
        splits=lambda wc: PLAN.splits_on(wc.dataset),
    output:
        RESULTS["causes"],
    log:
        RESULTS.log("causes"),
    benchmark:
        RESULTS.benchmark("causes")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(60),
    params:
        pairs=lambda wc: PLAN.overlapping_on(wc.dataset),
        splits=lambda wc: PLAN.split_files(wc.dataset),
        sides=lambda wc: PLAN.sides_on(wc.dataset),
        code=PLAN.code("causes"),
    script:
        "../workflow/scripts/causes.py"


rule causes_published:
    """Published tables of pairs, read in one form."""
    input:
        PLAN.published_cause_files,
    output:
        RESULTS["causes_published"],
    log:
        RESULTS.log("causes_published"),
    benchmark:
        RESULTS.benchmark("causes_published")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(60),
    params:
        sources=PLAN.published_causes,
        code=PLAN.code("causes_published"),
    script:
        "../workflow/scripts/causes_published.py"


rule causes_effects:
    """How similarity follows overlap, with intervals over draws, of the study and as published."""
    input:
        tables=PLAN.cause_tables,
        published=PLAN.published_pairs,
    output:
        RESULTS["causes_effects"],
    log:
        RESULTS.log("causes_effects"),
    benchmark:
        RESULTS.benchmark("causes_effects")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(60),
    params:
        settings=PLAN.cause_settings,
        seed=STUDY.settings["seed"],
        code=PLAN.code("causes_effects"),
    script:
        "../workflow/scripts/causes_effects.py"


rule all_causes:
    """How similarity follows what two models share, where the study asks for it."""
    input:
        PLAN.cause_tables,
        PLAN.published_pairs,
        PLAN.effects,
