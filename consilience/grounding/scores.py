"""Every score of one metric on one test of a recipe, and what ranks are made of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from consilience.files import derive_seed
from consilience.grounding import intervals, layers
from consilience.grounding.cases import ACCURACY, ACCURACY_DIFFERENCE, LAYERS, PREDICTED, Case
from consilience.grounding.closeness import Closeness
from consilience.grounding.gate import Gate
from consilience.grounding.separation import SCORES, Groups, lift, relabelled_p, relabellings
from consilience.pairs.correlations import Floats, correlations
from consilience.pairs.draws import Draws
from consilience.pairs.inference import PairSet
from consilience.pairs.relate import METHODS, MIN_MODELS, correlate_pairs, varies

OK, NOT_GROUNDED, FAILED = "ok", "not_grounded", "failed"
CONSTANT, TOO_SMALL = "constant", "too_small"
MOST_FAILED = 0.1
"""Share of failed pairs beyond which there is no value."""
KEEP, DROP = "keep", "drop"


class Sample(NamedTuple):
    """A score that metrics are ranked by, without each model and for resampled models."""

    measure: str
    score: str
    status: str
    value: float
    models: list[str]
    side: list[int]
    left_out: list[float]
    drawn: list[float]
    p: float = float("nan")
    """Of the value, against chance."""


@dataclass
class Found:
    """What one case gives: rows of the table, samples to rank by, and values of single models."""

    rows: list[dict[str, Any]]
    samples: list[Sample]
    models: list[dict[str, Any]]


@dataclass(frozen=True)
class Judge:
    """Scores one metric.

    Args:
        draws: resamples of models, the same for all metrics and tests.
        permutations: relabellings for p.
        seed: of the study.
    """

    draws: Draws
    permutations: int
    seed: int

    def score(
        self,
        case: Case,
        close: Closeness,
        gate: Gate,
        apart: Mapping[str, Floats],
        reliability: float,
    ) -> Found:
        """Returns all that a case says of a metric.

        Args:
            case: the test.
            close: the metric's similarities on the case's dataset.
            gate: whether the groups behave differently.
            apart: for each measure (m, m) how far the models' answers differ.
            reliability: of gaps in accuracy.
        """
        if case.test == LAYERS:
            found = self._layers(case, close)
        elif case.test in PREDICTED:
            found = self._predicted(case, close, apart, reliability)
        else:
            found = self._designed(case, close)
        common = {"domain": case.domain, "recipe": case.recipe, "dataset": case.dataset,
                  "test": case.test}  # fmt: skip
        for row in found.rows:
            row.update(common)
            if not gate.passed and row["status"] == OK:
                row["status"] = NOT_GROUNDED
            row["note"] = "; ".join(filter(None, [row.get("note", ""), gate.note]))
        found.samples = [_with_p(sample, found.rows) for sample in found.samples]
        found.samples = [
            s._replace(status=NOT_GROUNDED) if not gate.passed and s.status == OK else s
            for s in found.samples
        ]
        for row in found.models:
            row.update({"recipe": case.recipe, "dataset": case.dataset})
        return found

    # Groups that are trained differently

    def _designed(self, case: Case, close: Closeness) -> Found:
        whole = Groups(close.models(case.models), case.side, case.start)
        counts = self.draws.counts(case.members)
        found = Found([], [], [])
        names = list(case.groups)
        subsets = [tuple(range(len(names)))]
        subsets += list(combinations(subsets[0], 2)) if len(names) > 2 else []
        for same in (KEEP, DROP) if whole.matched else (KEEP,):
            for chosen in subsets:
                part = Groups(whole.closeness, whole.group, whole.start, same == DROP).only(chosen)
                pair = [names[g] for g in chosen] if len(chosen) < len(names) else ["", ""]
                named = {"same_seed": same, "group_x": pair[0], "group_y": pair[1]}
                label = derive_seed(self.seed, "grounding", case.recipe, case.test, *pair)
                found.rows += [row | named for row in self._separated(part, label)]
            if same == DROP or not whole.matched:
                found.samples.append(_sample_of_groups(part_of(whole, same), case, counts))
        return found

    def _separated(self, groups: Groups, seed: int) -> Iterator[dict[str, Any]]:
        """Yields one row for each score of groups."""
        status, note = status_of_groups(groups)
        base = {"n_models": len(groups.group), "n_groups": len(groups.sizes),
                "n_pairs": len(groups.values), "n_failed": int((~groups.valid).sum()),
                "status": status, "note": note}  # fmt: skip
        labels = None
        for score in SCORES:
            row = base | {"measure": "", "score": score, "chance": groups.chance(score)}
            if status == OK:
                if labels is None:
                    generator = np.random.default_rng(seed)
                    labels = relabellings(groups, self.permutations, generator)
                value, left_out = leave_out(groups, score)
                finest = 1 / (2 * max(len(groups.values), 1))
                low, high = intervals.logit_interval(value, left_out, groups.group, finest)
                row |= {"value": value, "lift": lift(value, row["chance"]), "low": low,
                        "high": high, "p": relabelled_p(groups, score, labels)}  # fmt: skip
            yield row

    # Correlations with predictions

    def _predicted(
        self, case: Case, close: Closeness, apart: Mapping[str, Floats], reliability: float
    ) -> Found:
        found = Found([], [], [])
        matrix = close.models(case.models)
        for measure in [ACCURACY_DIFFERENCE] if case.test == ACCURACY else case.measures:
            pairs = _pairs(-matrix, apart[measure])
            n_failed = int((~np.isfinite(pairs.x)).sum())
            status, note = _status_of_pairs(pairs, measure)
            base = {"measure": measure, "same_seed": KEEP, "group_x": "", "group_y": "",
                    "n_models": len(matrix), "n_groups": 1, "n_pairs": len(pairs.x),
                    "n_failed": n_failed, "status": status, "note": note}  # fmt: skip
            if case.test == ACCURACY:
                base["reliability"] = reliability
            rows = self._correlated(pairs, case, measure) if status == OK else {}
            for score in METHODS:
                row = base | {"score": score, "chance": 0.0} | rows.get(score, {})
                found.rows.append(row)
            found.samples.append(self._sample_of_pairs(pairs, case, measure, status))
        return found

    def _correlated(self, pairs: PairSet, case: Case, measure: str) -> dict[str, dict[str, Any]]:
        found = correlate_pairs(
            pairs,
            ("the closeness", f"the measure {measure}"),
            methods=METHODS,
            bootstrap=self.draws.replicates,
            permutations=self.permutations,
            seed=derive_seed(self.seed, "grounding", case.recipe, case.test, measure),
        )
        kept = ("value", "low", "high", "p")
        return {
            method: {key: row[key] for key in kept if key in row} | {"lift": row.get("value")}
            for method, row in found.items()
        }

    def _sample_of_pairs(self, pairs: PairSet, case: Case, measure: str, status: str) -> Sample:
        empty = Sample(measure, "spearman", status, np.nan, case.models, [], [], [])
        if status != OK:
            return empty
        m = len(case.models)
        drawn = self.draws.counts([tuple(case.models)])
        counts = np.hstack([np.ones((m, 1)), 1 - np.eye(m), drawn])
        r = correlations(pairs.block(), counts, "spearman")[0]
        return empty._replace(
            value=float(r[0]), side=[0] * m, left_out=r[1 : m + 1].tolist(),
            drawn=r[m + 1 :].tolist(),
        )  # fmt: skip

    # Layers of one model

    def _layers(self, case: Case, close: Closeness) -> Found:
        found = Found([], [], [])
        matrices = {model: close.layers(model) for model in case.models}
        status, note, n_failed, n_pairs = _status_of_layers(matrices)
        for score, of in layers.SCORES.items():
            row = {"measure": "", "score": score, "same_seed": KEEP, "group_x": "", "group_y": "",
                   "chance": layers.CHANCE[score], "n_models": len(matrices), "n_groups": 1,
                   "n_pairs": n_pairs, "n_failed": n_failed,
                   "status": status, "note": note}  # fmt: skip
            values = np.full(len(matrices), np.nan)
            if status == OK:
                values = np.array([of(matrix) for matrix in matrices.values()])
                row |= mean_over_models(values, row["chance"])
                found.models += [
                    {"model": model, "score": score, "value": value}
                    for model, value in zip(matrices, values.tolist(), strict=True)
                ]
            found.rows.append(row)
            if score == "spearman":
                counts = self.draws.counts([tuple(case.models)])
                found.samples.append(_sample_of_means(values, case, counts, status))
        return found


def _with_p(sample: Sample, rows: Sequence[Mapping[str, Any]]) -> Sample:
    """Returns a sample with the p-value of its row: the last one of all groups by its score."""
    own = [
        row.get("p", np.nan)
        for row in rows
        if (row["score"], row["measure"], row["group_x"]) == (sample.score, sample.measure, "")
    ]  # rows without pairs that share a start, by which metrics are ranked, come last
    return sample._replace(p=own[-1])


def part_of(groups: Groups, same: str) -> Groups:
    """Returns groups with or without pairs across them that share a start."""
    return Groups(groups.closeness, groups.group, groups.start, same == DROP)


def leave_out(groups: Groups, score: str) -> tuple[float, Floats]:
    """Returns a score of groups, and (m,) without each model; missing where a group has none."""
    m = len(groups.group)
    found = groups.score(score, np.hstack([np.ones((m, 1)), 1 - np.eye(m)]))
    return float(found[0]), found[1:]


def status_of_groups(groups: Groups) -> tuple[str, str]:
    """Returns whether groups can be scored, and why not."""
    if len(groups.sizes) < 2 or min(groups.sizes) < 2:
        return TOO_SMALL, "two groups of two models are needed"
    share = groups.failed_share()
    if share > MOST_FAILED:
        return FAILED, f"{share:.0%} of the pairs of one side of a group failed"
    if not varies(groups.values[groups.valid]):
        return CONSTANT, "all pairs are equally close"
    return OK, ""


def _sample_of_groups(groups: Groups, case: Case, counts: Floats) -> Sample:
    status, _ = status_of_groups(groups)
    empty = Sample("", "auprc", status, np.nan, case.models, [], [], [])
    if status != OK:
        return empty
    value, left_out = leave_out(groups, "auprc")
    drawn = groups.score("auprc", counts)
    return empty._replace(
        value=value, side=groups.group.tolist(), left_out=left_out.tolist(), drawn=drawn.tolist()
    )


def _pairs(x: Floats, y: Floats) -> PairSet:
    first, second = np.triu_indices(len(x), 1)
    return PairSet(x[first, second], y[first, second], first, second, (len(x),))


def _status_of_pairs(pairs: PairSet, measure: str) -> tuple[str, str]:
    if pairs.sizes[0] < MIN_MODELS:
        return TOO_SMALL, f"{pairs.sizes[0]} models; {MIN_MODELS} are needed"
    known = np.isfinite(pairs.y)
    if not known.all():
        return FAILED, f"{measure} is missing for {int((~known).sum())} pairs of models"
    share = 1 - np.isfinite(pairs.x).mean()
    if share > MOST_FAILED:
        return FAILED, f"{share:.0%} of the pairs failed"
    if not varies(pairs.x[np.isfinite(pairs.x)]):
        return CONSTANT, "all pairs are equally close"
    if not varies(pairs.y):
        return NOT_GROUNDED, f"all pairs of models have the same {measure}"
    return OK, ""


def _status_of_layers(matrices: Mapping[str, Floats]) -> tuple[str, str, int, int]:
    """Returns status, note, number of failed pairs of layers and of all."""
    values = [matrix[np.triu_indices(len(matrix), 1)] for matrix in matrices.values()]
    n_pairs, n_failed = sum(map(len, values)), sum(int(np.isnan(v).sum()) for v in values)
    fewest = min(map(len, matrices.values()), default=0)
    if fewest < layers.LEAST:
        note = f"a model has {fewest} layers; {layers.LEAST} are needed (similarity.layers: all)"
        return TOO_SMALL, note, n_failed, n_pairs
    shares = [float(np.isnan(v).mean()) for v in values]
    if max(shares) > MOST_FAILED:
        return (
            FAILED,
            f"{max(shares):.0%} of the pairs of layers of a model failed",
            n_failed,
            n_pairs,
        )
    if any(not varies(v[np.isfinite(v)]) for v in values):
        return CONSTANT, "all layers of a model are equally close", n_failed, n_pairs
    return OK, "", n_failed, n_pairs


def mean_over_models(values: Floats, chance: float) -> dict[str, Any]:
    """Returns the mean, its t interval over models, and the p-value of a t test against chance."""
    from scipy.stats import ttest_1samp  # noqa: PLC0415 - slow to import

    k, value = len(values), float(values.mean())
    row = {"value": value, "lift": lift(value, chance)}
    if k < 2 or not varies(values):
        return row
    left_out = (values.sum() - values) / (k - 1)
    low, high = intervals.plain_interval(value, left_out, np.zeros(k, dtype=int))
    p = float(ttest_1samp(values, chance, alternative="greater").pvalue)
    return row | {"low": low, "high": high, "p": p}


def _sample_of_means(values: Floats, case: Case, counts: Floats, status: str) -> Sample:
    empty = Sample("", "spearman", status, np.nan, case.models, [], [], [])
    if status != OK:
        return empty
    k = len(values)
    left_out = (values.sum() - values) / (k - 1) if k > 1 else np.full(1, np.nan)
    drawn = values @ counts / counts.sum(axis=0)
    return empty._replace(
        value=float(values.mean()), side=[0] * k, left_out=left_out.tolist(), drawn=drawn.tolist()
    )
