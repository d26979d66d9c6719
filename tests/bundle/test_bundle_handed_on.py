"""Bundles as others take them: a crate that a validator finds sound, and a signature."""

import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from clones import ROOT
from test_bundle import MODELS, lab

from consilience.bundle import open_bundle, write_bundle
from consilience.bundle.crate import CRATE, WORKFLOW
from consilience.bundle.signing import SIGNATURE
from consilience.errors import DataError
from consilience.files import file_digest

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
WARM = """
import io, sys
from pathlib import Path
import requests, requests_cache, urllib3
from requests.adapters import BaseAdapter

class Shipped(BaseAdapter):
    "Answers every address with a file, so that the validator's cache holds it."
    def send(self, request, **_):
        found = requests.Response()
        found.status_code, found.url, found.request = 200, request.url, request
        found.headers["Content-Type"] = "application/ld+json"
        body = io.BytesIO(Path(sys.argv[2]).read_bytes())
        found.raw = urllib3.HTTPResponse(
            body, headers=dict(found.headers), status=200, preload_content=False,
            request_url=request.url,
        )
        return found
    def close(self):
        pass

session = requests_cache.CachedSession(sys.argv[1], expire_after=-1)
session.mount("https://", Shipped())
for accept in ("application/ld+json, application/json", "*/*"):
    session.get(sys.argv[3], headers={"Accept": accept})
"""


def installed(folder, name):
    """Installs the pins of a file of envs into a folder, which no other test sees."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    done = subprocess.run(
        [*pip, "-r", str(ROOT / "envs" / name)], check=False, capture_output=True, text=True,
        timeout=500,
    )  # fmt: skip
    if done.returncode and "No matching distribution" not in done.stderr:
        pytest.skip(f"no package index: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    return folder


def run(path, *command, **options):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(path), str(ROOT)])}
    return subprocess.run(
        [sys.executable, *command], env=environment, check=False, capture_output=True, text=True,
        timeout=500, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return installed(tmp_path_factory.mktemp("signing"), "signing.txt")


@pytest.fixture
def results(tmp_path):
    return lab(tmp_path / "lab", MODELS[:4])


@pytest.fixture
def keys(tmp_path):
    """Two pairs of keys: {name: (private, public)}."""
    found = {}
    for name in ("ours", "theirs"):
        private, public = tmp_path / f"{name}.pem", tmp_path / f"{name}.pub"
        make = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"]
        subprocess.run([*make, "-out", str(private)], check=True)
        show = ["openssl", "ec", "-in", str(private), "-pubout", "-out", str(public)]
        subprocess.run(show, check=True, capture_output=True)
        found[name] = (str(private), str(public))
    return found


def graph_of(bundle):
    return {one["@id"]: one for one in json.loads((bundle / CRATE).read_text())["@graph"]}


def test_a_bundle_is_a_valid_run_crate(results, tmp_path, tmp_path_factory):
    write_bundle(results, tmp_path / "crate", licence="CC-BY-4.0")
    path = installed(tmp_path_factory.mktemp("validator"), "crate.txt")
    context, cache = path / "rocrate" / "data" / "ro-crate.jsonld", tmp_path / "cache"
    assert json.loads(context.read_text())["@id"] == CONTEXT
    warmed = run(path, "-c", WARM, str(cache), str(context), CONTEXT)
    assert warmed.returncode == 0, warmed.stderr
    program = ["-c", "from rocrate_validator.cli import cli; cli()", "validate"]
    options = ["--offline", "--cache-path", str(cache), "-l", "required", "-p"]
    for profile in ("workflow-run-crate", "ro-crate-1.1"):
        told = run(path, *program, *options, profile, str(tmp_path / "crate"))
        assert told.returncode == 0 and "is a valid" in told.stdout, told.stdout + told.stderr
    spoilt = json.loads((tmp_path / "crate" / CRATE).read_text())
    spoilt["@graph"] = [one for one in spoilt["@graph"] if one["@id"] != "#run"]
    (tmp_path / "crate" / CRATE).write_text(json.dumps(spoilt))
    assert run(path, *program, *options, profile, str(tmp_path / "crate")).returncode == 0
    told = run(path, *program, *options, "workflow-run-crate", str(tmp_path / "crate"))
    assert told.returncode != 0


def test_a_crate_says_what_is_known_and_no_path_of_the_machine(results, tmp_path):
    study = json.loads((results / "explorer" / "study.json").read_text())
    study["models"]["m0"] |= {"weights": "/home/somebody/w.pt", "sha256": "ab"}
    study["models"]["m1"] |= {"weights": "hub:owner/name/w.safetensors"}
    study["datasets"]["digits"]["licence"] = "CC BY 4.0"
    (results / "explorer" / "study.json").write_text(json.dumps(study))
    bundle = write_bundle(results, tmp_path / "out", date="2026-11-28")
    found = graph_of(tmp_path / "out")
    assert "somebody" not in (tmp_path / "out" / CRATE).read_text()
    assert found["#model/m0"]["sha256"] == "ab" and "identifier" not in found["#model/m0"]
    assert found["#model/m1"]["identifier"] == "hub:owner/name/w.safetensors"
    assert found["#dataset/digits"]["license"] == "CC BY 4.0"
    assert found["./"]["datePublished"] == "2026-11-28"
    assert "not stated" in found["./"]["license"]
    for name, described in bundle.files.items():
        assert found[name]["sha256"] == described["sha256"]
    assert {"@id": "#metric/cka"} in found["similarity/digits/cka.parquet"]["about"]
    assert (tmp_path / "out" / WORKFLOW).read_bytes() == (ROOT / WORKFLOW).read_bytes()
    write_bundle(results, tmp_path / "again", date="2026-11-28")
    assert file_digest(tmp_path / "again" / CRATE) == file_digest(tmp_path / "out" / CRATE)
    with pytest.raises(DataError, match="'soon' is no date"):
        write_bundle(results, tmp_path / "third", date="soon")


@pytest.mark.parametrize("name", [CRATE, WORKFLOW])
def test_what_lies_beside_the_tables_is_held_to_its_hash(results, tmp_path, name):
    write_bundle(results, tmp_path / "out")
    open_bundle(tmp_path / "out")
    (tmp_path / "out" / name).write_text("something else")
    with pytest.raises(DataError, match=f"{name}: its bytes are not those"):
        open_bundle(tmp_path / "out")
    (tmp_path / "out" / name).unlink()
    with pytest.raises(DataError, match=f"'{name}' is missing"):
        open_bundle(tmp_path / "out")


def test_signatures_name_the_signer_and_the_file_that_was_changed(results, tmp_path, keys, signer):
    def consilience(*arguments):
        return run(signer, "-m", "consilience.cli", *map(str, arguments), cwd=tmp_path)

    for out in ("signed", "signed.zip"):
        done = consilience("bundle", results, "-o", out, "--sign", keys["ours"][0])
        assert done.returncode == 0, done.stderr
        right = ["--require-signer", keys["theirs"][1], "--require-signer", keys["ours"][1]]
        done = consilience("merge", out, "-o", f"merged_{out}", *right)
        assert done.returncode == 0, done.stderr
        done = consilience("merge", out, "-o", "no", "--require-signer", keys["theirs"][1])
        assert done.returncode and "is signed by none of" in done.stderr
    signed = tmp_path / "signed"
    tool = ["-m", "model_signing", "verify", "key", str(signed), "--signature"]
    tool += [str(signed / SIGNATURE), "--public_key", keys["ours"][1]]
    done = run(signer, *tool)
    assert "Verification succeeded" in done.stdout + done.stderr
    # whoever changes a table can write a manifest to it, but cannot sign that
    manifest = json.loads((signed / "manifest.json").read_text())
    manifest["study"]["settings"]["seed"] = 1
    (signed / "manifest.json").write_text(json.dumps(manifest))
    done = consilience("merge", signed, "-o", "no", "--require-signer", keys["ours"][1])
    assert done.returncode and "manifest.json was changed" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "no").exists()
    done = consilience("merge", results, "-o", "no", "--require-signer", keys["ours"][1])
    assert "which nobody signs" in done.stderr
    write_bundle(results, tmp_path / "plain.zip")
    done = consilience("merge", "plain.zip", "-o", "no", "--require-signer", keys["ours"][1])
    assert "is not signed" in done.stderr
    with zipfile.ZipFile(tmp_path / "signed.zip") as archive:
        archive.extractall(tmp_path / "cut")
    (tmp_path / "cut" / SIGNATURE).write_text("{}")
    done = consilience("merge", "cut", "-o", "no", "--require-signer", keys["ours"][1])
    assert "is signed by none of" in done.stderr and "Traceback" not in done.stderr
    shutil.copy(keys["ours"][1], tmp_path / "public.pem")
    done = consilience("bundle", results, "-o", "x.zip", "--sign", "public.pem")
    assert "is no private key" in done.stderr and not (tmp_path / "x.zip").exists()


def test_without_the_library_a_sentence_says_so(results, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(DataError, match=r"pip install 'consilience\[signing\]'"):
        write_bundle(results, tmp_path / "x.zip", key="key.pem")
