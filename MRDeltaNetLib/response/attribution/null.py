"""The null map: what can be drawn from the outlines and the network's position prior alone, without a look at the images.

Whatever a method claims to show, it has to be better than this on the same case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.progress import Progress, silent
from MRDeltaNetLib.response.attribution.readout import INSTALL_TORCH, Found, Maps, Readout, mean_over_members, on_voxels

if TYPE_CHECKING:
    import torch

FORMULA = ("after: n_i = r_i / sum r, r_i the mean of the soft tumour bed over token i, mean over scales; before: sum_i n_i P_ij with the network's own "
           "position prior P where it has one, else the same of the tumour's outline")


def null(network: "torch.nn.Module", x: "torch.Tensor", readout: Readout, *, progress: Progress = silent) -> Found:
    """Shares as the attention maps have them, by outline and position. The T2 channels are not read."""
    torch = require("torch", "Explanation", INSTALL_TORCH)

    def one(member: "torch.nn.Module") -> Maps:
        with torch.inference_mode():
            tokens = _compared(member, x[None]) if hasattr(member, "frames") else _outlines(member, x[None])
        return {visit: on_voxels(found[0], member.geometry.voxels) for visit, found in zip(("pre", "post"), tokens)}

    size = tuple(float(step) for step in network.token_size_mm[::-1])
    return Found(mean_over_members(network, one, progress), {"resolution_mm": size})


def _compared(member: "torch.nn.Module", x: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
    """Of a network on tokens: (pre, post), each (1, d, h, w)."""
    from MRDeltaNetLib.models.comparison import read
    pre, post = [], []
    frames = member.frames(x)
    for number, frame in enumerate(frames):
        post.append(_share(frame.roi_post))
        align = getattr(member.comparisons[number], "align", None) if hasattr(member, "comparisons") else None
        if align is None or align.prior is None:
            pre.append(_share(frame.roi_pre))
        else:
            pre.append(read(align.prior(frame)[:, None].transpose(-1, -2), post[-1][..., None], member.comparisons[number].depth)[..., 0])
    return member.on_map_grid(pre), member.on_map_grid(post)


def _outlines(member: "torch.nn.Module", x: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
    """Of a network without tokens of each visit."""
    pool = require("torch.nn.functional", "Explanation", INSTALL_TORCH).avg_pool3d
    coarse = [pool(x[:, time, 1:], member.token_stride, member.token_stride)[:, 0] for time in (0, 1)]
    return tuple(_share(roi.flatten(1)).reshape(roi.shape) for roi in coarse)


def _share(roi: "torch.Tensor") -> "torch.Tensor":
    """(B, N) as shares that sum to 1; equal ones where the outline is empty."""
    torch = require("torch", "Explanation", INSTALL_TORCH)
    roi = torch.where(roi.sum(1, keepdim=True) > 0, roi, torch.ones_like(roi))
    return roi / roi.sum(1, keepdim=True)
