# How a machine works through the study, and what metrics say already, changes no page.
UNSAID = ["features", "similarity", "fresh", "plots", "explorer"]


rule explorer:
    """The study's results on one page, to explore without network or server."""
    input:
        similarity=rules.all_similarity.input,
        consistency=expand("results/consistency/{metric}.parquet", metric=STUDY.metrics),
        differences=expand(
            "results/consistency/differences/{metric}.parquet",
            metric=STUDY.metrics if PLAN.grouped else [],
        ),
        behavior=expand("results/behavior/{dataset}.parquet", dataset=LABELLED),
        relation=expand(
            "results/behavior/relation/{metric}.parquet",
            metric=STUDY.metrics if LABELLED else [],
        ),
        probe=["results/probe/accuracy.parquet"] if PROBE_FILES else [],
        sensitivity=rules.all_sensitivity.input,
    output:
        page="results/explorer/index.html",
        study="results/explorer/study.json",
    log:
        "logs/explorer.log",
    benchmark:
        "benchmarks/explorer.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(4000),
        runtime=scaled(30),
    params:
        study={
            "settings": {key: SETTINGS[key] for key in SETTINGS if key not in UNSAID}
            | {
                "features": {
                    key: SETTINGS["features"][key] for key in ("dtype", "autocast")
                },
                "probe": PROBE,
            },
            "models": STUDY.models,
            "datasets": STUDY.datasets,
            "metrics": STUDY.metrics,
            "labels": STUDY.labels,
        },
        group=PLAN.group,
        layer_pairs=SETTINGS["explorer"]["layer_pairs"],
        configfiles=[os.path.relpath(path) for path in workflow.configfiles[1:]],
        code=code_of_script(
            Path(workflow.basedir, "workflow", "scripts", "explorer.py")
        ),
        page=[
            file_digest(path)
            for path in sorted(
                Path(workflow.basedir).glob("consilience/explorer/page.*")
            )
        ],
    script:
        "../workflow/scripts/explorer.py"


rule all_explorer:
    """The page to explore the study's results."""
    input:
        rules.explorer.output,
