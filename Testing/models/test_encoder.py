"""The shared encoder keeps tokens in the middle of the voxels they stand for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from MRDeltaNetLib.models.encoder import STRIDES, Encoder, Geometry

GEOMETRY = Geometry((0.75, 0.75, 3.0), (48.0, 36.0, 24.0))


def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(GEOMETRY, channels=2, dims=(8, 8, 16, 16), blocks=(1, 1, 1), heads=2, drop_path=0.1).eval()


def test_tokens_are_six_and_twelve_millimetres_at_the_default_spacing():
    assert GEOMETRY.voxels == (8, 48, 64)
    assert GEOMETRY.tokens(0) == (4, 6, 8) and GEOMETRY.tokens(1) == (2, 3, 4)
    assert GEOMETRY.token_mm(0) == (6.0, 6.0, 6.0) and GEOMETRY.token_mm(1) == (12.0, 12.0, 12.0)
    fine, coarse = encoder()(torch.randn(1, 2, *GEOMETRY.voxels))
    assert fine.shape == (1, 16, 4, 6, 8) and coarse.shape == (1, 16, 2, 3, 4)


def test_a_crop_that_is_not_made_of_whole_tokens_is_refused():
    with pytest.raises(ValueError, match="whole blocks"):
        Geometry((0.75, 0.75, 3.0), (50.0, 36.0, 24.0)).voxels


def test_strided_kernels_do_not_move_token_centres():
    """The place in a token's voxels that weighs as much on either side, for kernels of ones: the middle of the token."""
    stages = nn.Sequential(*(stage for part in (encoder().stem, [encoder().down2, encoder().down3]) for stage in part))
    convolutions = [module for module in stages.modules() if isinstance(module, nn.Conv3d)]
    x = torch.zeros(1, 1, 20, 96, 96, requires_grad=True)                # larger than the crop: no token near a border
    y = x
    for convolution in convolutions:
        y = nn.functional.conv3d(y, torch.ones(1, 1, *convolution.kernel_size), stride=convolution.stride, padding=convolution.padding)
    y[0, 0, 2, 3, 3].backward()
    for axis, (token, stride) in enumerate(zip((2, 3, 3), STRIDES[1])):
        weight = x.grad[0, 0].sum([other for other in range(3) if other != axis])
        centre = (weight * torch.arange(len(weight))).sum() / weight.sum()
        assert centre == pytest.approx(token * stride + (stride - 1) / 2, abs=1e-3)


def test_guided_back_propagation_finds_relu_modules_that_are_used_once():
    calls = {}
    network = encoder()
    for name, module in network.named_modules():
        if isinstance(module, nn.ReLU):
            assert not module.inplace
            module.register_forward_hook(lambda *_, name=name: calls.update({name: calls.get(name, 0) + 1}))
    network(torch.randn(1, 2, *GEOMETRY.voxels))
    assert len(calls) >= 7 and set(calls.values()) == {1}
