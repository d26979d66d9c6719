"""What a study needs and is not there: told while planning, all at once, before a job fails."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from consilience.config import Study
from consilience.config.absent import find_absent
from consilience.config.catalogs import Row
from consilience.datasets import look_for
from consilience.errors import ConfigError, ConsilienceError
from consilience.results import Results


@dataclass(frozen=True)
class Presence:
    """Looks for what samples and features are to be made of; what is made already needs nothing."""

    study: Study
    results: Results
    installed: bool = True
    """Whether jobs run in this Python environment."""
    _known: dict[tuple[str, ...], str] = field(default_factory=dict)

    def sampling(self, dataset: str) -> Row:
        """Returns the row that samples are drawn by.

        Raises:
            ConfigError: lists all that lacks, if they are to be drawn and the dataset is not there.
        """
        row = self.study.sampling[dataset]
        if self._lacks_samples(dataset):
            self._stop()
        return row

    def need_features(self, dataset: str, model: str) -> None:
        """Raises ConfigError, with all that lacks, if a model to be run is not there."""
        if self._lacks_features(dataset, model):
            self._stop()

    def _lacks_samples(self, dataset: str) -> str:
        row = self.study.sampling[dataset]
        if row.get("parent") or Path(self.results.of("samples", dataset=dataset)).exists():
            return ""
        if ("dataset", dataset) not in self._known:
            try:
                look_for(row)
                problem = ""
            except ConsilienceError as error:
                problem = str(error)
            self._known["dataset", dataset] = problem
        return self._known["dataset", dataset]

    def _lacks_features(self, dataset: str, model: str) -> str:
        row = self.study.extraction[model]
        key = ("model", model, dataset if row["source"] == "imported" else "")
        if key in self._known and not self._known[key]:
            return ""
        path = self.results.of("features", dataset=dataset, model=model)
        if self.study.chains[dataset][1:] or Path(path).exists():
            return ""
        if key not in self._known:
            given = {**row, **self._start(model)}
            self._known[key] = find_absent(given, dataset, installed=self.installed)
        return self._known[key]

    def _start(self, model: str) -> Row:
        """Returns the weights that a training which is to be done starts from."""
        training = self.study.trainings.get(model)
        done = training and Path(self.results.of("train", model=model)).exists()
        return {"weights": training.spec["weights"]} if training and not done else {}

    def _stop(self) -> None:
        lines = list(dict.fromkeys(self._problems()))
        count = "1 thing that the study needs is" if len(lines) == 1 else f"{len(lines)} things are"
        raise ConfigError("\n  ".join([f"{count} not there", *lines]))

    def _problems(self) -> Iterator[str]:
        """Yields what lacks in the whole study."""
        for dataset in self.study.touched:
            if problem := self._lacks_samples(dataset):
                named = problem.startswith("dataset ")
                yield problem if named else f"dataset {dataset!r}: {problem}"
        for dataset, models in self.study.models_on.items():
            for model in models:
                if problem := self._lacks_features(dataset, model):
                    yield f"model {model!r}: {problem}"
