"""The last layer of a model, as the tables of each step name it."""

import pandas as pd

from consilience.layers import last_layers


def test_last_layers_of_metadata_and_of_rows_agree():
    rows = pd.DataFrame({"model": ["b", "b", "a"], "layer": ["first", "second", "only"]})
    assert last_layers(rows) == {"b": "second", "a": "only"}
    table = pd.DataFrame({"model_x": ["a"], "layer_x": ["only"]})
    assert last_layers(table) == {}
    table.attrs["layers"] = {"b": ["first", "second"], "a": ["only"]}
    assert last_layers(table) == last_layers(rows)
