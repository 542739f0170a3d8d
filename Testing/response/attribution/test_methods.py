"""Each method against what is known by hand, by calculus, or from another library."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.models.registry import build
from MRDeltaNetLib.response.attribution import Readout, attribute, why_not
from MRDeltaNetLib.response.attribution import gradcam, guided_gradcam
from MRDeltaNetLib.response.attribution.inpainting import inpainted
from MRDeltaNetLib.response.attribution.regions import blocks, distance_mm, shells
from Testing.response.attribution.toys import SPACING_MM, VOXELS, Toy, case, linear

CROP = {"preset": "tiny", "crop_mm": (24.0, 24.0, 24.0), "auxiliary": False}
SMALL = (8, 32, 32)


def network(name: str = "deltanet", **settings) -> nn.Module:
    torch.manual_seed(0)
    made = build(name, **CROP, **settings).eval()
    for weights in made.parameters():
        if weights.ndim > 1:
            nn.init.normal_(weights, std=0.2)
    return made


def pair(seed: int = 3) -> torch.Tensor:
    x = torch.zeros(2, 2, *SMALL)
    x[:, 0] = torch.randn(2, *SMALL, generator=torch.Generator().manual_seed(seed))
    x[0, 1, 2:6, 8:24, 8:24] = 1
    x[1, 1, 2:6, 10:22, 10:22] = 1
    return x


# ---- regions and filling

def test_distance_is_that_of_voxel_centres_in_millimetres():
    inside = np.zeros((5, 7, 9), bool)
    inside[2, 3, 4] = True
    z, y, x = np.indices(inside.shape)
    expected = np.sqrt((2.0 * (x - 4)) ** 2 + (1.5 * (y - 3)) ** 2 + (5.0 * (z - 2)) ** 2)
    assert distance_mm(inside, (2.0, 1.5, 5.0)) == pytest.approx(expected, abs=1e-4)


def test_shells_cut_the_crop_into_three_without_gap_or_overlap():
    cut = shells(case(), 0, SPACING_MM, 8.0)
    assert sum(part.astype(int) for part in cut.values()).min() == 1 == sum(part.astype(int) for part in cut.values()).max()
    assert cut["tumour"].sum() == 2 * 6 * 6 and distance_mm(cut["tumour"], SPACING_MM)[cut["shell"]].max() <= 8.0
    assert distance_mm(cut["tumour"], SPACING_MM)[cut["elsewhere"]].min() > 8.0


def test_blocks_cover_every_voxel_and_have_the_size_in_millimetres():
    covered = np.zeros(VOXELS, int)
    for block in blocks(VOXELS, SPACING_MM, 9.0, 6.0):
        assert [part.stop - part.start for part in block][0] <= 2 and block[1].stop - block[1].start <= 4     # 9 mm: 2 slices of 5, 4 or 5 voxels of 2
        covered[block] += 1
    assert covered.min() >= 1
    apart = blocks((4, 16, 16), SPACING_MM, 8.0, 8.0)
    covered = np.zeros(VOXELS, int)
    for block in apart:
        covered[block] += 1
    assert (covered == 1).all(), "blocks whose step is their size do not overlap"


def test_a_flat_tissue_is_filled_flat_and_a_ramp_like_its_surroundings():
    hole = np.zeros(VOXELS, bool)
    hole[1:3, 5:10, 5:10] = True
    before = hole.copy()
    assert torch.allclose(inpainted(torch.full(VOXELS, 0.7), hole, SPACING_MM), torch.full(VOXELS, 0.7), atol=1e-5)
    ramp = torch.linspace(-1, 1, 16).expand(VOXELS).clone()
    filled = inpainted(ramp, hole, SPACING_MM)
    assert torch.equal(filled[~torch.as_tensor(hole)], ramp[~torch.as_tensor(hole)]) and (filled - ramp).abs().max() < 0.35
    assert filled.min() >= ramp.min() and filled.max() <= ramp.max() and np.array_equal(hole, before)


def test_where_nothing_is_left_the_mean_of_normal_tissue_takes_its_place():
    assert inpainted(torch.randn(VOXELS), np.ones(VOXELS, bool), SPACING_MM).abs().max() == 0


# ---- occlusion, shells, counterfactual

def test_occlusion_of_a_network_that_reads_one_block_shows_that_block_alone():
    weights = torch.zeros(2, *VOXELS)
    weights[1, 2:4, 8:12, 4:8] = 0.05
    x = case()
    found = attribute("occlusion", linear(weights), x, size_mm=8.0, step_mm=8.0, reach_mm=None)
    assert not found.maps["pre"].any()
    seen = np.zeros(VOXELS, bool)
    for block in blocks(VOXELS, SPACING_MM, 8.0, 8.0):
        seen[block] = bool(weights[1][block].any())
    assert not found.maps["post"][~seen].any() and found.maps["post"][seen].any()
    block = next(block for block in blocks(VOXELS, SPACING_MM, 8.0, 8.0) if weights[1][block].any())
    hole, changed = np.zeros(VOXELS, bool), x.clone()
    hole[block] = True
    changed[1, 0] = inpainted(x[1, 0], hole, SPACING_MM)
    by_hand = [100 / (1 + math.exp(-float((one[:, 0] * weights).sum()))) for one in (x, changed)]
    assert found.maps["post"][block].ravel() == pytest.approx(by_hand[0] - by_hand[1], abs=1e-4)


def test_overlapping_blocks_give_each_voxel_a_mean_of_its_blocks_and_the_peak_lies_in_the_middle_of_the_best_block():
    weights = torch.zeros(2, *VOXELS)
    weights[0, :, :, :8] = 0.01
    found = attribute("occlusion", linear(weights), case(), size_mm=8.0, step_mm=4.0, reach_mm=None)
    assert found.facts["blocks"] == 2 * len(blocks(VOXELS, SPACING_MM, 8.0, 4.0)) and not found.maps["pre"][:, :, 12:].any()
    x, spot = case(), torch.zeros(2, *VOXELS)
    x[:, 0] = 0
    x[1, 0, 2, 8:12, 8:12] = spot[1, 2, 8:12, 8:12] = 1.0                     # one whole block of 10 x 10 x 5 mm around it
    peak = attribute("occlusion", linear(spot), x, size_mm=10.0, step_mm=4.0, reach_mm=None).maps["post"]
    best = np.argwhere(peak >= peak.max() - 1e-6).mean(0)
    middles = [np.array([(part.start + part.stop - 1) / 2 for part in block]) for block in blocks(VOXELS, SPACING_MM, 10.0, 4.0)]
    assert min(np.abs(best - middle).max() for middle in middles) < 1.0 and np.abs(best - [2, 9.5, 9.5]).max() < 2


def test_blocks_beyond_reach_of_the_outline_are_not_asked_and_their_voxels_are_zero():
    near = attribute("occlusion", linear(torch.full((2, *VOXELS), 0.01)), case(), size_mm=4.0, step_mm=4.0, reach_mm=4.0)
    whole = attribute("occlusion", linear(torch.full((2, *VOXELS), 0.01)), case(), size_mm=4.0, step_mm=4.0, reach_mm=None)
    assert near.facts["blocks"] < whole.facts["blocks"] and near.maps["pre"][:, -1, -1].max() == 0
    asked = near.maps["pre"] != 0
    assert near.maps["pre"][asked] == pytest.approx(whole.maps["pre"][asked])


def test_shells_say_what_each_region_alone_is_worth_and_paint_it_with_that_number():
    """A linear logit: every number follows from what filling changes in that region."""
    weights = torch.randn(2, *VOXELS, generator=torch.Generator().manual_seed(5)) * 0.02
    x, readout = case(), Readout(2.0, -0.5, 0.4)
    found = attribute("roi_shells", linear(weights), x, readout=readout)
    whole = 100 * readout.p_pcr(float((x[:, 0] * weights).sum()))
    for time, visit in enumerate(("pre", "post")):
        for name, hole in shells(x, time, SPACING_MM).items():
            changed = x.clone()
            changed[time, 0] = inpainted(x[time, 0], hole, SPACING_MM)
            expected = whole - 100 * readout.p_pcr(float((changed[:, 0] * weights).sum()))
            assert found.numbers[visit][name] == pytest.approx(expected, abs=1e-4)
            assert found.maps[visit][hole] == pytest.approx(expected, abs=1e-4)
        changed = x.clone()
        changed[time, 0] = 0
        assert found.numbers[visit]["whole_visit"] == pytest.approx(whole - 100 * readout.p_pcr(float((changed[:, 0] * weights).sum())), abs=1e-4)


def test_regions_of_a_visit_that_is_not_read_are_worth_nothing():
    weights = torch.zeros(2, *VOXELS)
    weights[1] = 0.01
    found = attribute("roi_shells", linear(weights), case())
    assert all(value == pytest.approx(0, abs=1e-4) for value in found.numbers["pre"].values()) and abs(found.numbers["post"]["elsewhere"]) > 0.01


def test_the_counterfactual_is_the_answer_to_the_bed_replaced_by_its_own_dark_tenth():
    x = case()
    x[1, 1] *= 0.8                                                               # a soft outline replaces softly
    weights = torch.full((2, *VOXELS), 0.05)
    found = attribute("counterfactual", linear(weights), x)
    bed = x[1, 0][x[1, 1] > 0]
    level = float(np.percentile(bed.numpy(), 10))
    change = float((0.8 * (level - bed)).sum()) * 0.05
    logit = float((x[:, 0] * weights).sum())
    expected = 100 / (1 + math.exp(-logit - change)) - 100 / (1 + math.exp(-logit))
    assert found.numbers["post"]["change"] == pytest.approx(expected, abs=1e-4) and found.numbers["post"]["signal_z"] == pytest.approx(level)
    assert set(found.maps) == {"post"} and found.maps["post"].min() == pytest.approx(0.8 * expected, abs=1e-4) and "very scan" in found.facts["signal_source"]
    assert attribute("counterfactual", linear(weights), x, signal=1.5).numbers["post"]["change"] > 0


# ---- integrated gradients

def test_integrated_gradients_of_a_linear_network_are_its_terms():
    pytest.importorskip("captum")
    weights, x = torch.randn(2, *VOXELS, generator=torch.Generator().manual_seed(1)), case()
    found = attribute("integrated_gradients", linear(weights), x)
    for time, visit in enumerate(("pre", "post")):
        assert found.maps[visit] == pytest.approx((weights[time] * x[time, 0]).numpy(), abs=1e-4)


def test_integrated_gradients_sum_to_the_difference_from_their_baseline():
    """Completeness, on a smooth network, and told on every network."""
    pytest.importorskip("captum")
    weights, x = torch.randn(2, *VOXELS, generator=torch.Generator().manual_seed(1)) * 0.1, case()
    smooth = Toy(lambda given: torch.tanh((given[:, :, 0] * weights).flatten(1).sum(1)) + (given[:, 0, 0] * given[:, 1, 0]).flatten(1).mean(1))
    found = attribute("integrated_gradients", smooth, x)
    total = sum(float(values.astype(np.float64).sum()) for values in found.maps.values())
    numbers = found.numbers["both"]
    assert total == pytest.approx(numbers["logit"] - numbers["baseline_logit"], abs=1e-4) and abs(numbers["completeness_error_logit"]) < 1e-4
    rough = attribute("integrated_gradients", network(members=2), pair(), steps=8)
    total = sum(float(values.astype(np.float64).sum()) for values in rough.maps.values())
    numbers = rough.numbers["both"]
    assert total - (numbers["logit"] - numbers["baseline_logit"]) == pytest.approx(numbers["completeness_error_logit"], abs=1e-4)


def test_integrated_gradients_of_an_ensemble_are_the_mean_of_its_members_and_of_captum_s():
    """The ensemble's logit is the mean of its members' logits: captum on the whole, and each member by itself, give the same."""
    captum = pytest.importorskip("captum.attr")
    net, x = network(members=2), pair()
    found = attribute("integrated_gradients", net, x, steps=6).maps
    each = [attribute("integrated_gradients", member, x, steps=6).maps for member in net.members]
    theirs = captum.IntegratedGradients(lambda t2: net(torch.stack([t2, x[:, 1].expand_as(t2)], 2)).logit).attribute(x[None, :, 0], n_steps=6)[0]
    for time, visit in enumerate(("pre", "post")):
        assert found[visit] == pytest.approx((each[0][visit] + each[1][visit]) / 2, abs=1e-5)
        assert found[visit] == pytest.approx(theirs[time].detach().numpy(), abs=1e-5) and np.abs(found[visit]).max() > 1e-3


# ---- Grad-CAM

class Cam(Toy):
    """Each visit's stage is a fixed mixing of its T2 channel to 3 features at half the in-plane size; the logit weighs their means."""

    convolutional_stage = "encoder.stage1"

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__(lambda x: x)
        self.encoder = nn.Module()
        self.encoder.stage1 = nn.Conv3d(1, 3, (1, 2, 2), (1, 2, 2), bias=False)
        nn.init.normal_(self.encoder.stage1.weight, generator=torch.Generator().manual_seed(2))
        self.weights = weights

    def forward(self, x: torch.Tensor):
        pre, post = (self.encoder.stage1(x[:, time, :1]).mean((2, 3, 4)) for time in (0, 1))
        return super().forward(pre @ self.weights[0] + post @ self.weights[1])


def test_grad_cam_of_a_network_of_means_is_its_weighted_features():
    weights, x = torch.randn(2, 3, generator=torch.Generator().manual_seed(4)), case()
    toy = Cam(weights)
    found = gradcam.coarse(toy, x, 1.0)
    for time, visit in enumerate(("pre", "post")):
        features = toy.encoder.stage1(x[None, time, :1])[0].detach()
        places = features[0].numel()
        assert torch.allclose(found[visit], (weights[time] @ features.flatten(1)).clamp(min=0).reshape(4, 8, 8) / places, atol=1e-6)
    answer = attribute("gradcam", toy, x)
    assert answer.facts["resolution_mm"] == (4.0, 4.0, 5.0) and answer.facts["toward"] == ("pCR" if float(toy(x[None]).logit.detach()) >= 0 else "non-pCR")
    opposite = {"pCR": "non-pCR", "non-pCR": "pCR"}[answer.facts["toward"]]
    other = gradcam.coarse(toy, x, -1.0)
    assert not any((found[visit] * other[visit]).any() for visit in found), "no place speaks for both classes"
    assert attribute("gradcam", toy, x, toward=opposite).maps["post"].any()


def test_a_visit_that_does_not_count_has_an_empty_grad_cam_whatever_the_other_shows():
    toy, x = Cam(torch.stack([torch.zeros(3), torch.tensor([1.0, -2.0, 0.5])])), case()
    other = x.clone()
    other[0, 0] = torch.randn(VOXELS)
    first, second = (gradcam.coarse(toy, one, 1.0) for one in (x, other))
    assert not first["pre"].any() and torch.equal(first["post"], second["post"])


def test_grad_cam_agrees_with_monai_on_a_real_network_that_sees_one_visit():
    """MONAI's own keeps one call's features: a second opinion where there is one call only."""
    cam = pytest.importorskip("monai.visualize").GradCAM
    net, x = network("roi_pooled", visits="post"), pair()

    class Logit(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, given):
            return self.net(torch.stack([torch.zeros_like(given), given], 1)).logit[:, None]

    theirs = cam(nn_module=Logit(), target_layers="net.encoder.stage1", upsampler=lambda size: nn.Upsample(size=size, mode="trilinear", align_corners=False),
                 postprocessing=lambda values: values)(x[1:2].clone().requires_grad_(), class_idx=0)
    theirs = theirs[0, 0].detach().numpy()
    ours = attribute("gradcam", net, x, toward="pCR")
    assert set(ours.maps) == {"post"} and np.abs(ours.maps["post"]).max() > 0
    assert ours.maps["post"] / ours.maps["post"].max() == pytest.approx(theirs / theirs.max(), abs=1e-4)
    assert ours.facts["resolution_mm"] == (3.0, 3.0, 3.0)


def test_grad_cam_of_both_visits_is_that_of_each_call_by_hand():
    """Features and gradients of each call, computed with the encoder called by hand."""
    net, x = network(), pair()
    features = []
    hook = net.encoder.stage1.register_forward_hook(lambda module, given, output: features.append(output))
    logit = net(x[None].clone().requires_grad_()).logit.sum()
    hook.remove()
    assert [feature.shape[0] for feature in features] == [1, 1], "one call a visit, not one stack"
    slopes = torch.autograd.grad(logit, features)
    for visit, f, slope in zip(("pre", "post"), features, slopes):
        expected = torch.einsum("c,cdhw->dhw", slope[0].mean((1, 2, 3)), f[0]).clamp(min=0)
        assert torch.allclose(gradcam.coarse(net, x, 1.0)[visit], expected.detach(), atol=1e-6)


@pytest.mark.parametrize("name, shape", [("deltanet", (8, 8, 8)), ("slice2p5d", (8, 8, 8)), ("siamese_subtraction", (8, 8, 8)), ("subtract", (8, 8, 8))])
def test_every_network_with_an_encoder_has_a_grad_cam_of_3_mm(name, shape):
    for visit, places in gradcam.coarse(network(name), pair(), 1.0).items():
        assert tuple(places.shape) == shape, visit


# ---- guided Grad-CAM

def test_the_guided_gradient_is_captum_s():
    captum = pytest.importorskip("captum.attr")
    net, x = network(), pair()

    class Logit(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, given):
            return self.net(given).logit[:, None]

    with pytest.warns(UserWarning):
        theirs = captum.GuidedBackprop(Logit()).attribute(x[None].clone().requires_grad_(), target=0)[0, :, 0].detach()
    ours = guided_gradcam.guided_gradient(net, x)
    assert ours.abs().max() > 0 and torch.allclose(ours, theirs, atol=1e-6 * float(theirs.abs().max()) + 1e-9)


def test_guided_back_propagation_is_the_plain_gradient_on_gelu_and_is_therefore_refused():
    net, x = network(), pair()
    for parent in [module for module in net.modules() if any(isinstance(child, nn.ReLU) for child in module.children())]:
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(parent, name, nn.GELU())
    given = x[None].clone().requires_grad_()
    (plain,) = torch.autograd.grad(net(given).logit.sum(), given)
    assert torch.allclose(guided_gradcam.guided_gradient(net, x), plain[0, :, 0])
    assert "GELU" in why_not("guided_gradcam", net)
    with pytest.raises(InputError) as caught:
        attribute("guided_gradcam", net, x)
    assert caught.value.code == "MRD-E724" and "plain gradient" in caught.value.found
    relu = network()
    given = x[None].clone().requires_grad_()
    (plain,) = torch.autograd.grad(relu(given).logit.sum(), given)
    assert why_not("guided_gradcam", relu) is None and not torch.allclose(guided_gradcam.guided_gradient(relu, x), plain[0, :, 0])


def test_guided_grad_cam_says_that_it_fails():
    found = attribute("guided_gradcam", network(), pair())
    assert "fails sanity checks" in found.facts["label"] and "as in the paper" in found.facts["caution"]


# ---- null

@pytest.mark.parametrize("name", ["deltanet", "subtract", "roi_pooled", "siamese_subtraction", "resnet18"])
def test_the_null_map_does_not_read_the_images_and_follows_the_outlines(name):
    net, x = network(name), pair()
    other, moved = x.clone(), x.clone()
    other[:, 0] = torch.randn(2, *SMALL)
    moved[1, 1] = moved[1, 1].roll(8, -1)
    first, second, third = (attribute("null", net, one).maps for one in (x, other, moved))
    assert all(np.array_equal(first[visit], second[visit]) for visit in ("pre", "post")) and not np.allclose(first["post"], third["post"])
    inside = x[1, 1].numpy() > 0
    assert first["post"][inside].mean() > 2 * first["post"][~inside].mean()


def test_the_null_map_before_treatment_is_carried_by_the_network_s_own_position_prior():
    net, x = network(scales="fine"), pair()
    frame = net.frames(x[None])[0]
    share = frame.roi_post / frame.roi_post.sum()
    table = net.comparisons[0].align.prior(frame)[0].detach()
    by_hand = torch.stack([share[0].reshape(4, 16)[k] @ table for k in range(4)]).reshape(4, 4, 4)
    from MRDeltaNetLib.response.explanation import on_voxels
    assert attribute("null", net, x).maps["pre"] == pytest.approx(on_voxels(by_hand, SMALL), abs=1e-6)
