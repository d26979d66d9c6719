rule grounding_answers:
    """How often the models of tests are right on one dataset, and how far their answers differ."""
    input:
        manifest=RESULTS["manifest"],
        samples=RESULTS["samples"],
    output:
        accuracies=RESULTS["grounding_accuracies"],
        pairs=RESULTS["grounding_answers"],
    log:
        RESULTS.log("grounding_answers"),
    benchmark:
        RESULTS.benchmark("grounding_answers")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(60),
    params:
        models=lambda wc: PLAN.answering(wc.dataset),
        sets=lambda wc: PLAN.answer_sets(wc.dataset),
        held_out=lambda wc: PLAN.held_out(wc.dataset),
        logit_columns=lambda wc: PLAN.logit_columns[wc.dataset],
        seed=STUDY.settings["seed"],
        code=PLAN.code("grounding_answers", *PLAN.behavior_modules),
    script:
        "../workflow/scripts/grounding_answers.py"


rule grounding:
    """How well one metric finds what is known of the models of recipes."""
    input:
        similarity=PLAN.every("similarity", PLAN.grounded_on),
        accuracies=PLAN.each("grounding_accuracies", dataset=PLAN.answered),
        answers=PLAN.each("grounding_answers", dataset=PLAN.answered),
    output:
        table=RESULTS["grounding"],
        models=RESULTS["grounding_models"],
        samples=RESULTS["grounding_samples"],
    log:
        RESULTS.log("grounding"),
    benchmark:
        RESULTS.benchmark("grounding")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(60),
    params:
        cases=PLAN.cases,
        thresholds=PLAN.thresholds,
        draws=PLAN.grounding_draws,
        seed=STUDY.settings["seed"],
        code=PLAN.code("grounding"),
    script:
        "../workflow/scripts/grounding.py"


rule grounding_ranks:
    """Metrics ranked over all tests, with intervals that resample models."""
    input:
        PLAN.each("grounding_samples", metric=PLAN.grounded),
    output:
        cases=RESULTS["grounding_ranks"],
        domains=RESULTS["grounding_summary"],
        differences=RESULTS["grounding_differences"],
    log:
        RESULTS.log("grounding_ranks"),
    benchmark:
        RESULTS.benchmark("grounding_ranks")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(60),
    params:
        code=PLAN.code("grounding_ranks"),
    script:
        "../workflow/scripts/grounding_ranks.py"


rule grounding_costs:
    """What every metric took to compute, in CPU seconds per pair."""
    input:
        PLAN.each("similarity", dataset=PLAN.grounded_on, metric=PLAN.grounded),
    output:
        RESULTS["grounding_costs"],
    log:
        RESULTS.log("grounding_costs"),
    benchmark:
        RESULTS.benchmark("grounding_costs")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(60),
    params:
        store=lambda wc: RESULTS.known("similarity"),
        domains=PLAN.cost_domains,
        sharers=PLAN.sharers,
        code=PLAN.code("grounding_costs"),
    script:
        "../workflow/scripts/grounding_costs.py"


rule grounding_published:
    """Published tables ranked by the same rules, beside the metrics of the study."""
    input:
        tables=PLAN.published_files,
        own=PLAN.grounding_ranks,
    output:
        values=RESULTS["grounding_published"],
        cases=RESULTS["grounding_published_cases"],
        domains=RESULTS["grounding_published_domains"],
    log:
        RESULTS.log("grounding_published"),
    benchmark:
        RESULTS.benchmark("grounding_published")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(60),
    params:
        sources=PLAN.published,
        seed=STUDY.settings["seed"],
        code=PLAN.code("grounding_published"),
    script:
        "../workflow/scripts/grounding_published.py"


rule grounding_recovery:
    """Whether one metric finds of which model data are that a model of one dataset generated."""
    input:
        manifest=RESULTS["manifest"],
        samples=RESULTS["samples"],
    output:
        confusion=RESULTS["grounding_recovery"],
        recovered=RESULTS["grounding_recovered"],
    log:
        RESULTS.log("grounding_recovery"),
    benchmark:
        RESULTS.benchmark("grounding_recovery")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(2 * STUDY.settings["similarity"]["max_memory_mb"] + 2000),
        runtime=PLAN.growing(120),
    params:
        spec=lambda wc: STUDY.metrics[wc.metric],
        simulation=PLAN.recovery_settings,
        seed=STUDY.settings["seed"],
        code=PLAN.code("grounding_recovery"),
        metric_code=lambda wc: STUDY.metric_code[wc.metric],
    script:
        "../workflow/scripts/grounding_recovery.py"


rule all_grounding:
    """What every metric finds of what is known of models, where the study asks for it."""
    input:
        PLAN.each("grounding", metric=PLAN.grounded),
        PLAN.grounding_ranks,
        PLAN.published_tables,
        PLAN.recovery,
