"""Says from which number of stimuli on the ranking of model pairs stays as it is."""

from consilience.logs import log_to
from consilience.sensitivity import make_stability

log_to(snakemake.log[0])
make_stability(snakemake.input, snakemake.output[0], bound=snakemake.params.bound)
