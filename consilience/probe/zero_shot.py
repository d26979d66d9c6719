"""Classes by their names: pictures meet the texts of the same two-tower model; nothing is fit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from consilience.datasets import Sample
from consilience.errors import ConfigError, DataError, FeaturesError
from consilience.features import read_header, read_layer, write_features
from consilience.files import digest
from consilience.models import Extractor, load_model
from consilience.probe.logistic import check_features, check_labels
from consilience.probe.scores import measure
from consilience.samples import read_samples

BATCH = 64
PLACE = "{}"


def zero_shot(
    features: np.ndarray, labels: np.ndarray, test: np.ndarray, classes: np.ndarray
) -> dict[str, float]:
    """Returns the accuracy of naming the class whose embedding has the largest cosine.

    Args:
        features: (n, d) embeddings of the pictures.
        labels: (n,) true classes.
        test: (n,) booleans, the rows that count.
        classes: (C, d) embeddings of the classes, from `embed_classes`.

    Raises:
        FeaturesError: pictures and classes have no common embedding space.
    """
    x, known = check_features(features), check_features(classes)
    labels = check_labels(labels, len(x), len(known))
    if x.shape[1] != known.shape[1]:
        raise FeaturesError(
            f"pictures have {x.shape[1]} dimensions and class names {known.shape[1]}: they are not "
            "of the same two-tower model, or the layer is not its embedding; correct `text_tower`"
        )
    # The length of a picture's embedding does not change which class is nearest.
    return measure(x[test] @ known.T, labels[test])


def embed_classes(
    extractor: Extractor, classes: Sequence[str], templates: Sequence[str]
) -> dict[str, np.ndarray]:
    """Returns {layer: (C, d)}: for each class the mean direction of its prompts, of length 1.

    Args:
        extractor: a model that takes texts.
        classes: class names by label.
        templates: prompts with `{}` for the name, such as `a photo of a {}.`.

    Raises:
        ConfigError: no templates, or one without a place for the name.
    """
    if not templates or any(PLACE not in template for template in templates):
        raise ConfigError(
            f"probe: prompts are {list(templates)}; give one or more, each with {PLACE} for the "
            "name of the class"
        )
    texts = [template.replace(PLACE, name) for name in classes for template in templates]
    samples = [Sample(id=text, origin=f"prompt {text!r}", text=text) for text in texts]
    parts: dict[str, list[np.ndarray]] = {layer: [] for layer in extractor.layers}
    for start in range(0, len(samples), BATCH):
        batch = [extractor.preprocess(sample) for sample in samples[start : start + BATCH]]
        found = extractor.extract(batch)
        for layer, blocks in parts.items():
            block = found[layer]
            block = block.double().cpu().numpy() if hasattr(block, "double") else block
            blocks.append(np.asarray(block, dtype=np.float64))
    shape = (len(classes), len(templates), -1)
    means = {
        layer: _unit(np.concatenate(blocks)).reshape(shape).mean(axis=1)
        for layer, blocks in parts.items()
    }
    return {layer: _unit(mean) for layer, mean in means.items()}


def make_prompts(
    row: Mapping[str, Any],
    samples_path: str | Path,
    out: str | Path,
    *,
    templates: Sequence[str],
    device: str = "cpu",
) -> None:
    """Writes `probe/prompts/{dataset}/{model}.safetensors`: class embeddings of a text tower.

    Args:
        row: the text tower's row of models.tsv.
        samples_path: `samples/{dataset}.parquet`, which names the classes.
        out: the file to write: layers (C, d) in the order of the classes.
        templates: prompts with `{}` for the name.
        device: where the model runs.

    Raises:
        DataError: the dataset has no class names.
    """
    samples = read_samples(samples_path)
    if not samples.classes:
        raise DataError(
            f"dataset {samples.row['dataset']!r} has no class names, so there is nothing to "
            "prompt with; clear `text_tower` or name the classes"
        )
    header = {
        "model": dict(row),
        "dataset": samples.row["dataset"],
        "samples_hash": digest(list(samples.classes)),
        "prompts": list(templates),
    }
    features = embed_classes(load_model(row, device), samples.classes, templates)
    write_features(out, features, header, samples.classes)


def read_classes(path: str | Path, classes: Sequence[str]) -> np.ndarray:
    """Returns the embeddings (C, d) of the last layer of `make_prompts`.

    Raises:
        FeaturesError: the file is damaged, or of other classes.
    """
    header = read_header(path)
    if header["samples_hash"] != digest(list(classes)):
        raise FeaturesError(
            f"{path} holds prompts of other classes; delete {Path(path).name} and run snakemake "
            "again"
        )
    return read_layer(path, header["layers"][-1])


def _unit(x: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.divide(x, lengths, out=np.zeros_like(x), where=lengths > 0)
