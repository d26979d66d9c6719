"""Copies of the project as a user gets them."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
STUDIES = sorted((ROOT / "config" / "studies").glob("*.yaml"))


def project_files() -> list[Path]:
    """Returns all files that git tracks or would track, relative to the project."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    names = sorted(set(listed.stdout.splitlines()))
    return [Path(name) for name in names if (ROOT / name).exists()]


def clone_to(folder: Path) -> None:
    """Copies what a fresh clone would hold, links as links."""
    for name in project_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
