#!/usr/bin/env bash
# torch 2.14.1: the first operation under a TorchDispatchMode, even one that does nothing but pass it on,
# imports PyTorch's compiler (torch._dynamo) and with it sympy: hundreds of modules and more than a second
# of CPU in each process, though nothing is compiled. To define the mode or to enter it imports nothing. A
# TorchFunctionMode, which sees the same calls one level higher, imports nothing at all; making an
# optimiser does. Seen on a CPU: no module more under a function mode; 893 more, 1.1 s, under a dispatch
# mode, and as many with an optimiser. Whoever counts or guards what networks allocate pays for that in
# short jobs.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.14.1 numpy==2.4.1
for kind in function dispatch optimiser; do
  "$folder/env/bin/python" - "$kind" <<'PY'
import sys
import time

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


class Function(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def loaded():
    return "torch._dynamo" in sys.modules and "sympy" in sys.modules


kind, before, start = sys.argv[1], len(sys.modules), time.process_time()
weight = torch.nn.Parameter(torch.zeros(3))
assert not loaded(), "import torch alone loads the compiler now"
if kind == "optimiser":
    torch.optim.SGD([weight], lr=0.1)
else:
    mode = Function() if kind == "function" else Dispatch()
    with mode:
        pass
    assert not loaded(), "to enter the mode loads the compiler now"
    with mode:
        torch.zeros(3)
spent = time.process_time() - start
print(f"{kind}: compiler loaded: {loaded()}, {len(sys.modules) - before} modules, {spent:.1f} s of CPU")
assert loaded() == (kind != "function"), "what loads the compiler has changed"
PY
done
