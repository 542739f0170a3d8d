"""What the tests of maps measure, on networks and maps whose truth is known by hand."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from MRDeltaNetLib.cohort.verifying import agreement, judging, measuring, ordering, randomising, steadiness, truth  # noqa: E402
from MRDeltaNetLib.models.registry import build  # noqa: E402
from MRDeltaNetLib.response.attribution import METHODS, Readout  # noqa: E402
from MRDeltaNetLib.response.attribution.readout import Found  # noqa: E402
from MRDeltaNetLib.response.attribution.registry import Method  # noqa: E402
from Testing.response.attribution.toys import GEOMETRY, SPACING_MM, VOXELS, Toy, case, linear  # noqa: E402

EVERYWHERE = {"pre": np.ones(VOXELS, bool), "post": np.ones(VOXELS, bool)}


def planted(key: str, made, *, signed: bool = False) -> Method:
    """A method whose maps are made(network, x) -> visit -> map."""
    return Method(key, key, ("pre", "post"), signed, "", lambda network, x, readout, *, progress: Found(made(network, x), {"resolution_mm": SPACING_MM}), "f")


class Filtered(nn.Module):
    """Two layers in stages: the logit is the sum of head times stem times T2, voxel by voxel, so that the slope does not know the image."""

    geometry = GEOMETRY
    stages = (("stem", ("stem",)),)

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.stem = nn.Parameter(torch.randn(2, *VOXELS, generator=generator))
        self.head = nn.Parameter(torch.randn(2, *VOXELS, generator=generator))

    def forward(self, x):
        return Toy(lambda given: (given[:, :, 0] * self.stem * self.head).flatten(1).sum(1))(x)


def sensitivity(network, x):
    given = x[None].clone().requires_grad_()
    (slope,) = torch.autograd.grad(network(given).logit.sum(), given)
    return {visit: slope[0, time, 0].abs().numpy() for time, visit in enumerate(("pre", "post"))}


def edges(network, x):
    return {visit: sum(np.abs(part) for part in np.gradient(x[time, 0].numpy())).astype(np.float32) for time, visit in enumerate(("pre", "post"))}


# ---- agreement

def test_rank_correlation_is_scipy_s_and_has_no_answer_for_a_map_without_order():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    one, other = rng.integers(0, 9, 300).astype(float), rng.normal(size=300)
    assert agreement.rank_correlation(one, other) == pytest.approx(stats.spearmanr(one, other).statistic, abs=1e-12)
    assert agreement.rank_correlation(other, np.exp(other)) == pytest.approx(1.0) and agreement.rank_correlation(other, -other) == pytest.approx(-1.0)
    assert agreement.rank_correlation(one, np.zeros(300)) is None


def test_structural_similarity_is_monai_s_away_from_the_border():
    metric = pytest.importorskip("monai.metrics.regression")
    rng = np.random.default_rng(2)
    a, b = rng.random((9, 13, 15)), rng.random((9, 13, 15))
    full, _ = metric.compute_ssim_and_cs(torch.tensor(a)[None, None], torch.tensor(b)[None, None], spatial_dims=3, kernel_size=(3, 5, 5), kernel_sigma=(1.0,) * 3,
                                         data_range=torch.tensor(1.0), kernel_type="uniform")
    assert agreement.similarity(a, b, (3, 5, 5))[1:-1, 2:-2, 2:-2] == pytest.approx(full[0, 0].numpy(), abs=1e-5)       # float32 there


def test_a_map_is_as_similar_to_itself_as_can_be_whatever_its_unit():
    values, region = np.random.default_rng(3).random(VOXELS), np.ones(VOXELS, bool)
    assert agreement.structural_similarity(values, 50 * values, region, SPACING_MM) == pytest.approx(1.0)
    assert agreement.structural_similarity(values, values[::-1], region, SPACING_MM) < 0.5


# ---- cascade

def test_the_cascade_replaces_one_stage_after_the_other_and_leaves_the_network():
    network, new = Filtered(0), Filtered(7)
    before = copy.deepcopy(network.state_dict())
    seen = [(stage, changed.stem.clone(), changed.head.clone()) for stage, changed in randomising.cascade(network, Filtered, 7)]
    assert [stage for stage, *_ in seen] == ["head", "stem"] == randomising.stages(network)
    assert torch.equal(seen[0][1], network.stem) and torch.equal(seen[0][2], new.head)
    assert torch.equal(seen[1][1], new.stem) and torch.equal(seen[1][2], new.head)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_weights_that_begin_at_zero_are_shuffled_so_that_maps_do_not_vanish():
    trained = torch.arange(12.0).reshape(3, 4)
    found = randomising._without_memory(trained, torch.zeros(3, 4), torch.Generator().manual_seed(0))
    assert sorted(found.flatten().tolist()) == list(range(12)) and not torch.equal(found, trained)
    assert torch.equal(randomising._without_memory(torch.ones(4), torch.zeros(4), torch.Generator()), torch.zeros(4))


@pytest.mark.parametrize("name", ["deltanet", "roi_pooled", "resnet18"])
def test_every_weight_of_a_real_network_is_replaced(name):
    settings = {"preset": "tiny", "spacing_mm": (0.75, 0.75, 3.0), "crop_mm": (24.0, 24.0, 24.0), "auxiliary": False}
    torch.manual_seed(0)
    network = build(name, members=2, **settings).eval()

    def fresh(seed):
        torch.manual_seed(seed)
        return build(name, members=2, **settings)

    changed, new = randomising.randomised(network, fresh, 5), dict(fresh(5).named_parameters())
    kept = [key for key, value in changed.named_parameters()
            if value.ndim > 1 and torch.equal(value, dict(network.named_parameters())[key]) and not torch.equal(value, new[key])]
    assert not kept


def test_a_map_that_ignores_the_weights_fails_the_cascade_and_one_that_follows_them_does_not(monkeypatch):
    monkeypatch.setitem(METHODS, "edges", planted("edges", edges))
    monkeypatch.setitem(METHODS, "sensitivity", planted("sensitivity", sensitivity))
    network, x = Filtered(99), case()
    subject = measuring.subject_of(network, x, Readout(slope=0.01))
    repeated = {key: measuring.repeated(key, network, Filtered, subject, 3) for key in ("edges", "sensitivity")}
    cases = [{"chance": {"right": None, "chance": None}, "answer": {}, "shuffled": {}, "repeated": repeated}]
    assert judging.cascade("edges", cases, 0)["spearman"] == pytest.approx(1.0) and judging.cascade("edges", cases, 0)["passes"] is False
    found = judging.cascade("sensitivity", cases, 0)
    assert abs(found["spearman"]) < 0.2 and found["passes"] is True and list(found["by_stage"]) == ["head", "stem"] and found["maps"] == 3
    assert found["ssim"] < judging.cascade("edges", cases, 0)["ssim"] == pytest.approx(1.0)


def test_the_null_map_of_a_real_network_fails_the_cascade():
    settings = {"preset": "tiny", "spacing_mm": (0.75, 0.75, 3.0), "crop_mm": (24.0, 24.0, 24.0), "auxiliary": False}

    def fresh(seed):
        torch.manual_seed(seed)
        return build("deltanet", **settings)

    network, x = fresh(0).eval(), torch.zeros(2, 2, 8, 32, 32)
    x[:, 0] = torch.randn(2, 8, 32, 32, generator=torch.Generator().manual_seed(1))
    x[0, 1, 2:6, 8:24, 8:24] = x[1, 1, 2:6, 10:22, 10:22] = 1
    found = measuring.repeated("null", network, fresh, measuring.subject_of(network, x, Readout()), 1)["cascade"][0]
    assert list(found) == randomising.stages(network) and found["stem"]["spearman"] > 0.9


# ---- deletion and insertion

def test_pieces_tile_a_region_without_overlap_and_are_the_millimetres_asked_for():
    found = ordering.pieces(EVERYWHERE, SPACING_MM)
    covered = np.zeros((2, *VOXELS), int)
    for time, block in found:
        covered[time][block] += 1
    assert covered.min() == covered.max() == 1 and covered[0][found[0][1]].size == 3 * 3 * 1


def test_deletion_of_an_additive_network_has_its_closed_form():
    """Two signals of bright voxels on a background of 0: taking a piece away takes its share of the logit away."""
    weights, x = torch.zeros(2, *VOXELS), torch.zeros(2, 2, *VOXELS)
    x[:, 1] = 1
    x[0, 0, 2, 3:6, 3:6] = x[1, 0, 1, 9:12, 6:9] = 1
    weights[0, 2, 3:6, 3:6], weights[1, 1, 9:12, 6:9] = 1 / 9, 2 / 9
    network, found = linear(weights), ordering.pieces(EVERYWHERE, SPACING_MM)
    maps = {"pre": (weights[0] * x[0, 0]).numpy(), "post": (weights[1] * x[1, 0]).numpy()}
    order = ordering.order_of(maps, found, 0)
    assert [found[number][0] for number in order[:2]] == [1, 0]
    said = ordering.curves(network, x, Readout(), "pCR", found, order, steps=len(found))
    sigmoid = [1 / (1 + math.exp(-logit)) for logit in (3.0, 1.0, 0.0)]
    assert said["deletion_curve"] == pytest.approx(sigmoid[:2] + [sigmoid[2]] * (len(found) - 1), abs=1e-5)
    assert said["insertion_curve"][:3] == pytest.approx([0.5, 1 / (1 + math.exp(-2.0)), sigmoid[0]], abs=1e-5)
    assert said["deletion"] == pytest.approx(np.trapezoid(said["deletion_curve"], np.linspace(0, 1, len(found) + 1)))
    towards_other = ordering.curves(network, x, Readout(), "non-pCR", found, order, steps=len(found))
    assert towards_other["deletion_curve"] == pytest.approx([1 - p for p in said["deletion_curve"]], abs=1e-6)


def test_a_random_map_orders_no_better_than_random_orders():
    generator = torch.Generator().manual_seed(4)
    network, gains, best = linear(torch.rand(2, *VOXELS, generator=generator) / 500), [], []
    for number in range(12):
        x = case(number)
        x[:, 0] = x[:, 0].abs()
        subject = measuring.subject_of(network, x, Readout(), seed=number)
        chance = measuring.by_chance(network, subject, 4)
        found, noise = ordering.pieces(subject.regions, SPACING_MM), np.random.default_rng(number)
        maps = {visit: noise.random(VOXELS) for visit in ("pre", "post")}
        run = lambda maps: ordering.curves(network, x, subject.readout, subject.toward, found, ordering.order_of(maps, found, number))  # noqa: E731
        gains.append(chance["deletion"] - run(maps)["deletion"])
        shares = (network_weights(network) * x[:, 0]).numpy()
        best.append(chance["deletion"] - run({"pre": shares[0], "post": shares[1]})["deletion"])
    said, of_truth = judging.mean_with_ci(gains, 0, "gain"), judging.mean_with_ci(best, 0, "gain")
    assert said["ci"][0] < 0 < said["ci"][1] and judging.above_zero(said) is False
    assert judging.above_zero(of_truth) is True


def network_weights(network):
    x = torch.zeros(1, 2, 2, *VOXELS, requires_grad=True)
    return torch.autograd.grad(network(x).logit.sum(), x)[0][0, :, 0]


def test_equal_pieces_come_in_a_random_order_that_a_seed_repeats():
    found = ordering.pieces(EVERYWHERE, SPACING_MM)
    orders = [ordering.order_of({}, found, seed) for seed in (1, 1, 2)]
    assert np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[0], orders[2])
    assert sorted(orders[0]) == list(range(len(found)))


# ---- pointing

def test_a_network_that_reads_one_block_is_pointed_at_there(monkeypatch):
    weights, inside = torch.zeros(2, *VOXELS), np.zeros(VOXELS, bool)
    weights[1, 1:3, 6:8, 7:9], inside[1:3, 6:8, 7:9] = 1.0, True
    monkeypatch.setitem(METHODS, "sensitivity", planted("sensitivity", sensitivity))
    subject = measuring.subject_of(linear(weights), case(), Readout(), outcome=0, residual=inside)
    said = measuring.answer("sensitivity", linear(weights), subject)["pointing"]
    assert said == {"hit": True, "hit_strictly": True, "energy": 1.0}
    elsewhere = torch.zeros(2, *VOXELS)
    elsewhere[1, 1:3, 11:13, 13:15] = 1.0
    assert measuring.answer("sensitivity", linear(elsewhere), subject)["pointing"] == {"hit": False, "hit_strictly": False, "energy": 0.0}


def test_a_hit_may_be_3_mm_off_and_not_more():
    inside, values, region = np.zeros(VOXELS, bool), np.zeros(VOXELS), np.ones(VOXELS, bool)
    inside[1, 8, 8] = True
    blob = truth.Blob.of(inside, SPACING_MM)
    values[1, 8, 9] = 1
    assert truth.localisation(values, region, blob, 0) == {"hit": True, "hit_strictly": False, "energy": 0.0}        # 2 mm
    values[1, 8, 10] = 2
    assert not truth.localisation(values, region, blob, 0)["hit"]                                                    # 4 mm
    assert blob.chance(region)["energy"] == pytest.approx(1 / region.size)


def test_an_even_map_points_nowhere_rather_than_at_the_first_voxel():
    inside, region = np.zeros(VOXELS, bool), np.ones(VOXELS, bool)
    inside[0, 0, 0] = True
    blob = truth.Blob.of(inside, SPACING_MM)
    hits = [truth.localisation(np.ones(VOXELS), region, blob, seed)["hit"] for seed in range(200)]
    assert np.mean(hits) == pytest.approx(blob.chance(region)["hit"], abs=0.02)


def test_signed_maps_are_turned_towards_the_class_that_is_favoured(monkeypatch):
    weights = torch.zeros(2, *VOXELS)
    weights[1] = -1.0
    monkeypatch.setitem(METHODS, "product", planted("product", lambda network, x: {"post": (network_weights(network)[1] * x[1, 0]).numpy()}, signed=True))
    x = case()
    x[1, 0] = 1.0
    subject = measuring.subject_of(linear(weights), x, Readout(), outcome=0)
    assert subject.toward == "non-pCR" and subject.right is True
    assert measuring.maps_of("product", linear(weights), subject)["post"].min() == 1.0


# ---- stability

def test_a_shift_moves_by_the_millimetres_and_back():
    values = torch.zeros(1, 1, *VOXELS)
    values[0, 0, 1, 8, 8] = 1
    moved = steadiness.shifted(values, (2.0, 0.0), SPACING_MM)
    assert moved[0, 0, 1, 8, 9] == pytest.approx(1.0, abs=1e-5) and steadiness.shifted(values, (0.0, -2.0), SPACING_MM)[0, 0, 1, 7, 8] == pytest.approx(1.0, abs=1e-5)
    assert steadiness.moved_back(moved[0, 0].numpy(), "left", SPACING_MM)[1, 8, 8] == pytest.approx(1.0, abs=1e-5)


def test_a_map_that_moves_with_the_image_is_stable_and_one_of_fixed_places_is_not(monkeypatch):
    monkeypatch.setitem(METHODS, "image", planted("image", lambda network, x: {visit: x[time, 0].numpy() for time, visit in enumerate(("pre", "post"))}))
    fixed = {visit: np.random.default_rng(9).random(VOXELS).astype(np.float32) for visit in ("pre", "post")}
    monkeypatch.setitem(METHODS, "fixed", planted("fixed", lambda network, x: fixed))
    network, x = Filtered(0), case()
    subject = measuring.subject_of(network, x, Readout(), outlines={"larger": np.ones((2, *VOXELS), np.float16)})
    said = {key: measuring.repeated(key, network, Filtered, subject, 1) for key in ("image", "fixed")}
    assert np.mean(list(said["image"]["shift"].values())) > 0.95 > 0.3 > np.mean(list(said["fixed"]["shift"].values()))
    assert said["fixed"]["outline"] == {"larger": pytest.approx(1.0)}


# ---- the rule

def perfect(number: int, *, null: bool = False) -> dict:
    """What measuring says of a map that finds everything, or of the null map."""
    return {"finite": True, "deletion": 0.5 if null else 0.2 + 0.001 * number, "insertion": 0.5 if null else 0.8, "deletion_curve": [], "insertion_curve": [],
            "pointing": {"hit": not null, "hit_strictly": not null, "energy": 0.1 if null else 0.6}}


def cases_of(count: int = 8, **changed) -> list[dict]:
    again = {"finite": True, "cascade": [{"head": {"spearman": 0.6, "ssim": 0.5}, "stem": {"spearman": 0.1, "ssim": 0.1}}], "shift": {"left": 0.9}, "outline": {"larger": 0.8}} | changed
    return [{"number": number, "chance": {"right": True, "toward": "non-pCR", "deletion": 0.5, "insertion": 0.5, "chance": {"hit": 0.1, "hit_strictly": 0.05, "energy": 0.1}},
             "answer": {"occlusion": perfect(number), "null": perfect(number, null=True)}, "repeated": {"occlusion": again}, "shuffled": {}} for number in range(count)]


def test_a_map_that_passes_everything_is_the_default_and_the_null_is_never_judged():
    verdict = judging.judged(cases_of(), 0)
    assert verdict.passed == ("occlusion",) and verdict.default == "occlusion" and verdict.failed == ()
    assert verdict.methods["occlusion"]["cascade"]["by_stage"] == {"head": pytest.approx(0.6), "stem": pytest.approx(0.1)}
    assert verdict.for_bundle() == {"default": "occlusion", "passed": ["occlusion"], "failed": []}


@pytest.mark.parametrize("test, changed", [("cascade", {"cascade": [{"stem": {"spearman": 0.5, "ssim": 0.4}}]}), ("cascade", {"cascade": [{"stem": {"spearman": None, "ssim": None}}]}),
                                           ("stability", {"shift": {"left": 0.5}}), ("stability", {"outline": {"larger": None}})])
def test_each_limit_of_repeated_maps_is_held(test, changed):
    verdict = judging.judged(cases_of(**changed), 0)
    assert verdict.default is None and verdict.passed == () and verdict.methods["occlusion"]["why_not"] == [test]
    nothing_said = changed.get("cascade", [{"stem": {"spearman": 0}}])[0]["stem"]["spearman"] is None
    assert verdict.failed == (() if nothing_said else ("occlusion",))                 # empty maps alone judge nothing


def test_a_map_that_misses_the_tumour_or_is_no_better_than_chance_or_the_null_fails():
    def with_answer(**changed):
        cases = cases_of()
        for one in cases:
            one["answer"]["occlusion"] |= changed
        return judging.judged(cases, 0).methods["occlusion"]["why_not"]

    assert with_answer(deletion=0.55) == ["deletion", "null"]
    assert with_answer(pointing={"hit": False, "hit_strictly": False, "energy": 0.6}) == ["pointing"]
    assert with_answer(pointing={"hit": True, "hit_strictly": True, "energy": 0.1}) == ["null"]
    assert with_answer(pointing=None) == ["pointing", "null"]


def test_what_was_not_done_is_not_passed_but_for_labels():
    few = judging.judged(cases_of(4), 0).methods["occlusion"]
    assert few["why_not"] == ["deletion", "null"] and few["deletion"]["ci"] is None and few["labels"]["passes"] is None and few["passes"] is None
    assert judging.judged(cases_of(4), 0).for_bundle() == {"default": None, "passed": [], "failed": []}
    same = cases_of()
    for one in same:
        one["shuffled"]["occlusion"] = {"finite": True, "spearman": 0.9, "ssim": 0.8}
    assert judging.judged(same, 0).methods["occlusion"]["why_not"] == ["labels"]


def test_the_interval_of_a_mean_is_the_normal_one_for_many_cases():
    values = np.random.default_rng(5).normal(1.0, 2.0, 400)
    found = judging.mean_with_ci(list(values), 0, "gain")
    half = 1.96 * values.std() / 20
    assert found["ci"] == pytest.approx([values.mean() - half, values.mean() + half], abs=0.03) and found["gain"] == pytest.approx(values.mean())
