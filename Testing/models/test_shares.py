"""Which pre tokens a post token is compared with, as rows: the same A that the network itself carries its weights with."""

from __future__ import annotations

import math

import pytest
import torch

from MRDeltaNetLib.models.comparison import COMPARISONS
from MRDeltaNetLib.models.registry import build
from Testing.quick_networks import without_encoder

CROP = {"preset": "tiny", "spacing_mm": (2.0, 2.0, 5.0), "crop_mm": (64.0, 96.0, 20.0), "auxiliary": False}       # 2 x 6 x 4 tokens
SETTINGS = {**{compare: {"compare": compare} for compare in COMPARISONS if compare != "pool"},
            "position alone": {"compare": "anchored", "content": False}, "local by position": {"compare": "local", "content": False}}


def case(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((1, 2, 2, 4, 48, 32), generator=generator)


def network(name: str = "deltanet", seed: int = 0, **settings):
    """In evaluation mode, and with a query and key that are not near 0 as at the start of a training."""
    torch.manual_seed(seed)
    made = build(name, **CROP, **settings).eval()
    for parameter_name, parameter in made.named_parameters():
        if ".align.query" in parameter_name or ".align.key" in parameter_name:
            torch.nn.init.normal_(parameter, std=1.0)
    return without_encoder(made)


def matrix(shares, tokens: int) -> torch.Tensor:
    """All of A as one (N, N) matrix."""
    size = tokens // shares.blocks
    return torch.block_diag(*(shares.rows(block, slice(0, size))[0] for block in range(shares.blocks)))


@pytest.mark.parametrize("name", SETTINGS)
def test_the_rows_sum_to_one_and_carry_what_the_network_carries(name):
    with torch.inference_mode():
        found = network(**SETTINGS[name], scales="fine")(case())
        a = matrix(found.shares, found.attention_post[0].numel())
        carried = a.T @ found.attention_post[0].flatten()
    assert torch.allclose(a.sum(1), torch.ones(len(a)), atol=1e-5) and (a >= 0).all()
    assert torch.allclose(carried, found.attention_pre[0].flatten(), atol=1e-6)


@pytest.mark.parametrize("name", ["anchored", "full", "anchored+latent"])
def test_a_part_of_the_rows_is_that_part_of_all_rows(name):
    with torch.inference_mode():
        shares = network(compare=name)(case()).shares
        size = 48 // shares.blocks
        whole = shares.rows(shares.blocks - 1, slice(0, size))
        assert torch.allclose(shares.rows(shares.blocks - 1, slice(5, 9)), whole[:, 5:9], atol=1e-6)


def test_by_content_the_rows_follow_the_images_and_by_position_they_do_not():
    other = case()
    other[:, :, 0] = case(7)[:, :, 0]                                       # other images, the same outlines
    with torch.inference_mode():
        for content, follows in ((True, True), (False, False)):
            net = network(content=content)
            first, second = (matrix(net(x).shares, 48) for x in (case(), other))
            assert torch.equal(first, second) is not follows and net.comparison_kind == ("content" if follows else "position")


def test_without_content_each_slice_has_the_position_prior_s_rows():
    net = network(content=False)
    with torch.inference_mode():
        found = net(case()).shares
        prior = net.comparisons[0].align.prior(net.frames(case())[0])
        assert found.blocks == 2 and all(torch.equal(found.rows(block, slice(0, 24)), prior) for block in range(2))


@pytest.mark.parametrize("name", ["subtract", "siamese_subtraction"])
def test_subtraction_compares_each_place_with_itself(name):
    net = network(name) if name == "subtract" else build(name, **CROP).eval()
    with torch.inference_mode():
        assert torch.equal(matrix(net(case()).shares, 48), torch.eye(48)) and net.comparison_kind == "same place"


@pytest.mark.parametrize("name, settings", [("roi_pooled", {}), ("deltanet", {"compare": "pool"}), ("resnet18", {}), ("vit", {})])
def test_networks_that_compare_no_places_have_no_shares(name, settings):
    crop = {name: value for name, value in CROP.items() if name != "auxiliary"}
    net = build(name, **crop, **settings).eval()
    net = without_encoder(net) if hasattr(net, "dims") else net
    with torch.inference_mode():
        assert net(case()).shares is None and net.comparison_kind is None


def test_an_ensemble_s_rows_are_the_mean_of_its_members_rows():
    torch.manual_seed(2)
    ensemble = without_encoder(build("deltanet", members=3, **CROP).eval())
    with torch.inference_mode():
        together = matrix(ensemble(case()).shares, 48)
        alone = torch.stack([matrix(member(case()).shares, 48) for member in ensemble.members]).mean(0)
    assert torch.allclose(together, alone, atol=1e-6) and ensemble.comparison_kind == "content"


def test_nothing_is_kept_in_training_and_nothing_reaches_the_copy_on_the_cpu():
    net = network()
    assert net.train()(torch.cat([case(), case(1)])).shares is None
    assert net.eval()(case()).cpu().shares is None


def test_slices_of_2_5_d_tokens_are_blocks():
    net = without_encoder(build("slice2p5d", **CROP).eval())
    with torch.inference_mode():
        shares = net(case()).shares
    assert shares.blocks == net.map_grid[0] == 4 and math.prod(net.map_grid) == 96
