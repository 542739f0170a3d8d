"""Stages for layer-wise learning rates hold every weight once, from the input on; norms, biases, positions and latents are not decayed."""

from __future__ import annotations

import pytest
import torch

from MRDeltaNetLib.models.layers import layers, no_decay
from MRDeltaNetLib.models.registry import build, names

SETTINGS = {"crop_mm": (24.0, 24.0, 24.0), "preset": "tiny"}


@pytest.mark.parametrize("name, more", [(name, {}) for name in names()] + [("deltanet", {"members": 2}), ("deltanet", {"compare": "anchored+latent"}),
                                        ("deltanet", {"auxiliary": False})])
def test_every_parameter_is_in_exactly_one_stage_under_its_own_name(name, more):
    made = build(name, **SETTINGS, **more)
    listed = [pair for _, members, _ in layers(made) for pair in members]
    assert len(listed) == len({key for key, _ in listed}) and {key: id(p) for key, p in listed} == {key: id(p) for key, p in made.named_parameters()}


@pytest.mark.parametrize("name", names())
def test_stages_run_from_the_input_to_the_head_without_a_gap(name):
    """Depth 0 is touched by the image first, the last layer is deepest, and no stage is empty (a misspelt prefix would leave one)."""
    made = build(name, **SETTINGS)
    found, order = layers(made), []
    assert [depth for _, _, depth in found] == list(range(len(made.stages) + 1)) and found[-1][0] == "head"
    depth_of = {key: depth for _, members, depth in found for key, _ in members}
    for key, module in made.named_modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.Linear)) and f"{key}.weight" in depth_of:
            module.register_forward_hook(lambda module, inputs, output, key=key: order.append(depth_of[f"{key}.weight"]))
    made.eval()(torch.rand(1, 2, 2, *made.geometry.voxels))
    assert order[0] == 0 and order[-1] == len(made.stages)
    first = {depth: order.index(depth) for depth in set(order)}
    assert sorted(first, key=first.get) == sorted(first), "stages are entered in the order of their depths"


def test_an_ensemble_has_its_members_stages():
    single, both = layers(build("deltanet", **SETTINGS)), layers(build("deltanet", members=2, **SETTINGS))
    assert [(stage, 2 * len(members), depth) for stage, members, depth in single] == [(stage, len(members), depth) for stage, members, depth in both]


def test_norms_biases_positions_scales_and_latents_are_not_decayed_and_all_matrices_are():
    made = build("deltanet", compare="anchored+latent", **SETTINGS)
    plain = {key for key, p in made.named_parameters() if no_decay(key, p)}
    for key in ("encoder.position", "comparisons.0.latent.latents", "comparisons.1.latent.time", "comparisons.0.align.prior.mixture",
                "comparisons.0.align.prior.log_scale", "comparisons.0.norm.weight", "encoder.stem.0.adn.N.weight", "head.logit.bias",
                "encoder.stage3.0.attention.in_proj_bias"):
        assert key in plain, key
    for key in ("encoder.stem.0.conv.weight", "comparisons.0.value.weight", "head.logit.weight", "encoder.stage3.0.attention.in_proj_weight",
                "comparisons.0.latent.gate.0.weight"):
        assert key not in plain, key
    vit = {key for key, p in build("vit", **SETTINGS).named_parameters() if no_decay(key, p)}
    assert "network.patch_embedding.position_embeddings" in vit and "network.blocks.0.attn.qkv.weight" not in vit
