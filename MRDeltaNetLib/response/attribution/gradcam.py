"""Grad-CAM of each visit, at the encoder's convolutional stage (3 mm at 0.75 x 0.75 x 3 mm voxels)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Iterator

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.progress import Progress, silent
from MRDeltaNetLib.response.attribution.readout import INSTALL_TORCH, VISITS, Found, Maps, Readout, logit_of, mean_over_members, members, on_voxels

if TYPE_CHECKING:
    import torch

FORMULA = ("m_i = max(0, sum_c w_c f_ci), w_c = mean over places i of d(logit towards the class)/d f_ci; f the features of this visit's own pass "
           "through the encoder's convolutional stage (Grad-CAM, Selvaraju et al. 2017)")


def why_not(network: "torch.nn.Module") -> str | None:
    """Why this network has no Grad-CAM of each visit; None if it has."""
    if getattr(members(network)[0], "convolutional_stage", None) is None:
        return "this network mixes both visits in its first layer, so that no feature belongs to one visit; its attention map is a class-activation map already"
    return None


def gradcam(network: "torch.nn.Module", x: "torch.Tensor", readout: Readout, *, toward: str = "", progress: Progress = silent) -> Found:
    """Where features of each visit raise the logit towards a class.

    toward  "pCR" or "non-pCR"; empty: the class that the answer (of all members) favours
    The encoder is hooked at each of its calls, one a visit; a visit that the network does not look at has no map.
    """
    toward = toward or readout.toward(logit_of(network, x))
    sign = readout.sign(toward)

    sizes: list[tuple[int, ...]] = []

    def one(member: "torch.nn.Module") -> Maps:
        found = coarse(member, x, sign)
        sizes.append(tuple(next(iter(found.values())).shape))
        return {visit: on_voxels(places, member.geometry.voxels) for visit, places in found.items()}

    maps, geometry = mean_over_members(network, one, progress), network.geometry
    resolution = tuple(step * count / cells for step, count, cells in zip(geometry.spacing_mm, geometry.voxels[::-1], sizes[0][::-1]))
    return Found(maps, {"toward": toward, "resolution_mm": resolution})


def coarse(member: "torch.nn.Module", x: "torch.Tensor", sign: float) -> dict[str, "torch.Tensor"]:
    """Grad-CAM of one network on the stage's own grid: visit -> (d, h, w)."""
    torch = require("torch", "Explanation", INSTALL_TORCH)
    with watching(member) as features, torch.enable_grad():
        logit = member(x[None].clone().requires_grad_()).logit.sum()
        slopes = torch.autograd.grad(sign * logit, features)
    found = {}
    for visit, feature, slope in zip(visits_of(member), features, slopes):
        f, slope = (_as_volume(values.detach()) for values in (feature, slope))
        found[visit] = (slope.mean((1, 2, 3), keepdim=True) * f).sum(0).clamp(min=0)
    return found


@contextmanager
def watching(member: "torch.nn.Module") -> Iterator[list["torch.Tensor"]]:
    """The outputs of the convolutional stage, one a call, in the order of the visits; filled when the network runs.

    Both visits must go through the encoder one after the other: were they stacked along the batch, a map would mix them.
    """
    features: list = []
    hook = member.get_submodule(member.convolutional_stage).register_forward_hook(lambda module, given, output: features.append(output))
    try:
        yield features
    finally:
        hook.remove()


def visits_of(member: "torch.nn.Module") -> tuple[str, ...]:
    """The visits that a network looks at, in the order of its encoder's calls."""
    return tuple(VISITS[time] for time in getattr(member, "times", (0, 1)))


def _as_volume(values: "torch.Tensor") -> "torch.Tensor":
    """Features of one case as (channel, d, h, w): those of a network on slices come as (slice, channel, h, w)."""
    return values[0] if values.ndim == 5 else values.transpose(0, 1)
