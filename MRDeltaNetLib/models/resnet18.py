"""MONAI's 3-D ResNet-18 on one visit, or on both as channels: the baseline that everybody knows."""

from __future__ import annotations

import torch
from monai.networks.nets import resnet18

from MRDeltaNetLib.models.pair import sizes_of
from MRDeltaNetLib.models.stacked import Maps, StackedNetwork

WIDTHS = {"tiny": 0.25, "small": 0.5, "base": 1.0}
"""Preset -> share of ResNet-18's channels."""


class ResNet18(StackedNetwork):
    """MONAI's network with a first stride of 2 in plane and 1 through plane (slices are four times thicker than pixels), batch
    normalisation and the usual max pooling; otherwise as it is. "base" is the full width (33 M weights).

    In training it needs more than one place in its last feature maps, or more than one case, for batch normalisation.
    """

    decoding_stride = (4, 8, 8)
    map_stride = (16, 32, 32)
    map_first = (0.0, 0.0, 0.0)                            # odd kernels with stride 2 keep place 0 at voxel 0
    stages = tuple((name, tuple(f"network.{part}." for part in parts)) for name, parts in (
        ("stem", ("conv1", "bn1")), ("layer1", ("layer1",)), ("layer2", ("layer2",)), ("layer3", ("layer3",)), ("layer4", ("layer4",))))

    def __init__(self, *, spacing_mm=(0.75, 0.75, 3.0), crop_mm=(96.0, 96.0, 72.0), preset: str = "base", visits: str = "both",
                 auxiliary: bool = True, dropout: float = 0.3) -> None:
        sizes_of(preset)
        super().__init__(spacing_mm=spacing_mm, crop_mm=crop_mm, visits=visits)
        self.network = resnet18(spatial_dims=3, n_input_channels=self.channels, conv1_t_stride=(1, 2, 2), feed_forward=False,
                                widen_factor=WIDTHS[preset], act=("relu", {"inplace": False}))
        self.build_head(int(512 * WIDTHS[preset]), int(128 * WIDTHS[preset]), dropout, auxiliary)
        self.to(memory_format=torch.channels_last_3d)

    def features(self, stacked: torch.Tensor) -> Maps:
        net = self.network
        x = net.maxpool(net.act(net.bn1(net.conv1(stacked.contiguous(memory_format=torch.channels_last_3d)))))
        middle = net.layer2(net.layer1(x))
        return net.layer4(net.layer3(middle)), middle
