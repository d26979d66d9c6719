"""Compares all pairs of models on fewer stimuli and with other k."""

from consilience.logs import log_to
from consilience.sensitivity import Curves, make_sensitivity
from consilience.similarity import Engine

log_to(snakemake.log[0])
make_sensitivity(
    snakemake.input.manifest,
    snakemake.output[0],
    dataset=snakemake.wildcards.dataset,
    metric_id=snakemake.wildcards.metric,
    spec=snakemake.params.spec,
    samples=snakemake.input.get("samples") or None,
    curves=Curves(**snakemake.params.curves),
    seed=snakemake.params.seed,
    engine=Engine.of(snakemake.config["similarity"], snakemake.threads),
)
