"""Made-up zoos whose models come in families, with what is true of them.

Models' effects are sqrt(ICC) times their family's and sqrt(1 - ICC) times their own. Similarities
are additive (a_i + a_j + e_ij), geometric (negative squared distances) or debiased CKA of features.
"""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from scipy.stats import kendalltau, rankdata

from consilience.metrics import get_metric
from consilience.pairs.correlations import Block

Rng = np.random.Generator
LAYOUTS = {
    "8x8": [8] * 8,
    "16x4": [4] * 16,
    "unequal": [20, 12, 8, 8, 6, 4, 4, 2],
    "24 small": [1, 2, 3, 4, 5, 6] * 4,
    "5x8": [8] * 5,
    "4x8": [8] * 4,
}
BATCH = 10


def effects(families: np.ndarray, icc: float, rho: float, rng: Rng, width: int = 1) -> np.ndarray:
    """Returns (2, m, width) effects of models on two datasets that correlate by rho.

    A share `icc` of their variance is their family's.
    """
    count = families.max() + 1
    whole = []
    for n in (count, len(families)):
        first, second = rng.normal(size=(2, n, width))
        whole.append(np.stack([first, rho * first + np.sqrt(1 - rho**2) * second]))
    return np.sqrt(icc) * whole[0][:, families] + np.sqrt(1 - icc) * whole[1]


def additive(families: np.ndarray, icc: float, rho: float, rng: Rng) -> np.ndarray:
    """Returns (2, p) similarities a_i + a_j + e_ij; 90 % of the variance are the models'."""
    i, j = np.triu_indices(len(families), 1)
    a = effects(families, icc, rho, rng)[..., 0]
    e = effects(np.zeros(len(i), int), 0.0, 0.5 * rho, rng)[..., 0]
    return np.sqrt(0.45) * (a[:, i] + a[:, j]) + np.sqrt(0.1) * e


def geometric(families: np.ndarray, icc: float, rho: float, rng: Rng) -> np.ndarray:
    """Returns (2, p) negative squared distances of models whose places correlate by 4/3 rho."""
    i, j = np.triu_indices(len(families), 1)
    places = effects(families, icc, 4 / 3 * rho, rng, 5)
    return -((places[:, i] - places[:, j]) ** 2).sum(axis=2)


def of_features(families: np.ndarray, icc: float, rho: float, rng: Rng) -> np.ndarray:
    """Returns (2, p) debiased CKA of features Z diag(w) + noise, 80 stimuli; log w are effects."""
    weights = np.exp(effects(families, icc, 4 / 3 * rho, rng, 12))
    found = []
    for w in weights:
        z = rng.normal(size=(80, w.shape[1]))
        x = z * w[:, None] + rng.normal(scale=0.5, size=(len(w), *z.shape))
        found.append(debiased_cka(x))
    return np.stack(found)


def debiased_cka(x: np.ndarray) -> np.ndarray:
    """Returns (p,) linear debiased CKA of all pairs of (m, n, d) features; equal to the metric.

    Centred rows make all sums of a kernel 0, so those without its diagonal a are sums of a alone.
    """
    m, n, _ = x.shape
    x = x - x.mean(axis=1, keepdims=True)
    flat = (x @ np.swapaxes(x, 1, 2)).reshape(m, -1)
    own = np.einsum("mnd,mnd->mn", x, x)
    total = own.sum(axis=1)
    hsic = flat @ flat.T - own @ own.T * n / (n - 2)
    hsic += np.outer(total, total) / ((n - 1) * (n - 2))
    size = np.sqrt(np.diagonal(hsic))
    return (hsic / size[:, None] / size)[np.triu_indices(m, 1)]


KINDS: dict[str, Callable[[np.ndarray, float, float, Rng], np.ndarray]] = {
    "additive": additive,
    "geometric": geometric,
    "features": of_features,
}
RHO = 0.6


def families_of(layout: str) -> np.ndarray:
    """Returns (m,) the family of each model."""
    return np.repeat(np.arange(len(LAYOUTS[layout])), LAYOUTS[layout])


def blocks(
    kind: str, icc: float, layout: str, rho: float, studies: int, rng: Rng
) -> Iterator[Block]:
    """Yields studies of two datasets each, some at a time."""
    families = families_of(layout)
    i, j = np.triu_indices(len(families), 1)
    left = np.arange(0, 2 * BATCH, 2)
    for _ in range(studies // BATCH):
        values = np.concatenate([KINDS[kind](families, icc, rho, rng) for _ in range(BATCH)])
        yield Block(values, i, j, (len(families),), left, left + 1, families)


@cache
def truths(kind: str, icc: float, layout: str, method: str) -> tuple[float, float]:
    """Returns the pooled correlation over many zoos, of all pairs and of those between families."""
    rng, zoos = np.random.default_rng(1), 400 if kind == "features" else 2000
    families = families_of(layout)
    i, j = np.triu_indices(len(families), 1)
    many = np.stack([KINDS[kind](families, icc, RHO, rng) for _ in range(zoos)])
    pooled = []
    for keep in (np.ones(len(i), bool), families[i] != families[j]):
        x, y = many[:, 0, keep].ravel(), many[:, 1, keep].ravel()
        if method == "kendall":
            pooled.append(float(kendalltau(x, y).statistic))
            continue
        if method == "spearman":
            x, y = rankdata(x), rankdata(y)
        pooled.append(float(np.corrcoef(x, y)[0, 1]))
    return pooled[0], pooled[1]


def several(
    kind: str, families: np.ndarray, icc: float, rng: Rng, datasets: int = 3, rho: float = RHO
) -> np.ndarray:
    """Returns (d, p) similarities on datasets that correlate by rho with one another."""
    common = KINDS[kind](families, icc, 0.0, rng)[0]
    own = [KINDS[kind](families, icc, 0.0, rng)[0] for _ in range(datasets)]
    return np.sqrt(rho) * common + np.sqrt(1 - rho) * np.stack(own)


def square(row: np.ndarray) -> np.ndarray:
    """Returns the symmetric matrix of pairs of models, NaN on its diagonal."""
    m = int((1 + np.sqrt(1 + 8 * len(row))) / 2)
    matrix = np.full((m, m), np.nan)
    i, j = np.triu_indices(m, 1)
    matrix[i, j] = matrix[j, i] = row
    return matrix


# With stimuli: a trait of the models shows on some stimuli more than on others, on both datasets.
N_STIMULI, SPLITS, TRAIT, TRAIT_SD, MODEL_NOISE, PAIR_NOISE = 60, 10, 0.5, 1.5, 1.5, 2.0


def with_stimuli(families: np.ndarray, icc: float, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Returns (2, p) similarities and (s, 2, 2, p) similarities on halves of the stimuli."""
    m = len(families)
    i, j = np.triu_indices(m, 1)
    base = additive(families, icc, RHO, rng)
    trait = effects(families, icc, 0.0, rng)[0, :, 0]
    whole, halves = [], np.empty((SPLITS, 2, 2, len(i)))
    for dataset in range(2):
        show = rng.normal(TRAIT, TRAIT_SD, size=N_STIMULI)
        own = rng.normal(scale=MODEL_NOISE, size=(N_STIMULI, m)) + show[:, None] * trait
        each = own[:, i] + own[:, j] + rng.normal(scale=PAIR_NOISE, size=(N_STIMULI, len(i)))
        whole.append(base[dataset] + each.mean(axis=0))
        for split in range(SPLITS):
            order = rng.permutation(N_STIMULI).reshape(2, -1)
            halves[split, :, dataset] = base[dataset] + each[order].mean(axis=1)
    return np.stack(whole), halves


@cache
def joint_truth(icc: float, layout: str) -> float:
    """Returns the pooled correlation over zoos, averaged (as z) over samples of stimuli.

    Over the pairs of one mixture, whose covariances are those of additive effects.
    """
    families = families_of(layout)
    i, j = np.triu_indices(len(families), 1)
    same = (families[i] == families[j]).mean()
    rng = np.random.default_rng(1)
    show = rng.normal(TRAIT, TRAIT_SD / np.sqrt(N_STIMULI), size=(2, 400_000))
    pair = 2 + 2 * icc * same  # the variance of a_i + a_j over the pairs
    covariance = RHO * 0.45 * pair + 0.5 * RHO * 0.1 + show[0] * show[1] * pair
    noise = (2 * MODEL_NOISE**2 + PAIR_NOISE**2) / N_STIMULI
    variance = 0.45 * pair + 0.1 + show**2 * pair + noise
    return float(np.tanh(np.arctanh(covariance / np.sqrt(variance.prod(axis=0))).mean()))


def check_metric() -> float:
    """Returns how far `debiased_cka` here is from the metric of the package."""
    x = np.random.default_rng(0).normal(size=(2, 30, 6))
    return abs(float(debiased_cka(x)[0]) - float(get_metric("cka")(x[0], x[1])))
