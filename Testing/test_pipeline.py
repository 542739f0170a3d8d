"""The story as a whole: what each step gives to the next, with a stand-in for the network."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MRDeltaNetLib import pipeline
from MRDeltaNetLib.config import EXPLAIN_METHODS, GateLimits, PreprocessingConfig, RegistrationConfig, RunConfig
from MRDeltaNetLib.errors import Cancelled, EnvironmentProblem, InputError, MissingPackage, Notice, OutOfMemory, UsageError
from MRDeltaNetLib.imaging import registration
from MRDeltaNetLib.io import judged_maps
from MRDeltaNetLib.models.comparison import TokenShares
from MRDeltaNetLib.response import familiarity, uncertainty
from MRDeltaNetLib.response.correspondence import query
from MRDeltaNetLib.response.prediction import Prediction
from Testing.simulated import case_of, corners_mm, small_pair

OWN = {"sequences": ["T2"], "bias_corrections_allowed": ["off", "fast"]}
BUNDLE = SimpleNamespace(own=OWN, preprocessing=PreprocessingConfig(spacing_mm=(2.0, 2.0, 5.0), crop_mm=(64.0, 64.0, 60.0)), reference=None,
                         public_facts=lambda: {"name": "stand-in", "is_demo": True})

AFTER = ("masks", "predict", "explain")
"""What follows on an alignment that is handed in: tests of these steps wait for no other."""


@pytest.fixture(scope="module")
def pair():
    return small_pair()


@pytest.fixture(scope="module")
def result(pair):
    return pipeline.run(case_of(pair), RunConfig(), bundle=BUNDLE, predict=stand_in)


@pytest.fixture(scope="module")
def accepted(pair):
    return pipeline.run(case_of(pair), RunConfig(steps=AFTER), bundle=BUNDLE, predict=stand_in, transform=pair.transform_pre_to_post)


def stand_in(prepared, bundle, config) -> Prediction:
    """P(pCR) is the share of positive voxels; the maps are the ROI channel itself, so their place is known."""
    tensor = prepared.tensor
    roi = torch.nn.functional.avg_pool3d(tensor[:, 1], kernel_size=2)
    output = SimpleNamespace(logit=tensor.mean(), attention_post=roi[1][None], attention_pre=roi[0][None], change_post=(roi[1] - roi[0]).abs()[None])
    facts = {"token_size_mm": (10.0, 4.0, 4.0), "sees_image_content": True, "alignment_sees_image_content": True}
    p_pcr = float((tensor[:, 0] > 0).float().mean())
    return Prediction(p_pcr=p_pcr, logit=0.0, threshold=0.5, predicted_class="pCR" if p_pcr >= 0.5 else "non-pCR",
                      output=output, device="cpu", map_facts=facts)


def test_every_promised_image_is_there_on_its_own_scan_s_grid(result, pair):
    grids = {"pre": pair.pre, "post": pair.post, "pre_common": pair.pre, "post_common": pair.pre, "pre_mask": pair.pre,
             "post_mask": pair.post, "residual_mask": pair.post, "attention_pre": pair.pre, "attention_post": pair.post, "change_post": pair.post}
    assert set(result.images) == set(grids)
    for name, scan in grids.items():
        assert result.images[name].GetSize() == scan.GetSize(), name
        assert np.abs(corners_mm(result.images[name]) - corners_mm(scan)).max() < 1e-6, name


def test_a_map_lies_where_its_scan_s_mask_lies(result, pair):
    """The stand-in's maps are the ROI channels: brought back to each scan they must cover that scan's own mask."""
    for map_name, mask in (("attention_pre", pair.pre_mask), ("attention_post", pair.post_mask)):
        values = sitk.GetArrayFromImage(result.images[map_name])
        inside = sitk.GetArrayFromImage(mask) > 0
        assert values[inside].mean() > 5 * values[~inside].mean(), map_name
        weights = values / values.sum()
        places = np.indices(values.shape).reshape(3, -1)[::-1]
        centre = result.images[map_name].TransformContinuousIndexToPhysicalPoint((places * weights.ravel()).sum(axis=1).tolist())
        truth = mask.TransformContinuousIndexToPhysicalPoint(np.argwhere(inside).mean(axis=0)[::-1].tolist())
        assert np.linalg.norm(np.subtract(centre, truth)) < 5.0, map_name


def test_the_alignment_is_near_the_truth_and_leaves_the_tumour_out(result, pair):
    centre = pair.pre.TransformContinuousIndexToPhysicalPoint([size / 2 for size in pair.pre.GetSize()])
    error = np.subtract(result.transform.TransformPoint(centre), pair.transform_pre_to_post.TransformPoint(centre))
    assert np.linalg.norm(error) < 3.0                                  # voxels of this fast pair are 2 x 2 x 5 mm
    assert result.registration["refined_without_tumour"] is True
    assert result.registration["masks_left_out_sha256"] == pipeline.masks_digest(case_of(pair))


def test_the_alignment_gets_both_masks_the_start_the_seed_and_every_limit(pair, monkeypatch):
    """What registration does with them is tested there; that it gets them, a digest in the result does not prove."""
    config = RunConfig(steps=("align",), registration=RegistrationConfig(method="affine"), seed=7, limits=GateLimits(min_overlap_fraction=0.3))
    told = {}

    def align(pre, post, settings, **more):
        told.update(more, pre=pre, post=post, settings=settings)
        return registration.Alignment(pair.transform_pre_to_post, settings.method, refined=True)

    monkeypatch.setattr(pipeline.registration, "align", align)
    case = case_of(pair)
    pipeline.run(case, config, transform=pair.transform_pre_to_post)
    assert told["pre"] is case.pre.image and told["post"] is case.post.image and told["settings"] is config.registration
    assert told["pre_mask"] is case.pre.mask and told["post_mask"] is case.post.mask
    assert told["initial"] is pair.transform_pre_to_post and told["seed"] == 7 and told["limits"] is config.limits


def test_an_accepted_alignment_passes_the_same_limits(pair):
    """Accepting is no way around the limits: a transform that pushes the scans apart is refused."""
    apart = sitk.TranslationTransform(3, (400.0, 0.0, 0.0))
    with pytest.raises(InputError) as caught:
        pipeline.run(case_of(pair), RunConfig(steps=("masks",)), transform=apart)
    assert caught.value.code == "MRD-E601"


def test_volumes_are_those_of_the_masks(result, pair):
    voxel_ml = np.prod(pair.pre.GetSpacing()) / 1000
    assert result.measures["pre_volume_ml"] == pytest.approx(sitk.GetArrayFromImage(pair.pre_mask).sum() * voxel_ml)


def test_form_signal_and_classes_are_those_of_what_was_drawn(result, pair):
    """Of three structures of 22, and none of a class that measures would not give."""
    from MRDeltaNetLib.imaging import features, response_scales
    assert set(result.features) == {"pre", "post", "residual", "post_change", "residual_change"}
    alone, _ = features.describe(case_of(pair).pre, {"pre": pair.pre_mask})
    assert result.features["pre"] == alone["pre"] and all(value is not None for value in alone["pre"].values())
    assert result.features["post_change"]["sphericity"] == pytest.approx(result.features["post"]["sphericity"] - alone["pre"]["sphericity"])
    assert result.response == response_scales.classes(result.measures) and result.response["lesion_size_bed"] in response_scales.CLASSES
    assert result.mrtrg is None


def test_a_carried_bed_has_neither_form_nor_class_and_a_reader_s_grade_is_kept(pair):
    case = replace(without_bed(case_of(pair), pair.residual_mask), mrtrg=2)
    found = pipeline.run(case, RunConfig(steps=("masks",)), transform=pair.transform_pre_to_post)
    assert set(found.features["post"].values()) == set(found.features["post_change"].values()) == {None} and found.response["lesion_size_bed"] is None
    assert found.features["residual"]["sphericity"] is not None and found.response["lesion_size_residual"] is not None and found.mrtrg == 2


def test_an_outline_in_the_air_is_refused_before_anything_is_aligned_and_one_partly_there_is_told(pair, monkeypatch):
    case = case_of(pair)
    air = sitk.GetArrayFromImage(pair.pre_mask) * 0
    air[8:12, 1:8, 1:8] = 1
    away = sitk.GetImageFromArray(air)
    away.CopyInformation(pair.pre_mask)
    monkeypatch.setattr(pipeline.registration, "align", lambda *args, **more: pytest.fail("aligned"))
    with pytest.raises(InputError) as caught:
        pipeline.run(replace(case, timepoints=(replace(case.pre, mask=away), case.post)), RunConfig(steps=("align", "masks")))
    assert caught.value.code == "MRD-E319"
    part = sitk.Or(away, pair.pre_mask)
    found = pipeline.run(replace(case, timepoints=(replace(case.pre, mask=part), case.post)), RunConfig(steps=("masks",)), transform=pair.transform_pre_to_post)
    assert "MRD-W310" in {notice.code for notice in found.warnings}


def test_history_names_each_step_once_in_order(result):
    assert [entry["step"] for entry in result.history] == ["align", "masks", "predict", "explain"]


def test_without_a_post_mask_the_pre_mask_is_carried_and_marked_as_a_suggestion(pair):
    case = case_of(pair)
    case = replace(case, timepoints=(case.pre, replace(case.post, mask=None, residual=None, mask_source=None)))
    found = pipeline.run(case, RunConfig(steps=("align", "masks")))
    assert found.mask_sources == {"pre": "drawn", "post": "carried", "residual": None}
    assert "MRD-W350" in {notice.code for notice in found.warnings}
    assert found.measures["pre_volume_ml"] > 0
    assert found.measures["post_volume_ml"] is None and found.measures["volume_change_percent"] is None    # a suggestion is no measurement
    bed, carried = (sitk.GetArrayFromImage(mask) > 0 for mask in (pair.post_mask, found.images["post_mask"]))
    assert (bed & carried).sum() > 0.5 * bed.sum()           # the true bed shrank and moved with the bowel; the suggestion lies on most of it


def without_bed(case, residual=None):
    """The case as if nobody had drawn a bed after treatment."""
    return replace(case, timepoints=(case.pre, replace(case.post, mask=None, residual=residual, mask_source=None)))


def test_residual_tumour_is_measured_and_compared_with_a_bed_that_was_carried_over(pair):
    """Nobody drew the bed: the residual tumour still has a size, and one that leaves the suggested bed is told."""
    steps, transform = RunConfig(steps=("masks",)), pair.transform_pre_to_post
    far = sitk.CyclicShift(pair.residual_mask, (20, 0, 0))
    found = pipeline.run(without_bed(case_of(pair), pair.residual_mask), steps, transform=transform)
    assert found.measures["residual_volume_ml"] > 0 and found.measures["post_volume_ml"] is None
    assert found.mask_sources == {"pre": "drawn", "post": "carried", "residual": "drawn"}
    moved = pipeline.run(without_bed(case_of(pair), far), steps, transform=transform)
    assert "MRD-W307" in {notice.code for notice in moved.warnings} and "MRD-W350" in {notice.code for notice in moved.warnings}


def test_a_stated_complete_response_needs_no_mask_after_treatment(pair):
    case = replace(without_bed(case_of(pair)), complete_response=True)
    found = pipeline.run(case, RunConfig(steps=("masks", "predict")), bundle=BUNDLE, predict=stand_in, transform=pair.transform_pre_to_post)
    assert found.measures["residual_volume_ml"] == 0 and found.measures["residual_volume_change_percent"] == -100
    assert found.mask_sources == {"pre": "drawn", "post": "carried", "residual": "stated"} and "residual_mask" not in found.images
    assert found.p_pcr is not None


def test_a_mask_of_the_post_scan_alone_is_refused_before_anything_is_aligned(pair):
    case, seen = case_of(pair), []
    case = replace(case, timepoints=(replace(case.pre, mask=None, mask_source=None), case.post))
    with pytest.raises(InputError) as caught:
        pipeline.run(case, RunConfig(), bundle=BUNDLE, predict=stand_in, progress=lambda done, message: seen.append(message))
    assert caught.value.code == "MRD-E350" and seen == []


def test_with_a_carried_bed_the_number_comes_without_a_class(pair):
    """Such a bed is too large and can turn the answer round: no class may rest on it."""
    case = case_of(pair)
    carried = replace(case, timepoints=(case.pre, replace(case.post, mask=None, residual=None, mask_source=None)))
    found = pipeline.run(carried, RunConfig(steps=AFTER), bundle=BUNDLE, predict=stand_in, transform=pair.transform_pre_to_post)
    assert found.p_pcr is not None and found.predicted_class is None
    assert "MRD-W712" in {notice.code for notice in found.warnings}
    drawn = pipeline.run(case, RunConfig(steps=AFTER), bundle=BUNDLE, predict=stand_in, transform=pair.transform_pre_to_post)
    assert drawn.predicted_class in ("pCR", "non-pCR") and "MRD-W712" not in {notice.code for notice in drawn.warnings}


def test_three_visits_are_refused_until_somebody_names_the_pair(pair):
    case = case_of(pair)
    with pytest.raises(InputError) as caught:
        pipeline.run(replace(case, timepoints=(case.pre, case.post, case.post)), RunConfig())
    assert caught.value.code == "MRD-E337" and "name" in caught.value.fix


def test_without_any_mask_prediction_says_how_to_make_one(pair):
    with pytest.raises(InputError) as caught:
        pipeline.run(case_of(pair, masks=False), RunConfig(), bundle=BUNDLE, predict=stand_in)
    assert caught.value.code.startswith("MRD-E3") and "Segment Editor" in caught.value.fix


def test_alignment_alone_needs_no_mask(pair):
    found = pipeline.run(case_of(pair, masks=False), RunConfig(steps=("align",)))
    assert found.p_pcr is None and found.transform is not None and found.registration["refined_without_tumour"] is False


def test_an_accepted_transform_is_used_as_it_is(pair):
    found = pipeline.run(case_of(pair), RunConfig(steps=("masks", "predict")), bundle=BUNDLE, predict=stand_in, transform=pair.transform_pre_to_post)
    point = (10.0, -20.0, 5.0)
    assert np.allclose(found.transform.TransformPoint(point), pair.transform_pre_to_post.TransformPoint(point), atol=1e-9)
    assert found.registration["method"] == "accepted"


def test_an_accepted_alignment_says_which_masks_it_left_out_only_if_somebody_knows(pair):
    """A chain of jobs must not lose, and not invent, what the alignment was made with."""
    steps, known = RunConfig(steps=("masks",)), pipeline.masks_digest(case_of(pair))
    told = pipeline.run(case_of(pair), steps, transform=pair.transform_pre_to_post, left_out=known).registration
    assert told["masks_left_out_sha256"] == known and told["refined_without_tumour"] is True
    untold = pipeline.run(case_of(pair), steps, transform=pair.transform_pre_to_post).registration
    assert untold["masks_left_out_sha256"] == {"pre": None, "post": None} and untold["refined_without_tumour"] is None


def test_leaving_out_align_without_a_transform_is_a_usage_error(pair):
    with pytest.raises(UsageError) as caught:
        pipeline.run(case_of(pair), RunConfig(steps=("masks",)))
    assert caught.value.code == "MRD-E411" and "transform" in caught.value.fix


def test_a_deformable_alignment_never_reaches_the_network(pair):
    """The network's input is the same with "rigid" and "deformable"; only the picture on the common grid differs."""
    seen = {}

    def keep(prepared, bundle, config):
        seen[config.registration.method] = prepared.tensor.clone()
        return stand_in(prepared, bundle, config)

    found = {method: pipeline.run(case_of(pair), RunConfig(registration=RegistrationConfig(method=method, max_volume_change_percent=100.0)), bundle=BUNDLE, predict=keep)
             for method in ("rigid", "deformable")}
    assert torch.equal(seen["rigid"], seen["deformable"])
    common = [sitk.GetArrayFromImage(run.images["post_common"]) for run in found.values()]
    assert np.abs(common[0] - common[1]).max() > 0


def test_a_bias_correction_that_the_model_does_not_allow_is_refused_and_another_is_done_and_warned_about(pair, accepted):
    with pytest.raises(UsageError) as caught:
        pipeline.run(case_of(pair), RunConfig(steps=AFTER, bias_correction="full"), bundle=BUNDLE, predict=stand_in, transform=pair.transform_pre_to_post)
    assert caught.value.code == "MRD-E710"
    found = pipeline.run(case_of(pair), RunConfig(steps=AFTER, bias_correction="fast"), bundle=BUNDLE, predict=stand_in, transform=pair.transform_pre_to_post)
    assert "MRD-W710" in {notice.code for notice in found.warnings}
    (used,) = [step["parameters"]["preprocessing"] for step in found.history if step["step"] == "predict"]
    assert used["bias_correction"] == "fast" and used["spacing_mm"] == BUNDLE.preprocessing.spacing_mm
    assert found.p_pcr != accepted.p_pcr


def test_a_scan_that_is_not_t2_is_warned_about(pair):
    case = case_of(pair)
    case = replace(case, timepoints=(replace(case.pre, facts=replace(case.pre.facts, sequence="T1")), case.post))
    found = pipeline.run(case, RunConfig(steps=AFTER), bundle=BUNDLE, predict=stand_in, transform=pair.transform_pre_to_post)
    assert "MRD-W711" in {notice.code for notice in found.warnings}


def test_stop_in_the_middle_comes_out_as_cancelled(pair):
    def stop(done, message):
        if done > 0.2:
            raise Cancelled()

    with pytest.raises(Cancelled):
        pipeline.run(case_of(pair), RunConfig(), bundle=BUNDLE, predict=stand_in, progress=stop)


def test_progress_never_runs_backwards_and_ends_at_one(pair):
    seen = []
    pipeline.run(case_of(pair), RunConfig(), bundle=BUNDLE, predict=stand_in, progress=lambda done, message: seen.append(done))
    assert all(later >= earlier - 1e-9 for earlier, later in zip(seen, seen[1:])) and seen[-1] == pytest.approx(1.0)


def test_running_out_of_memory_is_named_with_its_step(pair):
    def hungry(prepared, bundle, config):
        raise MemoryError

    with pytest.raises(OutOfMemory) as caught:
        pipeline.run(case_of(pair), RunConfig(steps=AFTER), bundle=BUNDLE, predict=hungry, transform=pair.transform_pre_to_post)
    assert caught.value.exit_status == 5 and "predict" in caught.value.what


@pytest.mark.parametrize("order, flips", [((0, 1, 2), (True, False, False)), ((0, 1, 2), (False, False, True)),
                                          ((2, 0, 1), (False, False, False)), ((1, 2, 0), (True, False, True))],
                         ids=["left-handed", "slices reversed", "axes permuted", "permuted and flipped"])
def test_how_a_file_stores_its_axes_changes_nothing(pair, result, order, flips):
    """The same pair, stored with other axes, gives the same probability and the same volumes (BAD-INPUTS A 43, 45)."""
    from Testing.simulated import stored_otherwise
    turned = replace(pair, **{name: stored_otherwise(getattr(pair, name), order, flips)
                              for name in ("pre", "post", "pre_mask", "post_mask", "residual_mask")})
    found = pipeline.run(case_of(turned), RunConfig(), bundle=BUNDLE, predict=stand_in)
    assert found.p_pcr == pytest.approx(result.p_pcr, abs=1e-6)
    for name, value in result.measures.items():
        assert found.measures[name] == pytest.approx(value, rel=1e-6), name


def test_the_outlines_given_to_the_network_are_the_case_s_own_moved_ones(pair):
    """They reach the network with the case, the answers make the range, and a threshold inside it is warned about."""
    seen = {}

    def by_outline(prepared, bundle, config):
        seen.update(prepared.outlines)
        answers = {name: 0.3 + 0.1 * k for k, name in enumerate(prepared.outlines)}
        return replace(stand_in(prepared, bundle, config), p_pcr=0.45, predicted_class="non-pCR", outline_p_pcr=answers)

    found = pipeline.run(case_of(pair), RunConfig(steps=AFTER), bundle=BUNDLE, predict=by_outline, transform=pair.transform_pre_to_post)
    assert set(seen) | set(found.spread["outlines_left_out"]) == set(uncertainty.NAMES) and len(seen) >= 5
    assert found.p_pcr_low == 0.3 and found.p_pcr_high == max(found.spread["outline_p_pcr"].values()) > 0.5
    assert "MRD-W713" in {notice.code for notice in found.warnings}
    assert found.familiarity["light"] == "not known"
    (used,) = [step["parameters"] for step in found.history if step["step"] == "predict"]
    assert used["outline_step_mm"] == uncertainty.STEP_MM and used["outlines"] == uncertainty.NAMES


def test_another_step_reaches_the_outlines_the_range_s_meaning_and_the_history(pair):
    seen = {}

    def by_outline(prepared, bundle, config):
        seen.update(prepared.outlines)
        return replace(stand_in(prepared, bundle, config), outline_p_pcr=dict.fromkeys(prepared.outlines, 0.5))

    found = pipeline.run(case_of(pair), RunConfig(steps=AFTER, outline_step_mm=1.5), bundle=BUNDLE, predict=by_outline, transform=pair.transform_pre_to_post)
    assert set(seen) | set(found.spread["outlines_left_out"]) == set(uncertainty.names(1.5)) and "by 1.5 mm" in found.spread["meaning"]
    (used,) = [step["parameters"] for step in found.history if step["step"] == "predict"]
    assert used["outline_step_mm"] == 1.5 and used["outlines"] == uncertainty.names(1.5) and "members" not in used


def test_the_first_member_alone_is_said_in_warning_facts_range_and_history(pair):
    ensemble = SimpleNamespace(**{**vars(BUNDLE), "members": 3})
    found = pipeline.run(case_of(pair), RunConfig(steps=AFTER, members="first"), bundle=ensemble, predict=stand_in, transform=pair.transform_pre_to_post)
    (notice,) = [notice for notice in found.warnings if notice.code == "MRD-W718"]
    assert "first of the model's 3 members" in notice.text and found.model["members_used"] == 1 and "first member alone" in found.spread["meaning"]
    assert found.spread["members"] == 1 and found.spread["member_p_pcr"] == []
    assert [step["parameters"]["members"] for step in found.history if step["step"] == "predict"] == ["first"]


def test_the_first_of_one_is_that_one(pair, accepted):
    """A single network has no other members: same result, no warning."""
    single = SimpleNamespace(**{**vars(BUNDLE), "members": 1})
    found = pipeline.run(case_of(pair), RunConfig(steps=AFTER, members="first"), bundle=single, predict=stand_in, transform=pair.transform_pre_to_post)
    assert (found.p_pcr, found.warnings, found.model, found.spread) == (accepted.p_pcr, accepted.warnings, accepted.model, accepted.spread)
    assert [{**step, "seconds": 0} for step in found.history] == [{**step, "seconds": 0} for step in accepted.history]


def test_the_first_member_s_answer_is_that_member_s_own(monkeypatch):
    """P(pCR) and logit of members="first" are those of the first network run by itself; its embedding is not judged."""
    from MRDeltaNetLib.models.registry import build

    torch.manual_seed(1)
    settings = {"preset": "tiny", "spacing_mm": (2.0, 2.0, 5.0), "crop_mm": (64.0, 64.0, 40.0)}
    ensemble = build("roi_pooled", members=2, **settings).eval()
    bundle = SimpleNamespace(members=2, own={"recalibration": {"slope": 2.0, "intercept": 0.1}, "threshold": 0.5})
    monkeypatch.setattr(pipeline, "load_network", lambda bundle, build: ensemble)
    prepared = SimpleNamespace(tensor=torch.rand(2, 2, 8, 32, 32), outlines={})
    first, both = (pipeline._predict(prepared, bundle, RunConfig(members=members, device="cpu")) for members in ("first", "all"))
    assert first.p_pcr == pytest.approx(both.member_p_pcr[0], abs=1e-6) and first.p_pcr != pytest.approx(both.p_pcr, abs=1e-6) and first.member_p_pcr == ()


def counted_shares(asked: list):
    """Each token with itself, on the stand-in's token grid; what is asked for is kept in the list."""
    size = 16 * 16

    def rows(block, part):
        asked.append((block, part))
        return torch.eye(size)[None, part]

    return TokenShares(6, rows)


@pytest.mark.parametrize("steps, made", [(AFTER, True), (("masks", "predict"), False)])
def test_where_a_place_looks_is_computed_by_the_step_explain_alone(pair, steps, made):
    asked = []

    def with_shares(prepared, bundle, config):
        found = stand_in(prepared, bundle, config)
        return replace(found, shares=counted_shares(asked), map_facts={**found.map_facts, "comparison_kind": "position"})

    found = pipeline.run(case_of(pair), RunConfig(steps=steps), bundle=BUNDLE, predict=with_shares, transform=pair.transform_pre_to_post)
    assert bool(asked) is made and (found.correspondence is not None) is made and found.no_correspondence is None
    if made:
        looks = found.correspondence
        assert looks.shares.shape == (6, 256, 256) and looks.tokens == (6, 16, 16) and looks.stride == (2, 2, 2) and looks.comparison == "position"


def test_where_a_place_looks_goes_through_the_alignment_that_the_run_found(pair):
    """The tumour bed's centre, given in the post scanner's own space, lies in the crop where the pre tumour lies."""
    found = pipeline.run(case_of(pair), RunConfig(), bundle=BUNDLE, predict=lambda *given: replace(
        stand_in(*given), shares=counted_shares([]), map_facts={**stand_in(*given).map_facts, "comparison_kind": "same place"}))
    inside = np.argwhere(sitk.GetArrayViewFromImage(pair.post_mask) > 0).mean(0)[::-1]
    answer = query(found.correspondence, pair.post_mask.TransformContinuousIndexToPhysicalPoint(inside.tolist()), found.transform)
    pre = np.argwhere(sitk.GetArrayViewFromImage(pair.pre_mask) > 0).mean(0)[::-1]
    assert np.linalg.norm(np.subtract(answer.point_lps_mm, pair.pre_mask.TransformContinuousIndexToPhysicalPoint(pre.tolist()))) < 8.0
    assert answer.displacement_mm == 0 and "itself" in answer.note


def test_a_network_that_compares_no_places_leaves_a_reason(result):
    assert result.correspondence is None and "compares no place" in result.no_correspondence


def test_without_a_class_nothing_is_said_about_a_class(pair):
    def crossing(prepared, bundle, config):
        return replace(stand_in(prepared, bundle, config), p_pcr=0.45, outline_p_pcr={"both_larger_2mm": 0.9})

    case = case_of(pair)
    carried = replace(case, timepoints=(case.pre, replace(case.post, mask=None, residual=None, mask_source=None)))
    codes = {notice.code for notice in pipeline.run(carried, RunConfig(steps=AFTER), bundle=BUNDLE, predict=crossing, transform=pair.transform_pre_to_post).warnings}
    assert "MRD-W712" in codes and "MRD-W713" not in codes


def test_a_prepared_case_s_own_facts_judge_the_case_as_ordinary_and_another_maker_as_not(pair):
    """A reference is made from what prepare_case says of training cases; the same case in a run is then compared like with like."""
    prepared = pipeline.prepare_case(case_of(pair), BUNDLE.preprocessing)
    curve = np.array([prepared.facts["intensity_percentiles"][role] for role in ("pre", "post")])
    rng = np.random.default_rng(0)
    known = familiarity.fit_reference(rng.normal(size=(40, 4)), curve + rng.normal(0, 0.05, (40, 2, 1)), [prepared.facts] * 40)

    def embedded(prepared, bundle, config):
        one = stand_in(prepared, bundle, config)
        one.output.embedding = torch.zeros(1, 4)
        return one

    bundle = SimpleNamespace(**{**vars(BUNDLE), "reference": known})
    found = pipeline.run(case_of(pair), RunConfig(steps=AFTER), bundle=bundle, predict=embedded, transform=pair.transform_pre_to_post)
    assert found.familiarity["light"] == "green" and found.familiarity["training_cases"] == 40
    intensity = found.familiarity["parts"][1]
    assert intensity["name"] == "intensity" and intensity["distance"] < 1          # the very curve that the reference is centred on
    wider = replace(known, header=replace(known.header, numbers={"post": {"spacing_z_mm": (1.0, 2.0)}}))
    odd = pipeline.run(case_of(pair), RunConfig(steps=AFTER), bundle=SimpleNamespace(**{**vars(BUNDLE), "reference": wider}), predict=embedded,
                       transform=pair.transform_pre_to_post)
    assert odd.familiarity["light"] == "amber" and "MRD-W714" in {notice.code for notice in odd.warnings}


def test_a_case_of_a_cohort_goes_the_way_of_a_single_run(pair, result):
    """Same alignment, measures and masks; the facts are plain JSON, and their percentiles are those of the crop."""
    found = pipeline.prepare_case(case_of(pair), BUNDLE.preprocessing, RegistrationConfig(), notices=(Notice("MRD-W338", "far apart"),))
    assert found.facts == json.loads(json.dumps(found.facts, allow_nan=False))
    assert found.facts["measures"] == result.measures and found.facts["registration"] == json.loads(json.dumps(result.registration))
    assert found.facts["mask_sources"] == result.mask_sources and found.facts["notices"][0] == {"code": "MRD-W338", "text": "far apart", "fix": ""}
    point = np.array([10.0, -20.0, 30.0])
    told = found.facts["transform"]
    assert np.array(told["matrix"]) @ point + told["offset_mm"] == pytest.approx(result.transform.TransformPoint(point.tolist()), abs=1e-9)
    for visit, role in enumerate(("pre", "post")):
        levels = found.facts["intensity_percentiles"][role]
        assert len(levels) == len(pipeline.PERCENTS) == 101 and levels == sorted(levels)
        image = found.prepared.tensor[visit, 0]
        assert (levels[0], levels[-1]) == pytest.approx((float(image.min()), float(image.max())))
        assert found.facts[role]["size_voxels"] == list(getattr(pair, role).GetSize())


def test_a_cohort_s_case_is_refused_and_stopped_as_a_single_run_is(pair):
    case = case_of(pair)
    with pytest.raises(InputError) as caught:
        pipeline.prepare_case(replace(case, timepoints=(replace(case.pre, mask=None, mask_source=None), case.post)))
    assert caught.value.code == "MRD-E350"

    def stop(done, message):
        raise Cancelled()

    with pytest.raises(Cancelled):
        pipeline.prepare_case(case, progress=stop)


# ---- methods of explanation within a run

@pytest.fixture(scope="module")
def demo():
    from MRDeltaNetLib.io.bundle import read_bundle
    from MRDeltaNetLib.resources import DEMO_BUNDLE, resource
    return read_bundle(resource(DEMO_BUNDLE))


def test_a_run_makes_the_maps_that_it_is_asked_for_and_they_are_those_that_explain_adds_later(pair, demo, tmp_path):
    """Asked of the demo model as if transformer relevance had won its tests, which takes a fraction of what the real winner takes."""
    from MRDeltaNetLib.explainer import explain_result
    from MRDeltaNetLib.io.bundle import read_bundle
    from MRDeltaNetLib.io.results import write_results
    from Testing.io.test_results import MANIFEST_FACTS
    from Testing.test_explainer import judged_bundle
    judged, told = judged_bundle(demo, tmp_path, default="relevance", passed=["relevance"], failed=["null"]), []
    bundle = read_bundle(judged)
    asked = pipeline.run(case_of(pair), RunConfig(steps=AFTER, explain_methods=("change", "gradcam", "null")), bundle=bundle, transform=pair.transform_pre_to_post,
                         progress=lambda done, message: told.append(done))
    plain = pipeline.run(case_of(pair), RunConfig(steps=AFTER), bundle=bundle, transform=pair.transform_pre_to_post)
    names = {"gradcam_pre", "gradcam_post", "null_pre", "null_post"}
    assert set(asked.images) - set(plain.images) == names == set(asked.map_facts) - set(plain.map_facts) and told == sorted(told)
    won = judged_maps.default(bundle.own)
    made = [[key for key in EXPLAIN_METHODS if key in wanted] for wanted in (("gradcam", "null", won), (won,))]
    assert [one.history[-1]["parameters"].get("methods", []) for one in (asked, plain)] == made
    write_results(asked, tmp_path / "asked", manifest=MANIFEST_FACTS)
    write_results(plain, tmp_path / "plain", manifest=MANIFEST_FACTS)
    explain_result(tmp_path / "plain", ["gradcam", "null"], model=judged)
    for name in names:
        at_once, later = (sitk.ReadImage(str(tmp_path / folder / f"{name}.nrrd")) for folder in ("asked", "plain"))
        assert np.abs(corners_mm(at_once) - corners_mm(later)).max() < 1e-9                      # a header's last digit may differ
        assert np.abs(sitk.GetArrayFromImage(at_once) - sitk.GetArrayFromImage(later)).max() < 1e-5, name
    first, second = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("asked", "plain"))
    assert first["maps"] == second["maps"] and first["files"] == second["files"]


def test_a_method_that_cannot_be_asked_stops_a_run_before_anything_is_aligned(pair, demo, monkeypatch):
    seen = []
    monkeypatch.setattr(pipeline.attribution, "missing_package", lambda key: "captum")
    with pytest.raises(MissingPackage) as caught:
        pipeline.run(case_of(pair), RunConfig(explain_methods=("integrated_gradients",)), bundle=demo, progress=lambda done, message: seen.append(message))
    assert caught.value.code == "MRD-E801" and not seen


def test_a_device_that_is_not_there_stops_a_run_before_anything_is_aligned(pair, demo, monkeypatch):
    monkeypatch.setattr(pipeline.prediction, "available_devices", lambda: ("cpu",))
    monkeypatch.setattr(pipeline.registration, "align", lambda *args, **more: pytest.fail("aligned"))
    with pytest.raises(EnvironmentProblem) as caught:
        pipeline.run(case_of(pair), RunConfig(device="mps"), bundle=demo)
    assert caught.value.code == "MRD-E702"


def judged_as(default: str | None):
    """A bundle of which only the verdict on its maps is asked."""
    return SimpleNamespace(own={"maps": {"default": default, "passed": [default] if default else [], "failed": []}})


def test_the_map_that_won_the_models_own_tests_is_made_without_being_named_and_no_other():
    explaining = RunConfig(steps=("predict", "explain"))
    assert pipeline._more_methods(explaining, judged_as("gradcam")) == (("gradcam",), [])
    assert pipeline._more_methods(replace(explaining, explain_methods=("null", "relevance")), judged_as("gradcam")) == (("gradcam", "relevance", "null"), [])
    for nothing in (judged_as(None), judged_as("attention"), SimpleNamespace(own={})):
        assert pipeline._more_methods(explaining, nothing) == ((), [])
    assert pipeline._more_methods(RunConfig(steps=("predict",)), judged_as("gradcam")) == ((), [])


@pytest.mark.parametrize("default, word", [("from_the_future", "another version"), ("integrated_gradients", "captum")])
def test_a_default_map_that_cannot_be_made_stops_no_run_and_is_told(monkeypatch, default, word):
    monkeypatch.setattr(pipeline.attribution, "missing_package", lambda key: "captum" if key == "integrated_gradients" else None)
    more, (notice,) = pipeline._more_methods(RunConfig(steps=("predict", "explain"), explain_methods=("change", "null")), judged_as(default))
    assert more == ("null",) and notice.code == "MRD-W719" and word in notice.text


def test_a_run_makes_the_default_map_and_says_that_it_was_made(pair, demo):
    won = replace(demo, metadata={**demo.metadata, "mrdeltanet": {**demo.own, "maps": {"default": "gradcam", "passed": ["gradcam"], "failed": ["attention"]}}})
    made = pipeline.run(case_of(pair), RunConfig(steps=("masks", "predict", "explain")), bundle=won, transform=pair.transform_pre_to_post)
    assert {"gradcam_pre", "gradcam_post", "attention_post"} <= set(made.images) and made.history[-1]["parameters"] == {"methods": ["gradcam"]}
    assert "did not pass" in made.map_facts["attention_post"]["caution"] and "did not pass" not in made.map_facts["gradcam_post"].get("caution", "")
