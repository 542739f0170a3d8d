"""Every network of the registry: what it takes, what its output means, and what may and may not change it."""

from __future__ import annotations

import pytest
import torch

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.models.comparison import COMPARISONS
from MRDeltaNetLib.models.losses import identity_contrast
from MRDeltaNetLib.models.registry import build, names

SETTINGS = {"spacing_mm": (0.75, 0.75, 3.0), "crop_mm": (48.0, 36.0, 24.0), "preset": "tiny"}
VOXELS, TOKENS = (8, 48, 64), (4, 6, 8)
VARIANTS = [("deltanet", {"compare": compare}) for compare in COMPARISONS] + [("deltanet", {"content": False}), ("subtract", {}), ("roi_pooled", {})]


def network(name="deltanet", **more):
    torch.manual_seed(0)
    made = build(name, **SETTINGS, **more).eval()
    for pool in getattr(made, "pools", []):
        pool.score.data.normal_()                          # as after training: attention pooling has left its start
    return made


def pair(batch=2, seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 2, 2, *VOXELS, generator=generator)
    x[:, :, 1] = 0
    x[:, 0, 1, 2:6, 12:28, 20:44] = 1
    x[:, 1, 1, 2:6, 16:32, 16:40] = 1
    return x


@pytest.mark.parametrize("name, more", VARIANTS)
def test_every_network_builds_runs_and_keeps_its_promises(name, more):
    made = network(name, **more)
    with torch.inference_mode():
        output = made(pair())
    assert output.logit.shape == (2,) and output.embedding.shape[0] == 2 and output.auxiliary == {}
    for share in (output.attention_post, output.attention_pre):
        assert share.shape == (2, *TOKENS) and (share >= 0).all()
        assert torch.allclose(share.sum((1, 2, 3)), torch.ones(2), atol=1e-4)
    assert output.change_post.shape == (2, *TOKENS) and (output.change_post >= 0).all()
    assert made.token_stride == (2, 8, 8) and made.token_size_mm == (6.0, 6.0, 6.0)
    assert all(value.isfinite().all() for value in (output.logit, output.attention_pre, output.change_post))


@pytest.mark.parametrize("name, more", VARIANTS)
def test_two_runs_give_the_same_bits_and_a_batch_does_not_mix_cases(name, more):
    made, x = network(name, **more), pair(3)
    with torch.inference_mode():
        first, again, alone = made(x), made(x), made(x[1:2])
    assert torch.equal(first.logit, again.logit) and torch.equal(first.attention_pre, again.attention_pre)
    assert torch.allclose(first.logit[1], alone.logit[0], atol=1e-4)
    assert torch.allclose(first.attention_post[1], alone.attention_post[0], atol=1e-5)


@pytest.mark.parametrize("name, more", [("deltanet", {}), ("deltanet", {"content": False}), ("roi_pooled", {}), ("subtract", {})])
def test_another_image_with_the_same_masks_gives_other_attention_maps(name, more):
    made, x = network(name, **more), pair()
    other = x.clone()
    other[:, :, 0] = pair(seed=5)[:, :, 0]
    with torch.inference_mode():
        before, after = made(x), made(other)
    assert made.sees_image_content
    assert (before.attention_post - after.attention_post).abs().max() > 1e-3
    assert (before.attention_pre - after.attention_pre).abs().max() > 1e-4


@pytest.mark.parametrize("name, more", VARIANTS)
def test_empty_masks_still_give_a_finite_answer(name, more):
    x = pair()
    x[0, 0, 1], x[1, 1, 1] = 0, 0
    with torch.inference_mode():
        output = network(name, **more)(x)
    assert output.logit.isfinite().all() and output.attention_pre.isfinite().all()
    assert torch.allclose(output.attention_pre.sum((1, 2, 3)), torch.ones(2), atol=1e-4)


def test_attention_stays_inside_the_tumour_bed():
    x = pair()
    with torch.inference_mode():
        attention = network()(x).attention_post
    inside = torch.nn.functional.max_pool3d(x[:, 1, 1], (4, 16, 16), (4, 16, 16))
    inside = inside.repeat_interleave(2, 1).repeat_interleave(2, 2).repeat_interleave(2, 3) > 0
    assert attention[inside].sum() / attention.sum() > 0.99


def test_a_post_scan_that_only_moved_shows_no_change_in_the_tumours_frame_but_does_in_the_scanners():
    """Image and mask moved by one fine token in y and two in x inside a flat border; scales are made sharp."""
    x = torch.zeros(1, 2, 2, 8, 144, 144)
    x[:, :, 0, :, 56:80, 56:80] = torch.randn(1, 1, 8, 24, 24, generator=torch.Generator().manual_seed(0))
    x[:, :, 1, :, 60:76, 60:76] = 1
    x[:, 1] = x[:, 1].roll((8, -16), (-2, -1))
    torch.manual_seed(0)
    made = build("deltanet", **SETTINGS | {"crop_mm": (108.0, 108.0, 24.0), "content": False}).eval()
    change = {}
    for name, mixture in (("tumour", [-60.0, 0.0, -60.0]), ("scanner", [0.0, -60.0, -60.0])):
        made.comparisons[0].align.prior.mixture.data = torch.tensor(mixture)
        made.comparisons[0].align.prior.log_scale.data.fill_(0.0)
        with torch.inference_mode():
            change[name] = float(made(x).change_post[0, :, 7:11, 6:9].amax())      # beyond reach of the borders
    assert change["tumour"] < 1e-3 < 0.1 < change["scanner"]


def test_a_swapped_pair_is_not_the_same_case():
    x = pair()
    made = network()
    with torch.inference_mode():
        assert (made(x).logit - made(x.flip(1)).logit).abs().min() > 1e-4


def test_the_pooled_baseline_does_not_notice_where_in_the_crop_the_post_scan_lies_and_subtraction_does():
    """The post image and its mask move together by one coarse token inside a flat border; position embeddings are at their start, 0."""
    x = torch.zeros(1, 2, 2, 8, 144, 144)
    x[:, :, 0, :, 56:80, 56:80] = torch.randn(1, 2, 8, 24, 24, generator=torch.Generator().manual_seed(0))
    x[:, :, 1, :, 60:76, 60:76] = 1
    moved = x.clone()
    moved[:, 1] = moved[:, 1].roll((16, -16), (2, 3))
    change = {}
    for name in ("roi_pooled", "subtract"):
        torch.manual_seed(0)
        made = build(name, **SETTINGS | {"crop_mm": (108.0, 108.0, 24.0)}).eval()
        with torch.inference_mode():
            change[name] = float((made(x).logit - made(moved).logit).abs())
    assert change["roi_pooled"] < 1e-3 < change["subtract"]


@pytest.mark.parametrize("name, more", [("deltanet", {}), ("deltanet", {"content": False}), ("roi_pooled", {}), ("subtract", {})])
@pytest.mark.parametrize("axis", [3, 2])
def test_a_mirrored_pair_gives_mirrored_maps_and_the_same_score_if_the_kernels_are_symmetric(name, more, axis):
    """Nothing but the learned kernels and positions may know left from right or front from back: grids, offsets and priors do not."""
    made, x = network(name, **more), pair()
    for module in made.modules():
        if isinstance(module, torch.nn.Conv3d):
            module.weight.data = (module.weight.data + module.weight.data.flip(axis - 4)) / 2
    with torch.inference_mode():
        straight, mirrored = made(x), made(x.flip(axis - 4))
    assert torch.allclose(straight.logit, mirrored.logit, atol=1e-4)
    for field in ("attention_post", "attention_pre", "change_post"):
        assert torch.allclose(getattr(straight, field), getattr(mirrored, field).flip(axis - 4), atol=1e-4), field


def test_visits_go_through_the_encoder_together_only_when_nobody_watches_and_give_the_same_numbers():
    made, x, seen = network(), pair(), []
    with torch.inference_mode():
        together = made(x)
        handle = made.encoder.stage1.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
        apart = made(x)
        handle.remove()
    assert seen == [2, 2], "a hook sees each visit of the batch of two by itself"
    assert torch.allclose(together.logit, apart.logit, atol=1e-5)
    assert torch.allclose(together.attention_pre, apart.attention_pre, atol=1e-6)


def test_with_gradients_each_visit_is_encoded_by_itself():
    made, calls = network(), []
    encode = made.encoder.forward
    made.encoder.forward = lambda visit: calls.append(len(visit)) or encode(visit)
    made(pair())
    with torch.no_grad():
        made(pair())
    assert calls == [2, 2, 4]


def test_the_auxiliary_loss_is_there_in_training_only():
    made = network()
    assert made(pair()).auxiliary == {}
    loss = made.train()(pair()).auxiliary["intensity_decoding"]
    loss.backward()
    assert float(loss.detach()) > 0 and made.encoder.stem[0].conv.weight.grad.abs().sum() > 0
    assert network(auxiliary=False).train()(pair()).auxiliary == {}


@pytest.mark.parametrize("name", names())
def test_every_weight_takes_part_in_the_loss(name):
    made = build(name, **SETTINGS).train()
    for pool in getattr(made, "pools", []):
        pool.score.data.normal_()
    output = made(pair())
    identity = 0 if output.anatomy is None else identity_contrast(output.anatomy)
    (output.logit.square().sum() + sum(output.auxiliary.values()) + identity).backward()
    assert [weight for weight, p in made.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("preset, millions", [("tiny", 1.08), ("small", 2.83), ("base", 5.49)])
def test_presets_have_the_documented_number_of_weights(preset, millions):
    made = build("deltanet", preset=preset)
    assert sum(p.numel() for p in made.parameters()) / 1e6 == pytest.approx(millions, rel=0.02)


def test_registry_names_what_it_has_and_refuses_the_rest():
    assert names() == ("deltanet", "slice2p5d", "subtract", "siamese_subtraction", "roi_pooled", "resnet18", "vit")
    with pytest.raises(InputError, match="deltanet") as unknown:
        build("resnet")
    assert unknown.value.code == "MRD-E750" and "update" in unknown.value.fix
    for wrong in ({"presett": "tiny"}, {"preset": "huge"}, {"crop_mm": (50.0, 50.0, 50.0)}):
        with pytest.raises(InputError) as misfit:
            build("deltanet", **wrong)
        assert misfit.value.code == "MRD-E751" and "bundle" in misfit.value.fix


def test_an_input_of_another_size_is_refused():
    with pytest.raises(ValueError, match="this network takes"):
        network()(torch.zeros(1, 2, 2, 8, 48, 48))
