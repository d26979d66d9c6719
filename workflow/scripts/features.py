"""Extracts the features of one model on one dataset."""

from consilience.features import extract_features
from consilience.logs import log_to

log_to(snakemake.log[0])
settings = snakemake.config.get("features", {})
extract_features(
    snakemake.params.model["row"],
    snakemake.params.dataset,
    snakemake.input.samples,
    snakemake.output[0],
    dtype=snakemake.params.model["dtype"],
    autocast=snakemake.params.model["autocast"],
    device=settings.get("device", "auto"),
    batch_size=settings.get("batch_size", 32),
    workers=snakemake.threads - 1,
)
