"""Similarities of all pairs of models on one dataset: prepare each once, compare, reuse.

The result does not depend on threads, on the order of models, or on what was computed in earlier
runs: every pair is a function of its two features alone, computed in one order of arguments.
"""

from consilience.similarity.all_pairs import compare, pairwise, pairwise_many, similarity_table
from consilience.similarity.engine.sharing import make_shared, sharing_of
from consilience.similarity.items import Listing, list_items
from consilience.similarity.shards import make_shard
from consilience.similarity.store import PairStore
from consilience.similarity.table import make_similarity
from consilience.similarity.task import Engine, Item, Task

__all__ = [
    "Engine",
    "Item",
    "Listing",
    "PairStore",
    "Task",
    "compare",
    "list_items",
    "make_shard",
    "make_shared",
    "make_similarity",
    "pairwise",
    "pairwise_many",
    "sharing_of",
    "similarity_table",
]
