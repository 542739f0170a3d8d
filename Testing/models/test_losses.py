"""Class-balanced focal loss and intensity decoding."""

from __future__ import annotations

import pytest
import torch

from MRDeltaNetLib.models.losses import ClassBalancedFocal, IntensityDecoding, class_balanced_weights, octant_means


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
