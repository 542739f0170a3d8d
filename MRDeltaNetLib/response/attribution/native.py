"""The network's own maps, which need no gradient: where the score's pooled inputs come from, and how much changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.progress import Progress, silent
from MRDeltaNetLib.response.attribution.readout import INSTALL_TORCH, SHARE, Found, Readout, on_voxels
from MRDeltaNetLib.response.explanation import FORMULAS, UNITS, map_facts

if TYPE_CHECKING:
    import torch


def attention(network: "torch.nn.Module", x: "torch.Tensor", readout: Readout, *, progress: Progress = silent) -> Found:
    """Shares of the score's pooled inputs, post tokens s_i and the pre tokens t_j that they were compared with; each sums to 1."""
    return _own(network, x, {"pre": "attention_pre", "post": "attention_post"}, SHARE, progress)


def change(network: "torch.nn.Module", x: "torch.Tensor", readout: Readout, *, progress: Progress = silent) -> Found:
    """Length of the aligned change at each post token, network units."""
    return _own(network, x, {"post": "change_post"}, UNITS["change_post"], progress)


def _own(network: "torch.nn.Module", x: "torch.Tensor", names: dict[str, str], unit: str, progress: Progress) -> Found:
    from MRDeltaNetLib.response.prediction import map_facts_of
    progress(0.0, "Asking the network")
    with require("torch", "Explanation", INSTALL_TORCH).inference_mode():
        output = network(x[None])
    network_facts = map_facts_of(network)
    maps = {visit: on_voxels(getattr(output, name)[0], network.geometry.voxels) for visit, name in names.items()}
    facts = map_facts(next(iter(names.values())), network_facts)
    formulas = {visit: network_facts["formulas"].get(name, FORMULAS[name]) for visit, name in names.items()}
    return Found(maps, {**facts, "unit": unit, "formula": "; ".join(formulas.values())})
