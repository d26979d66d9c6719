# The grouping that colours the models, in every figure.
GROUP = SETTINGS["plots"]["group"] or next(
    iter(SETTINGS["consistency"]["groups"]), None
)
GROUP_COLUMNS = list(
    filter(None, dict.fromkeys([GROUP, *SETTINGS["consistency"]["groups"]]))
)


rule plot_similarity_heatmaps:
    """Similarity of all models, one heat map per dataset, in one common order."""
    input:
        similarity=expand(
            "results/similarity/{dataset}/{{metric}}.parquet", dataset=STUDY.datasets
        ),
    output:
        svg="results/figures/similarity_heatmaps_{metric}.svg",
        pdf="results/figures/similarity_heatmaps_{metric}.pdf",
        png=report(
            "results/figures/similarity_heatmaps_{metric}.png",
            caption="../workflow/report/similarity_heatmaps.rst",
            category="Similarity",
            labels={"metric": "{metric}"},
        ),
        csv="results/figures/similarity_heatmaps_{metric}.csv",
    log:
        "logs/plot_similarity_heatmaps/{metric}.log",
    benchmark:
        "benchmarks/plot_similarity_heatmaps/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        models=STUDY.groups(GROUP_COLUMNS),
        group=GROUP,
        label=lambda wc: STUDY.labels[wc.metric],
        code=code("plot_similarity_heatmaps", "plots", "consistency"),
    script:
        "../workflow/scripts/plot_similarity_heatmaps.py"


rule plot_model_map:
    """Models of every dataset as points: the nearer, the more similar."""
    input:
        similarity=expand(
            "results/similarity/{dataset}/{{metric}}.parquet", dataset=STUDY.datasets
        ),
    output:
        svg="results/figures/model_map_{metric}.svg",
        pdf="results/figures/model_map_{metric}.pdf",
        png=report(
            "results/figures/model_map_{metric}.png",
            caption="../workflow/report/model_map.rst",
            category="Similarity",
            labels={"metric": "{metric}"},
        ),
        csv="results/figures/model_map_{metric}.csv",
    log:
        "logs/plot_model_map/{metric}.log",
    benchmark:
        "benchmarks/plot_model_map/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        models=STUDY.groups(GROUP_COLUMNS),
        group=GROUP,
        label=lambda wc: STUDY.labels[wc.metric],
        code=code("plot_model_map", "plots", "consistency"),
    script:
        "../workflow/scripts/plot_model_map.py"


rule plot_similarity_scatter:
    """Similarity of model pairs on one dataset against another."""
    input:
        similarity=expand(
            "results/similarity/{dataset}/{{metric}}.parquet", dataset=STUDY.datasets
        ),
        consistency="results/consistency/{metric}.parquet",
    output:
        svg="results/figures/similarity_scatter_{metric}.svg",
        pdf="results/figures/similarity_scatter_{metric}.pdf",
        png=report(
            "results/figures/similarity_scatter_{metric}.png",
            caption="../workflow/report/similarity_scatter.rst",
            category="Consistency",
            labels={"metric": "{metric}"},
        ),
        csv="results/figures/similarity_scatter_{metric}.csv",
    log:
        "logs/plot_similarity_scatter/{metric}.log",
    benchmark:
        "benchmarks/plot_similarity_scatter/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        models=STUDY.groups(GROUP_COLUMNS),
        only=list(STUDY.groups([], SETTINGS["consistency"]["models"])),
        group=GROUP,
        label=lambda wc: STUDY.labels[wc.metric],
        code=code("plot_similarity_scatter", "plots", "consistency"),
    script:
        "../workflow/scripts/plot_similarity_scatter.py"


rule plot_similarity_accuracy:
    """Similarity of model pairs against their gap in probe accuracy."""
    input:
        similarity=expand(
            "results/similarity/{dataset}/{{metric}}.parquet", dataset=STUDY.datasets
        ),
        probe="results/probe/accuracy.parquet",
    output:
        svg="results/figures/similarity_accuracy_{metric}.svg",
        pdf="results/figures/similarity_accuracy_{metric}.pdf",
        png=report(
            "results/figures/similarity_accuracy_{metric}.png",
            caption="../workflow/report/similarity_accuracy.rst",
            category="Probe",
            labels={"metric": "{metric}"},
        ),
        csv="results/figures/similarity_accuracy_{metric}.csv",
    log:
        "logs/plot_similarity_accuracy/{metric}.log",
    benchmark:
        "benchmarks/plot_similarity_accuracy/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        models=STUDY.groups(GROUP_COLUMNS),
        group=GROUP,
        label=lambda wc: STUDY.labels[wc.metric],
        code=code("plot_similarity_accuracy", "plots", "consistency"),
    script:
        "../workflow/scripts/plot_similarity_accuracy.py"


rule plot_consistency_heatmap:
    """Consistency of all models between every two datasets, by every metric."""
    input:
        expand("results/consistency/{metric}.parquet", metric=STUDY.metrics),
    output:
        svg="results/figures/consistency_heatmap.svg",
        pdf="results/figures/consistency_heatmap.pdf",
        png=report(
            "results/figures/consistency_heatmap.png",
            caption="../workflow/report/consistency_heatmap.rst",
            category="Consistency",
            labels={"metric": "all"},
        ),
        csv="results/figures/consistency_heatmap.csv",
    log:
        "logs/plot_consistency_heatmap/all.log",
    benchmark:
        "benchmarks/plot_consistency_heatmap/all.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        labels=STUDY.labels,
        code=code("plot_consistency_heatmap", "plots", "consistency"),
    script:
        "../workflow/scripts/plot_consistency_heatmap.py"


rule plot_consistency_distribution:
    """Consistency over all dataset pairs, within and between groups of models."""
    input:
        expand("results/consistency/{metric}.parquet", metric=STUDY.metrics),
    output:
        svg="results/figures/consistency_distribution.svg",
        pdf="results/figures/consistency_distribution.pdf",
        png=report(
            "results/figures/consistency_distribution.png",
            caption="../workflow/report/consistency_distribution.rst",
            category="Consistency",
            labels={"metric": "all"},
        ),
        csv="results/figures/consistency_distribution.csv",
    log:
        "logs/plot_consistency_distribution/all.log",
    benchmark:
        "benchmarks/plot_consistency_distribution/all.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        models=STUDY.groups(GROUP_COLUMNS),
        group=GROUP,
        labels=STUDY.labels,
        code=code("plot_consistency_distribution", "plots", "consistency"),
    script:
        "../workflow/scripts/plot_consistency_distribution.py"


rule all_plots:
    """All figures."""
    input:
        expand(
            "results/figures/{figure}_{metric}.png",
            figure=["similarity_heatmaps", "similarity_scatter", "model_map"]
            + (["similarity_accuracy"] if PROBE_FILES else []),
            metric=STUDY.metrics,
        ),
        "results/figures/consistency_heatmap.png",
        "results/figures/consistency_distribution.png" if GROUP else [],
