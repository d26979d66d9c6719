"""Draws how the study's models spread over their metadata columns."""

from consilience.logs import log_to
from consilience.plots import draw, model_categories, read_models

log_to(snakemake.log[0])
draw(
    snakemake.params.stem,
    model_categories,
    read_models(snakemake.params.models),
    snakemake.params.columns,
)
