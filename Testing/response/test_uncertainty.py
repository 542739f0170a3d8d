"""Other outlines are what they say they are, in mm, on any voxels; the range holds every answer; nothing else of the input moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy.ndimage import binary_dilation

from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.config import PreprocessingConfig
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.imaging import preprocessing
from MRDeltaNetLib.models.registry import build
from MRDeltaNetLib.response import prediction, uncertainty
from Testing.simulated import small_pair, stored_otherwise

OWN = {"recalibration": {"slope": 1.0, "intercept": 0.0}, "threshold": 0.5}
SETTINGS = PreprocessingConfig(spacing_mm=(2.0, 2.0, 5.0), crop_mm=(64.0, 64.0, 60.0))


def mask_of(inside: np.ndarray, spacing=(0.7, 0.7, 3.0)) -> sitk.Image:
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    mask.SetSpacing(spacing)
    return mask


def ball(radius_mm: float, spacing) -> sitk.Image:
    shape = [int(2 * (radius_mm + 6) / step) | 1 for step in spacing[::-1]]
    places = np.indices(shape).transpose(1, 2, 3, 0) - (np.array(shape) - 1) / 2
    return mask_of(((places * spacing[::-1]) ** 2).sum(-1) <= radius_mm ** 2, spacing)


def volume_mm3(image: sitk.Image) -> float:
    return float(sitk.GetArrayFromImage(image).sum() * np.prod(image.GetSpacing()))


def spacings():
    return [(0.7, 0.7, 3.0), (0.5, 0.5, 0.5), (0.9, 0.9, 4.0), (2.5, 1.0, 1.5)]


@pytest.mark.parametrize("by_mm", [2.0, -2.0, 4.0, -5.0])
def test_a_ball_becomes_a_ball_of_the_changed_radius(by_mm):
    """On fine voxels, where a ball is a ball; thick slices make stairs of it (next test)."""
    drawn = ball(12.0, (0.6, 0.5, 0.7))
    radius, found = ((volume_mm3(one) * 3 / (4 * np.pi)) ** (1 / 3) for one in (drawn, uncertainty.resized(drawn, by_mm)))
    assert found - radius == pytest.approx(by_mm, abs=0.3)                               # half a voxel


@pytest.mark.parametrize("spacing", [(0.7, 0.7, 3.0), (0.9, 0.9, 4.0), (2.5, 1.0, 1.5)])
def test_the_distance_is_that_from_the_voxels_faces_by_brute_force(spacing):
    """Oracle: the distance of every fine voxel's centre from the nearest drawn (or not drawn) voxel taken as a box."""
    inside = np.zeros((7, 14, 14), bool)
    inside[2:5, 5:9, 4:10] = inside[1:6, 6:9, 6:8] = True
    boxes = np.array(spacing)[::-1]
    parts = np.ceil(boxes / uncertainty.FINE_MM - 1e-9).astype(int)
    centres = [(np.arange(size * part) + 0.5) * step / part for size, part, step in zip(inside.shape, parts, boxes)]
    points = np.stack(np.meshgrid(*centres, indexing="ij"), -1)

    def nearest(voxels: np.ndarray) -> np.ndarray:
        touching = voxels & binary_dilation(~voxels, np.ones((3, 3, 3)))       # the nearest box lies at the border
        return np.min([((np.maximum(np.abs(points - box) - boxes / 2, 0)) ** 2).sum(-1) for box in (np.argwhere(touching) + 0.5) * boxes], 0) ** 0.5

    fine = inside.repeat(parts[0], 0).repeat(parts[1], 1).repeat(parts[2], 2)
    signed = np.where(fine, -nearest(~inside), nearest(inside))
    for by_mm in (2.0, -0.8):
        low, high = (part_mean(signed <= by_mm + slack, parts) for slack in (-0.4, 0.4))
        found = sitk.GetArrayFromImage(uncertainty.resized(mask_of(inside, spacing), by_mm))
        assert (low - 1e-6 <= found).all() and (found <= high + 1e-6).all()


def part_mean(fine: np.ndarray, parts) -> np.ndarray:
    """Mean over the parts of each voxel."""
    d, h, w = (size // part for size, part in zip(fine.shape, parts))
    return fine.reshape(d, parts[0], h, parts[1], w, parts[2]).mean((1, 3, 5))


@pytest.mark.parametrize("by_mm, thickness_mm", [(2.0, 16.0), (-2.0, 8.0), (1.0, 14.0), (-4.0, 4.0)])
def test_slices_thicker_than_the_step_change_by_part_of_their_thickness(by_mm, thickness_mm):
    """A slab of four 3 mm slices that fills the plane: exact to the fine parts of 0.75 mm."""
    inside = np.zeros((12, 9, 9), bool)
    inside[4:8] = True
    share = sitk.GetArrayFromImage(uncertainty.resized(mask_of(inside, (1.0, 1.0, 3.0)), by_mm))[:, 4, 4]
    assert 3 * share.sum() == pytest.approx(thickness_mm, abs=0.76) and share.max() <= 1 and share.min() == 0
    assert np.allclose(share, share[::-1])                                     # both faces alike


@pytest.mark.parametrize("spacing", spacings())
def test_no_step_is_exactly_the_drawn_mask(spacing):
    drawn = ball(9.0, spacing)
    assert np.array_equal(sitk.GetArrayFromImage(uncertainty.resized(drawn, 0.0)), sitk.GetArrayFromImage(drawn))


def test_larger_holds_the_mask_and_the_mask_holds_smaller():
    """Also for an odd shape, and the grid is the mask's own, oblique or not."""
    rng = np.random.default_rng(0)
    inside = np.zeros((14, 60, 60), bool)
    for centre in rng.integers((4, 15, 15), (10, 45, 45), (6, 3)):
        inside |= (((np.indices(inside.shape).transpose(1, 2, 3, 0) - centre) * (3, 0.7, 0.7) / 8) ** 2).sum(-1) < 1
    mask = mask_of(inside)
    mask.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.2, -0.1, 0.3).GetMatrix())
    mask.SetOrigin((-20.5, 33.25, 7.0))
    larger, smaller = (uncertainty.resized(mask, by) for by in (2.0, -2.0))
    assert (sitk.GetArrayFromImage(larger)[inside] == 1).all() and (sitk.GetArrayFromImage(smaller)[~inside] == 0).all()
    for image in (larger, smaller):
        assert image.GetOrigin() == mask.GetOrigin() and image.GetDirection() == mask.GetDirection() and image.GetSpacing() == mask.GetSpacing()


def test_a_bed_too_thin_to_shrink_is_no_mask_rather_than_an_empty_one():
    inside = np.zeros((8, 40, 40), bool)
    inside[4, 10:30, 10:30] = True                                             # one slice of 3 mm
    assert uncertainty.resized(mask_of(inside), -2.0) is None
    assert uncertainty.resized(mask_of(inside), 2.0) is not None


def test_a_mask_that_touches_the_scan_s_edge_is_not_shrunk_there_and_grows_no_further():
    inside = np.zeros((10, 20, 20), bool)
    inside[:, :, :10] = True
    share = sitk.GetArrayFromImage(uncertainty.resized(mask_of(inside, (1.0, 1.0, 1.0)), -2.0))
    assert (share[:, :, 0] == 1).all() and (share[0] == share[5]).all() and share[5, 5].sum() == pytest.approx(8, abs=0.51)
    assert uncertainty.resized(mask_of(inside), 2.0).GetSize() == (20, 20, 10)


@pytest.fixture(scope="module")
def case():
    pair = small_pair()
    pre, post = Timepoint(pair.pre, mask=pair.pre_mask), Timepoint(pair.post, mask=pair.post_mask)
    prepared = preprocessing.prepare(pre, post, pair.transform_pre_to_post, SETTINGS)
    return pair, prepared


def channel(mask, grid, to_scan):
    return preprocessing.roi_channel(mask, grid, to_scan, SETTINGS.roi_sigma_mm)


def outlines_of(pair, prepared, step_mm: float = uncertainty.STEP_MM) -> uncertainty.Outlines:
    masks = [preprocessing.in_axial_order(mask) for mask in (pair.pre_mask, pair.post_mask)]
    return uncertainty.other_outlines(prepared, *masks, pair.transform_pre_to_post, channel, step_mm)


@pytest.fixture(scope="module")
def outlines(case):
    return outlines_of(*case)


def test_the_drawn_outlines_through_the_same_function_are_the_network_s_own_input_bit_for_bit(case):
    """Or the range would mix a change of outline with a change of interpolation. A move by 0 mm and a growth by 0 mm too."""
    pair, prepared = case
    for visit, (mask, to_scan) in enumerate(((pair.pre_mask, sitk.Transform(3, sitk.sitkIdentity)), (pair.post_mask, pair.transform_pre_to_post))):
        ordered = preprocessing.in_axial_order(mask)
        assert torch.equal(channel(ordered, prepared.grid, to_scan), prepared.tensor[visit, 1])
        assert torch.equal(channel(uncertainty.resized(ordered, 0.0), prepared.grid, to_scan), prepared.tensor[visit, 1])
    still = uncertainty._moved(pair.transform_pre_to_post, prepared.grid, (0.0, 0.0, 0.0))
    assert torch.allclose(channel(preprocessing.in_axial_order(pair.post_mask), prepared.grid, still), prepared.tensor[1, 1], atol=1e-5)


def centre_mm(roi: torch.Tensor, grid: sitk.Image) -> np.ndarray:
    weights = roi.numpy().astype(float)
    index = (np.indices(weights.shape).reshape(3, -1) * weights.ravel()).sum(1) / weights.sum()
    return np.array(grid.TransformContinuousIndexToPhysicalPoint(index[::-1].tolist()))


@pytest.mark.parametrize("name, direction", [("bed_left_2mm", (1, 0, 0)), ("bed_right_2mm", (-1, 0, 0)), ("bed_posterior_2mm", (0, 1, 0)), ("bed_anterior_2mm", (0, -1, 0))])
def test_the_bed_moves_by_two_millimetres_to_the_side_that_its_name_says(case, outlines, name, direction):
    """LPS: x to the patient's left, y to the back. The tumour before treatment stays."""
    pair, prepared = case
    moved = centre_mm(outlines.channels[name][1], prepared.grid) - centre_mm(prepared.tensor[1, 1], prepared.grid)
    assert moved @ direction == pytest.approx(2.0, abs=0.15) and np.linalg.norm(moved) == pytest.approx(2.0, abs=0.2)
    assert torch.equal(outlines.channels[name][0], prepared.tensor[0, 1])


def test_every_variant_is_there_in_range_and_sized_like_the_input(case, outlines):
    pair, prepared = case
    assert set(outlines.channels) | set(outlines.left_out) == set(uncertainty.NAMES) and len(uncertainty.NAMES) == 6
    drawn = prepared.tensor[:, 1].sum((1, 2, 3))
    for name, roi in outlines.channels.items():
        assert roi.shape == prepared.tensor[:, 1].shape and roi.dtype == torch.float32 and 0 <= float(roi.min()) and float(roi.max()) <= 1
    assert (outlines.channels["both_larger_2mm"].sum((1, 2, 3)) > 1.1 * drawn).all()
    if "both_smaller_2mm" in outlines.channels:
        assert (outlines.channels["both_smaller_2mm"].sum((1, 2, 3)) < 0.9 * drawn).all()


def test_an_outline_that_would_be_gone_is_left_out_and_said(case):
    pair, prepared = case
    thin = sitk.GetArrayFromImage(pair.post_mask)
    thin[:] = 0
    thin[10, 40:50, 40:50] = 1
    bed = sitk.GetImageFromArray(thin)
    bed.CopyInformation(pair.post_mask)
    bed.SetSpacing((2.0, 2.0, 3.0))
    found = outlines_of(replace(pair, post_mask=bed), prepared)
    assert "both_smaller_2mm" not in found.channels and "the tumour bed would be gone" in found.left_out["both_smaller_2mm"]
    (notice,) = found.notices
    assert notice.code == "MRD-W716" and "too narrow" in notice.fix


def test_how_a_file_stores_its_axes_changes_no_outline(case, outlines):
    pair, prepared = case
    turned = replace(pair, **{name: stored_otherwise(getattr(pair, name), (2, 0, 1), (True, False, True)) for name in ("pre_mask", "post_mask")})
    again = outlines_of(turned, prepared)
    for name, roi in outlines.channels.items():
        assert torch.allclose(roi, again.channels[name], atol=1e-5), name


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build("deltanet", preset="tiny", spacing_mm=(2.0, 2.0, 5.0), crop_mm=(64.0, 64.0, 40.0))


def asked(prepared, network):
    """The prepared crop cut to what the small network takes."""
    d, h, w = network.geometry.voxels
    return replace(prepared, tensor=prepared.tensor[:, :, :d, :h, :w].contiguous(),
                   outlines={name: roi[:, :d, :h, :w].contiguous() for name, roi in prepared.outlines.items()})


def test_each_answer_is_the_network_s_own_to_that_outline_and_the_images_stay(case, outlines, network):
    """One batch or one by one; main answer, class and maps are those of a run without other outlines."""
    given = asked(replace(case[1], outlines=outlines.channels), network)
    found = prediction.predict(given, network, OWN, device="cpu")
    plain = prediction.predict(replace(given, outlines={}), network, OWN, device="cpu")
    assert found.logit == plain.logit and torch.equal(found.output.attention_post, plain.output.attention_post) and plain.outline_p_pcr == {}
    assert list(found.outline_p_pcr) == list(given.outlines)
    for name, roi in given.outlines.items():
        tensor = torch.stack([given.tensor[:, 0], roi], 1)
        with torch.inference_mode():
            alone = float(network.eval()(tensor[None]).logit[0])
        assert found.outline_p_pcr[name] == pytest.approx(prediction.recalibrate(alone, OWN["recalibration"]), abs=1e-5), name
    assert len({round(value, 9) for value in found.outline_p_pcr.values()}) > 3          # outlines matter to this network


def test_a_large_crop_goes_through_one_by_one_and_gives_the_same(case, outlines, network, monkeypatch):
    given = asked(replace(case[1], outlines=outlines.channels), network)
    together = prediction.predict(given, network, OWN, device="cpu")
    sizes = []
    handle = network.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    monkeypatch.setattr(prediction, "BATCH_VOXELS", 1)
    alone = prediction.predict(given, network, OWN, device="cpu")
    handle.remove()
    assert sizes == [1] * (1 + len(given.outlines))
    for name, value in together.outline_p_pcr.items():
        assert alone.outline_p_pcr[name] == pytest.approx(value, abs=1e-5)


def test_an_outline_of_another_size_is_refused(case, network):
    given = asked(case[1], network)
    given = replace(given, outlines={"both_larger_2mm": given.tensor[:, 1, 1:]})
    with pytest.raises(InputError) as caught:
        prediction.predict(given, network, OWN, device="cpu")
    assert caught.value.code == "MRD-E703" and "both_larger_2mm" in caught.value.found


def test_an_answer_to_another_outline_that_is_no_number_is_refused(case, outlines, network):
    given = asked(replace(case[1], outlines=outlines.channels), network)
    given.outlines["bed_left_2mm"][0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError) as caught:
        prediction.predict(given, network, OWN, device="cpu")
    assert caught.value.code == "MRD-E705" and "bed_left_2mm" in caught.value.found


def test_the_members_of_an_ensemble_answer_each_for_itself(case, outlines):
    """Members of an ensemble: their own recalibrated answers stand in the range; the answer itself is that of the mean logit."""
    torch.manual_seed(3)
    ensemble = build("deltanet", members=3, preset="tiny", spacing_mm=(2.0, 2.0, 5.0), crop_mm=(64.0, 64.0, 40.0))
    given = asked(replace(case[1], outlines=outlines.channels), ensemble)
    own = OWN | {"recalibration": {"slope": 5.0, "intercept": 0.3}}
    found = prediction.predict(given, ensemble, own, device="cpu")
    singles = [prediction.predict(replace(given, outlines={}), member, own, device="cpu") for member in ensemble.members]
    assert found.member_p_pcr == pytest.approx([one.p_pcr for one in singles], abs=1e-5)
    assert found.logit == pytest.approx(np.mean([one.logit for one in singles]), abs=1e-5)
    told = uncertainty.spread(found, outlines.left_out)
    assert told["p_pcr_low"] <= min(found.member_p_pcr) and told["p_pcr_high"] >= max(found.member_p_pcr)
    assert told["spread"]["member_sd"] == pytest.approx(np.std(found.member_p_pcr, ddof=1)) and uncertainty.varied(told["spread"]) == "outlines and members"


def prediction_of(p_pcr, members=(), outlines=None) -> prediction.Prediction:
    return prediction.Prediction(p_pcr=p_pcr, logit=0.0, threshold=0.5, predicted_class="pCR", output=None, device="cpu", map_facts={},
                                 member_p_pcr=members, outline_p_pcr=outlines or {})


@pytest.mark.parametrize("members, outlines, low, high", [((), {"a": 0.7, "b": 0.5}, 0.5, 0.7), ((), {"a": 0.7}, 0.6, 0.7), ((0.1, 0.9), {"a": 0.7}, 0.1, 0.9), ((), {}, 0.6, 0.6)])
def test_the_range_goes_over_members_and_outlines_and_holds_the_answer_itself(members, outlines, low, high):
    told = uncertainty.spread(prediction_of(0.6, members, outlines), {})
    assert (told["p_pcr_low"], told["p_pcr_high"]) == (low, high)


def test_the_names_of_another_step_carry_its_number_and_those_of_the_usual_one_stay():
    assert uncertainty.NAMES == ("both_larger_2mm", "both_smaller_2mm", "bed_left_2mm", "bed_right_2mm", "bed_posterior_2mm", "bed_anterior_2mm")
    assert uncertainty.names(3.5)[0] == "both_larger_3.5mm" and uncertainty.names(10.0)[-1] == "bed_anterior_10mm"
    assert uncertainty.resized_mm(3.5) == {"both_larger_3.5mm": 3.5, "both_smaller_3.5mm": -3.5}
    assert uncertainty.moved_mm(0.5)["bed_right_0.5mm"] == (-0.5, 0.0)


def test_another_step_moves_and_grows_by_so_much(case, outlines):
    """The bed's centre of mass in the crop follows the number that was asked for, and twice the usual step grows it by more."""
    pair, prepared = case
    wide, drawn = outlines_of(pair, prepared, 4.0), prepared.tensor[1, 1].numpy()

    def centre_x_mm(channel: np.ndarray) -> float:
        return float((channel.sum((0, 1)) * np.arange(channel.shape[2])).sum() / channel.sum() * SETTINGS.spacing_mm[0])

    assert set(wide.channels) | set(wide.left_out) == set(uncertainty.names(4.0))
    assert centre_x_mm(wide.channels["bed_left_4mm"][1].numpy()) - centre_x_mm(drawn) == pytest.approx(4.0, abs=0.3)
    assert wide.channels["both_larger_4mm"][1].sum() > 1.1 * outlines.channels["both_larger_2mm"][1].sum() > drawn.sum()


def test_what_an_outline_that_is_gone_is_told_with_names_its_own_step():
    thin = mask_of(np.pad(np.ones((1, 3, 3)), 3))
    prepared = type("Prepared", (), {"grid": thin, "tensor": torch.zeros(2, 2, 7, 9, 9)})()
    found = uncertainty.other_outlines(prepared, thin, thin, sitk.Transform(3, sitk.sitkIdentity), lambda mask, grid, to_scan: torch.zeros(7, 9, 9), 3.5)
    assert found.left_out == {"both_smaller_3.5mm": "the tumour and the tumour bed would be gone: too thin to shrink by 3.5 mm"}
    assert "3.5 mm smaller" in found.notices[0].text and found.notices[0].code == "MRD-W716"


def test_the_range_says_whose_it_is_and_how_far_outlines_moved():
    usual = uncertainty.spread(prediction_of(0.6), {})["spread"]["meaning"]
    assert usual == ("the smallest and largest P(pCR) among the model's members at the given outlines, and the model with both outlines 2 mm larger "
                     "and smaller and the tumour bed moved by 2 mm in four directions; a range of answers, not a confidence interval")
    other = uncertainty.spread(prediction_of(0.6), {}, step_mm=3.5, first_alone=True)["spread"]["meaning"]
    assert "first member alone" in other and "moved by 3.5 mm" in other and "members at" not in other


@pytest.mark.parametrize("low, high, threshold, warned", [(0.4, 0.6, 0.5, True), (0.5, 0.6, 0.5, False), (0.4, 0.5, 0.5, True), (0.4, 0.49, 0.5, False), (0.5, 0.5, 0.5, False)])
def test_a_threshold_inside_the_range_is_warned_about(low, high, threshold, warned):
    """At the threshold the class is pCR already, so a range that begins there has one class and one that ends there has two."""
    found = uncertainty.notices(low, high, threshold)
    assert [notice.code for notice in found] == ["MRD-W713"] * warned


@pytest.mark.parametrize("value, threshold, shown", [
    (0.7312, 0.41, "0.73"), (0.4996, 0.5, "0.4996"), (0.5, 0.5, "0.50"), (0.9999, 0.5, "above 0.99"), (0.0001, 0.5, "below 0.01"),
    (0.25, None, "0.25")])
def test_a_probability_is_never_a_bare_0_or_1_and_never_looks_equal_to_a_threshold_it_is_not(value, threshold, shown):
    assert uncertainty.probability(value, threshold) == shown
