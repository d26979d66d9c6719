"""Pairs of classifiers: how close their predictions, and how unlike what lies behind them."""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from consilience.errors import MetricError
from consilience.files import derive_seed, write_table
from consilience.forms.likelihoods import (
    InputTerms,
    LabelTerms,
    draw_sets,
    input_terms,
    kl_divergence,
    label_terms,
    least_cca,
    set_count,
)
from consilience.identifiability.models import Model, read_models
from consilience.metrics.cca import CCA
from consilience.metrics.identifiable import features_svd, label_subsets, unembedding_svd
from consilience.metrics.likelihood import LogitDistance, check_dimension, combined
from consilience.samples import read_samples

logger = logging.getLogger(__name__)

COLUMNS = {
    "dataset": "str",
    "model_x": "str",
    "model_y": "str",
    "architecture": "str",
    "classes": "int64",
    "dimension": "int64",
    "width_x": "float64",
    "width_y": "float64",
    "draw": "str",
    "d_llv": "float64",
    "t1": "float64",
    "t2": "float64",
    "t3": "float64",
    "t4": "float64",
    "pivot": "Int64",
    "left_out": "Int64",
    "n_ties": "Int64",
    "input_ids": "object",
    "kl_xy": "float64",
    "kl_yx": "float64",
    "m_svd_f": "object",
    "d_svd_f": "float64",
    "d_svd_f_ties": "float64",
    "m_svd_g": "float64",
    "d_svd_g": "float64",
    "d_fg": "float64",
    "bound": "float64",
    "bound_applies": "bool",
    "slack": "float64",
    "m_cca_f": "float64",
    "m_cca_g": "float64",
    "logit_distance": "float64",
    "m_cca_f_least": "float64",
    "accuracy_x": "float64",
    "accuracy_y": "float64",
    "loss_x": "float64",
    "loss_y": "float64",
    "failure": "string",
}
"""Of the table, with their types."""


@dataclass(frozen=True)
class Distance:
    """How d_LLV is made of its terms; the fields are those of the metric `d_llv`."""

    sets: int = 200
    weight: float = 1e-5
    combine: Literal["max", "sum"] = "max"
    type: Literal["max", "mean"] = "max"
    draw: Literal["ids", "legacy"] = "ids"
    """Sets of samples by their ids, or as published by NumPy's legacy generator."""
    seed: int = 0

    def draw_sets(self, ids: Sequence[str], m: int) -> np.ndarray:
        """Returns (S, m + 1) rows of disjoint sets of samples, the same for all pairs.

        By ids, the samples are ordered by hashes of seed and id and cut into sets: their order in
        the dataset changes nothing, and fewer sets are the first of more.

        Raises:
            MetricError: there are too few samples for one set.
        """
        count = set_count(len(ids), m, self.sets)
        if count < self.sets:
            logger.info("%d samples make %d sets of %d, not %d", len(ids), count, m + 1, self.sets)
        if self.draw == "legacy":
            return draw_sets(len(ids), m, self.sets, self.seed, "legacy")
        start = str(derive_seed(self.seed, "identifiability")).encode()
        marks = [hashlib.sha256(start + b" " + str(id_).encode()).digest() for id_ in ids]
        order = sorted(range(len(ids)), key=marks.__getitem__)
        return np.array(order[: count * (m + 1)]).reshape(count, m + 1)


class Comparison:
    """The row of one pair: each part has values, or a reason why it has none."""

    def __init__(self, x: Model, y: Model, ids: Sequence[str], how: Distance) -> None:
        self.x, self.y, self.ids, self.how = x, y, ids, how
        self.failures: list[str] = []

    def row(self, sets: np.ndarray | None) -> dict[str, Any]:
        """Returns the columns of the pair.

        Args:
            sets: (S, M + 1) rows; None: there are too few samples.
        """
        x, y = self.x, self.y
        architecture, classes, dimension = x.kind
        found = {
            "model_x": x.id, "model_y": y.id, "architecture": architecture, "classes": classes,
            "dimension": dimension, "width_x": width_of(x), "width_y": width_of(y),
            "draw": self.how.draw, "input_ids": [], "m_svd_f": [], "bound_applies": False,
            "accuracy_x": x.quality.accuracy, "accuracy_y": y.quality.accuracy,
            "loss_x": x.quality.loss, "loss_y": y.quality.loss,
        }  # fmt: skip
        found |= self._divergences() | self._correlations() | self._distances()
        found |= self._identifiable(sets)
        return found | {"failure": "; ".join(dict.fromkeys(self.failures)) or None}

    def _divergences(self) -> dict[str, Any]:
        p, q = (side.parts.likelihoods.log_p for side in (self.x, self.y))
        return {"kl_xy": kl_divergence(p, q), "kl_yx": kl_divergence(q, p)}

    def _correlations(self) -> dict[str, Any]:
        cca, found = CCA(), {}
        for column, part in (("m_cca_f", "features"), ("m_cca_g", "unembedding")):
            try:
                found[column] = cca(*(getattr(side.parts, part) for side in (self.x, self.y)))
            except MetricError as error:
                self.failures.append(f"{column}: {error}")
        return found

    def _distances(self) -> dict[str, Any]:
        x, y = self.x, self.y
        distance = LogitDistance().compare(x.centred, y.centred)
        found = {"logit_distance": distance}
        if "other" not in (x.head, y.head):
            spectra = x.spectrum, y.spectrum
            found["m_cca_f_least"] = least_cca(distance, x.centred.size, x.dimension, *spectra)
        return found

    def _identifiable(self, sets: np.ndarray | None) -> dict[str, Any]:
        """Returns d_LLV, d_{f,g} and the bound between both, as far as there are any."""
        x, y, found = self.x, self.y, {}
        sides = x.parts.likelihoods, y.parts.likelihoods
        try:
            check_dimension("d_LLV", x.classes, x.dimension)
            labels = label_terms(*sides, self.how.type)
            if sets is None:
                set_count(len(self.ids), x.dimension, 1)
            inputs = input_terms(*sides, sets)
        except MetricError as error:
            self.failures.append(str(error))
            return found
        found |= self._llv(labels, inputs)
        try:
            found |= self._svd(labels, inputs)
        except MetricError as error:
            self.failures.append(str(error))
            return found
        bound = 2 * x.dimension * found["d_llv"]
        applies = bound < 1 and self.how.type == "max" and x.head == y.head == "plain"
        return found | {
            "bound": bound, "bound_applies": applies, "slack": bound - found["d_fg"],
        }  # fmt: skip

    def _llv(self, labels: LabelTerms, inputs: InputTerms) -> dict[str, Any]:
        how = self.how
        of = np.mean if how.type == "mean" else np.max
        return {
            "d_llv": combined(labels, inputs, how.combine, how.type, how.weight),
            "t1": of(labels.t1), "t2": inputs.t2.max(), "t3": of(labels.t3), "t4": of(inputs.t4),
            "pivot": labels.pivot, "left_out": labels.left_out, "n_ties": len(labels.ties),
            "input_ids": [str(self.ids[row]) for row in inputs.inputs],
        }  # fmt: skip

    def _svd(self, labels: LabelTerms, inputs: InputTerms) -> dict[str, Any]:
        sides = self.x.parts, self.y.parts
        subsets = label_subsets(self.x.classes - 2, self.x.dimension, seed=self.how.seed)
        of_ties = [features_svd(*sides, *tie, subsets) for tie in labels.ties]
        of_f, of_g = of_ties[0], unembedding_svd(*sides, inputs.inputs)
        d_f, d_g = 1 - float(of_f.min()), 1 - of_g
        return {
            "m_svd_f": of_f.tolist(), "d_svd_f": d_f,
            "d_svd_f_ties": 1 - min(float(each.min()) for each in of_ties),
            "m_svd_g": of_g, "d_svd_g": d_g, "d_fg": max(d_f, d_g),
        }  # fmt: skip


def width_of(model: Model) -> float:
    """Returns the width that the catalogue gives a model; missing if that is no number."""
    try:
        return float(model.facts.get("width", ""))
    except ValueError:
        return float("nan")


def compare_models(
    models: Sequence[Model], ids: Sequence[str], how: Distance
) -> Iterator[dict[str, Any]]:
    """Yields the row of every pair of models of one architecture, K and M, and of the same classes.

    Args:
        models: on the same samples.
        ids: of the n samples.
        how: how d_LLV is made.
    """
    sets: dict[int, np.ndarray | None] = {}
    for x, y in combinations(sorted(models, key=lambda model: model.id), 2):
        if not x.is_comparable(y):
            continue
        if x.dimension not in sets:
            enough = len(ids) > x.dimension
            sets[x.dimension] = how.draw_sets(ids, x.dimension) if enough else None
        yield Comparison(x, y, ids, how).row(sets[x.dimension])


def make_identifiability(
    manifest: str | Path,
    samples_path: str | Path,
    out: str | Path,
    *,
    dataset: str,
    models: Mapping[str, Mapping[str, Any]],
    logit_columns: str = "",
    **how: Any,  # noqa: ANN401
) -> None:
    """Writes results/identifiability/{dataset}.parquet, one row per unordered pair of models.

    All samples count, as for similarities, so that the registered metrics `d_llv` (with the same
    sets), `kl`, `identifiable_svd`, `cca` and `logit_distance` give the same values. What cannot be
    computed of a pair is missing, and `failure` says why.

    Args:
        manifest: the dataset's features manifest; features files lie beside it.
        samples_path: results/samples/{dataset}.parquet.
        out: the table to write, with the columns of `COLUMNS`.
        dataset: id of the dataset.
        models: for each model its `architecture` and `width`.
        logit_columns: the dataset's cell of that name, see `consilience.probe.parse_columns`.
        **how: the fields of `Distance`.

    Raises:
        DataError: the manifest is of other samples.
    """
    samples, distance = read_samples(samples_path), Distance(**how)
    found = list(read_models(Path(manifest), samples, models, logit_columns))
    ids = samples.table["id"].tolist()
    rows = list(compare_models(found, ids, distance))
    if not rows:
        logger.warning(
            "dataset %r: no two of %d models with logits and unembedding have the same "
            "architecture, classes and dimension", dataset, len(found),
        )  # fmt: skip
    table = pd.DataFrame(rows, columns=list(COLUMNS)).assign(dataset=dataset).astype(COLUMNS)
    heads = {model.id: model.head for model in found}
    limits = {"subsets": 1000, "heads": heads}
    write_table(table, out, {"settings": vars(distance), **limits})
