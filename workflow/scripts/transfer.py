"""Attacks the models of one draw, and looks at what that does to their victims."""

from consilience.logs import log_to
from consilience.transfer import make_transfer

log_to(snakemake.log[0])
attack = dict(snakemake.params.attack)
models = attack.pop("models")
make_transfer(
    dict(zip(models, snakemake.input.weights, strict=True)),
    snakemake.input.samples,
    dict(zip(models, snakemake.output, strict=True)),
    device=snakemake.config["causes"]["transfer"]["device"],
    **attack,
)
