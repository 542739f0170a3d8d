"""The whole method on one page: two scans and masks in, a Result out.

    gate -> alignment -> masks -> measures -> preprocessing -> prediction -> explanation -> Result

Files are read before (io/cases) and written after (io/results, report, mrml) by the runner.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, Callable, Iterator, Mapping

import SimpleITK as sitk

from MRDeltaNetLib.case import Case, Prepared, Result
from MRDeltaNetLib.config import PreprocessingConfig, RunConfig
from MRDeltaNetLib.errors import InputError, Notice, OutOfMemory, UsageError
from MRDeltaNetLib.imaging import measures, preprocessing, registration, segmentation
from MRDeltaNetLib.io.bundle import Bundle, load_network
from MRDeltaNetLib.io.gate.pair import two_visits
from MRDeltaNetLib.io.gate.masks import check_residual
from MRDeltaNetLib.progress import Progress, part, silent
from MRDeltaNetLib.response import explanation, prediction

SHARES = {"align": (0.05, 0.55), "masks": (0.55, 0.62), "predict": (0.62, 0.80), "explain": (0.80, 1.0)}
"""Each step's share of the bar, by how long it takes on a CPU."""

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
    two_visits(case.timepoints)
    story = _Story(list(notices), progress)
    align = "align" in config.steps
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

    result = Result(measures=found, registration=_registration_facts(alignment, case, left_out), transform=alignment.transform,
                    images=_images(case, alignment), interval_days=case.interval_days,
                    mask_sources=_mask_sources(case))
    if "predict" in config.steps:
        result = _with_prediction(result, case, config, bundle, story, predict or _predict)
    return replace(result, warnings=tuple(story.notices), history=tuple(story.history))


def masks_digest(case: Case) -> dict[str, str | None]:
    """SHA-256 of the voxels of both masks: tells whether an alignment was made with these masks ("stale" if not)."""
    return {role: _digest(scan.mask) for role, scan in (("pre", case.pre), ("post", case.post))}


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


def _with_masks(case: Case, config: RunConfig, transform: sitk.Transform, story: "_Story") -> Case:
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


def _with_prediction(result: Result, case: Case, config: RunConfig, bundle: Bundle | None, story: "_Story", predict) -> Result:
    if bundle is None:
        raise UsageError("Prediction needs a model bundle", code="MRD-E410", fix="name one with --model, or leave out the step 'predict'")
    settings = _preprocessing_config(bundle, config, case, story)
    with story.step("predict", {"preprocessing": asdict(settings)}) as bar:
        prepared = preprocessing.prepare(case.pre, case.post, result.transform, settings)
        story.notices += prepared.notices
        bar(0.6, "Scans prepared")
        predicted = predict(prepared, bundle, config)
        bar(1.0, f"P(pCR) {predicted.p_pcr:.2f}")
    result = replace(result, p_pcr=predicted.p_pcr, logit=predicted.logit, threshold=predicted.threshold,
                     predicted_class=_class(predicted, case, story), model=bundle.public_facts() | {"device": predicted.device})
    if "explain" not in config.steps:
        return result
    with story.step("explain", {}) as bar:
        maps = explanation.explain(predicted, prepared.grid, preprocessing.image_on_grid)
        result = replace(result, images=dict(result.images) | _maps_on_scans(maps, case, result.transform),
                         map_facts={name: facts for name, (_, facts) in maps.items()})
        bar(1.0, "Maps laid over the scans")
    return result


def _class(predicted: prediction.Prediction, case: Case, story: "_Story") -> str | None:
    """The class at the threshold; none with a bed that nobody drew, which is too large and turned answers round in simulated pairs."""
    if case.post.mask_source != "carried":
        return predicted.predicted_class
    story.notices.append(Notice("MRD-W712", "No class is given: P(pCR) was computed with a tumour bed that nobody drew, and such a bed can turn the answer round",
                                "draw the tumour bed on the post-treatment scan, give it as --post-mask, and run again"))
    return None


def _predict(prepared: Prepared, bundle: Bundle, config: RunConfig) -> prediction.Prediction:
    from MRDeltaNetLib.models import registry            # torch loads here, not when the panel starts
    network = load_network(bundle, registry.build)
    return prediction.predict(prepared, network, bundle.own, device=config.device, seed=config.seed)


def _preprocessing_config(bundle: Bundle, config: RunConfig, case: Case, story: "_Story") -> PreprocessingConfig:
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


def _warn_about_sequence(bundle: Bundle, case: Case, story: "_Story") -> None:
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
    residual = "drawn" if case.post.residual is not None else "stated" if case.complete_response else None
    return {"pre": case.pre.mask_source, "post": case.post.mask_source, "residual": residual}


def _images(case: Case, alignment: registration.Alignment) -> dict[str, sitk.Image]:
    """Both scans, on their own grids and on the common one, and the masks."""
    pre_common, post_common = preprocessing.common_grid(case.pre.image, case.post.image, alignment.display_transform or alignment.transform)
    found = {"pre": case.pre.image, "post": case.post.image, "pre_common": pre_common, "post_common": post_common,
             "pre_mask": case.pre.mask, "post_mask": case.post.mask, "residual_mask": case.post.residual}
    return {name: image for name, image in found.items() if image is not None}


def _maps_on_scans(maps: dict, case: Case, transform: sitk.Transform) -> dict[str, sitk.Image]:
    """Each map on the original grid of the scan that its name ends with."""
    scans = {"pre": (case.pre.image, IDENTITY), "post": (case.post.image, transform.GetInverse())}
    return {name: preprocessing.on_scan(image, *scans[name.rsplit("_", 1)[1]]) for name, (image, _) in maps.items()}


def _digest(mask: sitk.Image | None) -> str | None:
    return None if mask is None else hashlib.sha256(sitk.GetArrayViewFromImage(mask).tobytes()).hexdigest()


class _Story:
    """What happened so far: warnings, and one history entry a step with its wall time."""

    def __init__(self, notices: list[Notice], progress: Progress) -> None:
        self.notices, self.history, self._progress = notices, [], progress

    @contextmanager
    def step(self, name: str, parameters: dict[str, Any]) -> Iterator[Progress]:
        """Run one step; an ITK or memory failure inside becomes an error that says what to do."""
        bar = part(self._progress, *SHARES[name])
        bar(0.0, TITLES[name])
        start = time.perf_counter()
        try:
            yield bar
        except MemoryError as cause:
            raise _out_of_memory(name) from cause
        except RuntimeError as cause:
            if "allocate" in str(cause).lower() or "out of memory" in str(cause).lower():
                raise _out_of_memory(name) from cause
            raise InputError(f"The step '{name}' stopped inside an image library", code="MRD-E720", found=type(cause).__name__,
                             fix="run `mrdeltanet check` on the same scans; if it finds nothing, report the log") from cause
        self.history.append({"step": name, "parameters": parameters, "seconds": round(time.perf_counter() - start, 3)})


TITLES = {"align": "Aligning the scans", "masks": "Measuring the tumour", "predict": "Predicting", "explain": "Explaining"}


def _out_of_memory(step: str) -> OutOfMemory:
    return OutOfMemory(f"The step '{step}' ran out of memory", code="MRD-E721",
                       fix="close other programs, or crop the scans to the pelvis; 4 GB of free memory are enough for 320 x 320 x 30 voxels")
