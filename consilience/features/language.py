"""How well a language model predicts texts."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def language_figures(loss: np.ndarray, texts: Sequence[str]) -> dict[str, Any]:
    """Returns how well a language model predicts texts.

    `loss` is the mean over texts of a text's mean negative log-likelihood per predicted token, in
    nats; `bits_per_byte` the mean over texts of its negative log-likelihood in bits by its length
    in UTF-8. Texts without a predicted token (of one token) count for neither; `texts` says how
    many did, `tokens` how many tokens were predicted.

    Args:
        loss: (n, 2) sum of negative log-likelihoods in nats, and number of predicted tokens.
        texts: the n texts.
    """
    sums, tokens = loss.astype(np.float64).T
    some = tokens > 0
    if not some.any():
        return {"texts": 0, "tokens": 0}
    lengths = np.array([len(text.encode("utf8", "surrogatepass")) for text in texts])
    return {
        "loss": float((sums[some] / tokens[some]).mean()),
        "bits_per_byte": float((sums[some] / np.log(2) / lengths[some]).mean()),
        "texts": int(some.sum()),
        "tokens": int(tokens.sum()),
    }
