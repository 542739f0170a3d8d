"""Logits, embeddings and members' logits of many cases."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from MRDeltaNetLib.cohort.training.data import Crops


def scores(network: nn.Module, crops: Crops, batch_size: int = 16, *, pre_of: np.ndarray | None = None, device: str = "cpu") -> np.ndarray:
    """Logits (n,) in evaluation mode; see outputs()."""
    return outputs(network, crops, batch_size, pre_of=pre_of, device=device)[0]


def outputs(network: nn.Module, crops: Crops, batch_size: int = 16, *, pre_of: np.ndarray | None = None,
            device: str = "cpu") -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Logits (n,), embeddings (n, k) and, of an ensemble, its members' logits (n, M) (None of a single network); float32.

    pre_of  control: case k keeps its own post visit but gets the pre visit of case pre_of[k]
    device  "cpu", "cuda" or "mps"; the network is moved there, and back to the CPU at the end
    """
    network.to(device).eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(crops), batch_size):
            members = range(start, min(start + batch_size, len(crops)))
            batch = torch.stack([crops[k][0] for k in members])
            if pre_of is not None:
                batch[:, 0] = torch.stack([crops[int(pre_of[k])][0][0] for k in members])
            found.append(network(batch.to(device)).cpu())
    network.to("cpu")
    logit, embedding = (torch.cat([getattr(output, name) for output in found]).numpy() for name in ("logit", "embedding"))
    members = None if found[0].member_logits is None else torch.cat([output.member_logits for output in found]).numpy()
    return logit, embedding, members
