# One rule for each dataset: starting a job for each of many draws would take longer than they do.
for name, splits in PLAN.splits_by_dataset.items():

    rule:
        """Two sides of a dataset's samples for each split with a known overlap that models learn."""
        name:
            f"split_{name}".replace(".", "_").replace("-", "_")
        input:
            samples=RESULTS.of("samples", dataset=name),
        output:
            PLAN.each("split", split=splits),
        log:
            RESULTS.log("split").replace("{split}", name),
        benchmark:
            RESULTS.benchmark("split").replace("{split}", name)
        localrule: True
        conda:
            "../envs/analysis.yaml"
        threads: 1
        params:
            splits=[PLAN.splits[split] for split in splits],
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
        priority: 2  # what takes longest, and what most of all else waits for
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
