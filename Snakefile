"""Consilience: how alike are two networks' representations, and does it carry over?"""

from snakemake.utils import min_version

min_version("9.20")


if (
    not workflow.configfiles and "study" not in config
):  # a study of one's own stands alone

    configfile: f"{workflow.basedir}/config/config.yaml"


report: "workflow/report/workflow.rst"


include: "rules/common.smk"
include: "rules/prefetch.smk"
include: "rules/samples.smk"
include: "rules/train.smk"
include: "rules/features.smk"
include: "rules/similarity.smk"
include: "rules/alignment.smk"
include: "rules/reliability.smk"
include: "rules/consistency.smk"
include: "rules/probe.smk"
include: "rules/sensitivity.smk"
include: "rules/behavior.smk"
include: "rules/identifiability.smk"
include: "rules/causes.smk"
include: "rules/transfer.smk"
include: "rules/grounding.smk"
include: "rules/factors.smk"
include: "rules/plots.smk"
include: "rules/explorer.smk"


rule all:
    """Everything that the study asks for."""
    default_target: True
    input:
        rules.all_train.input,
        rules.all_similarity.input,
        rules.all_alignment.input,
        rules.all_reliability.input,
        rules.all_consistency.input,
        rules.all_probe.input,
        rules.all_sensitivity.input,
        rules.all_behavior.input,
        rules.all_identifiability.input,
        rules.all_causes.input,
        rules.all_transfer.input,
        rules.all_grounding.input,
        rules.all_factors.input,
        rules.all_plots.input,
        rules.all_explorer.input,
