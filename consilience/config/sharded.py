"""Which jobs compute the pairs of a similarity table: one for several metrics, or one per shard."""

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

from consilience.config.origins import Origins
from consilience.config.shape import Problems
from consilience.config.wildcards import looked_up
from consilience.errors import ConfigError
from consilience.metrics import InnerProductMetric, metric_of
from consilience.registry import did_you_mean
from consilience.results import Results

if TYPE_CHECKING:
    from consilience.config import Study

AUTO = "auto"
MOST = 1000
"""Shards of one table, as the schema has it."""
SECONDS = 1800
"""CPU seconds of pairs, by the estimate below, that `auto` gives to a shard."""
USUAL = 0.2
"""CPU seconds of a pair of models of 1,000 units and 5,000 samples, to an order of magnitude, of
metrics that compare two matrices of features; of others it stands here by their registered name.
Measured ones are in `benchmarks/pairwise.md`."""
QUICK = 0.001
PAIR_SECONDS = {
    **dict.fromkeys(("riemannian", "soft_matching", "rtd", "imd"), 1.0),
    **dict.fromkeys(
        (
            "accuracy_difference", "concentricity_difference", "d_llv", "disagreement",
            "error_consistency", "geometry_score", "jsd", "kl", "logit_distance",
            "magnitude_difference", "uniformity_difference",
        ),
        QUICK,
    ),
}  # fmt: skip


def check_shards(study: "Study", where: Origins, problems: Problems) -> None:
    """Notes metrics of `similarity.sharded` that the study lacks, or that are made with others."""
    settings = study.settings["similarity"]
    for position, metric in enumerate(settings["sharded"] or ()):
        place = where.place(f"similarity.sharded[{position}]")
        if metric not in study.metrics:
            hint = did_you_mean(metric, study.metrics)
            problems.add(place, f"the study has no metric {metric!r}{hint}")
            continue
        sharing = study.shared.values() if settings["together"] else ()
        for ids in (ids for ids in sharing if metric in ids):
            others = ", ".join(one for one in ids if one != metric)
            problems.add(
                place,
                f"{metric!r} is computed together with {others}, in one job; set "
                "`similarity.together: false`, or leave it out",
            )


class Sharded:
    """The part of a plan that is about metrics computed together, and tables parted into shards."""

    study: "Study"
    results: Results
    settings: dict[str, Any]

    @cached_property
    def sharing(self) -> dict[str, list[str]]:
        """For each product or neighbour list that metrics share the ids of these metrics."""
        return self.study.shared if self.settings["similarity"]["together"] else {}

    @cached_property
    def sharing_of(self) -> dict[str, str]:
        """For each metric that shares what it shares."""
        return {metric: name for name, ids in self.sharing.items() for metric in ids}

    def shared(self, dataset: str, metric: str) -> list[str]:
        """Returns the record of the pass that a metric shares with others, if it does."""
        if metric not in self.sharing_of:
            return []
        return [self.results.of("shared", dataset=dataset, sharing=self.sharing_of[metric])]

    @cached_property
    def _pair_seconds(self) -> dict[str, float]:
        """For each metric whose pairs may be dealt what one of them costs, about."""
        wanted = self.settings["similarity"]["sharded"]
        found = {}
        for id_, spec in self.study.metrics.items():
            metric = metric_of(spec)
            pays = not isinstance(metric, InnerProductMetric) and not metric.keeps_forms
            if id_ in wanted if wanted is not None else pays and id_ not in self.sharing_of:
                seconds = PAIR_SECONDS.get(spec["metric"], USUAL if pays else QUICK)
                count = (1 if metric.facts.symmetric else 2) * (1 + spec["permutations"])
                found[id_] = seconds * count
        return found

    @cached_property
    def shard_counts(self) -> dict[tuple[str, str], int]:
        """For each (dataset, metric) whose pairs are dealt the number of shards, two at least."""
        shards = self.settings["similarity"]["shards"]
        if shards == 1:
            return {}
        counts = {}
        for dataset in self.compared:
            models = len(self.study.models_on[dataset])
            pairs = models * (models + 1) // 2
            if chosen := self.pairs_on(dataset):
                pairs = sum(math.comb(len(one), 2) for one in chosen["sets"])
            for metric, seconds in self._pair_seconds.items():
                needed = math.ceil(pairs * seconds / SECONDS) if shards == AUTO else shards
                if (count := min(needed, pairs, MOST)) > 1:
                    counts[dataset, metric] = count
        return counts

    @property
    def shards(self) -> Any:  # noqa: ANN401 - a function, or nothing
        """What the shards of a table wrote, for its job."""
        if not self.shard_counts:
            return []
        return looked_up(
            lambda wc: [
                self.results.of("similarity_shard", dataset=wc.dataset, metric=wc.metric, shard=n)
                for n in range(1, 1 + self.shard_counts.get((wc.dataset, wc.metric), 0))
            ]
        )

    @property
    def shard_count(self) -> Any:  # noqa: ANN401 - a function
        """For the job of a shard how many there are."""

        def find(wc: Any) -> int:  # noqa: ANN401 - wildcards
            count = self.shard_counts.get((wc.dataset, wc.metric), 1)
            if count == 1 or wc.shard not in map(str, range(1, count + 1)):
                raise ConfigError(
                    f"the study has no shard {wc.shard!r} of {wc.metric!r} on {wc.dataset!r}; "
                    f"`similarity.shards` makes {count}, from 1"
                )
            return count

        return looked_up(find)
