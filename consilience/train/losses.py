"""Losses of pictures against each other, and against texts."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Returns the normalised cross-entropy by temperature of two views (Chen et al. 2020).

    Of the 2n vectors each has one other view of its picture, j; with cosines s and temperature τ
    the loss is the mean over all i of -log(exp(s_ij / τ) / Σ_{k ≠ i} exp(s_ik / τ)). Where all
    vectors are equal, it is log(2n - 1).

    Args:
        first: (n, d) vectors of one view of each of n pictures; n ≥ 2.
        second: (n, d) of the other view, in the same order.
        temperature: τ > 0.

    Cost: one product of (2n, d) with itself.
    """
    n = len(first)
    vectors = normalize(torch.cat([first, second]), dim=1)
    scores = vectors @ vectors.T / temperature
    scores = scores.masked_fill(
        torch.eye(2 * n, dtype=torch.bool, device=scores.device), -torch.inf
    )
    places = torch.arange(2 * n, device=scores.device).roll(n)
    return torch.nn.functional.cross_entropy(scores, places)


def image_text_loss(pictures: Tensor, texts: Tensor, which: Tensor, temperature: float) -> Tensor:
    """Returns the symmetric cross-entropy of pictures and their texts.

    Each of n pictures stands with its text. With cosines s of pictures (rows) and texts (columns),
    a row's loss is the mean of -log(exp(s_ij / τ) / Σ_k exp(s_ik / τ)) over all columns j that hold
    the text of i, and a column's the same over rows; the result is the mean of the mean over rows
    and that over columns. Where all texts differ, that is the loss of CLIP (Radford et al. 2021);
    where several pictures have one text, that of UniCL (Yang et al. 2022), since of these no
    network could tell which is which. It is log(n) where all cosines are equal, and at least the
    mean of log(c) over pictures, where c of the n have the text of a picture.

    Args:
        pictures: (n, d) vectors.
        texts: (k, d) vectors of the texts that there are.
        which: (n,) whole numbers, the text of each picture.
        temperature: τ > 0.

    Cost: one product of (n, d) and (k, d).
    """
    scores = (normalize(pictures, dim=1) @ normalize(texts, dim=1).T / temperature)[:, which]
    same = (which[:, None] == which).to(scores.dtype)
    target = same / same.sum(1, keepdim=True)
    rows = torch.nn.functional.cross_entropy(scores, target)
    columns = torch.nn.functional.cross_entropy(scores.T, target)
    return (rows + columns) / 2
