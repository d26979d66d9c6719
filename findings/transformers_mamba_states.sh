#!/usr/bin/env bash
# transformers 5.23.0: a Mamba of n blocks gives n + 1 `hidden_states`, as BERT, GPT-2 and others do, but
# they are shifted by one: the first is what leaves block 1, not what enters it; the last but one is what
# leaves block n, and the last is that once more behind the final norm. What enters the first block, the
# embedding, is not among them. So "layer 6 of 12" is another depth than in every transformer beside it.
# Seen, for 3 blocks with random weights on torch 2.14.1: states 0, 1, 2 equal the outputs of blocks 1, 2,
# 3 to the bit; a BERT of 3 blocks: states 1, 2, 3 do, and state 0 is the embedding. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.14.1 transformers==5.23.0 numpy==2.4.1
HF_HUB_OFFLINE=1 "$folder/env/bin/python" - <<'PY'
import torch
from transformers import BertConfig, BertModel, MambaConfig, MambaModel


def states(network, blocks, ids):
    """Returns for each block the place of its output among the states, and that of its input."""
    made, taken = [], []
    for block in blocks:
        block.register_forward_pre_hook(lambda module, given: taken.append(given[0]))
        block.register_forward_hook(
            lambda module, given, out: made.append(out if torch.is_tensor(out) else out[0])
        )
    with torch.no_grad():
        found = network.eval()(ids, output_hidden_states=True).hidden_states
    place = lambda x: next((i for i, state in enumerate(found) if torch.equal(state, x)), None)
    return len(found), [place(x) for x in made], place(taken[0])


torch.manual_seed(0)
ids = torch.randint(0, 50, (1, 7))
small = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 3}
mamba = MambaModel(MambaConfig(**small, state_size=4))
bert = BertModel(BertConfig(**small, num_attention_heads=2, intermediate_size=32))
found = {
    "Mamba": states(mamba, mamba.layers, ids),
    "BERT": states(bert, bert.encoder.layer, ids),
}
for name, (count, leaving, entering) in found.items():
    print(f"{name}: {count} states; blocks leave at {leaving}, the first is entered at {entering}")
assert found["BERT"] == (4, [1, 2, 3], 0), "BERT's states are others now"
assert found["Mamba"] == (4, [0, 1, 2], None), "Mamba's states are others now"
PY
