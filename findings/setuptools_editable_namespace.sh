#!/usr/bin/env bash
# setuptools 84.2.1: an editable install of a project with any `package-dir` but one plain root is an import
# hook at the end of sys.meta_path. Whoever stands in the folder above a clone that is called like its package
# gets the clone instead: a namespace package without content, found by the hooks before. `import NAME`
# succeeds, and `NAME.__version__` does not exist. With `"" = "."` alone it is a path file, and Python prefers
# the regular package on the path to the namespace in the working folder.
# Seen: "mapped: namespace", "plain: 1.0". Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet setuptools==84.2.1 wheel
mkdir -p "$folder/tool/tool" "$folder/tool/data"
echo '__version__ = "1.0"' >"$folder/tool/tool/__init__.py"
cd "$folder"
for layout in mapped plain; do
    packages='["tool"]' places='"" = "."'
    [[ $layout == plain ]] || packages='["tool", "tool.data"]' places='"tool" = "tool"
"tool.data" = "data"'
    cat >tool/pyproject.toml <<TOML
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "tool"
version = "1.0"
[tool.setuptools]
packages = $packages
[tool.setuptools.package-dir]
$places
TOML
    env/bin/pip install --quiet --no-build-isolation --editable tool
    said=$(env/bin/python -c "import tool; print(getattr(tool, '__version__', 'namespace'))")
    echo "$layout: $said"
    [[ $layout == mapped && $said == namespace || $layout == plain && $said == 1.0 ]]
done
