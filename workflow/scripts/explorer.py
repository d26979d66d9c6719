"""Puts a study's results on one page."""

from consilience.explorer import make_explorer
from consilience.logs import log_to

log_to(snakemake.log[0])
make_explorer(
    snakemake.output.page,
    snakemake.output.study,
    {step: list(paths) for step, paths in snakemake.input.items()},
    study=snakemake.params.study,
    group=snakemake.params.group,
    layer_pairs=snakemake.params.layer_pairs,
    configfiles=snakemake.params.configfiles,
)
