"""What an installed package has, and that a clone's name hides nothing."""

import os
import subprocess
import sys
import zipfile

import pytest
from clones import clone_to

BUILD = "from setuptools import build_meta; import sys; print(build_meta.{}(sys.argv[1]))"
USE = """
import consilience as cs
from consilience.api.measures import find_measure
from consilience.api.catalogue import rows
print(cs.__version__, find_measure("cka_debiased").before, len(rows("models")) > 100, cs.__file__)
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone in a folder of its own, called like the package, as `git clone` calls it."""
    folder = tmp_path_factory.mktemp("parent") / "consilience"
    clone_to(folder)
    (folder / ".venv").unlink(missing_ok=True)
    return folder


def build(clone, kind, site):
    """Builds a wheel of the clone and unpacks it into a folder, as pip does."""
    wheels = site.parent / f"{site.name}-wheels"
    for folder in (wheels, site):
        folder.mkdir()
    command = [sys.executable, "-c", BUILD.format(f"build_{kind}"), str(wheels)]
    subprocess.run(command, cwd=clone, check=True, capture_output=True, env=plain())
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def plain():
    """The environment without anything that would find the package elsewhere."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSAFEPATH")}


def said(site, cwd):
    """What a program prints that stands in a folder and has nothing but that site to import from.

    Packages of this environment follow, without its own install of the package.
    """
    begin = f"import site; site.addsitedir({str(site)!r})\n"
    hooks = (
        "import sys; from pathlib import Path\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f)]\n"
        "inside = [p for p in sys.path if p and Path(p, 'consilience', '__init__.py').exists()]\n"
        "sys.path = [p for p in sys.path if p not in inside]\n"
    )
    command = [sys.executable, "-c", hooks + begin + USE]
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, env=plain(), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_an_editable_install_works_in_the_folder_above_the_clone(clone, tmp_path):
    """A clone called `consilience` is a namespace there, which hides what only a hook finds."""
    site = build(clone, "editable", tmp_path / "site")
    assert [path.suffix for path in site.iterdir() if path.is_file()] == [".pth"]
    for folder in (clone.parent, clone, tmp_path):
        *_, normed, known, file = said(site, folder)
        assert (normed, known) == ("norms", "True")
        assert file == str(clone / "consilience" / "__init__.py")


def test_a_wheel_has_catalogues_and_schemas(clone, tmp_path):
    site = build(clone, "wheel", tmp_path / "site")
    assert (site / "consilience" / "schemas" / "study.yaml").is_file()
    assert (site / "consilience" / "catalogue" / "citations.bib").is_file()
    assert (site / "consilience" / "py.typed").is_file()
    *_, normed, known, file = said(site, tmp_path)
    assert (normed, known) == ("norms", "True")
    assert file == str(site / "consilience" / "__init__.py")
