"""Where results lie, until `consilience/results.py` says it: this module goes then."""

from dataclasses import dataclass

PATTERNS = {
    "accuracy": "probe/accuracy.parquet",
    "alignment": "alignment/{dataset}/{metric}.parquet",
    "consistency": "consistency/{metric}.parquet",
    "consistency_differences": "consistency/differences/{metric}.parquet",
    "consistency_means": "consistency/means/{metric}.parquet",
    "manifest": "features/{dataset}/manifest.parquet",
    "relation": "behavior/relation/{metric}.parquet",
    "sensitivity": "sensitivity/{dataset}/{metric}.parquet",
    "similarity": "similarity/{dataset}/{metric}.parquet",
    "stability": "sensitivity/stability.parquet",
}


@dataclass(frozen=True)
class Results:
    """Where the files of one study lie, as patterns for rules."""

    folder: str = "results"
    common: str = "results"

    def __getitem__(self, name: str) -> str:
        """Returns the path of a kind of file, with its wildcards."""
        folder = self.common if name == "manifest" else self.folder
        return f"{folder}/{PATTERNS[name]}"
