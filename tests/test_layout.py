"""The house is in order: one noun per step, thin scripts, pages and pins that agree."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from clones import ROOT, project_files
from packaging.requirements import Requirement
from rattler import MatchSpec

from consilience import __version__, docs, results
from consilience.config import load_study

STEPS = sorted(path.stem for path in (ROOT / "rules").glob("*.smk") if path.stem != "common")
SCRIPTS = sorted((ROOT / "workflow" / "scripts").glob("*.py"))
MODULES = sorted((ROOT / "consilience").rglob("*.py"))


@pytest.mark.parametrize("step", STEPS)
def test_one_noun_finds_every_room(step):
    package = ROOT / "consilience"
    assert (ROOT / "rules" / f"{step}.smk").exists()
    assert (package / f"{step}.py").exists() or (package / step / "__init__.py").exists()
    assert (ROOT / "tests" / step / f"test_{step}.py").exists()
    assert (ROOT / "workflow" / "scripts" / f"{step}.py").exists()
    rules = (ROOT / "rules" / f"{step}.smk").read_text()
    assert f"rule all_{step}:" in rules
    assert f"rules/{step}.smk" in (ROOT / "Snakefile").read_text()


def test_every_step_is_made_by_all_and_has_its_files():
    """A step that is forgotten in any place is told; those apart only serve other steps."""
    text = (ROOT / "Snakefile").read_text(encoding="utf8")
    assert set(re.findall(r'include: "rules/(\w+)\.smk"', text)) == {"common", *STEPS}
    made = set(re.findall(r"rules\.all_(\w+)\.input", text))
    assert made == set(STEPS) - {"prefetch", "samples", "features"}
    folders = {"plots": "figures"}
    assert {folders.get(step, step) for step in STEPS} == set(results.STEPS)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_thin(path):
    text = path.read_text(encoding="utf8")
    kinds = {type(node) for node in ast.walk(ast.parse(text))}
    assert len(text.splitlines()) < 30
    assert not kinds & {ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.If, ast.For}
    assert "log_to(snakemake.log[0])" in text


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_are_short(path):
    text = path.read_text(encoding="utf8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            documented = ast.get_docstring(node) is not None and isinstance(node.body[0], ast.Expr)
            start = node.body[0].end_lineno if documented else node.lineno
            assert node.end_lineno - start <= 60, node.name


@pytest.mark.parametrize("path", sorted((ROOT / "rules").glob("*.smk")), ids=lambda p: p.name)
def test_rules_say_everything_in_one_order(path):
    text = path.read_text(encoding="utf8")
    for block in re.split(r"^ *rule\b(?! all)", text, flags=re.MULTILINE)[1:]:
        rule = re.split(r"^\S", block.partition("\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
        # Features that other tools made are moved by the shell, which starts in no time.
        last = "shell:" if block.startswith(" features_imported") else "script:"
        wanted = ["log:", "benchmark:", "conda:", "threads:", last]
        positions = [rule.find(f"    {key}") for key in wanted]
        assert -1 not in positions, (block[:30], positions)
        assert positions == sorted(positions), block[:30]
        assert rule.lstrip().startswith('"""'), f"{block[:30]} has no docstring"


def test_rule_files_are_short():
    assert len((ROOT / "Snakefile").read_text().splitlines()) < 70
    assert len((ROOT / "rules" / "common.smk").read_text().splitlines()) < 100


def test_configuration_page_is_up_to_date():
    page = docs.PAGE.read_text(encoding="utf8")
    assert docs.fill(page) == page, "run `make docs`"


def test_pages_on_results_are_up_to_date():
    assert docs.RESULTS.read_text(encoding="utf8") == docs.results_page(), "run `make docs`"
    page = docs.README.read_text(encoding="utf8")
    assert docs.fill_readme(page) == page, "run `make docs`"


def test_list_of_figures_is_up_to_date():
    assert docs.FIGURE_PAGE.read_text(encoding="utf8") == docs.figure_page(), "run `make docs`"


def test_metric_cards_are_up_to_date():
    assert docs.CARDS.read_text(encoding="utf8") == docs.metric_cards(), "run `make docs`"


@pytest.mark.parametrize("path", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda p: p.name)
def test_conda_environments_are_well_formed(path):
    environment = yaml.safe_load(path.read_text(encoding="utf8"))
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    for item in environment["dependencies"]:
        if isinstance(item, dict):
            assert all(Requirement(line) for line in item["pip"])
        else:
            MatchSpec(item, strict=True)


def test_every_named_environment_exists_and_is_named():
    text = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    named = set(re.findall(r'"\.\./envs/(\S+)"', text))
    assert named == {path.name for path in (ROOT / "envs").glob("*.yaml")}


def pins():
    names = ("requirements.txt", "graph.txt", "signing.txt")
    texts = [(ROOT / "envs" / name).read_text("utf8") for name in names]
    lines = "".join(texts).splitlines()
    wanted = [Requirement(line) for line in lines if line and line[0] != "#"]
    return {pin.name.lower().replace("_", "-"): str(pin.specifier) for pin in wanted}


def test_pins_are_exact_and_satisfy_the_package():
    known = pins()
    assert all(specifier.startswith("==") for specifier in known.values())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for line in (line for group in groups for line in group):
        requirement = Requirement(line)
        pin = known[requirement.name.lower().replace("_", "-")].removeprefix("==")
        assert requirement.specifier.contains(pin), line


def test_conda_pins_agree_with_ours():
    environment = yaml.safe_load((ROOT / "envs" / "torch.yaml").read_text(encoding="utf8"))
    for line in environment["dependencies"][-1]["pip"]:
        requirement = Requirement(line)
        name = requirement.name.lower().replace("_", "-")
        assert pins()[name] == str(requirement.specifier)


def test_every_folder_of_the_package_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
    folders = {path.parent.relative_to(ROOT) for path in MODULES if path.name == "__init__.py"}
    listed = set(project["tool"]["setuptools"]["packages"])
    assert listed == {".".join(folder.parts) for folder in folders}


def test_version_is_stated_once():
    assert f"version: {__version__}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_no_large_or_foreign_files():
    for path in project_files():
        assert (ROOT / path).stat().st_size < 5_000_000, path
        assert path.suffix not in {".pkl", ".pth", ".pt", ".ipynb"}, path


def commands(page):
    """Returns the shell lines of a page's code blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line and line[0] != "#"]


def test_readme_commands_exist():
    """Make targets, studies and files that the pages name are there."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in commands(ROOT / "README.md") + commands(ROOT / "config" / "README.md"):
        for target in re.findall(r"\bmake ([a-z]+)", line):
            assert target in targets, line
        for study in re.findall(r"config/studies/\S+\.yaml", line):
            assert (ROOT / study).exists(), line


def blocks(kind):
    text = (ROOT / "README.md").read_text(encoding="utf8")
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def test_readme_python_runs(tmp_path):
    """The examples run as they stand, and the example metric keeps its own facts."""
    # whoever starts from the example keeps its name for a while
    forget = "from consilience.metrics import METRICS\nlist(METRICS)\n"
    forget += "METRICS._entries.pop('norm_correlation', None)"
    code = "\n".join([forget, *blocks("python")])
    code += """
new = get_metric("norm_correlation")
assert abs(new(x, x) - 1) < 1e-12 and abs(new(3 * x[:, ::-1], y) - new(x, y)) < 1e-12
"""
    path = tmp_path / "readme.py"
    path.write_text(code, encoding="utf8")
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(
        [sys.executable, path], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "mutual_knn" in done.stdout


def test_readme_rows_make_a_sound_study(tmp_path):
    models, datasets = blocks("tsv")
    (tmp_path / "models.tsv").write_text(models, encoding="utf8")
    (tmp_path / "datasets.tsv").write_text(datasets, encoding="utf8")
    study = load_study(
        {
            "seed": 0,
            "models": "modality == 'image' or modality == 'text'",
            "datasets": "modality == 'image'",
            "metrics": ["cka_debiased"],
            "catalogs": {
                "models": [str(tmp_path / "models.tsv")],
                "datasets": [str(tmp_path / "datasets.tsv")],
            },
        }
    )
    assert len(study.models) == models.count("\n") - 1
    assert len(study.datasets) == datasets.count("\n") - 1


GIVEN = {"STUDY", "PLAN", "RESULTS"}
"""What rule files may take from elsewhere, besides what Snakemake offers."""
OFFERED = {"expand", "report", "unpack", "workflow", "config", "wildcard_constraints"}


def code_lines(text):
    """Returns a rule file without comments, docstrings and strings."""
    text = re.sub(r'"""[\s\S]*?"""', "", text)
    return re.sub(r'"(?:[^"\\\n]|\\.)*"|#[^\n]*', "", text)


@pytest.mark.parametrize("path", sorted((ROOT / "rules").glob("*.smk")), ids=lambda p: p.name)
def test_nothing_but_three_names_crosses_a_rule_file(path):
    """Rules hold no logic: what a study makes is decided in consilience/config/plan.py."""
    text = code_lines(path.read_text(encoding="utf8"))
    bound = set(re.findall(r"^ *([A-Za-z_]\w*)(?:, \w+)* = ", text, re.MULTILINE))
    bound |= set(re.findall(r"import (\w+)$", text, re.MULTILINE))
    named = set(re.findall(r"(?<![\w.])([A-Z][A-Z_]{2,})\b", text))
    assert named - bound <= GIVEN
    called = set(re.findall(r"(?<![\w.])([a-z_]\w*)\(", text)) - {"lambda"}
    imported = set(
        re.findall(
            r"\b(\w+)\b", " ".join(re.findall(r"^from \S+ import (.*)$", text, re.MULTILINE))
        )
    )
    assert called - bound - imported <= OFFERED | {"str", "dict"}
    if path.name != "common.smk":
        assert not re.findall(r"^(?:def|from|import) ", text, re.MULTILINE)
