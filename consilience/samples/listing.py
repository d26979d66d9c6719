"""What a source holds: all its samples, and those whose picture cannot be opened."""

import logging
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from consilience.datasets import Dataset, Sample
from consilience.errors import DataError, DepthError
from consilience.limits import hold
from consilience.samples.draw import Draw
from consilience.samples.groups import GROUP, add_groups, keep_whole
from consilience.samples.table import join_labels

log = logging.getLogger(__name__)

_SHOWN = 5


def list_samples(dataset: Dataset, draw: Draw) -> pd.DataFrame:
    """Returns `id, split, label, text, labels` of all samples, in order; label −1: none.

    Where samples come in groups, `group` too. Pictures are not opened, unless groups are found by
    their content.
    """
    origins: dict[str, str] = {}
    lines = []
    for sample in dataset:
        if sample.id in origins:
            raise DataError(
                f"dataset {draw.dataset!r}: two samples have the id {sample.id!r} "
                f"({origins[sample.id]} and {sample.origin}); rename one of them"
            )
        origins[sample.id] = sample.origin
        hold("samples", len(origins), f"dataset {draw.dataset!r}", "samples or more")
        _check(sample, dataset.classes, draw)
        label = -1 if sample.label is None else sample.label
        labels = join_labels(sample.labels)
        lines.append((sample.id, sample.split, label, sample.text, labels, sample.group))
    listed = pd.DataFrame(lines, columns=["id", "split", "label", "text", "labels", GROUP])
    if listed.empty:
        raise DataError(f"dataset {draw.dataset!r} holds no samples; check its row and its files")
    for column, blank in (("label", -1), ("split", "")):
        if 0 < (n := int((listed[column] == blank).sum())) < len(listed):
            raise DataError(
                f"dataset {draw.dataset!r}: {n} of {len(listed)} samples have no {column}; "
                "all must have one, or none"
            )
    return keep_whole(add_groups(listed, draw.group, dataset, draw.modalities), draw.group)


def _check(sample: Sample, classes: Sequence[str], draw: Draw) -> None:
    """Raises DataError if a sample is not what the dataset says."""
    problem = None
    labels = [sample.label] if sample.label is not None else sample.labels or ()
    if outside := [label for label in labels if not 0 <= label < len(classes)]:
        problem = (
            f"its label {outside[0]} is not among the {len(classes)} classes (counted from 0); "
            "correct the label or the list of class names"
        )
    elif sample.split not in ("", "train", "test"):
        problem = f"its split {sample.split!r} is neither train nor test"
    elif "image" in draw.modalities and sample.image is None:
        problem = "it has no picture; correct the column modality or the data"
    elif "text" in draw.modalities and not sample.text:
        problem = "it has no text; correct the column modality or the data"
    elif "vector" in draw.modalities:
        problem = _vector_problem(sample.vector)
    elif "graph" in draw.modalities and sample.node is None:
        problem = "it is no node of a graph; correct the column modality or the data"
    if problem:
        place = f"dataset {draw.dataset!r}, sample {sample.id!r} ({sample.origin})"
        raise DataError(f"{place}: {problem}")


def _vector_problem(vector: np.ndarray | None) -> str | None:
    if vector is None:
        return "it has no vector; correct the column modality or the data"
    if vector.ndim != 1 or not np.isfinite(vector).all():
        return f"its vector, of shape {vector.shape}, is not one row of finite numbers"
    return None


def find_damaged(dataset: Dataset, ids: Collection[str]) -> dict[str, str]:
    """Returns {id: problem} for those of the given samples whose picture cannot be opened."""
    damaged = {}
    for sample in dataset:
        if sample.id in ids and sample.image is not None:
            try:
                sample.image()
            except DepthError:  # not damaged: the row lacks what it means
                raise
            except DataError as error:
                damaged[sample.id] = str(error)
    return damaged


def judge_damaged(damaged: Mapping[str, str], draw: Draw, n_chosen: int) -> None:
    """Logs damaged pictures if they may be skipped; raises DataError otherwise."""
    for id_, problem in damaged.items():
        log.warning("dataset %s: sample %s is damaged: %s", draw.dataset, id_, problem)
    if not damaged or draw.skip_corrupt:
        return
    shown = "".join(f"\n  {id_}: {problem}" for id_, problem in list(damaged.items())[:_SHOWN])
    raise DataError(
        f"dataset {draw.dataset!r}: {len(damaged)} of {n_chosen} chosen pictures cannot be opened; "
        "restore them, or write `yes` into the column skip_corrupt to replace them by others. "
        f"The first are:{shown}"
    )
