"""Which files of a results folder belong to a dataset of a study: what rules ask for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter, Signature
from typing import Any

from consilience.config import Study
from consilience.files import find
from consilience.samples.views import parse_view


@dataclass(frozen=True)
class Paths:
    """Paths relative to the working folder."""

    study: Study

    @cached_property
    def has_views(self) -> bool:
        """Whether the study holds any view."""
        return any(len(chain) > 1 for chain in self.study.chains.values())

    def is_view(self, dataset: str) -> bool:
        """Returns whether a dataset has no features of its own."""
        return len(self.study.chains[dataset]) > 1

    def samples(self, dataset: str) -> list[str]:
        """Returns the samples of a dataset, of its parent, … to those that its features are of."""
        return [f"results/samples/{name}.parquet" for name in self.study.chains[dataset]]

    def view_sources(self, dataset: str) -> dict[str, str]:
        """Returns what the samples of a view are made from; nothing for other datasets."""
        if not self.is_view(dataset):
            return {}
        classes = parse_view(self.study.sampling[dataset]).classes
        sources = {"parent": self.samples(dataset)[1]}
        return sources | ({"classes": str(find(classes))} if classes else {})

    def features(self, dataset: str, model: str) -> str:
        """Returns the features of a model on a dataset, or on the one that this is a view of."""
        return f"results/features/{self.study.chains[dataset][-1]}/{model}.safetensors"

    def all_features(self, dataset: str) -> list[str]:
        """Returns the features of all models that run on a dataset."""
        return [self.features(dataset, model) for model in self.study.models_on[dataset]]

    def probes(self) -> list[str]:
        """Returns the probes of every model on every labelled dataset that it can take.

        A view of a dataset without labels has none either.
        """
        rows = self.study.touched
        return [
            f"results/probe/{dataset}/{model}.parquet"
            for dataset in self.study.datasets
            if not any(rows[name].get("labels") == "no" for name in self.study.chains[dataset])
            for model in self.study.models_on[dataset]
        ]


def looked_up(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns a function of the wildcards with its signature written down.

    Snakemake asks for it three times per job.
    """
    function.__signature__ = Signature([Parameter("wildcards", Parameter.POSITIONAL_OR_KEYWORD)])
    return function
