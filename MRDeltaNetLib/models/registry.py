"""The one list of networks: name -> class. A new model is one file in this folder and one line here."""

from __future__ import annotations

from typing import Any

from torch import nn

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.models.baselines import RoiPooled, Subtract
from MRDeltaNetLib.models.deltanet import DeltaNet

_NETWORKS: dict[str, type[nn.Module]] = {"deltanet": DeltaNet, "subtract": Subtract, "roi_pooled": RoiPooled}


def names() -> tuple[str, ...]:
    """Names that build() knows."""
    return tuple(_NETWORKS)


def build(name: str, **settings: Any) -> nn.Module:
    """A new network with random weights.

    name      one of names()
    settings  the class's keyword arguments (spacing_mm, crop_mm, preset, ...), as stored in a bundle's metadata
    raises    InputError MRD-E750 for an unknown name, MRD-E751 for settings that do not fit
    """
    if name not in _NETWORKS:
        raise InputError("The model bundle names a network that this version does not have", code="MRD-E750", found=name,
                         fix=f"use a bundle for one of {', '.join(names())}, or update MRDeltaNet")
    try:
        return _NETWORKS[name](**settings)
    except (TypeError, ValueError) as cause:
        raise InputError("The model bundle's network settings do not fit the network", code="MRD-E751", found=str(cause),
                         fix="use a bundle made for this version of MRDeltaNet, or train it again") from cause
