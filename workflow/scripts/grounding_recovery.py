"""Says of which model data are that models generated, by one metric on one dataset."""

from consilience.grounding.recovery import make_recovery
from consilience.grounding.simulation import Simulation
from consilience.logs import log_to
from consilience.similarity import Engine

log_to(snakemake.log[0])
make_recovery(
    snakemake.input.manifest,
    snakemake.input.samples,
    snakemake.output.confusion,
    snakemake.output.recovered,
    dataset=snakemake.wildcards.dataset,
    metric_id=snakemake.wildcards.metric,
    spec=snakemake.params.spec,
    simulation=Simulation(**snakemake.params.simulation),
    seed=snakemake.params.seed,
    engine=Engine.of(snakemake.config["similarity"], snakemake.threads),
)
