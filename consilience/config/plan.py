"""What a study makes: for every step its datasets, models and metrics, its files and its code.

Rules ask here and hold no logic of their own. Nothing is read from disk but sources of code, the
tables of classes that views name, and whether there is what samples and features are made of.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

from consilience.alignment import pairs_across
from consilience.behavior import MEASURES
from consilience.code import code_of, code_of_script, sources_of
from consilience.config import ROOT, Known, Study
from consilience.config.caused import Caused
from consilience.config.compared import Compared
from consilience.config.factored import Factored
from consilience.config.grounded import Grounded
from consilience.config.groups import Groups
from consilience.config.identified import Identified
from consilience.config.origins import Origins
from consilience.config.page import Page
from consilience.config.presence import Presence
from consilience.config.sharded import Sharded
from consilience.config.trainings import Trainings
from consilience.config.transferred import Transferred
from consilience.config.wildcards import looked_up
from consilience.files import digest, find
from consilience.metrics import METRICS
from consilience.prefetch import describe, list_remote
from consilience.results import ID, Results
from consilience.samples.groups import parse_group
from consilience.samples.views import parse_view


@dataclass(frozen=True)
class Plan(
    Caused, Compared, Factored, Grounded, Groups, Identified, Page, Sharded, Trainings, Transferred
):
    """Of one study; paths are relative to the working folder."""

    study: Study
    results: Results
    origins: Origins = field(default_factory=Origins)
    installed: bool = True
    """Whether jobs run in this Python environment."""

    @cached_property
    def presence(self) -> Presence:
        """Looks for what samples and features are to be made of."""
        return Presence(self.study, self.results, self.installed)

    @property
    def settings(self) -> dict[str, Any]:
        """The study with all defaults."""
        return self.study.settings

    def each(self, name: str, **wildcards: Iterable[str]) -> list[str]:
        """Returns the paths of a kind of file for all combinations of wildcard values."""
        values = [list(value) for value in wildcards.values()]
        chosen = (dict(zip(wildcards, values, strict=True)) for values in product(*values))
        return [self.results.of(name, **one) for one in chosen]

    def every(self, name: str, datasets: Iterable[str] | None = None) -> list[str]:
        """Returns a kind of file for each dataset, by default the study's, one `{metric}` left."""
        return self.each(
            name, dataset=self.study.datasets if datasets is None else datasets, metric=["{metric}"]
        )

    def growing(self, amount: int) -> Callable[[Any, int], int]:
        """Returns a resource that grows with every retry."""
        return lambda wildcards, attempt: amount * attempt

    @property
    def id(self) -> str:
        """The form of all ids."""
        return ID

    # Code

    def code(self, script: str, *modules: str) -> str:
        """Returns the hash of a step's script and of all that it, or a module, imports."""
        return code_of_script(ROOT / "workflow" / "scripts" / f"{script}.py", *modules)

    @cached_property
    def source_code(self) -> dict[str, Any]:
        """For each dataset the hash of the code of its source."""
        rows = {name: row for name, row in self.study.touched.items() if not row.get("parent")}
        found = {name: code_of(*sources_of("datasets", row)) for name, row in rows.items()}
        return Known("dataset", {name: found.get(name, "") for name in self.study.touched})

    @cached_property
    def model_code(self) -> dict[str, Any]:
        """For each model the hash of the code of its source, and of the library that it names."""
        rows = self.study.models
        return Known("model", {m: code_of(*sources_of("models", r)) for m, r in rows.items()})

    # Samples and features

    @cached_property
    def has_views(self) -> bool:
        """Whether the study holds any view."""
        return any(len(chain) > 1 for chain in self.study.chains.values())

    def is_view(self, dataset: str) -> bool:
        """Returns whether a dataset has no features of its own."""
        return len(self.study.chains[dataset]) > 1

    def samples(self, dataset: str) -> list[str]:
        """Returns the samples of a dataset, of its parent, … to those that its features are of."""
        return self.each("samples", dataset=self.study.chains[dataset])

    def view_sources(self, dataset: str) -> dict[str, str]:
        """Returns what samples are made from: of a view its parent's, and tables that rows name."""
        row = self.study.sampling[dataset]
        rule = parse_group(row)
        sources = {"groups": str(find(rule.value))} if rule.kind == "file" else {}
        if not self.is_view(dataset):
            return sources
        classes = parse_view(row).classes
        sources["parent"] = self.samples(dataset)[1]
        return sources | ({"classes": str(find(classes))} if classes else {})

    def features(self, dataset: str, model: str) -> str:
        """Returns the features of a model on a dataset, or on the one that this is a view of."""
        return self.results.of("features", dataset=self.study.chains[dataset][-1], model=model)

    def all_features(self, dataset: str) -> list[str]:
        """Returns the features of all models that run on a dataset."""
        return [self.features(dataset, model) for model in self.study.models_on[dataset]]

    def view_samples(self, dataset: str) -> list[str]:
        """Returns `samples` of a view, or of a dataset that may have groups; else nothing."""
        row = self.study.sampling[dataset]
        grouped = row.get("group", "") not in ("", "none") or row.get("captions") == "all"
        return self.samples(dataset) if self.is_view(dataset) or grouped else []

    @cached_property
    def extraction(self) -> dict[str, Any]:
        """For each model all that decides its features besides the samples.

        One parameter and not five: Snakemake spends a tenth of a millisecond on each of every job.
        """
        settings, code = self.settings["features"], self.code("features")
        kept = {key: settings[key] for key in ("dtype", "autocast")}
        rows = self.study.extraction
        return Known(
            "model",
            {
                m: {"row": r, **kept, "code": [code, self.model_code[m]], "learnt": self.learnt(m)}
                for m, r in rows.items()
            },
        )

    @cached_property
    def extracted(self) -> dict[str, Any]:
        """For each dataset with features of its own its row and the code that opens it."""
        rows = self.study.extracted
        return rows.like({d: {"row": row, "code": self.source_code[d]} for d, row in rows.items()})

    @cached_property
    def vectors(self) -> dict[str, Any]:
        """How to open each dataset of vectors that the study, or a training, has; no views."""
        rows = self.extracted.items()
        return {d: kept for d, kept in rows if kept["row"]["modality"] == "vector"}

    @property
    def extraction_of(self) -> Callable[[Any], Any]:
        """For the job of a features file all that decides it besides the samples."""

        def find(wc: Any) -> tuple[Any, Any]:  # noqa: ANN401 - wildcards
            found = self.extraction[wc.model], self.extracted[wc.dataset]
            self.presence.need_features(wc.dataset, wc.model)
            return found

        return looked_up(find)

    def features_digest(self, dataset: str) -> str:
        """Returns the hash of what the features of all models on a dataset should be."""
        models = [self.extraction[model] for model in self.study.models_on[dataset]]
        return digest([models, [self.source_code[name] for name in self.study.chains[dataset]]])

    # Similarity

    def specs(self, metrics: Iterable[str]) -> dict[str, Any]:
        """Returns what each metric of several is."""
        return {metric: self.study.metrics[metric] for metric in metrics}

    def metric_codes(self, metrics: Iterable[str]) -> dict[str, str]:
        """Returns the hash of the code of each metric of several."""
        return {metric: self.study.metric_code[metric] for metric in metrics}

    def stores(self, step: str, dataset: str, metrics: Iterable[str]) -> dict[str, str]:
        """Returns for each metric where its pairs on a dataset are kept."""
        pattern = self.results.known(step)
        return {metric: pattern.format(dataset=dataset, metric=metric) for metric in metrics}

    def labels(self, dataset: str, metric: str) -> list[str]:
        """Returns the samples that a metric takes true classes from; nothing if it takes none."""
        return self.each("samples", dataset=[dataset]) if self.study.labelled[metric] else []

    # Alignment, reliability, sensitivity

    @cached_property
    def aligned(self) -> dict[str, Any]:
        """For each dataset the groups across which its models are aligned; empty: all pairs."""
        across = self.settings["alignment"]["across"]
        return Known(
            "dataset",
            {
                dataset: {m: self.study.models[m].get(across, "") for m in models if across}
                for dataset, models in self.study.models_on.items()
            },
        )

    @cached_property
    def paired(self) -> list[str]:
        """The datasets that have an alignment."""
        if not self.settings["alignment"]["metrics"]:
            return []
        on = self.study.models_on
        return [d for d in self.study.datasets if pairs_across(self.aligned[d], on[d])]

    @property
    def alignments(self) -> list[str]:
        """The alignment tables of the study."""
        metrics = self.settings["alignment"]["metrics"]
        return self.each("alignment", dataset=self.paired, metric=metrics)

    @property
    def halved(self) -> list[str]:
        """The datasets whose stimuli are parted into halves."""
        return list(self.study.datasets) if self.settings["reliability"]["splits"] else []

    @cached_property
    def _has_curves(self) -> bool:
        return any(self.settings["sensitivity"][axis] for axis in ("n", "k", "k_share"))

    @property
    def curve_datasets(self) -> list[str]:
        """The datasets of the curves over n and k."""
        wanted = self.settings["sensitivity"]["datasets"] or list(self.study.datasets)
        return wanted if self._has_curves else []

    @property
    def curve_metrics(self) -> list[str]:
        """The metrics of the curves over n and k."""
        wanted = self.settings["sensitivity"]["metrics"] or list(self.study.metrics)
        return wanted if self._has_curves else []

    @property
    def curve_settings(self) -> dict[str, Any]:
        """What is varied, and how often."""
        return {key: self.settings["sensitivity"][key] for key in ("n", "k", "k_share", "draws")}

    @property
    def curves(self) -> list[str]:
        """The tables of the curves."""
        return self.each("sensitivity", dataset=self.curve_datasets, metric=self.curve_metrics)

    @property
    def stability(self) -> list[str]:
        """What is said of all curves, if there are any."""
        return [self.results["stability"]] if self.curves else []

    # Probes and behavior

    @cached_property
    def labelled(self) -> list[str]:
        """The datasets that are probed: those whose samples, or their parents', have labels."""
        rows, chains = self.study.touched, self.study.chains
        wanted = self.settings["probe"]["datasets"]
        return [
            dataset
            for dataset in (self.study.datasets if wanted is None else wanted)
            if not any(rows[name].get("labels") == "no" for name in chains[dataset])
        ]

    @cached_property
    def probes(self) -> dict[str, Any]:
        """For each dataset the probe files of its models."""
        on = self.study.models_on
        return Known("dataset", {d: self.each("probe", dataset=[d], model=on[d]) for d in on})

    @cached_property
    def probe_files(self) -> list[str]:
        """The probe files of all datasets that are probed."""
        return [path for dataset in self.labelled for path in self.probes[dataset]]

    @property
    def probed(self) -> bool:
        """Whether there is any probe."""
        return bool(self.probe_files)

    @property
    def accuracy(self) -> list[str]:
        """The accuracies of all probes, if there are any."""
        return [self.results["accuracy"]] if self.probed else []

    @property
    def probe_inputs(self) -> dict[str, Any]:
        """What a probe reads. Patterns are planned faster than functions; views need functions."""
        if not self.has_views:
            return {name: self.results[name] for name in ("features", "samples")}
        return {
            "features": looked_up(lambda wc: self.features(wc.dataset, wc.model)),
            "samples": looked_up(lambda wc: self.samples(wc.dataset)),
        }

    @cached_property
    def towers(self) -> dict[str, str]:
        """The text tower of each model that names one of the study."""
        models = self.study.models
        named = {model: row.get("text_tower", "") for model, row in models.items()}
        return {model: tower for model, tower in named.items() if tower in models}

    @property
    def prompts(self) -> Any:  # noqa: ANN401 - a path, a function, or nothing
        """The class names that a probe reads as its model's text tower sees them."""
        if not self.towers:
            return []
        return looked_up(
            lambda wc: (
                self.results.of("prompts", dataset=wc.dataset, model=self.towers[wc.model])
                if wc.model in self.towers
                else []
            )
        )

    @cached_property
    def templates(self) -> dict[str, Any]:
        """For each dataset the prompts for its class names."""
        default = self.settings["probe"]["prompts"]
        cells = {d: row.get("prompts", "").split("|") for d, row in self.study.datasets.items()}
        named = {d: list(filter(None, map(str.strip, parts))) for d, parts in cells.items()}
        return Known("dataset", {d: prompts or default for d, prompts in named.items()})

    @cached_property
    def logit_columns(self) -> dict[str, Any]:
        """For each dataset which of a model's logits are its classes."""
        rows = self.study.datasets
        return Known("dataset", {d: row.get("logit_columns", "") for d, row in rows.items()})

    @property
    def probe_columns(self) -> Any:  # noqa: ANN401 - a function, or nothing
        """The same for the job of a probe; nothing if no dataset says any: asked for every job."""
        if not any(self.logit_columns.values()):
            return ""
        return looked_up(lambda wc: self.logit_columns[wc.dataset])

    @property
    def probe_settings(self) -> dict[str, Any]:
        """What decides a probe, but its device and prompts."""
        probe = self.settings["probe"]
        return {key: probe[key] for key in probe if key not in ("device", "prompts", "datasets")}

    @property
    def domains(self) -> dict[str, str]:
        """For each dataset that is probed its domain."""
        return {d: self.study.datasets[d].get("domain", "") for d in self.labelled}

    @property
    def behavior_modules(self) -> list[str]:
        """The metrics that behavior is measured with, which are found by name."""
        return sorted({METRICS[name].__module__ for name in MEASURES if name in METRICS})

    @property
    def related(self) -> list[str]:
        """The metrics whose similarities are related to behavior."""
        return self.metrics_of_all_pairs() if self.labelled else []

    # What comes from elsewhere

    @cached_property
    def remote(self) -> Sequence[Mapping[str, str]]:
        """Rows of models and datasets that need something from elsewhere."""
        own = {d: row for d, row in self.study.sampling.items() if not row.get("parent")}
        models = {m: {**row, **self.start_of(m)} for m, row in self.study.extraction.items()}
        return list_remote(models, own)

    @property
    def fetched(self) -> str:
        """What will be fetched, in words."""
        return describe(self.remote)
