# On the node where Snakemake runs: those of a cluster often see no network.
localrules:
    prefetch,


rule prefetch:
    """Weights and data from elsewhere, fetched into the caches before jobs run without a network."""
    output:
        RESULTS["prefetch"],
    log:
        RESULTS.log("prefetch"),
    benchmark:
        RESULTS.benchmark("prefetch")
    conda:
        "../envs/torch.yaml"
    threads: 1
    params:
        rows=PLAN.remote,
    message:
        PLAN.fetched
    script:
        "../workflow/scripts/prefetch.py"


rule all_prefetch:
    """Everything from elsewhere that the study needs."""
    input:
        RESULTS["prefetch"],
