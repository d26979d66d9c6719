rule behavior:
    """How far every two models differ in what they do on one labelled dataset."""
    input:
        probe=lambda wc: PLAN.probes[wc.dataset],
        manifest=RESULTS["manifest"],
        samples=RESULTS["samples"],
    output:
        RESULTS["behavior"],
    log:
        RESULTS.log("behavior"),
    benchmark:
        RESULTS.benchmark("behavior")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(60),
    params:
        logit_columns=lambda wc: PLAN.logit_columns[wc.dataset],
        code=PLAN.code("behavior", *PLAN.behavior_modules),
    script:
        "../workflow/scripts/behavior.py"


rule relation:
    """Similarity of model pairs against how far they differ in what they do, by one metric."""
    input:
        similarity=PLAN.whole(PLAN.every("similarity", PLAN.labelled)),
        behavior=PLAN.each("behavior", dataset=PLAN.labelled),
    output:
        table=RESULTS["relation"],
        domains=RESULTS["relation_domains"],
    log:
        RESULTS.log("relation"),
    benchmark:
        RESULTS.benchmark("relation")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(60),
    params:
        domains=PLAN.domains,
        models=PLAN.models_by_family,
        clusters=PLAN.clusters,
        settings=STUDY.settings["behavior"],
        seed=STUDY.settings["seed"],
        code=PLAN.code("relation"),
    script:
        "../workflow/scripts/relation.py"


rule all_behavior:
    """Behavior on every labelled dataset, and how it goes together with similarity."""
    input:
        PLAN.each("behavior", dataset=PLAN.labelled),
        PLAN.each("relation", metric=PLAN.related),
