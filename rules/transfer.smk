# One rule per job: its outputs are those of a draw's models, which no wildcard could tell. What a
# profile or the command line sets for `transfer` holds for all of them.
for group in PLAN.groups_attacked:

    rule:
        """How far pictures that mislead models of one draw mislead those of the other side."""
        name:
            f"transfer_{group.rule}"
        input:
            samples=RESULTS.of("samples", dataset=group.dataset),
            weights=PLAN.each("train", model=group.models),
        output:
            PLAN.each("transfer", dataset=[group.dataset], model=group.models),
        log:
            RESULTS.log("transfer", model=group.name).replace(
                "{dataset}", group.dataset
            ),
        benchmark:
            RESULTS.benchmark("transfer", model=group.name).replace(
                "{dataset}", group.dataset
            )
        conda:
            "../envs/torch.yaml"
        threads: 1
        resources:
            mem_mb=PLAN.growing(4000),
            runtime=PLAN.growing(60),
        params:
            attack=PLAN.attack_of(group),
            code=[PLAN.code("transfer"), PLAN.source_code[group.dataset]],
        script:
            "../workflow/scripts/transfer.py"


localrules:
    successes,


rule successes:
    """All attacks in one table."""
    input:
        PLAN.transfers,
    output:
        RESULTS["successes"],
    log:
        RESULTS.log("successes"),
    benchmark:
        RESULTS.benchmark("successes")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    params:
        code=PLAN.code("successes"),
    script:
        "../workflow/scripts/successes.py"


rule all_transfer:
    """How far attacks carry over between models of known overlap, where the study asks for it."""
    input:
        PLAN.transfers,
        PLAN.successes,
