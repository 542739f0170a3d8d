"""Transformer relevance: closed forms, conservation, and torch's own attention written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from MRDeltaNetLib.models.head import GlobalAndRoi, RoiPooling
from MRDeltaNetLib.response.attribution import attribute, why_not
from MRDeltaNetLib.response.attribution import relevance
from MRDeltaNetLib.response.attribution.watching import attended, watched
from Testing.response.attribution.test_methods import network, pair

NETWORKS = [("deltanet", {}), ("deltanet", {"compare": "full"}), ("deltanet", {"compare": "local", "content": False}), ("deltanet", {"compare": "pool"}),
            ("deltanet", {"compare": "latent"}), ("deltanet", {"compare": "anchored+latent"}), ("deltanet", {"compare": "latent", "change_keys": False}),
            ("deltanet", {"scales": "coarse"}), ("deltanet", {"scales": "fine"}), ("slice2p5d", {}), ("subtract", {}), ("roi_pooled", {}), ("roi_pooled", {"visits": "pre"})]
IDS = ["-".join([name, *map(str, more.values())]) for name, more in NETWORKS]


def test_torch_s_attention_written_out_gives_torch_s_answer():
    torch.manual_seed(0)
    module = nn.MultiheadAttention(12, 3, batch_first=True).eval()
    q, k = torch.randn(2, 5, 12), torch.randn(2, 7, 12)
    mask = torch.randn(2, 1, 7).expand(-1, 5, -1).repeat_interleave(3, 0)
    for given in (None, mask):
        expected = module(q, k, k, attn_mask=given)
        (output, mean), weights = attended(module, q, k, k, mask=given)
        assert torch.allclose(output, expected[0], atol=1e-6) and torch.allclose(mean, expected[1], atol=1e-6)
        assert weights.shape == (2, 3, 5, 7) and torch.allclose(weights.sum(-1), torch.ones(2, 3, 5))


def test_one_attention_of_one_head_passes_on_what_calculus_says():
    """y = u . sum_i (A V x)_i has dy/dA_ij = u . W v_j, the same for every row: Abar_ij = A_ij max(0, u . W v_j)."""
    torch.manual_seed(1)
    module, tokens, u = nn.MultiheadAttention(4, 1, batch_first=True).eval(), torch.randn(1, 6, 4), torch.randn(4)
    with watched(nn.Sequential(module)) as seen:
        answer = module(tokens, tokens, tokens, need_weights=False)[0].sum(1)[0] @ u
    seen.differentiate(answer)
    (call,) = seen.calls["attention"]
    value = tokens[0] @ module.in_proj_weight[8:].T + module.in_proj_bias[8:]
    expected = call.watched[0, 0] * (value @ module.out_proj.weight.T @ u).clamp(min=0)
    assert torch.allclose(relevance.passed_on(call.watched, call.slope)[0], expected.detach(), atol=1e-6)
    assert not module._forward_hooks, "nothing stays behind"


def test_heads_count_by_their_mean():
    weights, slope = torch.rand(1, 2, 3, 3), torch.randn(1, 2, 3, 3)
    expected = ((weights[0, 0] * slope[0, 0]).clamp(min=0) + (weights[0, 1] * slope[0, 1]).clamp(min=0)) / 2
    assert torch.allclose(relevance.passed_on(weights, slope)[0], expected)


def test_a_self_attention_with_a_residual_path_adds_what_it_passes_on_to_what_was_there():
    """Two blocks backwards from the answer: r (I + Abar_2) (I + Abar_1)."""
    net, x = network("roi_pooled", visits="post"), pair()
    assert len(net.encoder.stage3) == 2
    with watched(net) as seen:
        answer = net(x[None].requires_grad_()).logit.sum()
    seen.differentiate(answer)
    bars = [relevance.passed_on(seen.of(block.attention)[0].watched, seen.of(block.attention)[0].slope)[0] for block in net.encoder.stage3]
    r = relevance.pooling_relevance(seen.calls["pooling"][1])
    eye = torch.eye(r.shape[1])
    expected = r @ (eye + bars[1]) @ (eye + bars[0])
    assert torch.allclose(relevance.of_tokens(net, pair())["post"][1], expected, rtol=1e-4, atol=1e-9) and (bars[0] > 0).any()


@pytest.mark.parametrize("kind", [RoiPooling, GlobalAndRoi])
def test_poolings_give_each_token_what_it_adds_by_hand(kind):
    torch.manual_seed(2)
    pool = kind(6) if kind is RoiPooling else kind()
    delta, roi, u = torch.randn(1, 10, 6, requires_grad=True), torch.rand(1, 10), torch.randn(18)
    with watched(nn.Sequential(pool)) as seen:
        answer = pool(delta, roi)[0][0] @ u
    seen.differentiate(answer)
    expected = np.zeros(10)
    views = pool.views(delta, roi)
    for number, view in enumerate(views):
        part = u[6 * number:6 * number + 6].numpy()
        for token in range(10):
            if view.weights is not None:
                expected[token] += max(0.0, float(view.weights[0, token].detach()) * float(delta[0, token].detach().numpy() @ part))
        if view.where is not None:
            for channel in range(6):
                token = int(view.where[0, channel])
                expected[token] += max(0.0, view.sign * float(delta[0, token, channel].detach()) * part[channel])
    assert relevance.pooling_relevance(seen.calls["pooling"][0])[0].detach().numpy() == pytest.approx(expected, abs=1e-6)


def test_a_comparison_passes_on_all_that_it_got_to_those_that_raise_the_answer():
    """D_0 = b_0 - (a_0 + a_1) / 2 and D_1 = b_1 - a_1, numbers by hand."""
    pre, post = torch.tensor([[[1.0], [-3.0]]]), torch.tensor([[[2.0], [-1.0]]])
    slope, share = torch.tensor([[[1.0], [1.0]]]), torch.tensor([[6.0, 4.0]])
    table = torch.tensor([[[0.5, 0.5], [0.0, 1.0]]])
    to_pre, to_post = relevance.split(share, slope, pre, post, lambda part: table[:, part])
    # D_0: b adds 2, a_0 takes 0.5 away (0), a_1 adds 1.5; D_1: b takes 1 away (0), a_1 adds 3
    assert to_post[0].tolist() == pytest.approx([6 * 2 / 3.5, 0]) and to_pre[0].tolist() == pytest.approx([0, 6 * 1.5 / 3.5 + 4])
    nothing = relevance.split(share, -slope, torch.zeros_like(pre), post.abs(), lambda part: table[:, part])
    assert nothing[1][0].tolist() == [3, 2] and nothing[0][0].tolist() == pytest.approx([1.5, 3.5])


@pytest.mark.parametrize("name, more", NETWORKS, ids=IDS)
def test_relevance_follows_every_kind_of_attention_and_leaves_the_network_alone(name, more):
    net, x = network(name, **more), pair()
    before = float(net(x[None]).logit)
    with watched(net):
        explicit = float(net(x[None].clone().requires_grad_()).logit)
    assert explicit == pytest.approx(before, abs=1e-4)
    found = relevance.of_tokens(net, x, 1.0)
    assert set(found) == ({"pre"} if "visits" in more else {"pre", "post"})
    for visit, scales in found.items():
        assert [share.shape[1] for share in scales] == [int(np.prod(net.geometry.tokens(scale))) for scale in net.scales]
        assert all(share.isfinite().all() and (share >= 0).all() for share in scales) and sum(float(share.sum()) for share in scales) > 0, visit
    assert float(net(x[None]).logit) == before and not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("compare", ["anchored", "local", "full", "pool", "subtract"])
def test_without_self_attention_the_relevance_of_both_scans_is_all_that_the_head_got(compare):
    net, x = network("deltanet", compare=compare, scales="fine"), pair()
    with watched(net) as seen:
        answer = net(x[None].requires_grad_()).logit.sum()
    seen.differentiate(answer)
    found = relevance.of_tokens(net, pair())
    total = sum(float(share.sum()) for scales in found.values() for share in scales)
    assert total == pytest.approx(float(relevance.pooling_relevance(seen.calls["pooling"][0]).sum()), rel=1e-4)


def test_a_large_table_is_followed_in_parts_with_the_same_result(monkeypatch):
    net, x = network(scales="fine"), pair()
    whole = relevance.of_tokens(net, x)
    monkeypatch.setattr(relevance, "ROWS_AT_ONCE", 7)
    for visit, (share,) in relevance.of_tokens(net, x).items():
        assert torch.allclose(share, whole[visit][0], rtol=1e-4, atol=1e-9)


def test_networks_without_attention_of_each_visit_say_why():
    assert "no attention" in why_not("relevance", network("siamese_subtraction"))
    for name in ("resnet18", "vit"):
        if name == "vit":
            pytest.importorskip("einops")
        assert "both visits" in why_not("relevance", network(name)) and "both visits" in why_not("gradcam", network(name))


def test_an_ensemble_s_map_is_the_mean_of_its_members_maps():
    net, x = network(members=2), pair()
    mean = attribute("relevance", net, x, toward="pCR").maps
    each = [attribute("relevance", member, x, toward="pCR").maps for member in net.members]
    for visit in ("pre", "post"):
        assert mean[visit] == pytest.approx((each[0][visit] + each[1][visit]) / 2, abs=1e-6)


def test_relevance_through_latents_is_that_of_the_papers_matrices_carried_forward():
    """An oracle that goes the other way: R of each stage built up from the input, R_z <- A_read, R_z <- R_z + A_think R_z, R_b' <- I and A_write R_z
    (Chefer et al. 2021b, equations 5, 6 and 10 without its normalisation), and only then read with what each change is worth."""
    net, x = network("deltanet", compare="latent", scales="fine"), pair()
    with watched(net) as seen:
        answer = net(x[None].requires_grad_()).logit.sum()
    seen.differentiate(answer)
    (comparison,), (pooling,), (latents,) = (seen.calls[kind] for kind in ("comparison", "pooling", "latents"))
    module, a, b = comparison.module.latent, *latents.given[:2]
    (read,), (write_b, write_a), (think,) = (seen.of(part) for part in (module.reader, module.writer, module.think.attention))
    bar_read, bar_b, bar_a, bar_think = (relevance.passed_on(call.watched, call.slope)[0] for call in (read, write_b, write_a, think))
    n = a.shape[1]
    z = bar_read.clone()
    z = z + bar_think @ z                                                     # latents (L) over keys: a, b, change (3 n)
    inputs = z[:, :n] + z[:, 2 * n:] / 2, z[:, n:2 * n] + z[:, 2 * n:] / 2    # over a, over b
    eye = torch.eye(n)
    of_b = bar_b @ inputs[0], eye + bar_b @ inputs[1]                         # b' over a, over b
    of_a = eye + bar_a @ inputs[0], bar_a @ inputs[1]
    g, share = latents.slope[0], relevance.pooling_relevance(pooling)[0]
    raises = (g * (b + write_b.output[0])[0]).sum(-1).clamp(min=0), (-g * (a + write_a.output[0])[0]).sum(-1).clamp(min=0)
    worth = [torch.where(sum(raises) > 0, share * one / sum(raises).clamp(min=1e-30), share / 2) for one in raises]
    expected = [worth[0] @ of_b[side] + worth[1] @ of_a[side] for side in (0, 1)]
    found = relevance.of_tokens(net, pair())
    for side, visit in enumerate(("pre", "post")):
        assert torch.allclose(found[visit][0][0], expected[side], rtol=1e-4, atol=1e-9), visit
    assert min(bar.max() for bar in (bar_read, bar_b, bar_a, bar_think)) > 0
