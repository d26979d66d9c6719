#!/usr/bin/env bash
# model-signing 1.1.1 (OpenSSF model signing) installs without an error and cannot be imported: it imports
# `OpenSSL`, which none of its requirements brings any more. sigstore did until 4.2.0 (pyOpenSSL among its
# requirements); 4.5.1, which `sigstore>=4.0` now resolves to, uses cryptography alone. So the same pinned
# version works in an environment made before and fails in one made today; pinning pyOpenSSL beside it
# is all that is needed, and keys of elliptic curves then sign and verify, with sigstore 4.5.1 too.
# Seen: "No module named 'OpenSSL'", and after pyOpenSSL "Verification succeeded". Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
pip="$folder/env/bin/pip install --quiet"
$pip model-signing==1.1.1 sigstore==4.5.1 cryptography==50.0.2
cd "$folder"
if said=$("$folder/env/bin/python" -c "import model_signing" 2>&1); then
    echo "it can be imported now"
    exit 1
fi
echo "${said##*$'\n'}"
[[ $said == *"No module named 'OpenSSL'"* ]]
$pip pyOpenSSL==26.4.0
mkdir model && echo weights > model/weights.txt
env/bin/python - <<'PY'
from pathlib import Path

from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec

key, pem = ec.generate_private_key(ec.SECP256R1()), form.Encoding.PEM
private = key.private_bytes(pem, form.PrivateFormat.PKCS8, form.NoEncryption())
Path("key.pem").write_bytes(private)
public = key.public_key().public_bytes(pem, form.PublicFormat.SubjectPublicKeyInfo)
Path("public.pem").write_bytes(public)
PY
env/bin/python -m model_signing sign key model --signature model.sig --private_key key.pem
env/bin/python -m model_signing verify key model --signature model.sig --public_key public.pem |
    tee said.txt
grep -q "Verification succeeded" said.txt
