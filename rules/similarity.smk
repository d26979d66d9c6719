rule shared:
    """Pairs of all metrics that work on the same products or neighbour lists, made once."""
    input:
        manifest=RESULTS["manifest"],
    output:
        RESULTS["shared"],
    log:
        RESULTS.log("shared"),
    benchmark:
        RESULTS.benchmark("shared")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(STUDY.settings["similarity"]["max_memory_mb"] + 2000),
        runtime=PLAN.growing(120),
    params:
        specs=lambda wc: PLAN.specs(PLAN.sharing[wc.sharing]),
        stores=lambda wc: PLAN.stores(
            "similarity", wc.dataset, PLAN.sharing[wc.sharing]
        ),
        shelf=RESULTS.shelf("{dataset}", "{sharing}"),
        pairs=lambda wc: PLAN.pairs_on(wc.dataset),
        code=PLAN.code("shared"),
        metric_code=lambda wc: PLAN.metric_codes(PLAN.sharing[wc.sharing]),
    script:
        "../workflow/scripts/shared.py"


rule similarity_shard:
    """One shard of the pairs of one dataset and metric: those that no job computed before."""
    input:
        manifest=RESULTS["manifest"],
        samples=lambda wc: PLAN.labels(wc.dataset, wc.metric),
    output:
        RESULTS["similarity_shard"],
    log:
        RESULTS.log("similarity_shard"),
    benchmark:
        RESULTS.benchmark("similarity_shard")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(STUDY.settings["similarity"]["max_memory_mb"] + 2000),
        runtime=PLAN.growing(120),
    params:
        spec=lambda wc: STUDY.metrics[wc.metric],
        store=RESULTS.known("similarity"),
        shards=PLAN.shard_count,
        pairs=lambda wc: PLAN.pairs_on(wc.dataset),
        code=PLAN.code("similarity_shard"),
        metric_code=lambda wc: STUDY.metric_code[wc.metric],
    script:
        "../workflow/scripts/similarity_shard.py"


rule similarity:
    """Similarities of pairs of models on one dataset by one metric; known pairs are reused."""
    input:
        manifest=RESULTS["manifest"],
        samples=lambda wc: PLAN.labels(wc.dataset, wc.metric),
        # its pairs, where they are made together with those of others. Not `ancient`: Snakemake
        # would then overlook what else changed for this job whenever these are made again.
        shared=lambda wc: PLAN.shared(wc.dataset, wc.metric),
        # its pairs, where they are dealt to several jobs: this one joins them
        shards=PLAN.shards,
    output:
        RESULTS["similarity"],
    log:
        RESULTS.log("similarity"),
    benchmark:
        RESULTS.benchmark("similarity")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(STUDY.settings["similarity"]["max_memory_mb"] + 2000),
        runtime=PLAN.growing(60),
    params:
        spec=lambda wc: STUDY.metrics[wc.metric],
        store=RESULTS.known("similarity"),
        pairs=lambda wc: PLAN.pairs_on(wc.dataset),
        code=PLAN.code("similarity"),
        metric_code=lambda wc: STUDY.metric_code[wc.metric],
    script:
        "../workflow/scripts/similarity.py"


rule all_similarity:
    """Similarity tables of every dataset and metric."""
    input:
        PLAN.each("similarity", dataset=PLAN.compared, metric=STUDY.metrics),
