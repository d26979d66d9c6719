"""Models by name: rows of the catalogue, loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consilience.api.catalogue import Row, row_of
from consilience.models import Extractor
from consilience.models import load_model as load_extractor


@dataclass(frozen=True)
class Model:
    """A model that is ready to make features of samples.

    Attributes:
        row: what it was loaded from: a row of config/models.tsv.
        extractor: what preprocesses and computes, see `consilience.models.Extractor`.
        device: where it computes.
    """

    row: Row
    extractor: Extractor
    device: str

    @property
    def name(self) -> str:
        """Its id."""
        return self.row["model"]

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of its layers, from the input side to the output side."""
        return tuple(self.extractor.layers)

    @property
    def modality(self) -> str:
        """What it reads, such as `image` or `text`."""
        return self.row.get("modality", "")

    def preprocess(self, sample: Any) -> Any:  # noqa: ANN401
        """Returns the model's own input for a `consilience.datasets.Sample`."""
        return self.extractor.preprocess(sample)

    def __repr__(self) -> str:
        shown = ", ".join(self.layers[:6]) + (", …" if len(self.layers) > 6 else "")
        source = f"{self.row['name']} of {self.row['source']}"
        return f"{self.name}: {source}, reads {self.modality}; {len(self.layers)} layers: {shown}"


def load_model(model: str | Mapping[str, Any], *, device: str = "auto", **cells: Any) -> Model:  # noqa: ANN401
    """Returns a model with its weights.

    Args:
        model: its id in config/models.tsv, or a row as there: {"source": "timm", "name":
            "resnet18", "modality": "image"}.
        device: where it computes: `auto` is CUDA if there is any; or a name that PyTorch knows.
        **cells: cells of the row to change, such as `layers="all"` for all blocks and stages,
            `layers="blocks.*"`, `weights="random:0"` for an untrained one, `input_size=64`.

    Raises:
        ConfigError: an unknown id, source or column, with the nearest known one.
        ModelError: the weights are missing or damaged, or the network fails its test.
        DataError: a file or package that the row names is not there.

    Cost: that of loading the library and the weights: seconds. Weights that a hub has are fetched
    once.
    """
    from consilience.features.forward import choose_device  # noqa: PLC0415 - it loads PyTorch

    row = row_of("models", model, cells)
    chosen = choose_device(device)
    return Model(row, load_extractor(row, chosen), chosen)
