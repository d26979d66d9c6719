"""How well a language model predicts texts: mean loss and bits per byte, of stored losses."""

from collections.abc import Sequence

import numpy as np

from consilience.errors import FeaturesError


def bits_per_byte(loss: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """Returns (n,) bits that the model needs per UTF-8 byte of each text.

    Unlike the loss per token, it can be compared between models with different vocabularies. NaN
    where nothing was predicted (texts of a single token).

    Args:
        loss: (n, 2) the output `loss` of a features file: summed negative log-likelihood in nats,
            and the number of predicted tokens.
        texts: the n texts, in the same order. A text that was cut has bits of its kept part only.

    Raises:
        FeaturesError: not one loss per text.
    """
    loss = np.asarray(loss, dtype=np.float64)
    if loss.shape != (len(texts), 2):
        raise FeaturesError(f"losses of shape {loss.shape} for {len(texts)} texts; expected (n, 2)")
    sizes = np.array([len(text.encode("utf8")) for text in texts], dtype=np.float64)
    nats = np.where(loss[:, 1] > 0, loss[:, 0], np.nan)
    return nats / (np.log(2.0) * np.maximum(sizes, 1))


def language_model_scores(loss: np.ndarray, texts: Sequence[str]) -> dict[str, float | int]:
    """Returns a language model's scores on texts, as means over those with a predicted token.

    `loss` is the mean over texts of the mean negative log-likelihood per token (nats),
    `bits_per_byte` the mean over texts of `bits_per_byte`, as in the published study of alignment;
    `bits_per_byte_pooled` divides the sums over all texts, so that long texts weigh more. `texts`
    is the number of texts with a predicted token; without any, the scores are absent.
    """
    bits = bits_per_byte(loss, texts)
    known = np.isfinite(bits)
    if not known.any():
        return {"texts": 0}
    loss = np.asarray(loss, dtype=np.float64)[known]
    sizes = np.array([len(text.encode("utf8")) for text in texts])[known]
    return {
        "loss": float(np.mean(loss[:, 0] / loss[:, 1])),
        "bits_per_byte": float(np.mean(bits[known])),
        "bits_per_byte_pooled": float(loss[:, 0].sum() / np.log(2.0) / sizes.sum()),
        "texts": int(known.sum()),
    }
