"""What pyproject.toml cannot say: catalogues and schemas are installed with the package.

They lie beside the package. Were their folders mapped into it (`package-dir`), setuptools would
make an editable install of an import hook, which Python asks last: a clone called `consilience`
would then hide the package from everyone who stands in the folder above it, as a namespace without
content. With one plain root it writes a path file instead, and Python prefers the package there.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
INSTALLED = {
    "catalogue": [
        ROOT / "config" / name
        for name in ("metrics.yaml", "renames.yaml", "citations.bib", "models.tsv", "datasets.tsv")
    ],
    "schemas": sorted((ROOT / "workflow" / "schemas").glob("*.yaml")),
}
"""Files by the folder of the installed package that holds them."""


class WithCatalogues(build_py):
    """Copies the catalogues into a built package; an editable one reads them where they lie."""

    def run(self) -> None:
        """Builds the package."""
        super().run()
        if self.editable_mode:
            return
        for folder, paths in INSTALLED.items():
            target = Path(self.build_lib, "consilience", folder)
            target.mkdir(parents=True, exist_ok=True)
            for path in paths:
                shutil.copy(path, target)


setup(cmdclass={"build_py": WithCatalogues})
