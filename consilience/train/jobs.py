"""Jobs of training: which models are there already, which are trained, and in what company."""

import logging
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from consilience import __version__
from consilience.code import code_of, sources_of
from consilience.errors import DataError, ModelError
from consilience.features.forward import autocast, choose_device, device_name
from consilience.features.lock import sole_maker
from consilience.features.shards import delete_strays
from consilience.files import atomic, canonical_json, digest
from consilience.leftovers import discard
from consilience.models.trained import fill, start_digest
from consilience.networks import (
    CLASSES,
    IMAGE_TEXT,
    OF_PICTURES,
    Task,
    build,
    modules_of,
    versions_of,
)
from consilience.networks.exact import exactly
from consilience.networks.weights import read_trained, write_trained
from consilience.train.course import Course, read_checkpoint
from consilience.train.labelled import Data
from consilience.train.objectives import Unlabelled
from consilience.train.settings import Settings
from consilience.train.single import Single
from consilience.train.sources import Sources, class_names
from consilience.train.stacked import Stacked, can_stack

logger = logging.getLogger(__name__)

STORE = ".store"
"""Folder of finished models beside their files, by the hash of all that decides them."""


def train_models(
    variants: Sequence[Mapping[str, Mapping[str, Any]]],
    outs: Mapping[str, str | Path],
    train: Sources,
    test: Sources | None,
    *,
    device: str = "auto",
    precision: str = "none",
    checkpoint: float = 30.0,
    parallel: bool = False,
) -> None:
    """Writes the weights of models that learn from one dataset.

    Variants are trained one after the other; what comes of one does not depend on the others. A
    model that the store holds is not trained again. A killed job leaves a checkpoint, from which
    the next one goes on; the files then have the same bytes as without the kill.

    Args:
        variants: models that are trained alike but for their seeds and the draws of their splits:
            for each what is trained, and how (see `consilience.config.recipes`).
        outs: for each model its file.
        train: what is learnt from.
        test: a dataset to be scored on beside; None: the test split of `train`.
        device: `auto` (CUDA if there is any), or a name that PyTorch knows.
        precision: `none`, `bfloat16` or `float16` of the forward pass.
        checkpoint: seconds between two checkpoints.
        parallel: whether all GPUs of the machine share each batch.

    Raises:
        ConfigError: a network that cannot be built, or a batch larger than the data.
        DataError: samples without a class, or of another kind than the network takes, or a test
            set of other classes.
        ModelError: a training whose loss is not finite; all others of the job are kept.
    """
    store = Path(next(iter(outs.values()))).parent / STORE
    place = choose_device(device)
    failed: list[str] = []
    for specs in variants:
        if test is not None and _tells_classes(next(iter(specs.values()))):
            _check_classes(train, test)
        job = _Job(specs, train, test, store, place, precision, checkpoint, parallel)
        job.make({model: outs[model] for model in specs})
        failed += job.failed.values()
    if failed:
        raise ModelError("; ".join(failed))


def is_whole(path: Path, told: Mapping[str, Any]) -> bool:
    """Returns whether the store has a file, as it was written; deletes it if it was changed.

    The file beside the store is the same one on the disk: who edits that changes the store's.

    Args:
        path: the file.
        told: what its header says of the spec and of what else decides the model.
    """
    if not path.exists():
        return False
    try:
        header = read_trained(path).header
        if canonical_json({key: header.get(key) for key in told}) != canonical_json(told):
            raise ModelError(f"{path} is of another model")
    except ModelError as error:
        logger.warning("%s; it is trained again", str(error).partition(";")[0])
        discard(path)
        return False
    return True


def link(path: Path, out: Path) -> None:
    """Makes `out` the same file as `path`, or a copy where the disk knows no such thing."""
    with atomic(out) as temporary:
        temporary.unlink()
        try:
            os.link(path, temporary)
        except OSError:
            temporary.write_bytes(path.read_bytes())


class _Job:
    """The models of one variant."""

    def __init__(
        self,
        specs: Mapping[str, Mapping[str, Any]],
        train: Sources,
        test: Sources | None,
        store: Path,
        device: str,
        precision: str,
        checkpoint: float,
        parallel: bool,
    ) -> None:
        self.specs, self.train, self.test, self.store = specs, train, test, store
        self.sets = len({id(train.of(model)) for model in specs})
        self.device, self.precision, self.checkpoint = device, precision, checkpoint
        self.parallel = list(range(torch.cuda.device_count())) if parallel else []
        self.failed: dict[str, str] = {}
        self._scored: Data | None = None
        first = next(iter(specs.values()))
        self.settings = Settings.of(first["training"])
        modules = (*modules_of(first["architecture"]), *sources_of("datasets", train.row))
        self.made_by = {
            "code": code_of("consilience.train", __name__, *modules),
            "torch": torch.__version__.partition("+")[0],
            **versions_of(first["architecture"]),
            "autocast": precision,
        }
        self.keys = {
            m: digest([dict(spec), self._basis(m), *_start_digest(m, spec)])[:40]
            for m, spec in specs.items()
        }

    def _basis(self, model: str) -> dict[str, Any]:
        """Returns what decides a model besides its spec."""
        test = self.test.of(model).told if self.test else {}
        told = {"train": self.train.of(model).told, "test": test}
        return {"data": told, **self.made_by}

    def told(self, model: str) -> dict[str, Any]:
        """Returns what the header of a model's file says of all that decides it."""
        return {"spec": dict(self.specs[model]), **self._basis(model)}

    def place(self, model: str) -> Path:
        """Returns where the store has a model."""
        return self.store / f"{self.keys[model]}.safetensors"

    @property
    def files(self) -> list[Path]:
        """All that the job may write into the store."""
        kept = [self.place(model) for model in self.keys]
        return [*kept, *(path.with_suffix(".checkpoint") for path in kept), self._stack_path]

    def make(self, outs: Mapping[str, str | Path]) -> None:
        """Writes the files of all models but those whose training failed."""
        with sole_maker(self.store / f"{digest(sorted(self.specs))[:16]}.job"):
            for path in (*outs.values(), *self.files):
                delete_strays(path)
            kept = [m for m in self.specs if is_whole(self.place(m), self.told(m))]
            self.run([model for model in self.specs if model not in kept])
            trained = len(self.specs) - len(kept) - len(self.failed)
            logger.info("trained %d, kept %d", trained, len(kept))
            for model, out in outs.items():
                if model not in self.failed:
                    link(self.place(model), Path(out))

    def run(self, models: Sequence[str]) -> None:
        """Trains models, in a stack if they can be, and puts them into the store."""
        if not models:
            return
        torch.backends.mha.set_fastpath_enabled(False)
        with exactly(self.device, flush=True), torch.random.fork_rng(devices=[]):
            self._run(models)

    def _run(self, models: Sequence[str]) -> None:
        models = self._with_company(models)
        data = self._data(models[0])
        if self._can_stack(self._network(models[0], data)) and len(models) > 1:
            given = [data, *(self._data(model, data) for model in models[1:])]
            if len({one.n for one in given}) == 1:  # as batches are
                self._train(models, given)
                return
        for model in models:
            data = self._data(model, data)
            self._train([model], [data])

    def _data(self, model: str, known: Data | None = None) -> Data:
        """Returns what a model learns from; `known`, that of another one, if it is the same."""
        spec = self.specs[model]
        if known is not None and not spec["alterations"] and self.sets == 1:
            return known.of_model(spec["seeds"]) if isinstance(known, Unlabelled) else known
        return self.train.of(model).data(spec["split"], spec, self.device)

    def _can_stack(self, network: nn.Module) -> bool:
        """Returns whether networks of this kind are trained in a stack."""
        first = next(iter(self.specs.values()))
        plain = self.precision == "none" and not self.parallel
        classes = first["objective"] not in OF_PICTURES
        varied = "augmentation" in first["alterations"]
        return plain and classes and not varied and can_stack(network)

    def _with_company(self, models: Sequence[str]) -> list[str]:
        """Returns the models to train: of an interrupted stack all, or bytes would be others."""
        state = read_checkpoint(self._stack_path) or {"keys": []}
        keys = list(state["keys"])
        missing = [self.keys[model] for model in models]
        if set(missing) <= set(keys) <= set(self.keys.values()):
            return [model for model, key in self.keys.items() if key in keys]
        return list(models)

    @property
    def _stack_path(self) -> Path:
        return self.store / f"{digest(sorted(self.keys))[:16]}.checkpoint"

    def _network(self, model: str, data: Data) -> nn.Module:
        spec = self.specs[model]
        network = build(spec["architecture"], spec["options"], data.task, spec["seeds"]["init"])
        if spec["weights"]:
            fill(network, spec["weights"], spec["keys"], model, new_head=self.settings.learns)
        return network.to(self.device)

    def _train(self, models: Sequence[str], data: Sequence[Data]) -> None:
        """Trains the networks of one course and puts them into the store."""
        networks = [self._network(model, own) for model, own in zip(models, data, strict=True)]
        seeds = [dict(self.specs[model]["seeds"]) for model in models]
        path = self._stack_path
        if len(models) > 1:
            training: Any = Stacked(networks, data, self.settings, seeds)
        else:
            path = self.place(models[0]).with_suffix(".checkpoint")
            context = autocast(self.precision, self.device)
            training = Single(networks[0], data[0], self.settings, seeds[0], context, self.parallel)
        course = Course(training, [self.keys[m] for m in models], path, self.checkpoint)
        course.run()
        for place, model in enumerate(models):
            scores = self._scores(model, networks[place].eval(), data[place])
            finite = all(math.isfinite(score["loss"]) for score in scores.values())
            if course.is_sound(place) and finite:
                self._keep(model, networks[place], course, place, data[place], scores)
            else:
                self.failed[model] = _diverged(model, course.curve(place))
        course.forget()

    def _scores(self, model: str, network: nn.Module, data: Data) -> dict[str, Any]:
        """Returns how well a network does on what it learnt from, and on what it is tested on."""
        spec = self.specs[model]
        scores = {"train": data.score(network).as_dict()}
        if self._scored is None or spec["alterations"] or self.sets > 1:
            self._scored = self._test_data(model, data.task)
        if self._scored is not None:
            scores["test"] = self._scored.score(network).as_dict()
        return scores

    def _test_data(self, model: str, task: Task) -> Data | None:
        """Returns what a network is tested on: the same for all models, unless it is altered."""
        spec = self.specs[model]
        if self.test is not None:
            return self.test.of(model).data("all", spec, self.device, task)
        if spec["split"] == "train" and (self.train.samples.table["split"] == "test").any():
            return self.train.of(model).data("test", spec, self.device, task)
        return None

    def _keep(
        self,
        model: str,
        network: nn.Module,
        course: Course,
        place: int,
        data: Data,
        scores: dict[str, Any],
    ) -> None:
        spec = self.specs[model]
        steps = course.training.steps
        header = {
            "task": data.task.as_dict(),
            "status": _status(scores["train"], data, self.settings, steps, spec["weights"]),
            "steps": steps,
            "history": course.curve(place),
            "scores": scores,
            "chance_loss": data.chance,
            "parameters": sum(weight.numel() for weight in network.parameters()),
            "classes": class_names(self.train.of(model), spec) if data.task.classes else [],
            "device": device_name(self.device),
            "threads": torch.get_num_threads(),
            "company": len(course.keys),
            "machine": platform.machine(),
            "consilience": __version__,
            **self.told(model),
        }
        if header["status"] not in ("trained", "untrained"):
            logger.warning("model %r: %s", model, header["status"])
        write_trained(self.place(model), network.state_dict(), header)


def _tells_classes(spec: Mapping[str, Any]) -> bool:
    """Returns whether a model learns classes, by number or by name."""
    named = spec["objective"] == IMAGE_TEXT and spec["objective_options"]["texts"] == "names"
    return named or spec["objective"] == CLASSES


def _check_classes(train: Sources, test: Sources) -> None:
    """Raises DataError unless a label means the same class in both."""
    learnt, scored = train.samples.classes, test.samples.classes
    if tuple(learnt) != tuple(scored):
        others = sorted(set(learnt) ^ set(scored))
        said = f"one of them alone has {others[0]!r}" if others else "their order differs"
        raise DataError(
            f"the test {test.samples.row['dataset']!r} has other classes than "
            f"{train.samples.row['dataset']!r} ({said}), and no accuracy would mean anything; name "
            "a test of the same classes, or leave `test` out and name the dataset in `runs_on`"
        )


def _start_digest(model: str, spec: Mapping[str, Any]) -> list[str]:
    """Returns the hash of the weights that training starts from, if there are any."""
    return [start_digest(spec["weights"], model)] if spec["weights"] else []


def _status(
    score: Mapping[str, Any], data: Data, settings: Settings, steps: int, weights: str
) -> str:
    """Returns `trained`, `untrained`, or why a network did not learn what it was to learn."""
    if not steps:
        return "trained" if weights else "untrained"
    if score["loss"] >= data.chance:
        return (
            f"did not fit: its loss {score['loss']:.4g} on what it was trained on is no less than "
            f"that of {data.blind}, {data.chance:.4g}"
        )
    if score["accuracy"] is not None and score["accuracy"] < settings.min_accuracy:
        return (
            f"did not fit: its accuracy {score['accuracy']:.3f} on what it was trained on is below "
            f"training.min_accuracy, {settings.min_accuracy:g}"
        )
    return "trained"


def _diverged(model: str, curve: Mapping[str, Sequence[float]]) -> str:
    places = [k for k, loss in enumerate(curve["loss"]) if not abs(loss) < float("inf")]
    when = f"by step {curve['step'][places[0]]}" if places else "after the last step"
    return (
        f"model {model!r}: its loss is not finite {when}; lower training.lr, set "
        "training.clip, or leave its seed out of `seeds`"
    )
