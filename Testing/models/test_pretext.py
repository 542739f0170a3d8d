"""The order of visits and what was hidden: whole visits are swapped, only the tumour bed is hidden, the true image is the goal."""

from __future__ import annotations

import pytest
import torch

from MRDeltaNetLib.models.losses import octant_means
from MRDeltaNetLib.models.pretext import HIDDEN_VALUE, forget_order, hide, pretext, swap_visits
from MRDeltaNetLib.models.registry import build, names

SETTINGS = {"crop_mm": (36.0, 24.0, 24.0), "preset": "tiny", "dropout": 0.0}
STRIDE = (2, 8, 8)


def dice(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def crops(batch=6) -> torch.Tensor:
    x = torch.randn(batch, 2, 2, 8, 32, 48, generator=dice(1))
    x[:, :, 1] = 0
    x[:, 0, 1, 2:6, 8:24, 10:40] = 1
    x[:, 1, 1, 2:6, 12:20, 17:31] = 0.5
    return x


def test_whole_visits_are_swapped_with_their_masks_and_the_target_says_which():
    x = crops(64)
    swapped, in_order = swap_visits(x, dice())
    for case, found, right in zip(x, swapped, in_order):
        assert torch.equal(found, case if right else case.flip(0))
    assert 16 < in_order.sum() < 48
    assert torch.equal(swap_visits(x, dice())[1], in_order) and not torch.equal(swap_visits(x, dice(5))[1], in_order)


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_only_tokens_of_the_visits_own_tumour_bed_are_hidden_and_as_many_as_asked(share):
    x = crops()
    before = x.clone()
    shown, hidden = hide(x, share, STRIDE, dice())
    inside = torch.nn.functional.max_pool3d(x[:, :, 1], STRIDE, STRIDE).flatten(2) > 0
    assert torch.equal(x, before) and torch.equal(shown[:, :, 1], x[:, :, 1]) and not (hidden & ~inside).any()
    for case in range(6):
        for time in (0, 1):
            n = int(inside[case, time].sum())
            assert int(hidden[case, time].sum()) == max(1, round(share * n)), "share of the tokens inside"
            grid = hidden[case, time].reshape(4, 4, 6)
            for z in range(4):
                for y in range(4):
                    for x_ in range(6):
                        block = (case, time, 0, slice(2 * z, 2 * z + 2), slice(8 * y, 8 * y + 8), slice(8 * x_, 8 * x_ + 8))
                        assert (shown[block] == HIDDEN_VALUE).all() if grid[z, y, x_] else torch.equal(shown[block], x[block])


def test_nothing_is_hidden_in_a_visit_without_a_tumour_bed():
    x = crops(2)
    x[0, 1, 1] = 0
    shown, hidden = hide(x, 0.5, STRIDE, dice())
    assert not hidden[0, 1].any() and torch.equal(shown[0, 1], x[0, 1]) and hidden[0, 0].any()
    x[:, :, 1] = 0
    made = build("deltanet", **SETTINGS).train()
    assert float(pretext(made, x, 0.5, dice()).reconstruction.detach()) == 0


def test_reconstruction_is_the_error_of_the_hidden_tokens_against_the_image_before_hiding():
    made, x, seen, random = build("deltanet", **SETTINGS).train(), crops(3), [], dice()
    handle = made.decoding.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0][0]))
    found = pretext(made, x, 0.3, random)
    handle.remove()
    again = dice()
    swapped, _ = swap_visits(x, again)
    _, hidden = hide(swapped, 0.3, STRIDE, again)
    errors = []
    for time in (0, 1):
        visit = swapped[:, time]
        goal = torch.cat([octant_means(visit[:, 0], (1, 4, 4)), octant_means(visit[:, 0] * visit[:, 1], (1, 4, 4))], -1)
        decoded = made.decoding.decoders[0](seen[time])
        errors += [((decoded[case, i] - goal[case, i]) ** 2).mean() for case in range(3) for i in range(96) if hidden[case, time, i]]
    assert float(found.reconstruction.detach()) == pytest.approx(float(sum(errors).detach()) / len(errors), rel=1e-4)
    assert not made.decoding._forward_hooks, "nobody watches afterwards"


@pytest.mark.parametrize("name, more", [(name, {}) for name in names()] + [("deltanet", {"members": 2}), ("deltanet", {"compare": "latent"})])
def test_every_network_that_sees_both_visits_learns_from_both_tasks(name, more):
    torch.manual_seed(0)
    made, x = build(name, **SETTINGS, **more).train(), crops()
    found = pretext(made, x, 0.3, dice())
    (found.order + found.reconstruction).backward()
    assert found.order.isfinite() and found.reconstruction > 0.01 and 0 <= found.right <= 1
    first = next(p for key, p in made.named_parameters() if p.ndim > 3 and "position" not in key)
    assert first.grad.abs().sum() > 0


def test_order_is_the_cross_entropy_of_the_logit_against_the_true_order():
    made, x = build("subtract", **SETTINGS).train(), crops()
    found = pretext(made, x, 0.0, dice())
    swapped, in_order = swap_visits(x, dice())
    logit = made(swapped).logit.detach()
    by_hand = torch.where(in_order > 0, torch.log1p(torch.exp(-logit)), torch.log1p(torch.exp(logit))).mean()
    assert float(found.order.detach()) == pytest.approx(float(by_hand), rel=1e-4) and float(found.reconstruction) == 0
    assert float(found.right) == pytest.approx(float(((logit > 0) == (in_order > 0)).float().mean()))


def test_a_few_steps_lower_both_losses():
    torch.manual_seed(0)
    made, x = build("roi_pooled", **SETTINGS).train(), crops(8)
    x[:, 1, 0] -= 1.0                                      # the later visit is darker
    optimiser, history = torch.optim.AdamW(made.parameters(), lr=3e-3), []
    for step in range(25):
        found = pretext(made, x, 0.3, dice(step))
        optimiser.zero_grad()
        (found.order + found.reconstruction).backward()
        optimiser.step()
        history.append((float(found.order.detach()), float(found.reconstruction.detach())))
    early, late = (torch.tensor(part).mean(0) for part in (history[:4], history[-4:]))
    assert late[0] < 0.5 * early[0] and late[1] < 0.9 * early[1]


@pytest.mark.parametrize("name, more", [("deltanet", {}), ("siamese_subtraction", {}), ("vit", {}), ("subtract", {"members": 2})])
def test_forgetting_the_order_changes_the_last_layer_and_nothing_else(name, more):
    made = build(name, **SETTINGS, **more)
    before = {key: value.clone() for key, value in made.state_dict().items()}
    forget_order(made)
    changed = {key for key, value in made.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if key.endswith(("head.logit.weight", "head.logit.bias"))} != set()


@pytest.mark.parametrize("name, more, word", [("roi_pooled", {"visits": "post"}, "both visits"), ("resnet18", {"visits": "pre"}, "both visits"),
                                              ("deltanet", {"auxiliary": False}, "auxiliary=True")])
def test_a_network_that_cannot_do_the_tasks_is_refused(name, more, word):
    with pytest.raises(ValueError, match=word):
        pretext(build(name, **SETTINGS, **more).train(), crops(2), 0.3, dice())
    with pytest.raises(ValueError, match="training mode"):
        pretext(build("deltanet", **SETTINGS).eval(), crops(2), 0.3, dice())
