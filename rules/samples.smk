rule samples:
    """Chosen stimuli of a dataset, in order: every later step refers to these rows."""
    input:
        unpack(lambda wc: PATHS.view_sources(wc.dataset)),
    output:
        "results/samples/{dataset}.parquet",
    log:
        "logs/samples/{dataset}.log",
    benchmark:
        "benchmarks/samples/{dataset}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(60),
    params:
        row=lambda wc: STUDY.sampling[wc.dataset],
        seed=SETTINGS["seed"],
        code=code("samples", "samples"),
        source_code=lambda wc: DATASET_CODE[wc.dataset],
    script:
        "../workflow/scripts/samples.py"


rule all_samples:
    """Samples of every dataset."""
    input:
        expand("results/samples/{dataset}.parquet", dataset=STUDY.datasets),
