"""Whether pictures made to mislead one network mislead others too, of known overlap with it."""

from consilience.transfer.attack import Attack, mislead, signs_of
from consilience.transfer.networks import Network, Pictures, read_network, read_pictures
from consilience.transfer.pairs import COLUMNS, LEAST, compare, make_transfer

__all__ = [
    "COLUMNS",
    "LEAST",
    "Attack",
    "Network",
    "Pictures",
    "compare",
    "make_transfer",
    "mislead",
    "read_network",
    "read_pictures",
    "signs_of",
]
