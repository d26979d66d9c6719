"""Fits the probes of one model on one dataset."""

from consilience.logs import log_to
from consilience.probe import make_probe

log_to(snakemake.log[0])
make_probe(
    snakemake.input.features,
    snakemake.input.samples,
    snakemake.output[0],
    seed=snakemake.params.seed,
    prompts=snakemake.input.prompts or None,
    logit_columns=snakemake.params.columns,
    device=snakemake.config["probe"]["device"],
    **snakemake.params.settings,
)
