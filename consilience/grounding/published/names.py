"""What ReSi (Klabunde et al. 2025) calls its measures, tests, scores and domains, and what we do.

The one place where its names are turned into ours. A measure takes the id of a variant of
config/metrics.yaml only where both are the same number of the same features; ReSi divides no rows
by their norms, so that holds for studies with `similarity.row_normalize: false`. Any other measure
keeps ReSi's name.
"""

import re
from typing import NamedTuple

from consilience.grounding.cases import (
    ACCURACY_DIFFERENCE,
    AUGMENTATION,
    LABELS,
    LAYERS,
    SHORTCUTS,
)


class Measure(NamedTuple):
    """A measure of ReSi.

    Attributes:
        label: in its tables and figures.
        variant: ours, the same number of the same features; empty if there is none.
        note: what is to be known of the two, or why there is none.
    """

    label: str
    variant: str = ""
    note: str = ""


MEASURES = {
    "PWCCA": Measure("PWCCA", note="weights of another kind than `pwcca`, and fails where d > d'"),
    "SVCCA": Measure("SVCCA", note="keeps one component of ordinary features; `svcca_99pct` more"),
    "HardCorrelationMatch": Measure("HardCorr", "hard_correlation_match"),
    "SoftCorrelationMatch": Measure("SoftCorr", "soft_correlation_match"),
    "LinearRegression": Measure(
        "LinReg", "linear_regression", "one order of each pair inside groups; here the mean of both"
    ),
    "AlignedCosineSimilarity": Measure("AlignCos", "aligned_cosine"),
    "OrthogonalAngularShapeMetricCentered": Measure("AngShape", "procrustes_angular"),
    "OrthogonalProcrustesCenteredAndNormalized": Measure("OrthProc", "procrustes"),
    "PermutationProcrustes": Measure("PermProc", "permutation_procrustes"),
    "ProcrustesSizeAndShapeDistance": Measure("ProcDist", "procrustes_size_and_shape"),
    "EigenspaceOverlapScore": Measure(
        "EOS", note="divides by the number of units; `eigenspace_overlap` by the larger rank"
    ),
    "CKA": Measure("CKA", "cka_biased"),
    "DistanceCorrelation": Measure("DistCorr", "distance_correlation_biased"),
    "Gulp": Measure("GULP", "gulp_squared", "the same for features of full rank only"),
    "RSA": Measure("RSA", "rsa_spearman"),
    "RSMNormDifference": Measure("RSMDiff", "rsm_norm_difference_spectral"),
    "JaccardSimilarity": Measure("Jaccard", "jaccard_knn_k10"),
    "RankSimilarity": Measure("RankSim", "rank_knn_k10"),
    "SecondOrderCosineSimilarity": Measure("2nd-Cos", "second_order_cosine_k10_resi"),
    "IMDScore": Measure("IMD", "imd", "estimated by random probes; here exact"),
    "RTD": Measure("RTD", "rtd", "other random rows"),
    "GeometryScore": Measure("GS", note="1,000 random trials; `geometry_score` has 100"),
    "MagnitudeDifference": Measure("MagDiff", "magnitude_difference"),
    "ConcentricityDifference": Measure("ConcDiff", "concentricity_difference"),
    "UniformityDifference": Measure("UnifDiff", "uniformity_difference_resi"),
}
_OF_LABEL = {measure.label: name for name, measure in MEASURES.items()}

ANSWERS = {
    "AbsoluteAccDiff": ACCURACY_DIFFERENCE,
    "JSD": "jsd",
    "Disagreement": "disagreement",
}
"""Measures of how far answers differ."""
CORRELATIONS = {"pearsonr": "pearson", "spearmanr": "spearman", "kendalltau": "kendall"}
DOMAINS = {
    "vision": "image",
    "nlp": "text",
    "language": "text",
    "graphs": "graph",
    "graph": "graph",
}

_TESTS = {
    LABELS: {"mem", "label", "labels", "randomlabel", "randomlabels"},
    SHORTCUTS: {"sc", "shortcut", "shortcuts", "colordot"},
    AUGMENTATION: {"aug", "augmentation", "gauss", "gaussnoise"},
    LAYERS: {"mono", "layer", "layers", "monotonicity"},
}
_DATASETS = {
    "mnli": ("mnli", "text"),
    "sst2": ("sst2", "text"),
    "cora": ("cora", "graph"),
    "flickr": ("flickr", "graph"),
    "ogbn": ("ogbn-arxiv", "graph"),
    "arxiv": ("ogbn-arxiv", "graph"),
    "in100": ("imagenet100", "image"),
    "imagenet100": ("imagenet100", "image"),
    "c100": ("cifar100", "image"),
    "cifar100": ("cifar100", "image"),
}


def metric_of(name: str) -> tuple[str, str]:
    """Returns ReSi's own name of a measure that it names or abbreviates, and our id or that name.

    Names that ReSi does not have are kept: users add measures of their own to it.
    """
    own = _OF_LABEL.get(name, name)
    measure = MEASURES.get(own)
    return own, (measure.variant if measure and measure.variant else own)


def words(text: str) -> list[str]:
    """Returns the words of a name in lower case, in order: of letters and digits."""
    return re.findall(r"[a-z0-9]+", str(text).lower())


def test_of(*texts: str) -> str:
    """Returns the test that the first of several texts names one of; empty if none does."""
    for text in texts:
        named = [test for test, known in _TESTS.items() if known & set(words(text))]
        if len(named) == 1:
            return named[0]
    return ""


def dataset_of(*texts: str) -> tuple[str, str]:
    """Returns the first data set that texts name, and its domain; both empty if none does."""
    for text in texts:
        for word in words(text):
            if word in _DATASETS:
                return _DATASETS[word]
    return "", ""
