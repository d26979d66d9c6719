"""The chosen samples themselves, out of their source and in their order."""

from collections.abc import Iterator

from consilience.datasets import Dataset, Sample
from consilience.errors import DataError
from consilience.samples.table import Samples, join_labels, plain_cell

_REDRAW = "the data changed since the draw; restore them, or delete the samples table and run again"


def iterate(dataset: Dataset, samples: Samples) -> Iterator[tuple[int, Sample]]:
    """Yields (row, sample) for the chosen samples in their order, in one pass over the source.

    Raises:
        DataError: a chosen sample is missing, comes in another order, or has another label or
            text than when it was drawn.
    """
    columns = (samples.table[name] for name in ("row", "id", "label", "text", "labels"))
    wanted = list(zip(*columns, strict=True))
    ids = set(samples.table["id"])
    name, done = samples.row.get("dataset"), 0
    for sample in dataset.only(ids) if hasattr(dataset, "only") else dataset:
        if done == len(wanted):
            return
        if sample.id not in ids:
            continue
        row, *expected = map(plain_cell, wanted[done])
        found = [sample.id, sample.label, sample.text, join_labels(sample.labels)]
        if found != expected:
            raise DataError(
                f"dataset {name!r}: expected the sample (id, label, text) {expected} in row {row}, "
                f"but the source yields {found} ({sample.origin}): {_REDRAW}"
            )
        done += 1
        yield row, sample
    if done < len(wanted):
        raise DataError(
            f"dataset {name!r}: {len(wanted) - done} of {len(wanted)} samples are missing or out "
            f"of order, from {wanted[done][1]!r} on: {_REDRAW}"
        )
