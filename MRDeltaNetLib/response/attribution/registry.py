"""The one list of methods, and the one way to ask any of them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from MRDeltaNetLib.errors import InputError, UsageError, require
from MRDeltaNetLib.progress import Progress, silent
from MRDeltaNetLib.response import prediction
from MRDeltaNetLib.response.attribution import (counterfactual, expected_gradients, gradcam, guided_gradcam, integrated_gradients, native, null, occlusion, relevance,
                                                roi_shells)
from MRDeltaNetLib.response.attribution.readout import INSTALL_TORCH, PERCENTAGE_POINTS, Attribution, Found, Readout, largest

if TYPE_CHECKING:
    import torch

CLASSES = ("pCR", "non-pCR")
TOWARD_UNIT = "logit units towards the class that the answer favours"


@dataclass(frozen=True)
class Method:
    """One method.

    key      its name in commands, jobs and files
    label    what people read
    visits   of which scans it makes a map
    signed   whether its values may be below 0
    unit     of its values
    make     (network, x, readout, *, progress, settings) -> Found
    formula  empty: the network's own
    caution  what has to be said with every map of it; empty if nothing
    package  Python package that it needs beside PyTorch; empty if none
    why_not  network -> why it means nothing there, or None
    content  False: it does not look at the images
    directed whether it shows what speaks for one class, and takes "toward"; the others show what makes P(pCR), or no direction
    """

    key: str
    label: str
    visits: tuple[str, ...]
    signed: bool
    unit: str
    make: Callable[..., Found]
    formula: str = ""
    caution: str = ""
    package: str = ""
    why_not: Callable[["torch.nn.Module"], str | None] = lambda network: None
    content: bool = True
    directed: bool = False


_SMOOTH = "what is taken away is replaced by a smooth filling, which no scan has: the network may react to that too"

METHODS: dict[str, Method] = {method.key: method for method in (
    Method("attention", "Attention", ("pre", "post"), False, "", native.attention),
    Method("change", "Change", ("post",), False, "", native.change),
    Method("gradcam", "Grad-CAM", ("pre", "post"), False, TOWARD_UNIT, gradcam.gradcam, gradcam.FORMULA, why_not=gradcam.why_not, directed=True),
    Method("relevance", "Transformer relevance", ("pre", "post"), False, TOWARD_UNIT, relevance.relevance, relevance.FORMULA, why_not=relevance.why_not,
           directed=True),
    Method("integrated_gradients", "Integrated gradients", ("pre", "post"), True, "logit units", integrated_gradients.integrated_gradients,
           integrated_gradients.FORMULA, "compared with two scans of uniform mean tissue, which no patient has; noisy from voxel to voxel", "captum"),
    Method("expected_gradients", "Expected gradients", ("pre", "post"), False, TOWARD_UNIT, expected_gradients.expected_gradients, expected_gradients.FORMULA,
           "shows what speaks for the class, not what speaks against it; " + _SMOOTH, directed=True),
    Method("occlusion", "Occlusion", ("pre", "post"), True, PERCENTAGE_POINTS, occlusion.occlusion, occlusion.FORMULA, _SMOOTH),
    Method("roi_shells", "Regions taken away", ("pre", "post"), True, PERCENTAGE_POINTS, roi_shells.roi_shells, roi_shells.FORMULA,
           "three regions of each scan, one number each; " + _SMOOTH),
    Method("counterfactual", "Tumour bed as fibrosis", ("post",), True, PERCENTAGE_POINTS, counterfactual.counterfactual, counterfactual.FORMULA,
           "a question to the network, not a forecast; a bed of one even signal is no real bed, and a bed without fibrosis gives a wrong signal for it"),
    Method("guided_gradcam", "Guided Grad-CAM (as in the paper; fails sanity checks)", ("pre", "post"), True, TOWARD_UNIT, guided_gradcam.guided_gradcam,
           guided_gradcam.FORMULA, "as in the paper; fails published sanity checks (Adebayo et al. 2018): it looks much the same for a network with random weights",
           why_not=guided_gradcam.why_not, directed=True),
    Method("null", "Null map: outline and position alone", ("pre", "post"), False, "share, all tokens of a scan sum to 1", null.null, null.FORMULA,
           "made from outlines and position alone: it does not depend on the images", content=False),
)}
"""Key -> method, in the order of config.EXPLAIN_METHODS."""


def why_not(key: str, network: "torch.nn.Module") -> str | None:
    """Why a method means nothing on this network; None if it can be asked.

    raises  UsageError MRD-E723 for a key that is not known
    """
    return _method(key).why_not(network)


def attribute(key: str, network: "torch.nn.Module", x: "torch.Tensor", *, readout: Readout = Readout(), toward: str | None = None,
              progress: Progress = silent, **settings: Any) -> Attribution:
    """Ask one method about one case.

    key       of METHODS
    network   models.registry network or ensemble; left as it was
    x         (timepoint 2, channel 2, depth, height, width), finite, on any device; left as it was. The network's device is used
    readout   what the logit means; Readout.of(bundle.own)
    toward    "pCR" or "non-pCR", for methods that are directed and ignored by the others; None: the class that the answer favours. Name it where
              maps of changed networks or inputs are compared, because the favoured class may change with them
    progress  0 to 1; may raise errors.Cancelled
    settings  the method's own, see its file
    returns   Attribution; the same for the same arguments
    raises    UsageError MRD-E723 (no such method or class), InputError MRD-E724 (it means nothing on this network), E725 (the map is not finite or zero
              everywhere), E722 (an empty outline where one is needed), E703, E704 (the input); MissingPackage MRD-E801; OutOfMemory MRD-E706; Cancelled
    """
    torch, method = require("torch", "Explanation", INSTALL_TORCH), _method(key)
    if (reason := method.why_not(network)) is not None:
        raise InputError(f"The method '{key}' means nothing on this network", code="MRD-E724", found=reason, fix="choose another method")
    if toward not in (None, *CLASSES):
        raise UsageError("There is no such class to explain", code="MRD-E723", found=f"'{str(toward)[:60]}'", fix=f"choose among {', '.join(CLASSES)}")
    if method.directed and toward is not None:
        settings = {**settings, "toward": toward}
    x = x.detach().as_subclass(torch.Tensor).float()
    prediction.check_input(x, network)
    device = next((weights.device for weights in network.parameters()), x.device)
    learning = network.training
    with prediction.deterministic(0, device.type), prediction.memory_errors(device.type, f"method '{key}'"), torch.inference_mode(False):
        try:
            found = method.make(network.eval(), x.to(device).clone(), readout, progress=progress, **settings)
        finally:
            network.train(learning)
    top = largest(found.maps)
    if not all(np.isfinite(values).all() for values in found.maps.values()):
        raise InputError(f"The map of '{key}' holds values that are no numbers", code="MRD-E725", found=method.label,
                         fix="check the model with `mrdeltanet model verify`")
    progress(1.0, f"{method.label}: done")
    facts = {"label": method.label, "method": key, "formula": method.formula, "unit": method.unit, "signed": method.signed, "sees_image_content": method.content,
             "interpolation": "trilinear inside the crop, zero outside"} | ({"caution": method.caution} if method.caution else {})
    return Attribution(key, found.maps, {**facts, **found.facts, "scale_top": top}, found.numbers)


def missing_package(key: str) -> str | None:
    """The package that a method needs and that is not installed; None if nothing is missing."""
    package = _method(key).package
    return package if package and importlib.util.find_spec(package) is None else None


def _method(key: str) -> Method:
    if key not in METHODS:
        raise UsageError("There is no such method", code="MRD-E723", found=f"'{str(key)[:60]}'", fix=f"choose among {', '.join(METHODS)}")
    return METHODS[key]
