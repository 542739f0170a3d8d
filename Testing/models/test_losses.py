"""Class-balanced focal loss, both contrasts, the gate budget and intensity decoding."""

from __future__ import annotations

import pytest
import torch

from MRDeltaNetLib.models.losses import (ClassBalancedFocal, IntensityDecoding, class_balanced_weights, gate_budget_loss, identity_contrast,
                                         octant_means, response_contrast)


@pytest.mark.parametrize("beta, ratio", [(0.99, 1.53), (0.999, 4.16), (0.9999, 4.98)])
def test_class_weights_of_529_and_104_cases_have_the_published_ratios(beta, ratio):
    non_pcr, pcr = class_balanced_weights(529, 104, beta)
    assert non_pcr + pcr == pytest.approx(2)
    assert pcr / non_pcr == pytest.approx(ratio, abs=0.01)


def test_beta_zero_weighs_both_classes_alike():
    assert class_balanced_weights(500, 3, 0.0) == (1.0, 1.0)


@pytest.mark.parametrize("counts, beta, word", [((0, 5), 0.9, "both classes"), ((5, 5), 1.0, "beta")])
def test_impossible_class_weights_are_refused(counts, beta, word):
    with pytest.raises(ValueError, match=word):
        class_balanced_weights(*counts, beta)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_focal_loss_equals_its_formula_case_by_case(gamma):
    logit, outcome = torch.tensor([2.0, -1.0, 0.3, -4.0]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    weights = class_balanced_weights(529, 104, 0.99)
    p = torch.where(outcome > 0, torch.sigmoid(logit), 1 - torch.sigmoid(logit))
    w = torch.where(outcome > 0, weights[1], weights[0])
    expected = (-w * (1 - p) ** gamma * torch.log(p)).mean()
    assert ClassBalancedFocal(529, 104, 0.99, gamma)(logit, outcome) == pytest.approx(float(expected), rel=1e-5)


def test_octant_means_are_ordered_by_token_then_z_y_x():
    t2 = torch.arange(4 * 8 * 8).float().reshape(1, 4, 8, 8)
    means = octant_means(t2, (1, 2, 2))
    assert means.shape == (1, 8, 8)
    assert means[0, 0, 0] == t2[0, 0, :2, :2].mean() and means[0, 0, 1] == t2[0, 0, :2, 2:4].mean()
    assert means[0, 0, 4] == t2[0, 1, :2, :2].mean() and means[0, 1, 0] == t2[0, 0, :2, 4:6].mean()
    assert means[0, 7, 7] == t2[0, 3, 6:, 6:].mean()


def test_intensity_decoding_is_zero_for_tokens_that_hold_their_intensities_inside_and_in_all():
    visit = torch.rand(2, 2, 4, 8, 8)
    decoding = IntensityDecoding((16,), ((2, 4, 4),))
    decoding.decoders[0].weight.data, decoding.decoders[0].bias.data = torch.eye(16), torch.zeros(16)
    tokens = torch.cat([octant_means(visit[:, 0], (1, 2, 2)), octant_means(visit[:, 0] * visit[:, 1], (1, 2, 2))], -1)
    assert float(decoding([tokens], visit)) == pytest.approx(0, abs=1e-10)
    assert float(decoding([torch.zeros(2, 8, 16)], visit)) > 0.05


def slow_response_contrast(embedding, outcome, queue, queue_outcome, temperature, responders_only):
    """The formula, case by case and pair by pair."""
    others = [*embedding, *queue.detach()]
    labels = [*outcome.tolist(), *queue_outcome.tolist()]
    losses = []
    for i in range(len(embedding)):
        e = embedding[i] / embedding[i].norm()
        likeness = {k: (e @ (others[k] / others[k].norm())) / temperature for k in range(len(others)) if k != i}
        positives = [k for k in likeness if labels[k] == labels[i] and (labels[i] == 1 or not responders_only)]
        if positives:
            everything = torch.stack([value.exp() for value in likeness.values()]).sum()
            losses.append(-sum(torch.log(likeness[k].exp() / everything) for k in positives) / len(positives))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("responders_only", [False, True])
@pytest.mark.parametrize("queued", [0, 7])
def test_response_contrast_and_its_gradient_equal_the_formula_written_as_a_double_loop(responders_only, queued):
    torch.manual_seed(0)
    outcome, queue_outcome = torch.tensor([1.0, 0, 1, 0, 1, 0]), (torch.rand(queued) < 0.5).float()
    embedding, queue = torch.randn(6, 5, requires_grad=True), torch.randn(queued, 5, requires_grad=True)
    loss = response_contrast(embedding, outcome, *((queue, queue_outcome) if queued else ()), temperature=0.5, responders_only=responders_only)
    expected = slow_response_contrast(embedding, outcome, queue, queue_outcome, 0.5, responders_only)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    found, by_loop = torch.autograd.grad(loss, embedding)[0], torch.autograd.grad(expected, embedding)[0]
    assert torch.allclose(found, by_loop, atol=1e-5) and found.abs().max() > 1e-3
    assert not queued or torch.autograd.grad(response_contrast(embedding, outcome, queue, queue_outcome), queue, allow_unused=True)[0] is None


def test_response_contrast_is_lowest_for_outcomes_that_lie_apart_and_does_not_see_lengths():
    outcome = torch.tensor([1.0, 1, 0, 0])
    apart = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
    assert float(response_contrast(apart, outcome)) < 1e-6 < 1 < float(response_contrast(apart, torch.tensor([1.0, 0, 1, 0])))
    assert float(response_contrast(apart * torch.tensor([[1.0], [9], [2], [5]]), outcome)) == pytest.approx(float(response_contrast(apart, outcome)), abs=1e-6)


def test_a_batch_without_a_positive_pair_has_no_response_contrast_but_a_gradient_of_zero():
    embedding = torch.randn(2, 3, requires_grad=True)
    loss = response_contrast(embedding, torch.tensor([0.0, 1.0]))
    loss.backward()
    assert float(loss.detach()) == 0 and (embedding.grad == 0).all()
    assert response_contrast(torch.zeros(4, 3), torch.tensor([0.0, 1, 0, 1])).isfinite(), "embeddings that are all zero"


def test_identity_contrast_and_its_gradient_equal_the_formula_written_as_a_double_loop():
    torch.manual_seed(0)
    anatomy = torch.randn(5, 2, 4, requires_grad=True)
    unit = [[v / v.norm() for v in pair] for pair in anatomy]
    expected = 0
    for i in range(5):
        for own, other in ((0, 1), (1, 0)):
            likeness = [(unit[i][own] @ unit[j][other] / 0.2).exp() for j in range(5)]
            expected = expected - torch.log(likeness[i] / sum(likeness)) / 10
    loss = identity_contrast(anatomy, temperature=0.2)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    found, by_loop = (torch.autograd.grad(value, anatomy)[0] for value in (loss, expected))
    assert torch.allclose(found, by_loop, atol=1e-6) and found.abs().max() > 1e-3


def test_identity_contrast_falls_when_own_visits_agree_and_is_nothing_for_a_single_patient():
    own = torch.eye(4)[:, None].repeat(1, 2, 1)
    mixed = torch.stack([own[:, 0], own[[1, 2, 3, 0], 1]], 1)
    assert float(identity_contrast(own)) < 1e-3 < 5 < float(identity_contrast(mixed))
    assert float(identity_contrast(torch.randn(1, 2, 4))) == 0


def test_contrasts_are_computed_in_full_precision_under_autocast():
    torch.manual_seed(0)
    embedding, outcome, anatomy = torch.randn(8, 16), torch.tensor([0.0, 1] * 4), torch.randn(8, 2, 16)
    with torch.autocast("cpu", torch.bfloat16):
        found = response_contrast(embedding, outcome), identity_contrast(anatomy)
    assert torch.equal(found[0], response_contrast(embedding, outcome)) and torch.equal(found[1], identity_contrast(anatomy))


@pytest.mark.parametrize("wrong", [lambda: response_contrast(torch.ones(2, 2), torch.ones(2), temperature=0.0), lambda: identity_contrast(torch.ones(2, 2, 2), -1.0),
                                   lambda: response_contrast(torch.ones(2, 2), torch.ones(2), queue_embedding=torch.ones(2, 2))])
def test_impossible_settings_of_a_contrast_are_refused(wrong):
    with pytest.raises(ValueError, match="temperature|queue"):
        wrong()


def test_the_gate_budget_is_the_squared_miss_of_each_cases_mean_gate():
    gate = torch.tensor([[0.1, 0.3], [0.5, 0.9]])
    assert float(gate_budget_loss(gate, 0.3)) == pytest.approx(((0.2 - 0.3) ** 2 + (0.7 - 0.3) ** 2) / 2)
    assert float(gate_budget_loss(torch.full((3, 7), 0.3), 0.3)) == pytest.approx(0, abs=1e-12)


def test_a_token_of_one_slice_is_decoded_in_four_quarters():
    visit = torch.rand(2, 2, 3, 8, 8)
    quarters = octant_means(visit[:, 0], (1, 2, 2), (1, 2, 2))
    assert quarters.shape == (2, 12, 4) and quarters[1, 5, 2] == visit[1, 0, 1, 2:4, 4:6].mean()
    decoding = IntensityDecoding((8,), ((1, 4, 4),))
    decoding.decoders[0].weight.data, decoding.decoders[0].bias.data = torch.eye(8), torch.zeros(8)
    inside = octant_means(visit[:, 0] * visit[:, 1], (1, 2, 2), (1, 2, 2))
    assert float(decoding([torch.cat([quarters, inside], -1)], visit).detach()) == pytest.approx(0, abs=1e-10)
