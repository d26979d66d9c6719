localrules:
    split,


rule split:
    """Two sides of a dataset's samples, with a known overlap: models learn one of them."""
    input:
        samples=PLAN.split_samples,
    output:
        RESULTS["split"],
    log:
        RESULTS.log("split"),
    benchmark:
        RESULTS.benchmark("split")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    params:
        split=lambda wc: PLAN.splits[wc.split],
        code=PLAN.code("split"),
    script:
        "../workflow/scripts/split.py"


# One rule per job: its outputs are those of a variant's models, which no wildcard could tell. What
# a profile or the command line sets for `train` holds for all of them.
for group in PLAN.groups_trained:

    rule:
        """Weights of all models of a variant: they differ in their seeds alone."""
        name:
            f"train_{group.rule}"
        input:
            **PLAN.training_inputs(group),
        output:
            PLAN.each("train", model=group.models),
        log:
            RESULTS.log("train", model=group.name),
        benchmark:
            RESULTS.benchmark("train", model=group.name)
        conda:
            "../envs/torch.yaml"
        threads: 1
        resources:
            mem_mb=PLAN.growing(4000),
            runtime=PLAN.growing(240),
        params:
            training=PLAN.training_of(group),
        script:
            "../workflow/scripts/train.py"


rule learned:
    """How well every trained model does, and how its loss fell."""
    input:
        weights=PLAN.each("train", model=PLAN.trained),
    output:
        table=RESULTS["learned"],
        curves=RESULTS["learned_curves"],
    log:
        RESULTS.log("learned"),
    benchmark:
        RESULTS.benchmark("learned")
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(2000),
        runtime=PLAN.growing(60),
    params:
        rows=PLAN.learned_rows,
        code=PLAN.code("learned"),
    script:
        "../workflow/scripts/learned.py"


rule all_train:
    """Weights of every trained model of the study, and how well they do."""
    input:
        PLAN.each("train", model=PLAN.trained),
        [RESULTS["learned"], RESULTS["learned_curves"]] if PLAN.trained else [],
