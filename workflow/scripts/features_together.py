"""Extracts the features of several trained models on one dataset."""

from consilience.features.extract import extract_features
from consilience.logs import log_to

log_to(snakemake.log[0])
settings = snakemake.config["features"]
jobs = zip(snakemake.params.extractions, snakemake.input.weights, snakemake.output, strict=True)
for (model, dataset), weights, out in jobs:
    extract_features(
        {**model["row"], "weights": weights},
        dataset["row"],
        snakemake.input.samples,
        out,
        dtype=model["dtype"],
        autocast=model["autocast"],
        device=settings["device"],
        batch_size=settings["batch_size"],
        workers=snakemake.threads - 1,
    )
