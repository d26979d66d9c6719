"""Puts what the headers of trained weights say into tables."""

from consilience.logs import log_to
from consilience.train.learned import make_learned

log_to(snakemake.log[0])
make_learned(
    snakemake.params.rows,
    snakemake.input.weights,
    snakemake.output.table,
    snakemake.output.curves,
)
