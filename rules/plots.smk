import re

SETTINGS, CONSISTENCY, CURVES = (
    STUDY.settings,
    STUDY.settings["consistency"],
    STUDY.settings["sensitivity"],
)
GROUP, GROUPED, GROUP_COLUMNS = PLAN.group, PLAN.grouped, PLAN.group_columns
PAIRED, DISTRIBUTIONS, LABELLED = PLAN.paired, PLAN.distributions, PLAN.labelled
PROBE_FILES, HALVED = PLAN.probe_files, PLAN.halved
CURVE_METRICS, SENSITIVITIES = PLAN.curve_metrics, PLAN.curves


def code(script, *modules):
    return PLAN.code(script)


scaled = PLAN.growing


rule plot_similarity_heatmaps:
    """Similarity of all models, one heat map per dataset, in one common order."""
    input:
        similarity=expand(
            RESULTS.folder + "/similarity/{dataset}/{{metric}}.parquet",
            dataset=STUDY.datasets,
        ),
    output:
        svg=RESULTS.folder + "/figures/similarity_heatmaps_{metric}.svg",
        pdf=RESULTS.folder + "/figures/similarity_heatmaps_{metric}.pdf",
        png=report(
            RESULTS.folder + "/figures/similarity_heatmaps_{metric}.png",
            caption="../workflow/report/similarity_heatmaps.rst",
            category="Similarity",
            labels={"figure": "similarity heatmaps", "metric": "{metric}"},
        ),
        csv=RESULTS.folder + "/figures/similarity_heatmaps_{metric}.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_similarity_heatmaps/{metric}.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_similarity_heatmaps/{metric}.tsv"
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
        code=code("plot_similarity_heatmaps", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_similarity_heatmaps.py"


rule plot_model_map:
    """Models of every dataset as points: the nearer, the more similar."""
    input:
        similarity=expand(
            RESULTS.folder + "/similarity/{dataset}/{{metric}}.parquet",
            dataset=STUDY.datasets,
        ),
    output:
        svg=RESULTS.folder + "/figures/model_map_{metric}.svg",
        pdf=RESULTS.folder + "/figures/model_map_{metric}.pdf",
        png=report(
            RESULTS.folder + "/figures/model_map_{metric}.png",
            caption="../workflow/report/model_map.rst",
            category="Similarity",
            labels={"figure": "model map", "metric": "{metric}"},
        ),
        csv=RESULTS.folder + "/figures/model_map_{metric}.csv",
    log:
        "logs" + RESULTS.folder.removeprefix("results") + "/plot_model_map/{metric}.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_model_map/{metric}.tsv"
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
        code=code("plot_model_map", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_model_map.py"


rule plot_similarity_scatter:
    """Similarity of model pairs on one dataset against another."""
    input:
        similarity=expand(
            RESULTS.folder + "/similarity/{dataset}/{{metric}}.parquet",
            dataset=STUDY.datasets,
        ),
        consistency=RESULTS.folder + "/consistency/{metric}.parquet",
    output:
        svg=RESULTS.folder + "/figures/similarity_scatter_{metric}.svg",
        pdf=RESULTS.folder + "/figures/similarity_scatter_{metric}.pdf",
        png=report(
            RESULTS.folder + "/figures/similarity_scatter_{metric}.png",
            caption="../workflow/report/similarity_scatter.rst",
            category="Consistency",
            labels={"figure": "similarity scatter", "metric": "{metric}"},
        ),
        csv=RESULTS.folder + "/figures/similarity_scatter_{metric}.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_similarity_scatter/{metric}.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_similarity_scatter/{metric}.tsv"
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
        code=code("plot_similarity_scatter", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_similarity_scatter.py"


rule plot_similarity_accuracy:
    """Similarity of model pairs against their gap in probe accuracy."""
    input:
        similarity=expand(
            RESULTS.folder + "/similarity/{dataset}/{{metric}}.parquet",
            dataset=STUDY.datasets,
        ),
        probe=RESULTS.folder + "/probe/accuracy.parquet",
    output:
        svg=RESULTS.folder + "/figures/similarity_accuracy_{metric}.svg",
        pdf=RESULTS.folder + "/figures/similarity_accuracy_{metric}.pdf",
        png=report(
            RESULTS.folder + "/figures/similarity_accuracy_{metric}.png",
            caption="../workflow/report/similarity_accuracy.rst",
            category="Probe",
            labels={"figure": "similarity accuracy", "metric": "{metric}"},
        ),
        csv=RESULTS.folder + "/figures/similarity_accuracy_{metric}.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_similarity_accuracy/{metric}.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_similarity_accuracy/{metric}.tsv"
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
        color=SETTINGS["plots"]["gap_color"],
        label=lambda wc: STUDY.labels[wc.metric],
        code=code("plot_similarity_accuracy", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_similarity_accuracy.py"


rule plot_consistency_heatmap:
    """Consistency of all models between every two datasets, by every metric."""
    input:
        expand(RESULTS.folder + "/consistency/{metric}.parquet", metric=STUDY.metrics),
    output:
        svg=RESULTS.folder + "/figures/consistency_heatmap.svg",
        pdf=RESULTS.folder + "/figures/consistency_heatmap.pdf",
        png=report(
            RESULTS.folder + "/figures/consistency_heatmap.png",
            caption="../workflow/report/consistency_heatmap.rst",
            category="Consistency",
            labels={"figure": "consistency heatmap", "metric": "all"},
        ),
        csv=RESULTS.folder + "/figures/consistency_heatmap.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_consistency_heatmap/all.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_consistency_heatmap/all.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        labels=STUDY.labels,
        code=code("plot_consistency_heatmap", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_consistency_heatmap.py"


rule plot_consistency_heatmap_groups:
    """Consistency between every two datasets, within and between groups of models."""
    input:
        RESULTS.folder + "/consistency/{metric}.parquet",
    output:
        svg=RESULTS.folder + "/figures/consistency_heatmap_groups_{metric}.svg",
        pdf=RESULTS.folder + "/figures/consistency_heatmap_groups_{metric}.pdf",
        png=report(
            RESULTS.folder + "/figures/consistency_heatmap_groups_{metric}.png",
            caption="../workflow/report/consistency_heatmap_groups.rst",
            category="Consistency",
            labels={"figure": "consistency heatmap groups", "metric": "{metric}"},
        ),
        csv=RESULTS.folder + "/figures/consistency_heatmap_groups_{metric}.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_consistency_heatmap_groups/{metric}.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_consistency_heatmap_groups/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        group=GROUP,
        label=lambda wc: STUDY.labels[wc.metric],
        code=code("plot_consistency_heatmap_groups", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_consistency_heatmap_groups.py"


rule plot_consistency_distribution:
    """Consistency over all dataset pairs, within and between groups of models."""
    input:
        expand(RESULTS.folder + "/consistency/{metric}.parquet", metric=STUDY.metrics),
    output:
        svg=RESULTS.folder + "/figures/consistency_distribution_{grouping}.svg",
        pdf=RESULTS.folder + "/figures/consistency_distribution_{grouping}.pdf",
        png=report(
            RESULTS.folder + "/figures/consistency_distribution_{grouping}.png",
            caption="../workflow/report/consistency_distribution.rst",
            category="Consistency",
            labels={"figure": "consistency distribution, {grouping}", "metric": "all"},
        ),
        csv=RESULTS.folder + "/figures/consistency_distribution_{grouping}.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_consistency_distribution/{grouping}.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_consistency_distribution/{grouping}.tsv"
    wildcard_constraints:
        grouping="|".join(map(re.escape, DISTRIBUTIONS)),
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        models=STUDY.groups(GROUP_COLUMNS),
        shown=lambda wc: DISTRIBUTIONS[wc.grouping],
        labels=STUDY.labels,
        code=code("plot_consistency_distribution", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_consistency_distribution.py"


rule plot_similarity_behavior:
    """Similarity of models against how far they differ in what they do."""
    input:
        RESULTS.folder + "/behavior/relation/{metric}.parquet",
    output:
        svg=RESULTS.folder + "/figures/similarity_behavior_{metric}.svg",
        pdf=RESULTS.folder + "/figures/similarity_behavior_{metric}.pdf",
        png=report(
            RESULTS.folder + "/figures/similarity_behavior_{metric}.png",
            caption="../workflow/report/similarity_behavior.rst",
            category="Behavior",
            labels={"figure": "similarity behavior", "metric": "{metric}"},
        ),
        csv=RESULTS.folder + "/figures/similarity_behavior_{metric}.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_similarity_behavior/{metric}.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_similarity_behavior/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        label=lambda wc: STUDY.labels[wc.metric],
        code=code("plot_similarity_behavior", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_similarity_behavior.py"


rule plot_consistency_groups:
    """Mean consistency within and between groups of models."""
    input:
        RESULTS.folder + "/consistency/means/{metric}.parquet",
    output:
        svg=RESULTS.folder + "/figures/consistency_groups_{metric}.svg",
        pdf=RESULTS.folder + "/figures/consistency_groups_{metric}.pdf",
        png=report(
            RESULTS.folder + "/figures/consistency_groups_{metric}.png",
            caption="../workflow/report/consistency_groups.rst",
            category="Consistency",
            labels={"figure": "consistency groups", "metric": "{metric}"},
        ),
        csv=RESULTS.folder + "/figures/consistency_groups_{metric}.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_consistency_groups/{metric}.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_consistency_groups/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        models=STUDY.groups(GROUP_COLUMNS),
        label=lambda wc: STUDY.labels[wc.metric],
        code=code("plot_consistency_groups", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_consistency_groups.py"


rule plot_group_differences:
    """How much more consistent one group of models is than another, by every metric."""
    input:
        expand(
            RESULTS.folder + "/consistency/differences/{metric}.parquet",
            metric=STUDY.metrics,
        ),
    output:
        svg=RESULTS.folder + "/figures/group_differences.svg",
        pdf=RESULTS.folder + "/figures/group_differences.pdf",
        png=report(
            RESULTS.folder + "/figures/group_differences.png",
            caption="../workflow/report/group_differences.rst",
            category="Consistency",
            labels={"figure": "group differences", "metric": "all"},
        ),
        csv=RESULTS.folder + "/figures/group_differences.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_group_differences/all.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_group_differences/all.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        models=STUDY.groups(GROUP_COLUMNS),
        labels=STUDY.labels,
        code=code("plot_group_differences", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_group_differences.py"


rule plot_reliability:
    """How much of similarity and consistency is noise of the stimuli."""
    input:
        RESULTS.folder + "/consistency/{metric}.parquet",
    output:
        svg=RESULTS.folder + "/figures/reliability_{metric}.svg",
        pdf=RESULTS.folder + "/figures/reliability_{metric}.pdf",
        png=report(
            RESULTS.folder + "/figures/reliability_{metric}.png",
            caption="../workflow/report/reliability.rst",
            category="Consistency",
            labels={"figure": "reliability", "metric": "{metric}"},
        ),
        csv=RESULTS.folder + "/figures/reliability_{metric}.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_reliability/{metric}.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_reliability/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        label=lambda wc: STUDY.labels[wc.metric],
        code=code("plot_reliability", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_reliability.py"


rule plot_sensitivity:
    """Similarity over the number of stimuli and of neighbours."""
    input:
        tables=expand(
            RESULTS.folder + "/sensitivity/{dataset}/{{metric}}.parquet",
            dataset=CURVES["datasets"] or STUDY.datasets,
        ),
        stability=RESULTS.folder + "/sensitivity/stability.parquet",
        similarity=expand(
            RESULTS.folder + "/similarity/{dataset}/{{metric}}.parquet",
            dataset=CURVES["datasets"] or STUDY.datasets,
        ),
    output:
        svg=RESULTS.folder + "/figures/sensitivity_{metric}.svg",
        pdf=RESULTS.folder + "/figures/sensitivity_{metric}.pdf",
        png=report(
            RESULTS.folder + "/figures/sensitivity_{metric}.png",
            caption="../workflow/report/sensitivity.rst",
            category="Similarity",
            labels={"figure": "sensitivity", "metric": "{metric}"},
        ),
        csv=RESULTS.folder + "/figures/sensitivity_{metric}.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_sensitivity/{metric}.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_sensitivity/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        models=STUDY.groups(GROUP_COLUMNS),
        label=lambda wc: STUDY.labels[wc.metric],
        code=code("plot_sensitivity", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_sensitivity.py"


rule plot_stimuli_steps:
    """Change of similarity from one number of stimuli to the next."""
    input:
        tables=expand(
            RESULTS.folder + "/sensitivity/{dataset}/{{metric}}.parquet",
            dataset=CURVES["datasets"] or STUDY.datasets,
        ),
        similarity=expand(
            RESULTS.folder + "/similarity/{dataset}/{{metric}}.parquet",
            dataset=CURVES["datasets"] or STUDY.datasets,
        ),
    output:
        svg=RESULTS.folder + "/figures/stimuli_steps_{metric}.svg",
        pdf=RESULTS.folder + "/figures/stimuli_steps_{metric}.pdf",
        png=report(
            RESULTS.folder + "/figures/stimuli_steps_{metric}.png",
            caption="../workflow/report/stimuli_steps.rst",
            category="Similarity",
            labels={"figure": "stimuli steps", "metric": "{metric}"},
        ),
        csv=RESULTS.folder + "/figures/stimuli_steps_{metric}.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_stimuli_steps/{metric}.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_stimuli_steps/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        models=STUDY.groups(GROUP_COLUMNS),
        label=lambda wc: STUDY.labels[wc.metric],
        code=code("plot_stimuli_steps", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_stimuli_steps.py"


rule plot_alignment:
    """Alignment of models across modalities, against what language models can do."""
    input:
        tables=expand(
            RESULTS.folder + "/alignment/{dataset}/{{metric}}.parquet", dataset=PAIRED
        ),
        manifests=expand(RESULTS["manifest"], dataset=PAIRED),
    output:
        svg=RESULTS.folder + "/figures/alignment_{metric}.svg",
        pdf=RESULTS.folder + "/figures/alignment_{metric}.pdf",
        png=report(
            RESULTS.folder + "/figures/alignment_{metric}.png",
            caption="../workflow/report/alignment.rst",
            category="Similarity",
            labels={"figure": "alignment", "metric": "{metric}"},
        ),
        csv=RESULTS.folder + "/figures/alignment_{metric}.csv",
    log:
        "logs" + RESULTS.folder.removeprefix("results") + "/plot_alignment/{metric}.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_alignment/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        label=lambda wc: STUDY.labels[wc.metric],
        code=code("plot_alignment", "plots", "features/store"),
    script:
        "../workflow/scripts/plot_alignment.py"


rule plot_aligned_models:
    """Alignment of every two models across modalities, as heat maps."""
    input:
        expand(
            RESULTS.folder + "/alignment/{dataset}/{{metric}}.parquet", dataset=PAIRED
        ),
    output:
        svg=RESULTS.folder + "/figures/aligned_models_{metric}.svg",
        pdf=RESULTS.folder + "/figures/aligned_models_{metric}.pdf",
        png=report(
            RESULTS.folder + "/figures/aligned_models_{metric}.png",
            caption="../workflow/report/aligned_models.rst",
            category="Similarity",
            labels={"figure": "aligned models", "metric": "{metric}"},
        ),
        csv=RESULTS.folder + "/figures/aligned_models_{metric}.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_aligned_models/{metric}.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_aligned_models/{metric}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        label=lambda wc: STUDY.labels[wc.metric],
        code=code("plot_aligned_models", "plots"),
    script:
        "../workflow/scripts/plot_aligned_models.py"


rule plot_probe_accuracy:
    """Accuracies of the linear probes of all models on all datasets."""
    input:
        RESULTS.folder + "/probe/accuracy.parquet",
    output:
        svg=RESULTS.folder + "/figures/probe_accuracy.svg",
        pdf=RESULTS.folder + "/figures/probe_accuracy.pdf",
        png=report(
            RESULTS.folder + "/figures/probe_accuracy.png",
            caption="../workflow/report/probe_accuracy.rst",
            category="Probe",
            labels={"figure": "probe accuracy", "metric": "all"},
        ),
        csv=RESULTS.folder + "/figures/probe_accuracy.csv",
    log:
        "logs" + RESULTS.folder.removeprefix("results") + "/plot_probe_accuracy/all.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_probe_accuracy/all.tsv"
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
        code=code("plot_probe_accuracy", "plots", "probe/scores"),
    script:
        "../workflow/scripts/plot_probe_accuracy.py"


rule plot_similarity_spread:
    """Mean and spread over the datasets of the similarity of every two models."""
    input:
        similarity=expand(
            RESULTS.folder + "/similarity/{dataset}/{{metric}}.parquet",
            dataset=STUDY.datasets,
        ),
    output:
        svg=RESULTS.folder + "/figures/similarity_spread_{metric}.svg",
        pdf=RESULTS.folder + "/figures/similarity_spread_{metric}.pdf",
        png=report(
            RESULTS.folder + "/figures/similarity_spread_{metric}.png",
            caption="../workflow/report/similarity_spread.rst",
            category="Similarity",
            labels={"figure": "similarity spread", "metric": "{metric}"},
        ),
        csv=RESULTS.folder + "/figures/similarity_spread_{metric}.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_similarity_spread/{metric}.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_similarity_spread/{metric}.tsv"
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
        transform=SETTINGS["plots"]["transform"],
        label=lambda wc: STUDY.labels[wc.metric],
        code=code("plot_similarity_spread", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_similarity_spread.py"


rule plot_metric_agreement:
    """Consistency by one metric against that by another."""
    input:
        expand(RESULTS.folder + "/consistency/{metric}.parquet", metric=STUDY.metrics),
    output:
        svg=RESULTS.folder + "/figures/metric_agreement.svg",
        pdf=RESULTS.folder + "/figures/metric_agreement.pdf",
        png=report(
            RESULTS.folder + "/figures/metric_agreement.png",
            caption="../workflow/report/metric_agreement.rst",
            category="Consistency",
            labels={"figure": "metric agreement", "metric": "all"},
        ),
        csv=RESULTS.folder + "/figures/metric_agreement.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_metric_agreement/all.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_metric_agreement/all.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        labels=STUDY.labels,
        code=code("plot_metric_agreement", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_metric_agreement.py"


rule plot_similarity_agreement:
    """Mean similarity by one metric against that by another."""
    input:
        expand(
            RESULTS.folder + "/similarity/{dataset}/{metric}.parquet",
            dataset=STUDY.datasets,
            metric=STUDY.metrics,
        ),
    output:
        svg=RESULTS.folder + "/figures/similarity_agreement.svg",
        pdf=RESULTS.folder + "/figures/similarity_agreement.pdf",
        png=report(
            RESULTS.folder + "/figures/similarity_agreement.png",
            caption="../workflow/report/similarity_agreement.rst",
            category="Similarity",
            labels={"figure": "similarity agreement", "metric": "all"},
        ),
        csv=RESULTS.folder + "/figures/similarity_agreement.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_similarity_agreement/all.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_similarity_agreement/all.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        models=STUDY.groups(GROUP_COLUMNS),
        labels=STUDY.labels,
        code=code("plot_similarity_agreement", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_similarity_agreement.py"


rule plot_metric_distances:
    """How far metrics differ in the consistency of anchors."""
    input:
        expand(RESULTS.folder + "/consistency/{metric}.parquet", metric=STUDY.metrics),
    output:
        svg=RESULTS.folder + "/figures/metric_distances.svg",
        pdf=RESULTS.folder + "/figures/metric_distances.pdf",
        png=report(
            RESULTS.folder + "/figures/metric_distances.png",
            caption="../workflow/report/metric_distances.rst",
            category="Consistency",
            labels={"figure": "metric distances", "metric": "all"},
        ),
        csv=RESULTS.folder + "/figures/metric_distances.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_metric_distances/all.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_metric_distances/all.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        labels=STUDY.labels,
        code=code("plot_metric_distances", "plots", "consistency", "pairs"),
    script:
        "../workflow/scripts/plot_metric_distances.py"


rule plot_model_categories:
    """Counts of the models by every two metadata columns."""
    output:
        svg=RESULTS.folder + "/figures/model_categories.svg",
        pdf=RESULTS.folder + "/figures/model_categories.pdf",
        png=report(
            RESULTS.folder + "/figures/model_categories.png",
            caption="../workflow/report/model_categories.rst",
            category="Models",
            labels={"figure": "model categories", "metric": "all"},
        ),
        csv=RESULTS.folder + "/figures/model_categories.csv",
    log:
        "logs"
        + RESULTS.folder.removeprefix("results")
        + "/plot_model_categories/all.log",
    benchmark:
        "benchmarks"
        + RESULTS.folder.removeprefix("results")
        + "/plot_model_categories/all.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        stem=lambda wc, output: output.png.removesuffix(".png"),
        models=STUDY.groups(GROUP_COLUMNS),
        columns=GROUP_COLUMNS,
        code=code("plot_model_categories", "plots"),
    script:
        "../workflow/scripts/plot_model_categories.py"


rule all_plots:
    """All figures."""
    input:
        expand(
            RESULTS.folder + "/figures/{figure}_{metric}.png",
            figure=["similarity_heatmaps", "similarity_scatter", "model_map"]
            + (["similarity_spread"] if len(STUDY.datasets) > 1 else [])
            + (["consistency_groups"] if GROUPED else [])
            + (
                ["consistency_heatmap_groups"]
                if GROUP in CONSISTENCY["groups"]
                else []
            )
            + (["similarity_accuracy"] if PROBE_FILES else [])
            + (["similarity_behavior"] if LABELLED else [])
            + (["reliability"] if HALVED else []),
            metric=STUDY.metrics,
        ),
        expand(
            RESULTS.folder + "/figures/{figure}_{metric}.png",
            figure=["sensitivity"]
            + (["stimuli_steps"] if len(CURVES["n"]) > 1 else []),
            metric=CURVE_METRICS if SENSITIVITIES else [],
        ),
        expand(
            RESULTS.folder + "/figures/{figure}_{metric}.png",
            figure=["alignment", "aligned_models"],
            metric=SETTINGS["alignment"]["metrics"] if PAIRED else [],
        ),
        expand(
            RESULTS.folder + "/figures/{figure}.png",
            figure=["metric_agreement", "similarity_agreement"]
            + (["metric_distances"] if CONSISTENCY["anchors"] else []),
        )
        if len(STUDY.metrics) > 1
        else [],
        RESULTS.folder + "/figures/model_categories.png"
        if len(GROUP_COLUMNS) > 1
        else [],
        RESULTS.folder + "/figures/group_differences.png" if GROUPED else [],
        RESULTS.folder + "/figures/probe_accuracy.png" if PROBE_FILES else [],
        RESULTS.folder + "/figures/consistency_heatmap.png",
        expand(
            RESULTS.folder + "/figures/consistency_distribution_{grouping}.png",
            grouping=DISTRIBUTIONS,
        ),
