"""Features made elsewhere: a file or folder per dataset instead of a network.

`weights`, or `name` where that is blank, is its path with `{dataset}` and `{model}` in it, such as
`features/{dataset}.npy`; see `consilience.features.foreign` for the formats and layouts. `order`
says how its rows are matched to the samples: blank by the ids in the file, which must be exactly
the samples; `subset` too, but the file may have more; `samples`: the rows are in the order of the
samples. `layers` selects layers of the file: names, patterns, `last` or `all` (default), in the
order of the file, or of the numbers in their names where it keeps none; log and header say which
layer is the last. The workflow sees that a file is another one only if the row has its `sha256`.
The first job that needs such features on a dataset reads those of all models that lack them.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from consilience.errors import FeaturesError, ModelError
from consilience.files import fill_in
from consilience.registry import did_you_mean

if TYPE_CHECKING:
    from consilience.samples import Samples

READER = "consilience.features.importing"
"""The module whose `aligned` reads files of other tools. It stands above this room, so it is named
and not imported; `consilience.code.sources_of` finds it here."""
ORDERS = {
    "ids": "rows are found by id; the file has exactly the samples",
    "subset": "rows are found by id; the file may have more than the samples",
    "samples": "the rows are in the order of the samples",
}
"""How rows of a file are matched to samples, and what that means."""
REMEDIES = {
    "ids": "write them into the file, as an array `ids` beside the features in .npz, .pt, .h5 or "
    ".parquet",
    "samples": "`samples` in the column order of the model",
    "subset": "`subset` in the column order of the model",
}
"""How a row of the catalogue says what rows are, for messages."""


class Imported:
    """Features of one model on any dataset."""

    reader = READER

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._model = str(row.get("model", ""))
        self._pattern = _cell(row, "weights") or _cell(row, "name")
        self._order = _cell(row, "order") or "ids"
        self._sha256 = _cell(row, "sha256")
        self._layers = [name.strip() for name in _cell(row, "layers").split(",") if name.strip()]
        if self._order not in ORDERS:
            hint = did_you_mean(self._order, ORDERS)
            raise ModelError(f"model {self._model!r}: unknown order {self._order!r}{hint}")

    def read(
        self, dataset: str, samples: "Samples", aligned: Callable[..., Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Returns {layer: (n, d)} for the samples of a dataset, and the provenance.

        Args:
            dataset: its id, for the path.
            samples: whose rows are wanted.
            aligned: of the module `READER`.

        Raises:
            ModelError: the path cannot be made, or the file is another than the row says.
            FeaturesError: the file cannot be read, or its rows are not the samples.
        """
        try:
            path = fill_in(self._pattern, dataset=dataset, model=self._model)
        except ValueError as error:
            raise ModelError(
                f"model {self._model!r}: the path {self._pattern!r} cannot be filled in ({error}); "
                "it may hold {dataset} and {model}"
            ) from None
        try:
            layers, provenance = aligned(
                path, samples, order=self._order, layers=self._layers, remedies=REMEDIES
            )
        except FeaturesError as error:
            place = f"model {self._model!r}, dataset {dataset!r}"
            raise FeaturesError(f"{place}: {error}") from None
        found = provenance["weights_sha256"]
        if self._sha256 and found != self._sha256:
            raise ModelError(
                f"model {self._model!r}: the SHA-256 of {path} is {found}, expected {self._sha256}"
            )
        return layers, provenance


def _cell(row: Mapping[str, Any], column: str) -> str:
    return str(row.get(column) or "").strip()


def load(row: Mapping[str, Any], device: str = "cpu") -> Imported:
    """Returns the features of a row with source `imported`; `device` is not used.

    Raises:
        ModelError: the column `order` holds something unknown.
    """
    return Imported(row)
