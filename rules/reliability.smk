rule reliability:
    """Similarities of all pairs of models on random halves of one dataset's stimuli."""
    input:
        manifest=RESULTS["manifest"],
        samples=lambda wc: PLAN.labels(wc.dataset, wc.metric),
    output:
        RESULTS["reliability"],
    log:
        RESULTS.log("reliability"),
    benchmark:
        RESULTS.benchmark("reliability")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(2 * STUDY.settings["similarity"]["max_memory_mb"] + 2000),
        runtime=PLAN.growing(120),
    params:
        spec=lambda wc: STUDY.metrics[wc.metric],
        splits=STUDY.settings["reliability"]["splits"],
        seed=STUDY.settings["seed"],
        code=PLAN.code("reliability"),
        metric_code=lambda wc: STUDY.metric_code[wc.metric],
    script:
        "../workflow/scripts/reliability.py"


rule all_reliability:
    """Similarities on halves of the stimuli of every dataset, by every metric."""
    input:
        PLAN.each("reliability", dataset=PLAN.halved, metric=STUDY.metrics),
