"""Alignment of the post-treatment scan to the pre-treatment scan.

Rigid by default, on the body without the grown tumour, so that the treatment change is not registered away. Affine on request.
Deformable on request for display only: it is kept apart (Alignment.display_transform) and never feeds a network.
All transforms map pre LPS to post LPS in mm: resampling post with them gives post on pre's grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

import SimpleITK as sitk

from MRDeltaNetLib.config import REGISTRATION_METHODS, GateLimits, RegistrationConfig
from MRDeltaNetLib.errors import InputError, Notice, UsageError
from MRDeltaNetLib.imaging.registration import quality as _quality
from MRDeltaNetLib.imaging.registration.deformable import deformation, display_only, find_deformable
from MRDeltaNetLib.imaging.registration.linear import Scene, find_affine, find_rigid
from MRDeltaNetLib.imaging.registration.regions import body_of, canonical, metric_region
from MRDeltaNetLib.progress import Progress, part, silent

__all__ = ["Alignment", "align", "assess"]


@dataclass(frozen=True)
class Alignment:
    """What an alignment found.

    transform          linear SimpleITK transform, pre LPS -> post LPS, mm; the only one that may feed a network
    method             "none", "rigid", "affine" or "deformable" (asked for); "accepted" if it was handed in
    quality            name with unit -> number or text, see quality.measure
    notices            warnings
    refined            True if the tumour was left out
    display_transform  deformable pre LPS -> post LPS, for display and for suggesting masks; None unless asked for
    """

    transform: sitk.Transform
    method: str
    quality: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    refined: bool = False
    display_transform: sitk.Transform | None = None


def align(pre: sitk.Image, post: sitk.Image, config: RegistrationConfig = RegistrationConfig(), *,
          pre_mask: sitk.Image | None = None, post_mask: sitk.Image | None = None, initial: sitk.Transform | None = None,
          seed: int = 0, progress: Progress = silent, limits: GateLimits = GateLimits()) -> Alignment:
    """Align post to pre.

    pre, post  3-D scans, any orientation and spacing; LPS, mm
    pre_mask   uint8 tumour on the pre scan, post_mask tumour bed on the post scan: grown by config.exclusion_margin_mm, they are
               left out of the similarity
    initial    linear transform pre LPS -> post LPS to start from; None: several starts are tried
    seed       of the sampling; the same seed gives the same bytes on any number of threads
    progress   told of every iteration; what it raises stops the optimiser and comes out of this function
    raises     UsageError MRD-E600 (unknown method); InputError MRD-E601 to E609, see quality.judge
    """
    if config.method not in REGISTRATION_METHODS:
        raise UsageError("This way of aligning is not known", code="MRD-E600", found=f"'{config.method}'",
                         fix="choose one of " + ", ".join(REGISTRATION_METHODS))
    if initial is not None:
        _require_linear(initial)
    scene = _scene(pre, post, config, pre_mask, post_mask)
    transform: sitk.Transform = sitk.AffineTransform(3)
    converged, rigid = True, transform
    if config.method != "none":
        stop = 0.9 if config.method == "rigid" else 0.4
        found = find_rigid(scene, config, initial, seed, part(progress, 0.0, stop))
        rigid = found.transform
        if config.method == "affine":
            found = find_affine(scene, rigid, config, seed, part(progress, stop, 0.9))
        transform, converged = found.transform, found.converged
    numbers, notices = _assessed(scene, transform, config, limits)
    numbers["converged"] = converged
    if not converged:
        notices += (Notice("MRD-W604", "The alignment stopped at its limit of steps before it had settled",
                           "compare both scans side by side; if they do not match, run again with another seed"),)
    if config.method == "affine":
        notices += _quality.no_better("affine", _quality.similarity_of(scene)(rigid)[0], numbers["mutual_information_after_nats"])
    shown = None
    if config.method == "deformable":
        shown = find_deformable(scene, transform, config, seed, part(progress, 0.4, 0.9))
        numbers.update(deformation(scene, shown, pre_mask))
        _quality.judge_volume(numbers, config)
        numbers["display_mutual_information_nats"] = _quality.similarity_of(scene)(shown)[0]
        notices += (display_only(), *_quality.no_better("deformable", numbers["mutual_information_after_nats"],
                                                        numbers["display_mutual_information_nats"]))
    progress(1.0, "aligned")
    return Alignment(transform, config.method, numbers, notices, config.method != "none" and _any(pre_mask, post_mask), shown)


def assess(pre: sitk.Image, post: sitk.Image, transform: sitk.Transform, config: RegistrationConfig = RegistrationConfig(), *,
           pre_mask: sitk.Image | None = None, post_mask: sitk.Image | None = None,
           limits: GateLimits = GateLimits()) -> tuple[dict[str, Any], tuple[Notice, ...]]:
    """Quality and warnings of a transform that was handed in (pre LPS -> post LPS, mm).

    raises InputError MRD-E601 to E606 on the named limits
    """
    _require_linear(transform)
    return _assessed(_scene(pre, post, config, pre_mask, post_mask), transform, config, limits)


def _assessed(scene: Scene, transform: sitk.Transform, config: RegistrationConfig,
              limits: GateLimits) -> tuple[dict[str, Any], tuple[Notice, ...]]:
    numbers = {"method": config.method, **_quality.measure(scene, transform)}
    return numbers, _quality.judge(numbers, config, limits)


def _scene(pre: sitk.Image, post: sitk.Image, config: RegistrationConfig, pre_mask: sitk.Image | None,
           post_mask: sitk.Image | None) -> Scene:
    """Both scans with their bodies and regions, ready for the metric."""
    pre, post = canonical(pre), canonical(post)
    pre_body, post_body = body_of(pre), body_of(post)
    pre_region = metric_region(pre, pre_body, pre_mask, config.exclusion_margin_mm)
    post_region = metric_region(post, post_body, post_mask, config.exclusion_margin_mm) if _any(post_mask) else None
    return Scene(pre, post, pre_body, post_body, pre_region, post_region)


def _require_linear(transform: sitk.Transform) -> None:
    if not transform.IsLinear():
        raise InputError("The transform that was handed in bends the image", code="MRD-E609", found=transform.GetName(),
                         fix="hand in a rigid or affine transform; a deformable one never feeds the network")


def _any(*masks: sitk.Image | None) -> bool:
    return any(mask is not None and sitk.GetArrayViewFromImage(mask).any() for mask in masks)
