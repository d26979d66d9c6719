"""Training: from a recipe's models to files of weights, which are models like any other.

One job trains several models: those of one variant of a recipe, which differ in their seeds. Each
finished model lies in a store under the hash of all that decides it (what was asked, the samples,
the code, the version of PyTorch), and the file of a model is a hard link into it: a job that runs
again trains only what is new.

On a CPU one thread computes, every draw has a generator of its own whose seed depends on the model
alone, and what is drawn in a step depends on its number: the same model trained again on the same
machine has the same bytes, and so has one whose training was killed and went on. Where models of
one shape are trained in a stack, a model depends on the others of its stack by rounding only.
"""

from consilience.train.jobs import train_models
from consilience.train.sources import Sources

__all__ = ["Sources", "train_models"]
