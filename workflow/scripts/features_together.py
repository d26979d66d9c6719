"""Extracts the features of several trained models on one dataset."""

from consilience.features.extract import extract_together
from consilience.logs import log_to

log_to(snakemake.log[0])
settings = snakemake.config["features"]
extract_together(
    snakemake.params.extractions,
    snakemake.input.weights,
    snakemake.input.samples,
    snakemake.output,
    device=settings["device"],
    batch_size=settings["batch_size"],
    compile=settings["compile"],
    workers=snakemake.threads - 1,
)
