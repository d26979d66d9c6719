rule features:
    """Features of one model on one dataset: one matrix per layer, rows as in its samples."""
    input:
        **PLAN.weights_input,
        samples=RESULTS["samples"],
    output:
        RESULTS["features"],
    log:
        RESULTS.log("features"),
    benchmark:
        RESULTS.benchmark("features")
    priority: 1  # where all are there, one job can go on with the probes of others
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=PLAN.growing(4000),
        runtime=PLAN.growing(120),
    params:
        extraction=PLAN.extraction_of,
    script:
        "../workflow/scripts/features.py"


# Models of one recipe: starting a job for each would take longer than their features do.
for group in PLAN.groups_extracted:

    rule:
        """Features of trained models of one recipe, on one dataset."""
        name:
            f"features_{group.rule}"
        input:
            samples=RESULTS["samples"],
            weights=PLAN.each("train", model=group.models),
        output:
            PLAN.each("features", dataset=["{dataset}"], model=group.models),
        log:
            RESULTS.log("features", model=group.name),
        benchmark:
            RESULTS.benchmark("features", model=group.name)
        conda:
            "../envs/torch.yaml"
        threads: 1
        resources:
            mem_mb=PLAN.growing(4000),
            runtime=PLAN.growing(120),
        params:
            extractions=PLAN.extractions_of(group),
        script:
            "../workflow/scripts/features_together.py"

    workflow.ruleorder(f"features_{group.rule}", "features")


# Features that other tools made: starting a job for each would take longer than to read them. The
# first job that does not find its file reads those of all models on the dataset.
if PLAN.imported:

    rule features_imported:
        """Features of one imported model on one dataset."""
        input:
            samples=RESULTS["samples"],
        output:
            RESULTS["features"],
        log:
            RESULTS.log("features"),
        benchmark:
            RESULTS.benchmark("features")
        wildcard_constraints:
            model=PLAN.imported_ids,
        conda:
            "../envs/torch.yaml"
        threads: 1
        resources:
            mem_mb=PLAN.growing(4000),
            runtime=PLAN.growing(120),
        params:
            extraction=PLAN.extraction_of,
            name=PLAN.import_name,
        shell:
            "d=$(dirname {output})/.imported; f=$d/{params.name}; "
            "[ $f -nt {input.samples} ] && mv $f {output} 2> {log} || "
            "{PLAN.import_command} {log} {PLAN.import_plan} {wildcards.dataset} "
            "{wildcards.model} {input.samples} $d {output}"

    workflow.ruleorder("features_imported", "features")


localrules:
    manifest,


rule manifest:
    """Names, shapes and content hashes of a dataset's features: all that similarities depend on."""
    input:
        features=lambda wc: PLAN.all_features(wc.dataset),
        samples=lambda wc: PLAN.view_samples(wc.dataset),
    output:
        RESULTS["manifest"],
    log:
        RESULTS.log("manifest"),
    benchmark:
        RESULTS.benchmark("manifest")
    conda:
        "../envs/analysis.yaml"
    threads: 1
    params:
        # Snakemake does not miss a features file that a failed job left absent while the manifest
        # is older but there; what the features should be therefore stands here too.
        features=lambda wc: PLAN.features_digest(wc.dataset),
        code=PLAN.code("manifest"),
    script:
        "../workflow/scripts/manifest.py"


rule all_features:
    """Features of every model on every dataset that it can take."""
    input:
        PLAN.each("manifest", dataset=STUDY.datasets),
