"""What a result rests on, as digests, so that a door can tell a stale result and say what changed."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Case, Timepoint
from MRDeltaNetLib.pipeline import masks_digest
from MRDeltaNetLib.workflow.texts import _

PARTS = {"pre": _("the scan before treatment"), "post": _("the scan after treatment"), "alignment": _("the alignment"),
         "pre_mask": _("the tumour outline"), "post_mask": _("the bed outline"), "residual_mask": _("the residual tumour"),
         "complete_response": _("complete response"), "model": _("the model"), "options": _("an option")}
"""Part of a fingerprint -> its name in a line."""

LATTICE = 4
"""A transform is known by where it sends so many points along each axis of the scan before treatment."""

DECIMALS = 3
"""Displacements are compared to so many decimals, mm: the same matrix read back from a node or a file is the same transform."""

_OFF_THE_TIES_MM = 10.0**-DECIMALS / np.pi
"""Added before rounding, so that the round numbers of made-up transforms do not lie on a rounding step."""


def fingerprint(pre: sitk.Image | str | None, post: sitk.Image | str | None, *, transform: sitk.Transform | None = None,
                pre_mask: sitk.Image | str | None = None, post_mask: sitk.Image | str | None = None, residual_mask: sitk.Image | str | None = None,
                complete_response: bool = False, model_sha256: str = "", options: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Part -> SHA-256, empty where there is none; plain JSON, for a node's attribute. Holds nothing that names the patient.

    pre, post, masks  images, or their image_digest if the door kept it. Hand in no bed that was only carried over: it follows from the rest
    transform         pre LPS -> post LPS, mm; needs pre as an image
    options           what else a run was asked (bias correction, device, outlines' step, ...), plain JSON
    raises            ValueError for a transform without pre as an image
    """
    if transform is not None and not isinstance(pre, sitk.Image):
        raise ValueError("a transform is known by where it sends the points of the pre scan, so that scan is needed as an image")
    images = {"pre": pre, "post": post, "pre_mask": pre_mask, "post_mask": post_mask, "residual_mask": residual_mask}
    parts = {name: image_digest(image) if isinstance(image, sitk.Image) else image or "" for name, image in images.items()}
    parts["alignment"] = "" if transform is None else _transform_digest(transform, pre)
    parts["complete_response"] = "stated" if complete_response else ""
    parts["model"] = model_sha256
    parts["options"] = _digest(json.dumps(dict(options or {}), sort_keys=True).encode())
    return {name: parts[name] for name in PARTS}


def changed(before: Mapping[str, str] | None, now: Mapping[str, str]) -> tuple[str, ...]:
    """Parts that differ, in the order of PARTS; all of them if nobody knows what an earlier result rested on."""
    return tuple(part for part in PARTS if before is None or before.get(part) != now.get(part))


def key_of(parts: Mapping[str, str]) -> str:
    """One SHA-256 for a whole fingerprint."""
    return _digest(json.dumps(dict(parts), sort_keys=True).encode())


def image_digest(image: sitk.Image) -> str:
    """SHA-256 of voxels, their type, and their place: first voxel and ends of the axes (LPS, mm), rounded, because a file gives an oblique
    scan's axes back with other last digits."""
    ends = np.vstack([np.zeros(3), np.diag(image.GetSize())])
    place = np.array([image.TransformContinuousIndexToPhysicalPoint(end.tolist()) for end in ends])
    kind = json.dumps([image.GetPixelIDTypeAsString(), image.GetSize()]).encode()
    return _digest(kind + _rounded(place) + np.ascontiguousarray(sitk.GetArrayViewFromImage(image)).tobytes())


def alignment_is_stale(registration: Mapping[str, Any] | None, pre: Timepoint, post: Timepoint) -> bool:
    """Whether an alignment was made without these masks, or with others (MRD-W610).

    registration  the "registration" part of the result that the alignment came with; None if there is none, which is never stale
    pre, post     the visits; a bed that was only carried over counts as none
    """
    if registration is None or registration.get("method") == "none":
        return False
    now = masks_digest(Case((pre, post)))
    if post.mask_source == "carried":
        now["post"] = None
    return registration["masks_left_out_sha256"] != now


def _transform_digest(transform: sitk.Transform, pre: sitk.Image) -> str:
    """By what it does to a lattice of points, so that an Euler transform and its matrix are one and the same."""
    steps = [np.linspace(0, size - 1, LATTICE) for size in pre.GetSize()]
    points = [pre.TransformContinuousIndexToPhysicalPoint([float(i) for i in index]) for index in np.stack(np.meshgrid(*steps), axis=-1).reshape(-1, 3)]
    moved = np.array([transform.TransformPoint(point) for point in points]) - np.array(points)
    return _digest(_rounded(moved))


def _rounded(values_mm: np.ndarray) -> bytes:
    """The same bytes for values that differ by less than what can be seen."""
    return (np.round(values_mm + _OFF_THE_TIES_MM, DECIMALS) + 0.0).tobytes()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
