"""What networks share that see the visits as channels of one image: no comparison is built in, a class-activation map shows them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from MRDeltaNetLib.models.activation import FORMULA, ActivationHead, on_tokens, shares_of
from MRDeltaNetLib.models.baselines import times_of
from MRDeltaNetLib.models.encoder import STRIDES, Geometry
from MRDeltaNetLib.models.losses import IntensityDecoding
from MRDeltaNetLib.models.output import NetworkOutput
from MRDeltaNetLib.models.pair import check_shape

Maps = tuple[torch.Tensor, torch.Tensor]


class StackedNetwork(nn.Module):
    """Base of resnet18 and vit. Input as for every network, (B, timepoint 2, channel 2, D, H, W); a subclass sees (B, 2 V, D, H, W), T2 and
    ROI of each of the V visits in turn, and never the other visit.

    visits     "both", "pre" or "post"
    auxiliary  whether training also decodes each seen visit's intensities from the features at decoding_stride (training only)
    dropout    before the dense unit

    A subclass calls build_head and gives features(x) -> (feature maps f (B, C, d, h, w) that the head averages, earlier or the same maps
    (B, C', D/sz, H/sy, W/sx) that intensities are decoded from), and stages for layers.layers.

    attention_* of a seen visit is the share |c_i| / sum |c| of the class-activation map on the fine token grid: the same for both visits,
    because their channels are mixed from the first layer on. An unseen visit gets equal shares. change_post is |c_i|, logit
    units: these networks form no change vector. There is no anatomy, because no feature belongs to one visit alone.
    """

    sees_image_content = True
    comparison_kind = None
    convolutional_stage = None
    token_stride = STRIDES[0]
    map_note = "the class-activation map has one place in this distance; its value is spread evenly over the tokens nearest to it"
    decoding_stride: tuple[int, int, int]
    map_stride: tuple[int, int, int]
    map_first: tuple[float, float, float]
    """Voxels from place to place of the averaged maps, and the voxel coordinate of the first place's centre."""

    stages: tuple[tuple[str, tuple[str, ...]], ...]

    def __init__(self, *, spacing_mm, crop_mm, visits: str) -> None:
        super().__init__()
        self.times = times_of(visits)
        self.channels, self.compares_visits = 2 * len(self.times), visits == "both"
        self.geometry = Geometry(tuple(spacing_mm), tuple(crop_mm))
        self.voxels = self.geometry.voxels
        seen, blind = FORMULA.format(what="shown as |c_i| / max |c|"), "uniform: this network does not see that visit"
        self.map_formulas = {"attention_post": seen if 1 in self.times else blind, "attention_pre": seen if 0 in self.times else blind,
                             "change_post": FORMULA.format(what="|c_i| is shown; this network forms no change vector")}

    def build_head(self, width: int, decoded_width: int, dropout: float, auxiliary: bool) -> None:
        """width: channels of the averaged maps; decoded_width: of those that intensities are decoded from."""
        self.head = ActivationHead((width,), dropout)
        self.decoding = None
        if auxiliary:
            self.decoding = nn.ModuleList(IntensityDecoding((decoded_width,), (self.decoding_stride,)) for _ in self.times)

    @property
    def token_size_mm(self) -> tuple[float, float, float]:
        """Distance (z, y, x) between places of the class-activation map, mm: the maps' true resolution, not the grid they are given on."""
        return tuple(stride * step for stride, step in zip(self.map_stride, self.geometry.spacing_mm[::-1]))

    def features(self, stacked: torch.Tensor) -> Maps:
        """Channels-stacked visits (B, channels, D, H, W) -> the maps that are averaged, and those that intensities are decoded from; each
        network's own."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> NetworkOutput:
        check_shape(x, self.geometry)
        averaged, decoded = self.features(x[:, list(self.times)].flatten(1, 2))
        logit, embedding, (contributions,) = self.head([averaged])
        contributions = on_tokens(contributions, self.map_stride, self.map_first, self.geometry.tokens(0), self.token_stride)
        share = shares_of(contributions)
        unseen = torch.full_like(share, 1 / share[0].numel())
        return NetworkOutput(logit, share if 1 in self.times else unseen, share if 0 in self.times else unseen, contributions.abs(),
                             embedding, self._auxiliary(x, decoded))

    def _auxiliary(self, x: torch.Tensor, decoded: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.decoding is None or not self.training:
            return {}
        tokens = F.layer_norm(decoded.flatten(2).transpose(1, 2), decoded.shape[1:2])
        losses = [decode([tokens], x[:, time]) for decode, time in zip(self.decoding, self.times)]
        return {"intensity_decoding": sum(losses) / len(losses)}
