"""Guided Grad-CAM, the explanation of the paper that this project follows. It fails published sanity checks; for comparison only."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Iterator

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.progress import Progress, silent
from MRDeltaNetLib.response.attribution import gradcam
from MRDeltaNetLib.response.attribution.readout import INSTALL_TORCH, VISITS, Found, Maps, Readout, logit_of, mean_over_members, members, on_voxels

if TYPE_CHECKING:
    import torch

FORMULA = ("g_v m_v: m Grad-CAM on the voxels, g the gradient of the logit towards the class for the T2 channel with negative gradients cut off behind "
           "every ReLU (guided back-propagation, Springenberg et al. 2015)")


def why_not(network: "torch.nn.Module") -> str | None:
    """Why it would mean nothing here; None if every activation up to the Grad-CAM stage is a ReLU module."""
    if (reason := gradcam.why_not(network)) is not None:
        return reason
    relus, others = _activations(members(network)[0])
    if others or not relus:
        return ("guided back-propagation changes the gradient at ReLU modules only; this network's convolutions have "
                f"{' and '.join(sorted(others)) or 'none'}, on which it would be the plain gradient under another name")
    return None


def guided_gradcam(network: "torch.nn.Module", x: "torch.Tensor", readout: Readout, *, toward: str = "", progress: Progress = silent) -> Found:
    """The product of Grad-CAM and guided back-propagation, on the voxels of each visit's T2 channel; toward as in gradcam.gradcam."""
    toward = toward or readout.toward(logit_of(network, x))
    sign = readout.sign(toward)

    def one(member: "torch.nn.Module") -> Maps:
        slopes = guided_gradient(member, x, sign)
        return {visit: on_voxels(places, member.geometry.voxels) * slopes[VISITS.index(visit)].cpu().numpy()
                for visit, places in gradcam.coarse(member, x, sign).items()}

    return Found(mean_over_members(network, one, progress), {"toward": toward, "resolution_mm": members(network)[0].geometry.spacing_mm})


def guided_gradient(member: "torch.nn.Module", x: "torch.Tensor", sign: float = 1.0) -> "torch.Tensor":
    """Guided back-propagation to the T2 channel of both visits, (2, depth, height, width)."""
    torch = require("torch", "Explanation", INSTALL_TORCH)
    given = x[None].clone().requires_grad_()
    with _guided(member), torch.enable_grad():
        (slope,) = torch.autograd.grad(sign * member(given).logit.sum(), given)
    return slope[0, :, 0]


@contextmanager
def _guided(member: "torch.nn.Module") -> Iterator[None]:
    """Behind every ReLU module, gradients below 0 are cut off."""
    torch = require("torch", "Explanation", INSTALL_TORCH)

    def cut(module, given, output):
        if output.requires_grad:
            output.register_hook(lambda slope: slope.clamp(min=0))

    hooks = [module.register_forward_hook(cut) for module in member.modules() if isinstance(module, torch.nn.ReLU)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _activations(member: "torch.nn.Module") -> tuple[int, set[str]]:
    """Number of ReLU modules, and names of other activations, from the input to the Grad-CAM stage, which is where the encoder's children are in order."""
    activation = require("torch.nn.modules.activation", "Explanation", INSTALL_TORCH)
    relus, others = 0, set()
    for module in _up_to(member, member.convolutional_stage):
        if isinstance(module, activation.ReLU):
            relus += 1
        elif type(module).__name__ in activation.__all__:
            others.add(type(module).__name__)
    return relus, others


def _up_to(module: "torch.nn.Module", path: str) -> Iterator["torch.nn.Module"]:
    """The parts of a module that run before the named one ends, for modules that run their children in order."""
    first, _, rest = path.partition(".")
    for name, child in module.named_children():
        yield from (_up_to(child, rest) if name == first and rest else child.modules())
        if name == first:
            return
