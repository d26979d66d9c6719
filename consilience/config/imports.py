"""What of a study's features was made elsewhere: whoever needs one reads all of a dataset."""

import re
import shlex
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consilience.config import ROOT, Study
from consilience.config.wildcards import looked_up
from consilience.files import atomic, canonical_json, digest

if TYPE_CHECKING:
    from consilience.config.presence import Presence
    from consilience.results import Results


class Imports:
    """The part of a plan that is about imported features."""

    study: Study
    results: "Results"
    settings: dict[str, Any]
    extraction: dict[str, Any]
    extracted: dict[str, Any]
    presence: "Presence"
    installed: bool
    code: Callable[..., str]

    @cached_property
    def imported(self) -> dict[str, list[str]]:
        """For each dataset with features of its own the models whose features are read together.

        Starting a job takes as long as reading hundreds of small files; nothing if there is one.
        """
        found: dict[str, set[str]] = {}
        for dataset, models in self.study.models_on.items():
            own = {m for m in models if self.study.models[m]["source"] == "imported"}
            found.setdefault(self.study.chains[dataset][-1], set()).update(own)
        several = sum(map(len, found.values())) > 1
        return {name: sorted(own) for name, own in sorted(found.items()) if own and several}

    @property
    def imported_ids(self) -> str:
        """The form of the ids of these models."""
        ids = sorted({model for models in self.imported.values() for model in models})
        return "|".join(map(re.escape, ids))

    @property
    def import_name(self) -> Callable[[Any], str]:
        """For the job of a features file its name in the folder of what was read."""
        return looked_up(lambda wc: self._import_name(wc.dataset, wc.model))

    def _import_name(self, dataset: str, model: str) -> str:
        decides = [self.extraction[model], self.extracted[dataset]]
        return f"{digest(decides)[:16]}-{model}.safetensors"

    @cached_property
    def import_command(self) -> str:
        """The command, with its log still to come, that reads all of a dataset for one job."""
        python = shlex.quote(sys.executable) if self.installed else "python"
        return f"PYTHONPATH={shlex.quote(str(ROOT))} {python} -m consilience.features.imports"

    @cached_property
    def import_plan(self) -> str:
        """The file that says for each dataset what is to be read; written when a job asks first.

        No parameter: each features file is made again for its own sake alone.
        """
        settings = {key: self.settings["features"][key] for key in ("device", "batch_size")}
        content = {
            dataset: {
                "models": {model: self.extraction[model] for model in models},
                "dataset": self.extracted[dataset],
                "names": {model: self._import_name(dataset, model) for model in models},
                "settings": settings,
            }
            for dataset, models in self.imported.items()
        }
        path = Path(self.results.import_plan)
        with atomic(path) as temporary:
            temporary.write_text(canonical_json(content), encoding="utf8")
        return str(path)
