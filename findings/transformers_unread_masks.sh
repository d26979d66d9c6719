#!/usr/bin/env bash
# transformers 5.23.0 takes arguments that a model does not know without a word. Two ways to other numbers
# than one asked for, both without a warning: FNet takes `attention_mask` as every model does and does not
# read it, so that a text padded to the length of a longer one has other features than alone; and a letter
# too many (`attention_masks`) makes BERT attend to the padding. That a call with a mask passes proves
# nothing: compare a text alone with itself beside a longer one.
# Seen, with random weights on torch 2.14.1: FNet with and without the mask equal to the bit, padded and
# alone differ by 2.5; BERT with the mask equals alone to 1e-6, with the misspelt one it does not (0.004).
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.14.1 transformers==5.23.0 numpy==2.4.1
HF_HUB_OFFLINE=1 "$folder/env/bin/python" - <<'PY'
import warnings

import torch
from transformers import BertConfig, BertModel, FNetConfig, FNetModel

warnings.simplefilter("error")
torch.manual_seed(0)
small = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32}
fnet = FNetModel(FNetConfig(**small)).eval()
bert = BertModel(BertConfig(**small, num_attention_heads=2)).eval()
text = torch.tensor([[5, 6, 7, 8]])
padded = torch.tensor([[5, 6, 7, 8, 0, 0, 0]])
mask = torch.tensor([[1, 1, 1, 1, 0, 0, 0]])


@torch.no_grad()
def gap(network, **given):
    """Returns how far the states of a padded text are from those of it alone."""
    alone, beside = network(text), network(padded, **given)
    return float((alone.last_hidden_state - beside.last_hidden_state[:, :4]).abs().max())


found = {
    "FNet, no mask": gap(fnet),
    "FNet, attention_mask": gap(fnet, attention_mask=mask),
    "BERT, attention_mask": gap(bert, attention_mask=mask),
    "BERT, attention_masks": gap(bert, attention_masks=mask),
}
for name, value in found.items():
    print(f"{name}: padded and alone differ by {value:.2g}")
assert found["FNet, attention_mask"] == found["FNet, no mask"] > 0.1, "FNet reads the mask now"
assert found["BERT, attention_mask"] < 1e-5, "BERT's mask"
assert found["BERT, attention_masks"] > 1e-4, "a misspelt mask changes nothing now"
PY
