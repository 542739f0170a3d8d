"""Class activations on the token grid: nothing is lost, and each token takes from the place nearest to it."""

from __future__ import annotations

import pytest
import torch

from MRDeltaNetLib.models.activation import on_tokens, shares_of


@pytest.mark.parametrize("places, stride, first", [((2, 2, 2), (16, 32, 32), (0.0, 0.0, 0.0)), ((3, 3, 4), (4, 16, 16), (1.5, 7.5, 7.5)),
                                                   ((12, 12, 16), (1, 4, 4), (0.0, 1.5, 1.5)), ((1, 1, 1), (16, 32, 32), (0.0, 0.0, 0.0))])
def test_the_sum_of_a_cases_contributions_stays(places, stride, first):
    c = torch.randn(3, *places)
    found = on_tokens(c, stride, first, (6, 6, 8), (2, 8, 8))
    assert found.shape == (3, 6, 6, 8) and torch.allclose(found.sum((1, 2, 3)), c.sum((1, 2, 3)), atol=1e-5)


def test_a_place_of_whole_tokens_is_shared_equally_by_the_tokens_that_it_covers():
    c = torch.arange(8.0).reshape(1, 2, 2, 2)
    found = on_tokens(c, (4, 16, 16), (1.5, 7.5, 7.5), (4, 4, 4), (2, 8, 8))
    assert torch.allclose(found, c.repeat_interleave(2, 1).repeat_interleave(2, 2).repeat_interleave(2, 3) / 8)


def test_places_finer_than_tokens_are_added_up():
    c = torch.rand(1, 4, 8, 8)
    found = on_tokens(c, (1, 4, 4), (0.0, 1.5, 1.5), (2, 4, 4), (2, 8, 8))
    assert torch.allclose(found, c.unflatten(3, (4, 2)).unflatten(2, (4, 2)).unflatten(1, (2, 2)).sum((2, 4, 6)), atol=1e-6)


def test_odd_kernels_keep_place_k_at_voxel_k_times_the_stride():
    """Places at voxels 0 and 32 of an axis of 8-voxel tokens (middles 3.5, 11.5, 19.5, ...): the border lies at voxel 16."""
    found = on_tokens(torch.tensor([[[[1.0, 3.0]]]]), (16, 32, 32), (0.0, 0.0, 0.0), (1, 1, 6), (2, 8, 8))
    assert torch.allclose(found[0, 0, 0], torch.tensor([0.5, 0.5, 0.75, 0.75, 0.75, 0.75]))


def test_shares_are_sizes_over_their_sum_and_equal_where_nothing_contributes():
    c = torch.tensor([[[[-3.0, 1.0]]], [[[0.0, 0.0]]]])
    assert torch.allclose(shares_of(c)[:, 0, 0], torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
