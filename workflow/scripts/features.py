"""Extracts the features of one model on one dataset."""

from consilience.features.extract import extract_features
from consilience.logs import log_to

log_to(snakemake.log[0])
model, dataset = snakemake.params.extraction
settings = snakemake.config.get("features", {})
weights = snakemake.input.get("weights")
extract_features(
    {**model["row"], "weights": weights[0]} if weights else model["row"],
    dataset["row"],
    snakemake.input.samples,
    snakemake.output[0],
    dtype=model["dtype"],
    autocast=model["autocast"],
    learnt=model["learnt"],
    device=settings.get("device", "auto"),
    batch_size=settings.get("batch_size", 32),
    compile=settings.get("compile", False),
    workers=snakemake.threads - 1,
)
