rule explorer:
    """The study's results on one page, to explore without network or server."""
    input:
        **PLAN.page_tables,
    output:
        page=RESULTS["explorer"],
        study=RESULTS["explorer_study"],
    log:
        RESULTS.log("explorer"),
    benchmark:
        RESULTS.benchmark("explorer")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(30),
    params:
        study=PLAN.described,
        group=PLAN.group,
        layer_pairs=STUDY.settings["explorer"]["layer_pairs"],
        configfiles=PLAN.configfiles,
        code=PLAN.code("explorer"),
        page=PLAN.page_parts,
    script:
        "../workflow/scripts/explorer.py"


rule all_explorer:
    """The page to explore the study's results."""
    input:
        PLAN.pages,
