"""The one list of networks: name -> class. A new model is one file in this folder and one line here."""

from __future__ import annotations

from typing import Any

from torch import nn

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.models.baselines import RoiPooled, Subtract
from MRDeltaNetLib.models.deltanet import DeltaNet
from MRDeltaNetLib.models.ensemble import Ensemble
from MRDeltaNetLib.models.resnet18 import ResNet18
from MRDeltaNetLib.models.siamese_subtraction import SiameseSubtraction
from MRDeltaNetLib.models.slice2p5d import Slice2p5D
from MRDeltaNetLib.models.vit import VisionTransformer

_NETWORKS: dict[str, type[nn.Module]] = {
    "deltanet": DeltaNet, "slice2p5d": Slice2p5D, "subtract": Subtract, "siamese_subtraction": SiameseSubtraction,
    "roi_pooled": RoiPooled, "resnet18": ResNet18, "vit": VisionTransformer}

MOST_MEMBERS = 1000
"""Far above folds times seeds of any study; a bundle that names more would only fill the memory."""


def names() -> tuple[str, ...]:
    """Names that build() knows."""
    return tuple(_NETWORKS)


def build(name: str, members: int = 1, **settings: Any) -> nn.Module:
    """A new network with random weights.

    name      one of names()
    members   more than one: an Ensemble of so many networks with these settings
    settings  the class's keyword arguments (spacing_mm, crop_mm, preset, ...), as stored in a bundle's metadata
    raises    InputError MRD-E750 for an unknown name, MRD-E751 for settings that do not fit
    """
    if name not in _NETWORKS:
        raise InputError("The model bundle names a network that this version does not have", code="MRD-E750", found=name,
                         fix=f"use a bundle for one of {', '.join(names())}, or update MRDeltaNet")
    try:
        if not isinstance(members, int) or isinstance(members, bool) or not 1 <= members <= MOST_MEMBERS:
            raise ValueError(f"members={members!r}: a whole number from 1 to {MOST_MEMBERS}")
        made = [_NETWORKS[name](**settings) for _ in range(members)]
        return made[0] if members == 1 else Ensemble(made)
    except (TypeError, ValueError) as cause:
        raise InputError("The model bundle's network settings do not fit the network", code="MRD-E751", found=str(cause),
                         fix="use a bundle made for this version of MRDeltaNet, or train it again") from cause
