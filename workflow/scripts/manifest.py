"""Lists the features of one dataset."""

from consilience.features import write_manifest
from consilience.logs import log_to

log_to(snakemake.log[0])
write_manifest(snakemake.input, snakemake.output[0])
