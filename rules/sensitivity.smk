rule sensitivity:
    """Similarities again on fewer stimuli and with other k, from the same features."""
    input:
        manifest=RESULTS["manifest"],
        samples=lambda wc: PLAN.labels(wc.dataset, wc.metric),
    output:
        RESULTS["sensitivity"],
    log:
        RESULTS.log("sensitivity"),
    benchmark:
        RESULTS.benchmark("sensitivity")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(2 * STUDY.settings["similarity"]["max_memory_mb"] + 2000),
        runtime=PLAN.growing(120),
    params:
        spec=lambda wc: STUDY.metrics[wc.metric],
        curves=PLAN.curve_settings,
        seed=STUDY.settings["seed"],
        code=PLAN.code("sensitivity"),
        metric_code=lambda wc: STUDY.metric_code[wc.metric],
    script:
        "../workflow/scripts/sensitivity.py"


localrules:
    stability,


rule stability:
    """From which number of stimuli on the ranking of model pairs stays as it is."""
    input:
        PLAN.curves,
    output:
        RESULTS["stability"],
    log:
        RESULTS.log("stability"),
    benchmark:
        RESULTS.benchmark("stability")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    params:
        bound=STUDY.settings["sensitivity"]["bound"],
        code=PLAN.code("stability"),
    script:
        "../workflow/scripts/stability.py"


rule all_sensitivity:
    """Curves over n and k, where the study asks for them."""
    input:
        PLAN.curves,
        PLAN.stability,
