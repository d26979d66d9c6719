"""Trains the models of one variant of a recipe."""

from consilience.logs import log_to
from consilience.train import Sources, train_models

log_to(snakemake.log[0])
training, settings = snakemake.params.training, snakemake.config["train"]
test, split = (snakemake.input.get(name) for name in ("test", "split"))
train_models(
    training["specs"],
    dict(zip(training["specs"], snakemake.output, strict=True)),
    Sources.read(training["train"]["row"], snakemake.input.samples, split),
    Sources.read(training["test"]["row"], test, split) if test else None,
    device=settings["device"],
    precision=training["autocast"],
    checkpoint=settings["checkpoint"],
    parallel=settings["parallel"],
)
