"""Lists the features of one dataset."""

from consilience.features.manifest import make_manifest
from consilience.logs import log_to

log_to(snakemake.log[0])
make_manifest(snakemake.input.features, snakemake.input.samples, snakemake.output[0])
