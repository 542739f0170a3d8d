"""Pooling is gated by the post ROI, starts as the ROI-weighted mean, and says what each token contributed."""

from __future__ import annotations

import pytest
import torch

from MRDeltaNetLib.models.head import Head, RoiPooling


@pytest.fixture
def case():
    torch.manual_seed(0)
    delta, roi = torch.randn(2, 40, 8), torch.zeros(2, 40)
    roi[:, 10:20] = torch.rand(2, 10) * 0.9 + 0.1
    return delta, roi


def test_attention_pooling_starts_as_the_roi_weighted_mean(case):
    delta, roi = case
    pooled, _ = RoiPooling(8)(delta, roi)
    expected = (roi[..., None] * delta).sum(1) / roi.sum(1, keepdim=True)
    assert torch.allclose(pooled[:, :8], expected, atol=1e-4)


def test_maxima_come_from_the_roi_even_if_a_larger_change_lies_outside(case):
    delta, roi = case
    delta[:, 30] = 5.0
    pooled, _ = RoiPooling(8)(delta, roi)
    inside = delta[:, 10:20]
    gate = 2 * (roi / roi.amax(1, keepdim=True)).clamp(max=0.5)
    expected = (inside - 8 * (1 - gate[:, 10:20, None])).amax(1)
    assert torch.allclose(pooled[:, 8:16], expected)
    assert torch.allclose(pooled[:, 16:], (-inside - 8 * (1 - gate[:, 10:20, None])).amax(1))


def test_shares_sum_to_one_and_are_the_average_weight_of_each_token(case):
    delta, roi = case
    pooling = RoiPooling(8)
    pooling.score.data.normal_(std=2)
    delta.requires_grad_()
    pooled, shares = pooling(delta, roi)
    assert torch.allclose(shares.sum(1), torch.ones(2), atol=1e-5)
    maxima = pooled[:, 8:16].sum() - pooled[:, 16:].sum()            # gradient 1 at each channel's maximum and at its minimum
    hits = torch.autograd.grad(maxima, delta)[0].sum(-1)
    score = (torch.tanh(pooling.tanh(delta)) * torch.sigmoid(pooling.sigmoid(delta))) @ pooling.score
    alpha = (score + torch.log(roi + 1e-6)).softmax(1)
    assert torch.allclose(shares, (alpha + hits / 8) / 3, atol=1e-5)


def test_an_empty_roi_opens_the_gate_for_all_tokens(case):
    delta, _ = case
    pooled, shares = RoiPooling(8)(delta, torch.zeros(2, 40))
    assert torch.allclose(pooled[:, :8], delta.mean(1), atol=1e-5)
    assert torch.allclose(pooled[:, 8:16], delta.amax(1))
    assert torch.allclose(shares.sum(1), torch.ones(2), atol=1e-5)


def test_head_gives_one_logit_and_its_embedding():
    logit, embedding = Head(12, 5, 0.3).eval()(torch.randn(3, 12))
    assert logit.shape == (3,) and embedding.shape == (3, 5) and (embedding >= 0).all()
