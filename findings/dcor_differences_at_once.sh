#!/usr/bin/env bash
# dcor 0.7 means to take SciPy's `cdist` for arrays of NumPy, and never does: it asks whether the namespace of
# the array is `numpy`, and array-api-compat 1.16 answers `array_api_compat.numpy`. So distances of n samples with d
# units are made of all n × n × d differences at once: 2,100 samples of 512 units take 18 GB, of which
# the distances are 35 MB. Values are right.
# Seen: peak 33 times the matrix of distances with d = 32. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet dcor==0.7 array-api-compat==1.16.0 numpy==2.4.6 scipy==1.17.1 numba==0.68.1
NUMBA_DISABLE_JIT=1 "$folder/env/bin/python" - <<'PY'
import tracemalloc

import numpy as np
from dcor.distances import pairwise_distances

x = np.random.default_rng(0).normal(size=(400, 32))
tracemalloc.start()
made = pairwise_distances(x)
times = tracemalloc.get_traced_memory()[1] / made.nbytes
print(f"peak: {times:.0f} times the distances")
assert times > 30
PY
