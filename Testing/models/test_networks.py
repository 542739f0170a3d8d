"""Every network of the registry: what it takes, what its output means, and what may and may not change it."""

from __future__ import annotations

import pytest
import torch
from monai.networks.layers import DropPath

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.bundle import check_golden, load_network, read_bundle
from MRDeltaNetLib.models.comparison import COMPARISONS
from MRDeltaNetLib.models.losses import identity_contrast
from MRDeltaNetLib.models.registry import build, names
from MRDeltaNetLib.resources import DEMO_BUNDLE, resource

SETTINGS = {"spacing_mm": (0.75, 0.75, 3.0), "crop_mm": (48.0, 36.0, 24.0), "preset": "tiny"}
VOXELS = (8, 48, 64)
VARIANTS = [("deltanet", {"compare": compare}) for compare in COMPARISONS] + [
    ("deltanet", {"content": False}), ("deltanet", {"members": 2}), ("slice2p5d", {}), ("slice2p5d", {"compare": "anchored+latent"}),
    ("subtract", {}), ("siamese_subtraction", {}), ("roi_pooled", {}), ("roi_pooled", {"visits": "pre"}), ("roi_pooled", {"visits": "post"}),
    ("resnet18", {}), ("resnet18", {"visits": "pre"}), ("resnet18", {"visits": "post"}), ("vit", {}), ("vit", {"visits": "pre"}),
    ("vit", {"visits": "post"})]
ONE_VISIT = [(name, more["visits"]) for name, more in VARIANTS if "visits" in more]
STRIDE = {"slice2p5d": (1, 8, 8)}
SIZE_MM = {"slice2p5d": (3.0, 6.0, 6.0), "resnet18": (48.0, 24.0, 24.0), "vit": (12.0, 12.0, 12.0)}


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
    tokens = tuple(n // step for n, step in zip(VOXELS, STRIDE.get(name, (2, 8, 8))))
    assert output.logit.shape == (2,) and output.embedding.shape[0] == 2 and output.auxiliary == {} and output.anatomy is None
    for share in (output.attention_post, output.attention_pre):
        assert share.shape == (2, *tokens) and (share >= 0).all()
        assert torch.allclose(share.sum((1, 2, 3)), torch.ones(2), atol=1e-4)
    assert output.change_post.shape == (2, *tokens) and (output.change_post >= 0).all() and (output.change_post.amax((1, 2, 3)) > 0).all()
    assert made.token_stride == STRIDE.get(name, (2, 8, 8)) and made.token_size_mm == SIZE_MM.get(name, (6.0, 6.0, 6.0))
    assert all(value.isfinite().all() for value in (output.logit, output.attention_pre, output.change_post))


@pytest.mark.parametrize("name, more", VARIANTS)
def test_two_runs_give_the_same_bits_and_a_batch_does_not_mix_cases(name, more):
    made, x = network(name, **more), pair(3)
    with torch.inference_mode():
        first, again, alone = made(x), made(x), made(x[1:2])
    assert torch.equal(first.logit, again.logit) and torch.equal(first.attention_pre, again.attention_pre)
    assert torch.allclose(first.logit[1], alone.logit[0], atol=1e-4)
    assert torch.allclose(first.attention_post[1], alone.attention_post[0], atol=1e-5)


@pytest.mark.parametrize("name, more", [("deltanet", {}), ("deltanet", {"content": False}), ("roi_pooled", {}), ("subtract", {}), ("slice2p5d", {}),
                                        ("siamese_subtraction", {}), ("resnet18", {}), ("vit", {})])
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


@pytest.mark.parametrize("name", names())
def test_a_swapped_pair_is_not_the_same_case(name):
    x = pair()
    made = network(name)
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


@pytest.mark.parametrize("name, more", [("deltanet", {}), ("deltanet", {"content": False}), ("roi_pooled", {}), ("subtract", {}), ("slice2p5d", {}),
                                        ("siamese_subtraction", {})])
@pytest.mark.parametrize("axis", [3, 2])
def test_a_mirrored_pair_gives_mirrored_maps_and_the_same_score_if_the_kernels_are_symmetric(name, more, axis):
    """Nothing but the learned kernels and positions may know left from right or front from back: grids, offsets and priors do not."""
    made, x = network(name, **more), pair()
    for module in made.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Conv3d)):
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


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("preset, crop_mm", [("tiny", (12.0, 24.0, 36.0)), ("small", (60.0, 36.0, 12.0)), ("base", (36.0, 36.0, 24.0))])
def test_every_network_takes_other_presets_and_odd_crops_down_to_one_coarse_token(name, preset, crop_mm):
    torch.manual_seed(0)
    made = build(name, preset=preset, crop_mm=crop_mm).eval()
    with torch.inference_mode():
        output = made(torch.rand(1, 2, 2, *made.geometry.voxels))
    assert output.logit.isfinite().all() and output.attention_post.shape[1:] == made.geometry.tokens(0)
    assert output.attention_post.sum() == pytest.approx(1, abs=1e-4) == output.attention_pre.sum()


@pytest.mark.parametrize("name, visits", ONE_VISIT)
def test_a_network_of_one_visit_ignores_the_other_one_exactly_and_says_so_in_its_maps(name, visits):
    made, x = network(name, visits=visits), pair()
    unseen = 0 if visits == "post" else 1
    other = x.clone()
    other[:, unseen] = pair(seed=9)[:, unseen]
    other[0, unseen, 1] = 0
    with torch.inference_mode():
        before, after = made(x), made(other)
    for field in ("logit", "attention_post", "attention_pre", "change_post", "embedding"):
        assert torch.equal(getattr(before, field), getattr(after, field)), field
    blind, seen = (("attention_pre", "attention_post") if visits == "post" else ("attention_post", "attention_pre"))
    assert len(getattr(before, blind).unique()) == 1 and len(getattr(before, seen).unique()) > 1
    assert "does not see" in made.map_formulas[blind] and "does not see" not in made.map_formulas[seen]
    with torch.inference_mode():
        other[:, 1 - unseen] = pair(seed=9)[:, 1 - unseen]
        assert (made(other).logit - before.logit).abs().min() > 1e-4


@pytest.mark.parametrize("name", ["roi_pooled", "resnet18", "vit"])
def test_an_unknown_visit_is_refused_with_the_list(name):
    with pytest.raises(InputError) as misfit:
        build(name, **SETTINGS, visits="during")
    assert misfit.value.code == "MRD-E751" and "both, pre, post" in misfit.value.found


def test_siamese_subtraction_of_two_equal_visits_is_the_bias_and_a_swap_keeps_the_length_of_every_change():
    made, x = network("siamese_subtraction"), pair()
    same = x.clone()
    same[:, 1] = same[:, 0]
    with torch.inference_mode():
        equal, straight, swapped = made(same), made(x), made(x.flip(1))
    assert torch.equal(equal.logit, made.head.logit.bias.expand(2)) and equal.change_post.abs().max() == 0
    assert torch.allclose(straight.change_post, swapped.change_post, atol=1e-6)
    assert (straight.embedding - swapped.embedding).abs().max() > 1e-3


def test_subtraction_changes_its_sign_with_the_order_of_the_visits():
    made, x, seen = network("subtract"), pair(), []
    handle = made.comparisons[0].register_forward_hook(lambda module, inputs, output: seen.append(output.change))
    with torch.inference_mode():
        made(x), made(x.flip(1))
    handle.remove()
    assert torch.allclose(seen[0], -seen[1], atol=1e-6)


@pytest.mark.parametrize("name", ["resnet18", "vit", "siamese_subtraction"])
def test_the_class_activations_of_all_places_add_up_to_the_logit_and_are_what_the_map_shows(name):
    made, x, seen = network(name), pair(), []
    handle = made.head.register_forward_hook(lambda module, inputs, output: seen.append(output[2]))
    with torch.inference_mode():
        output = made(x)
    handle.remove()
    total = sum(c.sum((1, 2, 3)) for c in seen[0])
    assert torch.allclose(total + made.head.logit.bias, output.logit, atol=1e-5)
    if name != "siamese_subtraction":
        assert torch.allclose(output.attention_post, output.change_post / output.change_post.sum((1, 2, 3), keepdim=True), atol=1e-6)
        assert output.change_post.sum() >= total.abs().sum() - 1e-5


def test_slices_see_no_further_than_their_neighbours_before_self_attention():
    made, x = network("slice2p5d"), pair()
    other = x.clone()
    other[:, 0, 0, 3] += 1
    with torch.inference_mode():
        (fine, _), (changed, _) = (made.encoder(v[:, 0]) for v in (x, other))
    touched = (fine - changed).abs().amax((0, 1, 3, 4)) > 0
    assert touched.tolist() == [False, False, True, True, True, False, False, False]


@pytest.mark.parametrize("name", ["deltanet", "slice2p5d", "subtract", "roi_pooled"])
def test_drop_path_overrules_the_preset_rises_from_zero_and_acts_in_training_only(name):
    rates = [[float(m.drop_prob) for m in build(name, **SETTINGS | {"preset": "small"} | more).modules() if isinstance(m, DropPath)]
             for more in ({}, {"drop_path": 0.0}, {"drop_path": 0.4})]
    assert max(rates[0]) == pytest.approx(0.1) and set(rates[1]) == {0.0}
    assert rates[2] == sorted(rates[2]) and rates[2][0] == 0 and rates[2][-1] == pytest.approx(0.4)
    made, x = network(name, drop_path=0.9, dropout=0.0), pair()
    assert torch.equal(made(x).logit, made(x).logit)
    made.train()
    assert not torch.equal(made(x).logit, made(x).logit)
    with pytest.raises(InputError):
        build(name, **SETTINGS, drop_path=1.0)


@pytest.mark.parametrize("name, more", VARIANTS)
def test_what_only_training_uses_is_absent_without_auxiliary_and_the_rest_is_the_same_network(name, more):
    trained, small = network(name, **more), network(name, auxiliary=False, **more)
    weights = trained.state_dict()
    extra = set(weights) - set(small.state_dict())
    assert extra and {key.removeprefix("members.0.").removeprefix("members.1.").split(".")[0] for key in extra} <= {"decoding", "anatomy"}
    small.load_state_dict({key: weights[key] for key in small.state_dict()}, strict=True)
    with torch.inference_mode():
        assert torch.equal(trained(pair()).logit, small(pair()).logit)
    output = small.train()(pair())
    assert output.auxiliary == {} and output.anatomy is None


@pytest.mark.parametrize("name", ["deltanet", "slice2p5d", "subtract", "siamese_subtraction", "roi_pooled"])
def test_anatomy_is_of_unit_length_comes_from_its_own_visit_and_only_from_outside_the_roi(name):
    made, x = network(name).train(), pair()
    for module in made.modules():
        if isinstance(module, (torch.nn.Dropout, torch.nn.Dropout3d)):
            module.eval()
    anatomy = made(x).anatomy
    assert torch.allclose(anatomy.norm(dim=2), torch.ones(2, 2), atol=1e-5)
    other = x.clone()
    other[:, 1] = pair(seed=4)[:, 1]
    changed = made(other).anatomy
    assert torch.allclose(changed[:, 0], anatomy[:, 0], atol=1e-6) and (changed[:, 1] - anatomy[:, 1]).abs().max() > 1e-3
    features, roi = [torch.randn(2, dim, 2, 3, 4) for dim in made.dims], [torch.zeros(2, 24) for _ in made.dims]
    roi[0][:, 5] = roi[1][:, 5] = 1
    before = made.anatomy(features, roi)
    for feature in features:
        feature.flatten(2)[:, :, 5] += 100 * torch.randn(feature.shape[1])
    assert torch.allclose(made.anatomy(features, roi), before, atol=1e-5)
    assert made.anatomy(features, [torch.ones(2, 24) for _ in made.dims]).isfinite().all()


@pytest.mark.parametrize("name, more", VARIANTS)
def test_bfloat16_answers_are_finite_and_near_full_precision(name, more):
    """Forward only: over maps as small as these, torch computes bfloat16 weight gradients wrongly on a CPU, and the trainer refuses them."""
    made, x = network(name, dropout=0.0, **more).train(), pair(4)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = made(x)
        losses = [*output.auxiliary.values(), *([] if output.anatomy is None else [identity_contrast(output.anatomy)])]
    assert all(loss.isfinite() for loss in losses)
    assert torch.allclose(output.logit.float(), made(x).logit, atol=0.15)


def test_a_gate_budget_is_missed_by_the_mean_gate_and_changes_with_its_target():
    made, x, seen = network(compare="latent", gate_budget=0.3).train(), pair(), []
    handles = [c.register_forward_hook(lambda module, inputs, output: seen.append(output.gate)) for c in made.comparisons]
    loss = made(x).auxiliary["gate_budget"]
    by_hand = sum((float(gate[k].mean()) - 0.3) ** 2 for gate in seen for k in range(2)) / 4
    assert float(loss) == pytest.approx(by_hand, rel=1e-4) and by_hand > 1e-3
    loss.backward()
    assert made.comparisons[0].latent.gate[0].weight.grad.abs().sum() > 0
    for handle in handles:
        handle.remove()
    made.gate_budget = float(torch.cat([gate.flatten() for gate in seen]).mean())
    assert made(x).auxiliary["gate_budget"] < loss / 4
    assert "gate_budget" not in network().train()(x).auxiliary
    with pytest.raises(InputError):
        network(compare="latent", gate_budget=1.0)


def test_dropout_acts_before_the_last_layer_in_training_and_can_be_switched_off():
    for name in ("deltanet", "resnet18"):
        free, dropped = network(name, dropout=0.0).train(), network(name, dropout=0.9).train()
        assert torch.equal(free(pair()).logit, free(pair()).logit) and not torch.equal(dropped(pair()).logit, dropped(pair()).logit)


def test_an_ensemble_is_the_mean_of_its_members_and_says_what_each_of_them_says():
    made, x = network(members=3), pair()
    with torch.inference_mode():
        together, alone = made(x), [member(x) for member in made.members]
    assert len({float(output.logit[0].detach()) for output in alone}) == 3, "members start from different weights"
    assert torch.equal(together.member_logits, torch.stack([output.logit for output in alone], 1))
    for field in ("logit", "attention_post", "attention_pre", "change_post"):
        by_hand = sum(getattr(output, field) for output in alone) / 3
        assert torch.allclose(getattr(together, field), by_hand, atol=1e-6), field
    assert torch.equal(together.embedding, torch.cat([output.embedding for output in alone], 1))
    assert together.cpu().member_logits.shape == (2, 3) and network()(x).cpu().member_logits is None
    training = made.train()(x)
    assert torch.allclose(training.anatomy.norm(dim=2), torch.ones(2, 2), atol=1e-5) and float(training.auxiliary["intensity_decoding"].detach()) > 0


def test_an_ensemble_holds_each_members_weights_under_its_number():
    made, single = network(members=2, auxiliary=False), network(auxiliary=False)
    assert set(made.state_dict()) == {f"members.{m}.{key}" for m in (0, 1) for key in single.state_dict()}
    for wrong in (0, -1, 1.5, True, 10**6):
        with pytest.raises(InputError) as misfit:
            build("deltanet", members=wrong, **SETTINGS)
        assert misfit.value.code == "MRD-E751"


def test_the_demo_bundle_still_fits_and_gives_what_was_stored_with_it():
    bundle = read_bundle(resource(DEMO_BUNDLE))
    made = load_network(bundle, build)
    assert set(made.state_dict()) == set(bundle.weights)
    assert check_golden(bundle, made) < 1e-5


@pytest.mark.parametrize("name, more", [("deltanet", {}), ("slice2p5d", {}), ("subtract", {}), ("siamese_subtraction", {}), ("roi_pooled", {})])
@pytest.mark.parametrize("time", [0, 1])
def test_a_visit_that_is_held_is_looked_at_once_and_the_answers_are_those_without(name, more, time):
    made, x, calls = network(name, **more), pair(3), []
    x[:, time] = x[:1, time]
    with torch.inference_mode():
        alone = made(x).logit
    real = made.encoder.forward
    made.encoder.forward = lambda given: (calls.append(len(given)), real(given))[1]
    with made.holding(x[:1], time), torch.inference_mode():
        held = made(x).logit
        other = made(x.flip(0)).logit
    assert torch.allclose(held, alone, atol=1e-5) and torch.allclose(other, alone.flip(0), atol=1e-5)
    if name != "roi_pooled":                               # looks at each visit by itself anyway
        assert calls == [1, 3, 3]
    with torch.inference_mode():
        assert torch.allclose(made(x).logit, alone, atol=1e-6) and calls[-1] in (3, 6), "nothing is held afterwards"


def test_nothing_is_held_where_gradients_are_wanted():
    made, x = network(), pair(1)
    with made.holding(x, 0), torch.enable_grad():
        given = (x + 0.1).requires_grad_()
        (slope,) = torch.autograd.grad(made(given).logit.sum(), given)
    assert slope[:, 0, 0].abs().max() > 0
