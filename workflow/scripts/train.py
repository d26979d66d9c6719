"""Trains the models of one variant of a recipe, or of all of its variants."""

from consilience.logs import log_to
from consilience.train import Sources, train_models

log_to(snakemake.log[0])
training, settings = snakemake.params.training, snakemake.config["train"]
test = snakemake.input.get("test")
train_models(
    training["variants"],
    dict(zip(training["models"], snakemake.output, strict=True)),
    Sources.read(training["train"]["row"], snakemake.input.samples, training["splits"]),
    Sources.read(training["test"]["row"], test, training["splits"]) if test else None,
    device=settings["device"],
    precision=training["autocast"],
    checkpoint=settings["checkpoint"],
    parallel=settings["parallel"],
)
