rule features:
    """Features of one model on one dataset: one matrix per layer, rows as in its samples."""
    input:
        samples="results/samples/{dataset}.parquet",
    output:
        "results/features/{dataset}/{model}.safetensors",
    log:
        "logs/features/{dataset}/{model}.log",
    benchmark:
        "benchmarks/features/{dataset}/{model}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=scaled(4000),
        runtime=scaled(120),
    params:
        extraction=looked_up(
            lambda wc: (
                EXTRACTION[wc.model],
                STUDY.extracted[wc.dataset],
                DATASET_CODE[wc.dataset],
            )
        ),
    script:
        "../workflow/scripts/features.py"


localrules:
    manifest,


rule manifest:
    """Names, shapes and content hashes of a dataset's features: all that similarities depend on."""
    input:
        features=lambda wc: PATHS.all_features(wc.dataset),
        samples=lambda wc: (
            PATHS.samples(wc.dataset) if PATHS.is_view(wc.dataset) else []
        ),
    output:
        "results/features/{dataset}/manifest.parquet",
    log:
        "logs/manifest/{dataset}.log",
    benchmark:
        "benchmarks/manifest/{dataset}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    params:
        # Snakemake does not miss a features file that a failed job left absent while the manifest
        # is older but there; what the features should be therefore stands here too.
        features=lambda wc: digest(
            [
                [EXTRACTION[model] for model in STUDY.models_on[wc.dataset]],
                [DATASET_CODE[dataset] for dataset in STUDY.chains[wc.dataset]],
            ]
        ),
        code=code(
            "manifest",
            "features/manifest",
            "features/store",
            "samples",
        ),
    script:
        "../workflow/scripts/manifest.py"


rule all_features:
    """Features of every model on every dataset that it can take."""
    input:
        expand("results/features/{dataset}/manifest.parquet", dataset=STUDY.datasets),
