rule prompts:
    """Class names of one dataset as a text tower sees them."""
    input:
        samples=RESULTS["samples"],
    output:
        RESULTS["prompts"],
    log:
        RESULTS.log("prompts"),
    benchmark:
        RESULTS.benchmark("prompts")
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(60),
    params:
        row=lambda wc: STUDY.extraction[wc.model],
        templates=lambda wc: PLAN.templates[wc.dataset],
        code=lambda wc: [PLAN.code("prompts"), PLAN.model_code[wc.model]],
    script:
        "../workflow/scripts/prompts.py"


rule probe:
    """How well labels can be read off one model's features of one labelled dataset."""
    input:
        **PLAN.probe_inputs,
        prompts=PLAN.prompts,
    output:
        RESULTS["probe"],
    log:
        RESULTS.log("probe"),
    benchmark:
        RESULTS.benchmark("probe")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(60),
    params:
        settings=PLAN.probe_settings,
        columns=PLAN.probe_columns,
        seed=STUDY.settings["seed"],
        code=PLAN.code("probe"),
    script:
        "../workflow/scripts/probe.py"


# Models of one recipe: starting a job for each would take longer than their probes do.
for group in PLAN.groups_probed:

    rule:
        """How well labels can be read off features of trained models of one recipe."""
        name:
            f"probe_{group.rule}"
        input:
            features=PLAN.features_of(group),
            samples=PLAN.probe_inputs["samples"],
        output:
            PLAN.each("probe", dataset=["{dataset}"], model=group.models),
        log:
            RESULTS.log("probe", model=group.name),
        benchmark:
            RESULTS.benchmark("probe", model=group.name)
        conda:
            "../envs/analysis.yaml"
        threads: 1
        resources:
            mem_mb=PLAN.growing(4000),
            runtime=PLAN.growing(120),
        params:
            settings=PLAN.probe_settings,
            columns=PLAN.probe_columns,
            seed=STUDY.settings["seed"],
            code=PLAN.code("probe_together"),
        script:
            "../workflow/scripts/probe_together.py"

    workflow.ruleorder(f"probe_{group.rule}", "probe")


localrules:
    accuracy,


rule accuracy:
    """Probe accuracies of all models and datasets in one table: what figures read."""
    input:
        PLAN.probe_files,
    output:
        RESULTS["accuracy"],
    log:
        RESULTS.log("accuracy"),
    benchmark:
        RESULTS.benchmark("accuracy")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    params:
        code=PLAN.code("accuracy"),
    script:
        "../workflow/scripts/accuracy.py"


rule all_probe:
    """Probes of every model on every dataset that it can take."""
    input:
        PLAN.probe_files,
        PLAN.accuracy,
