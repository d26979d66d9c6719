"""The order of a model's layers, from its input side to its output side, as tables give it."""

import pandas as pd


def last_layers(table: pd.DataFrame) -> dict[str, str]:
    """Returns {model: its last layer} for the models that a table names layers of.

    The metadata `layers` of a similarity table, {model: names in order}, say it for all its models.
    Tables with the columns `model` and `layer` (features manifests, probes) have rows in the order
    of the layers. A table with neither says nothing.
    """
    if "layers" in table.attrs:
        return {model: names[-1] for model, names in table.attrs["layers"].items()}
    if not {"model", "layer"} <= set(table.columns):
        return {}
    return dict(zip(table["model"], table["layer"], strict=True))
