REMOTE = list_remote(
    STUDY.extraction,
    {d: r for d, r in STUDY.sampling.items() if not r.get("parent")},
)


# On the node where Snakemake runs: those of a cluster often see no network.
localrules:
    prefetch,


rule prefetch:
    """Weights and data from elsewhere, fetched into the caches before jobs run without a network."""
    output:
        "results/prefetch/fetched.parquet",
    log:
        "logs/prefetch.log",
    benchmark:
        "benchmarks/prefetch.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    params:
        rows=REMOTE,
    message:
        describe(REMOTE)
    script:
        "../workflow/scripts/prefetch.py"


rule all_prefetch:
    """Everything from elsewhere that the study needs."""
    input:
        "results/prefetch/fetched.parquet",
