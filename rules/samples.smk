rule samples:
    """Chosen stimuli of a dataset, in order: every later step refers to these rows."""
    input:
        unpack(lambda wc: PLAN.view_sources(wc.dataset)),
    output:
        RESULTS["samples"],
    log:
        RESULTS.log("samples"),
    benchmark:
        RESULTS.benchmark("samples")
    priority: 2  # where all are there, one job can go on with the features of others
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(2000),
        runtime=PLAN.growing(60),
    params:
        row=lambda wc: PLAN.presence.sampling(wc.dataset),
        seed=STUDY.settings["seed"],
        code=PLAN.code("samples"),
        source_code=lambda wc: PLAN.source_code[wc.dataset],
    script:
        "../workflow/scripts/samples.py"


rule all_samples:
    """Samples of every dataset."""
    input:
        PLAN.each("samples", dataset=STUDY.datasets),
