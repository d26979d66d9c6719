rule alignment:
    """Similarity of models as a whole: reductions over all pairs of their layers, each with its null."""
    input:
        manifest=RESULTS["manifest"],
    output:
        RESULTS["alignment"],
    log:
        RESULTS.log("alignment"),
    benchmark:
        RESULTS.benchmark("alignment")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(6000),
        runtime=PLAN.growing(240),
    params:
        spec=lambda wc: STUDY.metrics[wc.metric],
        groups=lambda wc: PLAN.aligned[wc.dataset],
        permutations=STUDY.settings["alignment"]["permutations"],
        seed=STUDY.settings["seed"],
        store=RESULTS.known("alignment"),
        code=PLAN.code("alignment"),
        metric_code=lambda wc: STUDY.metric_code[wc.metric],
    script:
        "../workflow/scripts/alignment.py"


rule all_alignment:
    """Alignment of models on every dataset that has two to align, by the metrics that ask for it."""
    input:
        PLAN.alignments,
