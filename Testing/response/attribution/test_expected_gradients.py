"""Expected gradients: what a linear network, a network of outlines, and a shifted scan must give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.response.attribution import Readout, attribute
from MRDeltaNetLib.response.attribution.expected_gradients import PARTS_MM, SMOOTHING_MM, baseline, between, moved, random_part
from MRDeltaNetLib.response.attribution.inpainting import blurred, inpainted
from MRDeltaNetLib.response.attribution.regions import shells
from Testing.response.attribution.test_methods import network, pair
from Testing.response.attribution.toys import SPACING_MM, VOXELS, Toy, case, linear

SAMPLES = 32


def flat(level: float = 0.3) -> torch.Tensor:
    """A case whose T2 is one tissue everywhere: nothing to see but the outlines."""
    x = case()
    x[:, 0] = level
    return x


def test_the_baseline_is_the_case_with_outline_and_shell_in_painted_and_nothing_else_changed():
    x = case()
    base = baseline(x, SPACING_MM)
    assert torch.equal(base[:, 1], x[:, 1])
    for time in (0, 1):
        hole = ~shells(x, time, SPACING_MM)["elsewhere"]
        assert torch.equal(base[time, 0][~torch.as_tensor(hole)], x[time, 0][~torch.as_tensor(hole)])
        assert torch.equal(base[time, 0], inpainted(x[time, 0], hole, SPACING_MM)) and not torch.equal(base[time, 0], x[time, 0])


def test_a_linear_network_of_even_weights_gets_weight_times_content():
    """Gradients are the weights wherever they are taken: e = w (x - x'), and its sum is what the answer changes by."""
    x = case()
    found = attribute("expected_gradients", linear(torch.stack([torch.full(VOXELS, 0.02), torch.full(VOXELS, -0.05)])), x, toward="pCR", samples=SAMPLES)
    own = (x - baseline(x, SPACING_MM))[:, 0]
    for time, (visit, weight) in enumerate((("pre", 0.02), ("post", -0.05))):
        expected = blurred(weight * own[time], SPACING_MM, SMOOTHING_MM).clamp(min=0).numpy()
        inside = (slice(None), slice(6, 10), slice(6, 10))                                               # no shift and no Gaussian brings the border here
        assert found.maps[visit][inside] == pytest.approx(expected[inside], abs=1e-5) and expected[inside].max() > 1e-3
    numbers = found.numbers["both"]
    assert numbers["logit"] - numbers["baseline_logit"] == pytest.approx(float((torch.tensor([0.02, -0.05])[:, None, None, None] * own).sum()), abs=1e-4)


def test_nothing_is_lost_where_nothing_reaches_the_border():
    x = case()
    x[:, 0] = 0
    x[0, 0, 1:3, 6:9, 6:9] = 1.0
    x[1, 0, 1:3, 6:8, 7:9] = -2.0
    found = attribute("expected_gradients", linear(torch.full((2, *VOXELS), 0.03)), x, samples=SAMPLES)
    assert abs(found.numbers["both"]["completeness_error_logit"]) < 1e-4 < abs(found.numbers["both"]["logit"] - found.numbers["both"]["baseline_logit"])


def test_scans_without_content_have_an_empty_map_whatever_the_network_makes_of_the_outlines():
    """The place alone gets nothing: the network here rewards nothing but signal inside the outline."""
    roi = Toy(lambda x: (x[:, :, 0] * x[:, :, 1]).flatten(1).sum(1))
    found = attribute("expected_gradients", roi, flat(), samples=SAMPLES)
    assert max(np.abs(values).max() for values in found.maps.values()) < 1e-5
    assert max(values.max() for values in attribute("expected_gradients", network(), _flat_pair(), samples=4).maps.values()) < 1e-5


def _flat_pair() -> torch.Tensor:
    x = pair()
    x[:, 0] = -0.4
    return x


def test_a_visit_that_is_not_read_has_an_empty_map():
    weights = torch.zeros(2, *VOXELS)
    weights[1] = 0.01
    found = attribute("expected_gradients", linear(weights), case(), samples=SAMPLES)
    assert not found.maps["pre"].any() and found.maps["post"].any()


def test_no_place_speaks_for_both_classes_and_a_falling_readout_turns_them_round():
    x, net = case(), linear(torch.full((2, *VOXELS), 0.02))
    towards, against = (attribute("expected_gradients", net, x, toward=toward, samples=SAMPLES).maps for toward in ("pCR", "non-pCR"))
    for visit in towards:
        assert not (towards[visit] * against[visit]).any() and towards[visit].any() and against[visit].any()
    falling = attribute("expected_gradients", net, x, toward="pCR", samples=SAMPLES, readout=Readout(slope=-1.0)).maps
    assert all(np.array_equal(falling[visit], against[visit]) for visit in falling)


def test_the_map_lies_where_the_network_looks_and_moves_with_the_case():
    """A network that reads the brightest voxel inside the outline: the map's peak is there, and follows it."""
    brightest = Toy(lambda x: (x[:, 1, 0] - 9 * (1 - x[:, 1, 1])).flatten(1).amax(1))
    x = flat(0.0)
    x[1, 0, 2, 7, 8] = 3.0
    peaks = []
    for by in ((0, 0), (2, -2)):
        values = attribute("expected_gradients", brightest, moved(x, by), toward="pCR", samples=SAMPLES).maps["post"]
        peaks.append(np.array(np.unravel_index(values.argmax(), values.shape)))
    assert np.array_equal(peaks[0], [2, 7, 8]) and np.array_equal(peaks[1] - peaks[0], [0, 2, -2])


def test_a_second_best_place_is_found_that_an_even_fading_never_asks_about():
    """Two bright spots and a maximum: integrated gradients on the even way give all to the brighter one; removed in parts, the other takes over."""
    brightest = Toy(lambda x: (x[:, 1, 0] - 9 * (1 - x[:, 1, 1])).flatten(1).amax(1))
    x = flat(0.0)
    x[1, 1, 1:3, 3:13, 3:13] = 1
    x[1, 0, 2, 4, 4], x[1, 0, 2, 11, 11] = 3.0, 2.9
    values = attribute("expected_gradients", brightest, x, toward="pCR", samples=SAMPLES).maps["post"]
    assert 0.05 * values[2, 4, 4] < values[2, 11, 11] < values[2, 4, 4]


def test_samples_are_spread_evenly_over_shares_and_are_the_same_every_time():
    x = flat(0.0)
    base = x.clone()
    x[:, 0] = 1.0
    asked = list(between(x, base, SPACING_MM, SAMPLES))
    again = list(between(x, base, SPACING_MM, SAMPLES))
    assert all(by == other and torch.equal(mixed, same) for (by, mixed), (other, same) in zip(asked, again))
    assert all(torch.equal(mixed[:, 1], moved(x, by)[:, 1]) for by, mixed in asked), "the outlines stay"
    fading, parts = (sorted(float(mixed[0, 0].mean()) for _, mixed in asked[kind::2]) for kind in (0, 1))
    wanted = (np.arange(SAMPLES // 2) + 0.5) / (SAMPLES // 2)
    assert fading == pytest.approx(wanted, abs=1e-6) and parts == pytest.approx(wanted, abs=1e-3)
    assert all(len(mixed[0, 0].unique()) == 1 for _, mixed in asked[::2]) and all(set(mixed[0, 0].unique().tolist()) == {0.0, 1.0} for _, mixed in asked[1::2])


def test_a_random_part_is_in_patches_and_has_its_share():
    part = random_part(np.random.default_rng(0), 0.25, (1.0, 1.0, 1.0), (24, 48, 48))
    assert part.mean() == pytest.approx(0.25, abs=1e-3)
    apart = int(PARTS_MM / 2)
    assert (part[:, :, apart:] & part[:, :, :-apart]).mean() > 0.15 > 0.25**2 * 2, "neighbours are mostly of one kind"
    far = int(6 * PARTS_MM)
    assert (part[:, :, far:] & part[:, :, :-far]).mean() == pytest.approx(0.25**2, abs=0.05)


def test_an_empty_outline_is_refused():
    x = case()
    x[0, 1] = 0
    with pytest.raises(InputError) as caught:
        attribute("expected_gradients", linear(torch.ones(2, *VOXELS)), x)
    assert caught.value.code == "MRD-E722"
