#!/usr/bin/env bash
# safetensors 0.8.0 with NumPy 2.4: save_file stores the bytes of an array in memory order under the
# shape of the view, so that X.T (and any Fortran-ordered array) comes back as another matrix of the
# right shape. No error, no warning, and nothing in the file shows it. A copy by
# np.ascontiguousarray is stored right.
# Seen: (X.T stored and loaded) equals X.reshape(X.T.shape), not X.T. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet safetensors==0.8.0 numpy==2.4.1
"$folder/env/bin/python" - "$folder/x.safetensors" <<'PY'
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

path = sys.argv[1]
x = np.arange(6, dtype=np.float32).reshape(2, 3)
save_file({"view": x.T, "fortran": np.asfortranarray(x), "copy": np.ascontiguousarray(x.T)}, path)
found = load_file(path)
print("X.T        ", x.T.tolist())
print("stored view", found["view"].tolist())
print("stored copy", found["copy"].tolist())
assert found["view"].shape == (3, 2) and (found["copy"] == x.T).all()
assert (found["view"] == x.reshape(3, 2)).all(), "the view is no longer stored in memory order"
assert not (found["view"] == x.T).all(), "the view is stored right now"
assert not (found["fortran"] == x).all(), "a Fortran-ordered array is stored right now"
PY
