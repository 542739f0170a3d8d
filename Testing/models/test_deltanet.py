"""Settings of deltanet (and of its slice-wise form and the pooled baseline): each changes what it says and nothing else."""

from __future__ import annotations

import pytest
import torch

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.models.layers import layers
from MRDeltaNetLib.models.pretext import pretext
from MRDeltaNetLib.models.registry import build

SETTINGS = {"spacing_mm": (0.75, 0.75, 3.0), "crop_mm": (48.0, 36.0, 24.0), "preset": "tiny"}
VOXELS = (8, 48, 64)
DEFAULTS = {"latents": None, "gate": True, "change_keys": True, "scales": "both", "roi_mode": "channel"}
FIELDS = ("logit", "attention_post", "attention_pre", "change_post", "embedding")
LATENT = ("latent", "anchored+latent")
ROI_BLIND = [("deltanet", {"compare": compare}) for compare in ("anchored", "local", "pool", "subtract", "full", "latent", "anchored+latent")] + [
    ("slice2p5d", {}), ("roi_pooled", {}), ("roi_pooled", {"visits": "post"})]


def network(name="deltanet", **more):
    torch.manual_seed(0)
    made = build(name, **SETTINGS, **more).eval()
    for pool in getattr(made, "pools", []):
        pool.score.data.normal_()
    return made


def pair(batch=2, seed=0) -> torch.Tensor:
    x = torch.randn(batch, 2, 2, *VOXELS, generator=torch.Generator().manual_seed(seed))
    x[:, :, 1] = 0
    x[:, 0, 1, 2:6, 12:28, 20:44] = 1
    x[:, 1, 1, 2:6, 16:32, 16:40] = 0.7
    return x


def with_other_roi(x: torch.Tensor) -> torch.Tensor:
    other = x.clone()
    other[:, :, 1] = torch.rand(other[:, :, 1].shape, generator=torch.Generator().manual_seed(7)).round()
    other[0, 1, 1] = 0
    return other


def answers(made, x) -> dict[str, torch.Tensor]:
    with torch.inference_mode():
        output = made(x)
    return {field: getattr(output, field) for field in FIELDS}


def same(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Equal but for rounding: a processor may add in another order where an array starts elsewhere in memory."""
    return torch.allclose(found, expected, rtol=1e-5, atol=1e-5)


def shapes(made) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in made.state_dict().items()}


@pytest.mark.parametrize("name, more", [("deltanet", {}), ("deltanet", {"compare": "latent"}), ("slice2p5d", {})])
def test_the_defaults_said_aloud_are_the_network_that_says_nothing(name, more):
    silent, aloud = network(name, **more), network(name, **more, **DEFAULTS)
    assert list(silent.state_dict()) == list(aloud.state_dict())
    assert all(torch.equal(value, aloud.state_dict()[key]) for key, value in silent.state_dict().items())
    for field, value in answers(silent, pair()).items():
        assert torch.equal(value, answers(aloud, pair())[field]), field


class TestLatents:
    @pytest.mark.parametrize("count, counts", [(None, (32, 16)), (16, (16, 8)), (7, (7, 4)), (1, (1, 1)), (128, (128, 64))])
    def test_the_number_is_that_of_the_fine_scale_and_half_of_it_of_the_coarse(self, count, counts):
        made = network(compare="latent", latents=count)
        assert tuple(comparison.latent.latents.shape[1] for comparison in made.comparisons) == counts
        plain = shapes(network(compare="latent"))
        changed = {name for name, shape in shapes(made).items() if plain.get(name) != shape}
        assert changed == (set() if counts == (32, 16) else {f"comparisons.{k}.latent.latents" for k in (0, 1)}) and shapes(made).keys() == plain.keys()
        assert answers(made, pair())["logit"].isfinite().all()

    @pytest.mark.parametrize("wrong", [0, -4, 1.5, True, "64", 10**9])
    def test_an_impossible_number_is_refused(self, wrong):
        with pytest.raises(InputError) as misfit:
            build("deltanet", **SETTINGS, compare="latent", latents=wrong)
        assert misfit.value.code == "MRD-E751" and "latents" in misfit.value.found

    @pytest.mark.parametrize("setting", [{"latents": 64}, {"gate": False}, {"change_keys": False}])
    def test_settings_of_latents_are_refused_where_there_are_none(self, setting):
        with pytest.raises(InputError) as misfit:
            build("deltanet", **SETTINGS, **setting)
        assert misfit.value.code == "MRD-E751" and "no latents" in misfit.value.found

    @pytest.mark.parametrize("compare", LATENT)
    def test_without_gate_there_is_no_gate_no_bias_and_no_budget_and_every_other_weight_stays(self, compare):
        full, made = network(compare=compare), network(compare=compare, gate=False)
        gone = shapes(full).keys() - shapes(made).keys()
        assert gone == {name for name in shapes(full) if ".latent.gate." in name} and gone
        assert all(shapes(full)[name] == shape for name, shape in shapes(made).items())
        output = made.train()(pair())
        assert "gate_budget" not in output.auxiliary and "gate_budget" in full.train()(pair()).auxiliary
        latent = made.comparisons[0].latent
        a, b = torch.randn(2, 2, 5, made.dims[0])
        keys, bias, gate = latent.keys(a, b, torch.rand(2, 5))
        assert bias is None and gate is None and torch.equal(keys, torch.cat([a + latent.time[0], b + latent.time[1], b - a + latent.time[2]], 1))

    def test_a_gate_that_is_open_everywhere_is_no_gate(self):
        full, made = network(compare="latent"), network(compare="latent", gate=False)
        made.load_state_dict({name: value for name, value in full.state_dict().items() if ".latent.gate." not in name})
        for comparison in full.comparisons:
            comparison.latent.gate[2].weight.data.zero_(), comparison.latent.gate[2].bias.data.fill_(40.0)
        for field, value in answers(full, pair()).items():
            assert torch.allclose(value, answers(made, pair())[field], atol=1e-4), field

    @pytest.mark.parametrize("compare", LATENT)
    def test_without_change_keys_latents_read_both_visits_alone_as_if_every_gate_were_shut(self, compare):
        full, made = network(compare=compare), network(compare=compare, change_keys=False)
        changed = {name for name, shape in shapes(full).items() if shapes(made).get(name) != shape}
        assert changed == {name for name in shapes(full) if ".latent.gate." in name or name.endswith(".latent.time")}
        latent = made.comparisons[0].latent
        a, b = torch.randn(2, 2, 5, made.dims[0])
        keys, bias, gate = latent.keys(a, b, torch.rand(2, 5))
        assert bias is None and gate is None and torch.equal(keys, torch.cat([a + latent.time[0], b + latent.time[1]], 1))
        assert "gate_budget" not in made.train()(pair()).auxiliary


class TestScales:
    @pytest.mark.parametrize("name, stride", [("deltanet", ((2, 8, 8), (4, 16, 16))), ("slice2p5d", ((1, 8, 8), (1, 16, 16)))])
    @pytest.mark.parametrize("scales, kept", [("fine", 0), ("coarse", 1)])
    def test_one_scale_has_no_weights_of_the_others_comparison_pooling_decoding_or_anatomy(self, name, stride, scales, kept):
        both, made = network(name), network(name, scales=scales)
        dim = both.dims[kept]
        for part in ("comparisons", "pools"):
            assert {key.replace(f"{part}.0.", ""): shape for key, shape in shapes(made).items() if key.startswith(part)} == {
                key.replace(f"{part}.{kept}.", ""): shape for key, shape in shapes(both).items() if key.startswith(f"{part}.{kept}.")}
        assert made.dims == (dim,) and made.head.norm.weight.shape == (3 * dim,) and made.anatomy.project.in_features == dim
        assert len(made.decoding.decoders) == 1 and made.decoding.decoders[0].in_features == dim
        assert made.token_stride == stride[kept] and made.token_size_mm == tuple(s * mm for s, mm in zip(stride[kept], (3.0, 0.75, 0.75)))
        found = answers(made, pair())
        grid = tuple(n // s for n, s in zip(VOXELS, stride[kept]))
        for field in ("attention_post", "attention_pre", "change_post"):
            assert found[field].shape == (2, *grid)
        assert torch.allclose(found["attention_post"].sum((1, 2, 3)), torch.ones(2), atol=1e-4)
        assert made.map_note and both.map_note is None and both.token_stride == stride[0]

    def test_the_fine_scale_needs_no_coarse_stage_and_the_coarse_one_keeps_the_whole_encoder(self):
        def encoder(made):
            return {key for key in shapes(made) if key.startswith("encoder.")}

        both, fine, coarse = (network(scales=scales) for scales in ("both", "fine", "coarse"))
        assert encoder(coarse) == encoder(both)
        assert encoder(both) - encoder(fine) == {key for key in encoder(both) if key.split(".")[1] in ("down3", "position", "stage3")}
        assert [stage for stage, _, _ in layers(fine)] == ["stem", "stage1", "stage2", "head"]
        fine.encoder.load_state_dict({key.removeprefix("encoder."): both.state_dict()[key] for key in encoder(fine)})
        coarse.encoder.load_state_dict(both.encoder.state_dict())
        with torch.inference_mode():
            a, b = both.encode(pair())[0]
            assert torch.equal(fine.encode(pair())[0][0], a) and torch.equal(coarse.encode(pair())[0][0], b)

    @pytest.mark.parametrize("name", ["deltanet", "slice2p5d"])
    @pytest.mark.parametrize("scales", ["fine", "coarse"])
    def test_every_weight_of_one_scale_learns_and_it_can_be_pretrained(self, name, scales):
        made = network(name, scales=scales, auxiliary=True).train()
        output = made(pair())
        (output.logit.square().sum() + sum(output.auxiliary.values()) + output.anatomy[:, 0, 0].sum()).backward()
        assert [weight for weight, p in made.named_parameters() if p.grad is None] == []
        assert float(pretext(made, pair(), 0.5, torch.Generator().manual_seed(0)).reconstruction.detach()) > 0


class TestRoiMode:
    @pytest.mark.parametrize("name, more", ROI_BLIND)
    def test_none_gives_the_same_answer_whatever_the_roi_and_still_sees_the_images(self, name, more):
        made, x = network(name, roi_mode="none", **more), pair()
        before, after = answers(made, x), answers(made, with_other_roi(x))
        for field in FIELDS:
            assert same(before[field], after[field]), field
        other = x.clone()
        other[:, :, 0] = pair(seed=5)[:, :, 0]
        assert (answers(made, other)["logit"] - before["logit"]).abs().min() > 1e-4

    @pytest.mark.parametrize("name", ["deltanet", "slice2p5d", "roi_pooled"])
    def test_none_does_not_see_the_roi_in_training_either(self, name):
        made, x = network(name, roi_mode="none", dropout=0.0).train(), pair()
        before, after = made(x), made(with_other_roi(x))
        assert before.auxiliary and all(same(value, after.auxiliary[key]) for key, value in before.auxiliary.items())
        assert same(before.anatomy, after.anatomy)
        found = [pretext(made, crops, 0.3, torch.Generator().manual_seed(0)) for crops in (x, with_other_roi(x))]
        assert same(found[0].order, found[1].order) and same(found[0].reconstruction, found[1].reconstruction)

    def test_none_has_no_tumour_frame_and_pools_over_the_whole_crop(self):
        made, x = network(roi_mode="none"), pair()
        assert not made.comparisons[0].align.prior.roi_frame and network().comparisons[0].align.prior.roi_frame
        assert answers(made, x)["attention_post"][:, :, 0, 0].max() > 1e-3, "a corner far from the outline counts too"
        assert float(answers(network(), x)["attention_post"][:, :, 0, 0].max()) < 1e-4
        assert "whole crop" in made.map_formulas["attention_post"]

    @pytest.mark.parametrize("name", ["deltanet", "slice2p5d", "roi_pooled"])
    def test_mask_shows_the_encoder_nothing_outside_the_roi_and_half_as_much_where_the_roi_is_half(self, name):
        made, x, seen = network(name, roi_mode="mask"), pair(), []
        handle = made.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        before = answers(made, x)
        handle.remove()
        assert torch.equal(seen[0], x[:, 0, :1] * x[:, 0, 1:]) and torch.equal(seen[1], x[:, 1, :1] * x[:, 1, 1:])
        outside = x.clone()
        outside[:, :, 0] = torch.where(x[:, :, 1] > 0, x[:, :, 0], 50.0)
        for field, value in answers(made, outside).items():
            assert same(value, before[field]), field
        assert (answers(made, with_other_roi(x))["logit"] - before["logit"]).abs().min() > 1e-4

    def test_mask_still_anchors_in_both_tumour_frames(self):
        made, x = network(roi_mode="mask"), pair()
        assert made.comparisons[0].align.prior.roi_frame
        offsets = [frame.offset_mm for frame in made.frames(made.shown(x))]
        assert torch.equal(offsets[0], network().frames(x)[0].offset_mm) and offsets[0].abs().max() > 1

    @pytest.mark.parametrize("name", ["deltanet", "slice2p5d", "roi_pooled"])
    @pytest.mark.parametrize("roi_mode", ["mask", "none"])
    def test_only_the_first_convolution_has_other_weights(self, name, roi_mode):
        plain, made = shapes(network(name)), shapes(network(name, roi_mode=roi_mode))
        assert plain.keys() == made.keys() and {key for key in plain if plain[key] != made[key]} == {"encoder.stem.0.conv.weight"}

    @pytest.mark.parametrize("name, wrong", [("deltanet", {"roi_mode": "box"}), ("roi_pooled", {"roi_mode": "box"}), ("deltanet", {"scales": "middle"})])
    def test_unknown_choices_are_refused_with_the_list(self, name, wrong):
        with pytest.raises(InputError) as misfit:
            build(name, **SETTINGS, **wrong)
        assert misfit.value.code == "MRD-E751" and "choose one of" in misfit.value.found
