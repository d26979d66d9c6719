"""Samples: which stimuli of a dataset every model sees, in which order, and for what.

The draw is by hash: a sample's priority is SHA-256(seed, dataset, id), so that what is drawn
depends neither on other datasets nor on the order in which a source lists its samples, and a larger
`cap` contains what a smaller one drew. Classes share the cap equally as far as they reach.

A sample has one label, none, or several (`labels`, as `3,7,19`); a dataset with several is drawn
like one without and is not probed.
"""

from consilience.samples.choice import choose_samples, make_samples
from consilience.samples.draw import share_equally, share_test
from consilience.samples.stimuli import iterate
from consilience.samples.table import COLUMNS, Samples, hash_samples, read_chain, read_samples

__all__ = [
    "COLUMNS",
    "Samples",
    "choose_samples",
    "hash_samples",
    "iterate",
    "make_samples",
    "read_chain",
    "read_samples",
    "share_equally",
    "share_test",
]
