"""The comparison aligns softly, by position in both tumours' frames, and treats both visits alike."""

from __future__ import annotations

import pytest
import torch

from MRDeltaNetLib.models.comparison import COMPARISONS, Alignment, Comparison, Frames, PositionPrior, in_plane_offset_mm, read

GRID, TOKEN_MM, DIM = (3, 8, 10), (6.0, 6.0, 7.0), 16
N = GRID[0] * GRID[1] * GRID[2]


def frames(offset_mm=(0.0, 0.0), valid=True, batch=2) -> Frames:
    torch.manual_seed(1)
    roi = torch.rand(2, batch, N)
    return Frames(roi[0], roi[1], torch.tensor([offset_mm] * batch), torch.tensor([valid] * batch))


def comparison(compare="anchored", content=True) -> Comparison:
    torch.manual_seed(0)
    return Comparison(DIM, GRID, TOKEN_MM, compare=compare, content=content, latents=5, heads=4).eval()


def features(seed=0, batch=2) -> torch.Tensor:
    return torch.randn(batch, DIM, *GRID, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("offset_mm", [(0.0, 0.0), (13.0, -9.0), (500.0, -500.0)])
def test_every_row_of_the_position_prior_sums_to_one(offset_mm):
    prior = PositionPrior(GRID[1:], TOKEN_MM[1:])(frames(offset_mm))
    assert torch.allclose(prior.sum(-1), torch.ones(2, GRID[1] * GRID[2]), atol=1e-5)
    assert (prior >= 0).all()


def test_the_separable_prior_equals_the_two_dimensional_gaussian_written_out():
    prior = PositionPrior(GRID[1:], TOKEN_MM[1:])
    place = torch.stack(torch.meshgrid(torch.arange(8) * 6.0, torch.arange(10) * 7.0, indexing="ij"), -1).reshape(-1, 2)
    offset = torch.tensor([7.0, -10.0])
    scale, weight = prior.log_scale.exp(), prior.mixture.softmax(0)

    def gaussian(shift, s):
        g = torch.exp(-((place[None] - place[:, None] - shift) ** 2).sum(-1) / (2 * s**2))
        return g / g.sum(1, keepdim=True)

    expected = weight[0] * gaussian(torch.zeros(2), scale[0]) + weight[1] * gaussian(offset, scale[1]) + weight[2] / len(place)
    assert torch.allclose(prior(frames(tuple(offset.tolist())))[0], expected, atol=1e-5)


def test_a_case_with_an_empty_mask_gets_no_weight_in_the_tumour_frame():
    prior = PositionPrior(GRID[1:], TOKEN_MM[1:])
    weight = prior.weights(torch.tensor([True, False]))
    assert weight[0, 1] > 0.4 and weight[1, 1] == 0
    assert torch.allclose(weight.sum(1), torch.ones(2))


def test_the_tumour_frame_offset_is_the_known_shift_between_the_masks():
    roi = torch.zeros(1, 4, 32, 32)
    roi[:, :, 10:14, 6:12] = 1.0
    offset, valid = in_plane_offset_mm(roi, roi.roll((3, -2), (2, 3)), (0.75, 0.5))
    assert valid.all() and torch.allclose(offset, torch.tensor([[-3 * 0.75, 2 * 0.5]]), atol=1e-4)


def test_an_empty_mask_gives_no_offset():
    roi = torch.ones(2, 2, 4, 4)
    roi[0] = 0
    offset, valid = in_plane_offset_mm(roi, torch.ones(2, 2, 4, 4), (1.0, 1.0))
    assert valid.tolist() == [False, True] and (offset == 0).all()


@pytest.mark.parametrize("shift", [(0, 0), (2, -1), (-1, 2)])
def test_a_known_shift_of_the_tumour_is_recovered_as_displacement_of_the_soft_alignment(shift):
    """sum_j A_ij p_j - p_i is the offset, for a prior in the tumour frame alone and tokens whose partner lies inside."""
    align = Alignment(DIM, PositionPrior(GRID[1:], TOKEN_MM[1:]), content=False)
    align.prior.mixture.data = torch.tensor([-30.0, 0.0, -30.0])
    align.prior.log_scale.data.fill_(1.0)
    offset = (shift[0] * 6.0, shift[1] * 7.0)
    place = torch.stack(torch.meshgrid(torch.arange(8) * 6.0, torch.arange(10) * 7.0, indexing="ij"), -1).reshape(1, -1, 2)
    table = align(torch.zeros(1, N, DIM), torch.zeros(1, N, DIM), frames(offset, batch=1), GRID[0])
    moved = (table[:, 0] @ place - place).reshape(8, 10, 2)[3:5, 3:7]
    assert torch.allclose(moved, torch.tensor(offset).expand_as(moved), atol=0.05)


def test_content_starts_near_the_prior_and_can_then_overrule_it():
    align = Alignment(DIM, PositionPrior(GRID[1:], TOKEN_MM[1:]), content=True)
    a, b = (features(seed).flatten(2).transpose(1, 2) for seed in (1, 2))
    prior = align.prior(frames())
    assert (align(a, b, frames(), GRID[0]) - prior[:, None]).abs().max() < 0.02
    align.query.weight.data, align.key.weight.data = torch.eye(DIM) * 5, torch.eye(DIM) * 5
    found = align(a, a, frames(), GRID[0]).argmax(-1)
    assert (found == torch.arange(GRID[1] * GRID[2])).float().mean() > 0.9


def test_without_content_one_table_serves_all_slices_and_reading_equals_the_long_way():
    align = Alignment(DIM, PositionPrior(GRID[1:], TOKEN_MM[1:]), content=False)
    a = features().flatten(2).transpose(1, 2)
    table = align(a, a, frames((5.0, 3.0)), GRID[0])
    long_way = torch.einsum("bij,bdjc->bdic", table[:, 0], a.unflatten(1, (GRID[0], -1))).flatten(1, 2)
    assert table.shape[1] == 1 and torch.allclose(read(table, a, GRID[0]), long_way, atol=1e-5)


def test_two_equal_visits_have_no_change_where_the_alignment_is_sharp():
    network = comparison(content=False)
    network.align.prior.mixture.data = torch.tensor([0.0, 0.0, -60.0])
    network.align.prior.log_scale.data.fill_(-3.0)
    x = features()
    assert network(x, x, frames()).change.abs().max() < 1e-4


@pytest.mark.parametrize("compare", ["anchored", "local", "full", "pool", "subtract"])
def test_two_equal_flat_visits_have_no_change_whatever_the_alignment(compare):
    """One value map serves both visits and rows sum to 1, so that nothing but the scans can make a difference."""
    flat = torch.randn(2, DIM, 1, 1, 1).expand(2, DIM, *GRID)
    assert comparison(compare)(flat, flat, frames((9.0, -4.0))).change.abs().max() < 1e-5


@pytest.mark.parametrize("compare", COMPARISONS)
def test_carrying_shares_to_the_pre_scan_keeps_their_sum(compare):
    compared = comparison(compare)(features(1), features(2), frames((6.0, 7.0)))
    shares = torch.rand(2, N).softmax(1)
    carried = compared.carry(shares)
    assert carried.shape == (2, N) and (carried >= 0).all()
    assert torch.allclose(carried.sum(1), torch.ones(2), atol=1e-5)


def test_anchored_carries_a_single_token_to_the_place_it_was_compared_with():
    network = comparison(content=False)
    network.align.prior.mixture.data = torch.tensor([-60.0, 0.0, -60.0])
    network.align.prior.log_scale.data.fill_(-1.0)
    one = torch.zeros(1, *GRID)
    one[0, 1, 3, 4] = 1.0
    carried = network(features(1, 1), features(2, 1), frames((12.0, -7.0), batch=1)).carry(one.flatten(1)).unflatten(1, GRID)
    assert float(carried[0, 1, 5, 3].detach()) == pytest.approx(1.0, abs=1e-4)


def test_only_content_and_latents_see_the_images():
    assert not comparison("anchored", content=False).sees_content
    assert comparison("anchored").sees_content and comparison("latent", content=False).sees_content


def test_an_unknown_comparison_is_refused_with_the_list():
    with pytest.raises(ValueError, match="anchored"):
        comparison("nearest")


def test_full_attention_by_the_fused_kernel_equals_the_table_written_out_forward_backward_and_carried():
    network, a, b = comparison("full"), *(features(seed).flatten(2).transpose(1, 2) for seed in (1, 2))
    network.align.query.weight.data, network.align.key.weight.data = torch.randn(2, DIM, DIM)
    table = network.align(a, b, frames(), GRID[0])
    values = torch.randn(2, N, 5, requires_grad=True)
    fused, long_way = network.align.fused(a, b, values), read(table, values, GRID[0])
    assert torch.allclose(fused, long_way, atol=1e-5) and table[:, 0].amax(-1).mean() > 0.05, "attention is not flat"
    goal = torch.randn_like(fused)
    assert torch.allclose(*(torch.autograd.grad((found * goal).sum(), values, retain_graph=True)[0] for found in (fused, long_way)), atol=1e-5)
    shares = torch.rand(2, N).softmax(1)
    assert torch.allclose(network.align.carried(a, b, shares), (table[:, 0].transpose(1, 2) @ shares[..., None])[..., 0], atol=1e-6)
    change = network(features(1), features(2), frames()).change
    a, b = network.norm(a), network.norm(b)
    expected = network.value(b) - read(network.align(a, b, frames(), GRID[0]), network.value(a), GRID[0])
    assert torch.allclose(change, expected, atol=1e-5)


def test_carrying_row_by_row_equals_carrying_at_once(monkeypatch):
    align, (a, b) = comparison("full").align, (features(seed).flatten(2).transpose(1, 2) for seed in (1, 2))
    shares = torch.rand(2, N)
    at_once = align.carried(a, b, shares)
    monkeypatch.setattr("MRDeltaNetLib.models.comparison._ROWS_AT_ONCE", 7)
    assert torch.allclose(align.carried(a, b, shares), at_once, atol=1e-6)


def test_only_latents_have_change_gates_and_they_lie_between_zero_and_one():
    for compare in COMPARISONS:
        gate = comparison(compare)(features(1), features(2), frames()).gate
        assert (gate is not None) == ("latent" in compare)
        assert gate is None or (gate.shape == (2, N) and (gate > 0).all() and (gate < 1).all())
