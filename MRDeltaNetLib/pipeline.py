"""The whole method on one page: two scans and masks in, a Result out.

    gate -> alignment -> masks -> measures -> preprocessing -> prediction -> explanation -> Result

Files are read before (io/cases) and written after (io/results, report, mrml) by the runner. A cohort's cases go the same way as
far as preprocessing (prepare_case), so that what a network is trained on is what it later sees.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Case, NetworkInput, Prepared, Result, Timepoint
from MRDeltaNetLib.config import EXPLAIN_METHODS, NATIVE_METHODS, GateLimits, PreprocessingConfig, RegistrationConfig, RunConfig
from MRDeltaNetLib.errors import InputError, MissingPackage, Notice, UsageError
from MRDeltaNetLib.imaging import features, measures, outline_place, preprocessing, registration, response_scales, segmentation
from MRDeltaNetLib.imaging.registration.similarity import linear_parts
from MRDeltaNetLib.io import judged_maps
from MRDeltaNetLib.io.bundle import Bundle, load_network
from MRDeltaNetLib.io.gate.pair import two_visits
from MRDeltaNetLib.io.gate.masks import check_residual
from MRDeltaNetLib.progress import Progress, part, silent
from MRDeltaNetLib.story import Story
from MRDeltaNetLib.response import attribution, correspondence, explanation, familiarity, prediction, uncertainty

if TYPE_CHECKING:
    import torch


PERCENTS = tuple(range(101))
"""Where the intensities of a prepared case are described, percent."""

IDENTITY = sitk.Transform(3, sitk.sitkIdentity)


def run(case: Case, config: RunConfig, *, bundle: Bundle | None = None, transform: sitk.Transform | None = None,
        left_out: Mapping[str, str | None] | None = None, notices: tuple[Notice, ...] = (), progress: Progress = silent,
        predict: Callable[[Prepared, Bundle, RunConfig], prediction.Prediction] | None = None) -> Result:
    """Do the steps that config names on one case.

    case       two checked timepoints; see io/cases.read_case
    bundle     the model; needed for the step "predict"
    transform  an accepted alignment, pre LPS -> post LPS: used as it is, unless "align" is among the steps, where it is the start
    left_out   masks_digest of the masks that the accepted alignment left out, as its own result tells; None if nobody knows
    notices    warnings from the gate, kept in the result
    predict    stands in for the network in tests
    returns    Result; what was not asked for is None or absent
    raises     InputError, UsageError, OutOfMemory, Cancelled
    """
    more, missing = _more_methods(config, bundle)
    story = Story([*notices, *missing], progress)
    if "predict" in config.steps and predict is None:
        prediction.choose_device(config.device)              # what cannot be done is refused before minutes go into the alignment
    network = network_of(bundle, config) if more and bundle is not None else None
    require_methods(more, network)
    case, alignment, found = _aligned_and_measured(case, config, transform, story)
    result = Result(measures=found, response=response_scales.classes(found), features=_features(case, story), mrtrg=case.mrtrg,
                    registration=_registration_facts(alignment, case, left_out), transform=alignment.transform,
                    images=_images(case, alignment), interval_days=case.interval_days,
                    mask_sources=_mask_sources(case), mask_programs={**case.pre.programs, **case.post.programs})
    if "predict" in config.steps:
        result = _with_prediction(result, case, config, bundle, story, predict or _predict)
    return replace(result, warnings=tuple(story.notices), history=tuple(story.history))


@dataclass(frozen=True)
class PreparedCase:
    """One case of a cohort, ready for a network.

    prepared  the crop of both visits, and the ROI channels of other outlines, so that a score can have its range without the masks
    facts     plain JSON without anything that names the patient, and the same whenever the case is prepared again:
              "pre", "post"            what each header said (sequence, manufacturer, field strength, TR, TE), size and spacing
              "interval_days"          days between the scans, None if unknown
              "measures", "registration", "mask_sources"   as in a Result
              "complete_response"      whether the reader said so
              "transform"              pre LPS -> post LPS, mm: p -> matrix p + offset_mm
              "grid"                   of the crop, LPS, mm
              "preprocessing"          settings, crop centre and normalisation numbers
              "outlines_left_out"      other outlines that are missing, name -> why
              "intensity_percentiles"  "pre", "post": of the T2 channel over the whole crop, z-score units, one number for each of PERCENTS
              "notices"                warnings of the gate and of every step: code, text, fix
    """

    prepared: Prepared
    facts: Mapping[str, Any]


def prepare_case(case: Case, preprocessing: PreprocessingConfig = PreprocessingConfig(), registration: RegistrationConfig = RegistrationConfig(), *,
                 seed: int = 0, limits: GateLimits = GateLimits(), notices: tuple[Notice, ...] = (), progress: Progress = silent) -> PreparedCase:
    """Do everything that `run` does before the network sees the case: alignment, masks, measures, preprocessing.

    case     two checked timepoints; see io/cases.read_case
    notices  warnings from the gate, kept in the facts
    raises   InputError, OutOfMemory, Cancelled, as run
    """
    story = Story(list(notices), progress)
    config = RunConfig(steps=("align", "masks", "predict"), registration=registration, seed=seed, limits=limits)
    case, alignment, found = _aligned_and_measured(case, config, None, story)
    with story.step("prepare", {"preprocessing": asdict(preprocessing)}) as bar:
        prepared = _prepared(case, alignment.transform, preprocessing, story)
        bar(0.8, "Scans prepared")
        outlines = _other_outlines(prepared, case, alignment.transform, preprocessing)
        story.notices += outlines.notices
        bar(1.0, "Other outlines prepared")
    facts = {"pre": _scan_facts(case.pre), "post": _scan_facts(case.post), "interval_days": case.interval_days, "measures": dict(found),
             "registration": _registration_facts(alignment, case, None), "mask_sources": _mask_sources(case),
             "complete_response": case.complete_response, **_places(prepared, alignment.transform),
             "preprocessing": dict(prepared.parameters), "outlines_left_out": dict(outlines.left_out), "intensity_percentiles": _percentiles(prepared),
             "notices": [asdict(notice) for notice in story.notices]}
    return PreparedCase(replace(prepared, outlines=outlines.channels), _plain(facts))


def masks_digest(case: Case) -> dict[str, str | None]:
    """SHA-256 of the voxels of both masks: tells whether an alignment was made with these masks ("stale" if not)."""
    return {role: _digest(scan.mask) for role, scan in (("pre", case.pre), ("post", case.post))}


def _aligned_and_measured(case: Case, config: RunConfig, transform: sitk.Transform | None,
                          story: Story) -> tuple[Case, registration.Alignment, Mapping[str, float | None]]:
    """The way that a single run and a cohort share: the case with its masks, the alignment, and the measures."""
    two_visits(case.timepoints)
    align = "align" in config.steps
    for role, scan in (("pre", case.pre), ("post", case.post)):
        story.notices += outline_place.check_place(scan, role, config.limits)
    if _wants_masks(config) and case.pre.mask is None:
        segmentation.complete_masks(case.pre, case.post, IDENTITY)     # refuses, before minutes go into the alignment
    with story.step("align", asdict(config.registration) if align else {"method": "handed in"}) as bar:
        alignment = _align(case, config, transform, bar) if align else _accept(case, config, transform)
        story.notices += alignment.notices
    with story.step("masks", {}) as bar:
        case = _with_masks(case, config, alignment.transform, story)
        drawn_bed = None if case.post.mask_source == "carried" else case.post.mask    # a carried bed has the tumour's own size: no finding
        found = measures.compare(case.pre.mask, drawn_bed, case.post.residual, case.complete_response)
        bar(1.0, "Tumour measured")
    return case, alignment, found


def _features(case: Case, story: Story) -> dict[str, dict[str, float | None]]:
    """Intensity and shape of what was drawn, and the changes against the tumour before treatment; empty without any mask."""
    bed = None if case.post.mask_source == "carried" else case.post.mask
    if case.pre.mask is None:
        return {}
    found, notices = features.describe(case.pre, {"pre": case.pre.mask})
    after, more = features.describe(case.post, {"post": bed, "residual": case.post.residual})
    story.notices += (*notices, *more)
    found |= after
    return found | {f"{name}_change": features.changes(found["pre"], found[name]) for name in after}


def _prepared(case: Case, transform: sitk.Transform, settings: PreprocessingConfig, story: Story) -> Prepared:
    prepared = preprocessing.prepare(case.pre, case.post, transform, settings)
    story.notices += prepared.notices
    return prepared


def _align(case: Case, config: RunConfig, start: sitk.Transform | None, progress: Progress) -> registration.Alignment:
    """Register on the body; the tumour is left out as soon as a mask says where it is."""
    return registration.align(case.pre.image, case.post.image, config.registration, pre_mask=case.pre.mask,
                              post_mask=case.post.mask, initial=start, seed=config.seed, progress=progress, limits=config.limits)


def _accept(case: Case, config: RunConfig, transform: sitk.Transform | None) -> registration.Alignment:
    """Use an alignment that was handed in, after the same checks that a new one must pass."""
    if transform is None:
        raise UsageError("The job leaves out the step 'align' but hands in no accepted transform", code="MRD-E411",
                         fix="add 'align' to the steps, or name the transform of an earlier run")
    quality, notices = registration.assess(case.pre.image, case.post.image, transform, config.registration,
                                           pre_mask=case.pre.mask, post_mask=case.post.mask, limits=config.limits)
    return registration.Alignment(transform=transform, method="accepted", quality=quality, notices=notices, refined=False)


def _with_masks(case: Case, config: RunConfig, transform: sitk.Transform, story: Story) -> Case:
    """Carry the pre mask to the post scan if nobody drew one there; without a pre mask these steps are refused."""
    if not _wants_masks(config):
        return case
    pre, post, notices = segmentation.complete_masks(case.pre, case.post, transform)
    story.notices += notices
    if post.mask_source == "carried":
        story.notices += check_residual(post.residual, post.mask)      # a drawn bed was compared by the gate already
    return replace(case, timepoints=(pre, *case.timepoints[1:-1], post))


def _wants_masks(config: RunConfig) -> bool:
    return bool({"masks", "predict"} & set(config.steps))


def _with_prediction(result: Result, case: Case, config: RunConfig, bundle: Bundle | None, story: Story, predict) -> Result:
    if bundle is None:
        raise UsageError("Prediction needs a model bundle", code="MRD-E410", fix="name one with --model, or leave out the step 'predict'")
    settings = _preprocessing_config(bundle, config, case, story)
    step_mm, alone = config.outline_step_mm, _first_alone(bundle, config)
    parameters = {"preprocessing": asdict(settings), "outline_step_mm": step_mm, "outlines": uncertainty.names(step_mm)} | ({"members": "first"} if alone else {})
    with story.step("predict", parameters) as bar:
        prepared = _prepared(case, result.transform, settings, story)
        bar(0.5, "Scans prepared")
        outlines = _other_outlines(prepared, case, result.transform, settings, step_mm)
        bar(0.6, "Other outlines prepared")
        predicted = predict(replace(prepared, outlines=outlines.channels), bundle, config)
        spread = uncertainty.spread(predicted, outlines.left_out, step_mm=step_mm, first_alone=alone)
        known = _familiarity(None if alone else predicted, prepared, case, bundle)
        bar(1.0, f"P(pCR) {predicted.p_pcr:.2f} ({spread['p_pcr_low']:.2f} to {spread['p_pcr_high']:.2f})")
    if alone:
        story.notices.append(uncertainty.first_member_notice(bundle.members))
    predicted_class = _class(predicted, case, story)
    if predicted_class is not None:
        story.notices += uncertainty.notices(spread["p_pcr_low"], spread["p_pcr_high"], predicted.threshold)
    story.notices += (*outlines.notices, *familiarity.notices(known))
    result = replace(result, p_pcr=predicted.p_pcr, logit=predicted.logit, threshold=predicted.threshold, predicted_class=predicted_class,
                     familiarity=known.as_json(), model=bundle.public_facts() | {"device": predicted.device} | ({"members_used": 1} if alone else {}), **spread)
    if "explain" not in config.steps:
        return result
    more, _ = _more_methods(config, bundle)
    with story.step("explain", {"methods": list(more)} if more else {}) as bar:
        maps = explanation.explain(predicted, prepared.grid, preprocessing.image_on_grid)
        looks, none_because = correspondence.from_prediction(predicted, prepared.grid)
        seen = NetworkInput(prepared.tensor.numpy().astype(np.float16), prepared.grid)
        images, facts = _maps_on_scans(maps, case, result.transform), {name: _judged(said, bundle.own, name.rsplit("_", 1)[0]) for name, (_, said) in maps.items()}
        network = network_of(bundle, config) if more else None
        for number, key in enumerate(more):
            share = part(bar, (number + 0.1) / (len(more) + 0.1), (number + 1.1) / (len(more) + 0.1))
            added = method_maps(key, network, seen, bundle.own, {"pre": case.pre.image, "post": case.post.image}, result.transform,
                                device=config.device, progress=share)
            images |= {name: image for name, (image, _) in added.items()}
            facts |= {name: said for name, (_, said) in added.items()}
        result = replace(result, images=dict(result.images) | images, map_facts=facts, network_input=seen, correspondence=looks, no_correspondence=none_because)
        bar(1.0, "Maps laid over the scans")
    return result


def method_maps(key: str, network: "torch.nn.Module", seen: NetworkInput, own: Mapping[str, Any], scans: Mapping[str, sitk.Image], transform: sitk.Transform, *,
                device: str = "auto", progress: Progress = silent) -> dict[str, tuple[sitk.Image, Mapping[str, Any]]]:
    """One method's maps on the scans' own grids: by a run, or later from what it kept, with the same voxels.

    key        of response.attribution.METHODS
    network    the bundle's; seen: its input as it is kept; own: the "mrdeltanet" section of the bundle's metadata
    scans      visit -> an image on that scan's own grid; its voxels are not looked at
    transform  the alignment, pre LPS -> post LPS, mm
    returns    "<key>_<visit>" -> (float32 on that scan's grid, facts)
    raises     as attribution.attribute, prediction.choose_device
    """
    import torch
    where, _ = prediction.choose_device(device)
    found = attribution.attribute(key, network.to(where), torch.from_numpy(seen.values.astype(np.float32)), readout=attribution.Readout.of(own), progress=progress)
    to_crop = {"pre": IDENTITY, "post": transform.GetInverse()}
    made = {}
    for name, (values, facts) in attribution.shown(found).items():
        visit = name.rsplit("_", 1)[1]
        made[name] = (preprocessing.on_scan(preprocessing.image_on_grid(values, seen.grid), scans[visit], to_crop[visit]), _judged(facts, own, key))
    return made


def _judged(facts: Mapping[str, Any], own: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A map's facts, with the caution of a method that failed this model's tests."""
    said = "; ".join(filter(None, (facts.get("caution"), judged_maps.caution(own, key))))
    return {**facts, **({"caution": said} if said else {})}


def network_of(bundle: Bundle, config: RunConfig) -> "torch.nn.Module":
    """The bundle's network with its weights, or its first member where that alone is asked."""
    from MRDeltaNetLib.models import registry            # torch loads here, not when the panel starts
    network = load_network(bundle, registry.build)
    return network.members[0] if _first_alone(bundle, config) else network


def require_methods(keys: Iterable[str], network: "torch.nn.Module | None") -> None:
    """Refuse methods that cannot be asked, before anything is computed.

    raises  MissingPackage MRD-E801, InputError MRD-E724 (it means nothing on this network), UsageError MRD-E723
    """
    for key in keys:
        if (package := attribution.missing_package(key)) is not None:
            raise MissingPackage(f"The method '{key}' needs the Python package '{package}', which is not installed", code="MRD-E801",
                                 fix="pip install 'mrdeltanet[explain]', or leave the method out")
        if network is not None and (reason := attribution.why_not(key, network)) is not None:
            raise InputError(f"The method '{key}' means nothing on this network", code="MRD-E724", found=reason, fix="leave the method out")


def _more_methods(config: RunConfig, bundle: Bundle | None) -> tuple[tuple[str, ...], list[Notice]]:
    """Methods beside the native ones: those that the job names, and the one that won the model's own tests. And what has to be said where it cannot be made."""
    if not {"predict", "explain"} <= set(config.steps):
        return (), []
    default = None if bundle is None else judged_maps.default(bundle.own)
    package = attribution.missing_package(default) if default in EXPLAIN_METHODS else None
    more = tuple(key for key in EXPLAIN_METHODS if key in {*config.explain_methods, *(() if package else (default,))} - {*NATIVE_METHODS})
    if default in (None, *more, *NATIVE_METHODS):
        return more, []
    why = f"its method '{default}' " + (f"needs the Python package '{package}'" if package else "is of another version of this software")
    return more, [Notice("MRD-W719", f"The map that the model's own tests chose could not be made: {why}", "pip install 'mrdeltanet[explain]'" if package else "update this software")]


def _other_outlines(prepared: Prepared, case: Case, transform: sitk.Transform, settings: PreprocessingConfig,
                    step_mm: float = uncertainty.STEP_MM) -> uncertainty.Outlines:
    """The ROI channels of outlines drawn a little otherwise, made by the function that made the case's own."""
    def channel(mask: sitk.Image, grid: sitk.Image, to_scan: sitk.Transform):
        return preprocessing.roi_channel(mask, grid, to_scan, settings.roi_sigma_mm)

    masks = [preprocessing.in_axial_order(scan.mask) for scan in (case.pre, case.post)]
    return uncertainty.other_outlines(prepared, *masks, transform, channel, step_mm)


def _first_alone(bundle: Bundle, config: RunConfig) -> bool:
    """Whether the first member of an ensemble answers without the others; a single network has none."""
    return config.members == "first" and bundle.members > 1


def _familiarity(predicted: prediction.Prediction | None, prepared: Prepared, case: Case, bundle: Bundle) -> familiarity.Familiarity:
    """How like the training cases this one is, where the bundle knows its training cases; predicted None: one member's embedding, which the
    bundle's reference of all members' cannot judge."""
    if bundle.reference is None:
        return familiarity.unknown()
    facts = {"pre": _scan_facts(case.pre), "post": _scan_facts(case.post), "interval_days": case.interval_days}
    embedding = None if predicted is None else predicted.output.embedding[0].numpy()
    return familiarity.judge(bundle.reference, embedding, list(_percentiles(prepared).values()), facts)


def _class(predicted: prediction.Prediction, case: Case, story: Story) -> str | None:
    """The class at the threshold; none with a bed that nobody drew, which is too large and turned answers round in simulated pairs."""
    if case.post.mask_source != "carried":
        return predicted.predicted_class
    story.notices.append(Notice("MRD-W712", "No class is given: P(pCR) was computed with a tumour bed that nobody drew, and such a bed can turn the answer round",
                                "draw the tumour bed on the post-treatment scan, hand it in as the post mask, and run again"))
    return None


def _predict(prepared: Prepared, bundle: Bundle, config: RunConfig) -> prediction.Prediction:
    return prediction.predict(prepared, network_of(bundle, config), bundle.own, device=config.device, seed=config.seed)


def _preprocessing_config(bundle: Bundle, config: RunConfig, case: Case, story: Story) -> PreprocessingConfig:
    """The bundle's preprocessing rules; the user may choose the bias correction only among what the bundle allows."""
    settings, chosen = bundle.preprocessing, config.bias_correction
    _warn_about_sequence(bundle, case, story)
    if chosen is None or chosen == settings.bias_correction:
        return settings
    if chosen not in bundle.own["bias_corrections_allowed"]:
        raise UsageError("The model does not allow this bias correction", code="MRD-E710",
                         found=f"'{chosen}'; allowed: {', '.join(bundle.own['bias_corrections_allowed'])}",
                         fix="leave out --bias-correction to use what the model was trained with")
    story.notices.append(Notice("MRD-W710", f"The model was trained with bias correction '{settings.bias_correction}', this run uses '{chosen}'",
                                "compare with a run without --bias-correction before trusting the difference"))
    return replace(settings, bias_correction=chosen)


def _warn_about_sequence(bundle: Bundle, case: Case, story: Story) -> None:
    for name, scan in (("pre-treatment", case.pre), ("post-treatment", case.post)):
        if scan.facts.sequence and scan.facts.sequence not in bundle.own["sequences"]:
            story.notices.append(Notice("MRD-W711", f"The {name} scan looks {scan.facts.sequence}-weighted; the model knows "
                                        f"{', '.join(bundle.own['sequences'])} only", "choose the axial T2 series"))


def _registration_facts(alignment: registration.Alignment, case: Case, left_out: Mapping[str, str | None] | None) -> dict[str, Any]:
    """Quality, and which masks the alignment left out; of an accepted one only what its own result told."""
    nothing = {"pre": None, "post": None}
    if alignment.method == "accepted":
        refined, used = None if left_out is None else any(left_out.values()), dict(left_out or nothing)
    else:
        refined, used = alignment.refined, masks_digest(case) if alignment.refined else nothing
        if case.post.mask_source == "carried":
            used["post"] = None
    return {**alignment.quality, "method": alignment.method, "refined_without_tumour": refined, "masks_left_out_sha256": used}


def _mask_sources(case: Case) -> dict[str, str | None]:
    """Who made each mask. "stated": a reader says that no viable tumour is left, and there is no residual mask."""
    residual = case.post.residual_source or "drawn" if case.post.residual is not None else "stated" if case.complete_response else None
    return {"pre": case.pre.mask_source, "post": case.post.mask_source, "residual": residual}


def _images(case: Case, alignment: registration.Alignment) -> dict[str, sitk.Image]:
    """Both scans, on their own grids and on the common one, and the masks."""
    pre_common, post_common = preprocessing.common_grid(case.pre.image, case.post.image, alignment.display_transform or alignment.transform)
    found = {"pre": case.pre.image, "post": case.post.image, "pre_common": pre_common, "post_common": post_common,
             "pre_mask": case.pre.mask, "post_mask": case.post.mask, "residual_mask": case.post.residual,
             "pre_probability": case.pre.probability, "post_probability": case.post.probability}
    return {name: image for name, image in found.items() if image is not None}


def _maps_on_scans(maps: dict, case: Case, transform: sitk.Transform) -> dict[str, sitk.Image]:
    """Each map on the original grid of the scan that its name ends with."""
    scans = {"pre": (case.pre.image, IDENTITY), "post": (case.post.image, transform.GetInverse())}
    return {name: preprocessing.on_scan(image, *scans[name.rsplit("_", 1)[1]]) for name, (image, _) in maps.items()}


def _scan_facts(scan: Timepoint) -> dict[str, Any]:
    """What the header said and how the scan is sampled, (x, y, z); no digest of the patient's identity, no date."""
    facts = scan.facts
    return {"format": facts.format, "modality": facts.modality, "sequence": facts.sequence, "manufacturer": facts.manufacturer,
            "field_strength_t": facts.field_strength_t, "repetition_time_ms": facts.repetition_time_ms, "echo_time_ms": facts.echo_time_ms,
            "size_voxels": scan.image.GetSize(), "spacing_mm": scan.image.GetSpacing()}


def _places(prepared: Prepared, transform: sitk.Transform) -> dict[str, Any]:
    """Where the crop lies, and the alignment, which is linear wherever a crop was made."""
    matrix, offset = linear_parts(transform)
    grid = prepared.grid
    return {"transform": {"matrix": matrix.tolist(), "offset_mm": offset.tolist()},
            "grid": {"size_voxels": grid.GetSize(), "spacing_mm": grid.GetSpacing(), "origin_lps_mm": grid.GetOrigin(), "direction": grid.GetDirection()}}


def _percentiles(prepared: Prepared) -> dict[str, list[float]]:
    return {role: np.percentile(prepared.tensor[visit, 0].numpy().astype(np.float64), PERCENTS).tolist() for visit, role in enumerate(("pre", "post"))}


def _plain(value: Any) -> Any:
    """As JSON would give it back: lists for tuples."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _digest(mask: sitk.Image | None) -> str | None:
    return None if mask is None else hashlib.sha256(sitk.GetArrayViewFromImage(mask).tobytes()).hexdigest()
