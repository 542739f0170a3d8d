"""What a result rests on, as digests, so that a door can tell a stale result and say what changed."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Case, Timepoint
from MRDeltaNetLib.io.gate.pair import SCAN_IDENTITY
from MRDeltaNetLib.pipeline import masks_digest
from MRDeltaNetLib.workflow.texts import _

PARTS = {"pre": _("the scan before treatment"), "post": _("the scan after treatment"), "headers": _("a DICOM header"), "alignment": _("the alignment"),
         "pre_mask": _("the tumour outline"), "post_mask": _("the bed outline"), "residual_mask": _("the residual tumour"),
         "complete_response": _("complete response"), "mrtrg": _("the reader's grade"), "model": _("the model"), "options": _("an option")}
"""Part of a fingerprint -> its name in a line."""

TOLD_ONLY = ("mrtrg",)
"""Parts that a report tells and that no prediction rests on."""

LATTICE = 4
"""A transform is known by where it sends so many points along each axis of the scan before treatment."""

DECIMALS = 3
"""Displacements are compared to so many decimals, mm: the same matrix read back from a node or a file is the same transform."""

_OFF_THE_TIES_MM = 10.0**-DECIMALS / np.pi
"""Added before rounding, so that the round numbers of made-up transforms do not lie on a rounding step."""


def fingerprint(pre: sitk.Image | str | None, post: sitk.Image | str | None, *, transform: sitk.Transform | str | None = None,
                pre_mask: sitk.Image | str | None = None, post_mask: sitk.Image | str | None = None, residual_mask: sitk.Image | str | None = None,
                complete_response: bool = False, mrtrg: int | None = None, model_sha256: str = "", options: Mapping[str, Any] | None = None,
                headers: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Part -> SHA-256, empty where there is none; plain JSON, for a node's attribute. Holds nothing that names the patient.

    pre, post, masks  images, or their image_digest if the door kept it. Hand in no bed that was only carried over: it follows from the rest
    transform         pre LPS -> post LPS, mm, which needs pre as an image; or its transform_digest
    options           what else a run was asked (bias correction, device, outlines' step, ...), plain JSON
    headers           of header_facts; nothing or empty: no header says anything
    raises            ValueError for a transform without pre as an image
    """
    if isinstance(transform, sitk.Transform):
        if not isinstance(pre, sitk.Image):
            raise ValueError("a transform is known by where it sends the points of the pre scan, so that scan is needed as an image")
        transform = transform_digest(transform, pre)
    images = {"pre": pre, "post": post, "pre_mask": pre_mask, "post_mask": post_mask, "residual_mask": residual_mask}
    parts = {name: image_digest(image) if isinstance(image, sitk.Image) else image or "" for name, image in images.items()}
    parts["headers"] = _digest(json.dumps(dict(headers), sort_keys=True).encode()) if headers else ""
    parts["alignment"] = transform or ""
    parts["complete_response"] = "stated" if complete_response else ""
    parts["mrtrg"] = str(mrtrg) if mrtrg else ""
    parts["model"] = model_sha256
    parts["options"] = _digest(json.dumps(dict(options or {}), sort_keys=True).encode())
    return {name: parts[name] for name in PARTS}


def header_facts(pre: Timepoint, post: Timepoint) -> dict[str, Any]:
    """What a run takes from the headers of two scans, plain JSON; empty where they say nothing.

    returns  interval_days; patient: entry that both headers have -> whether they agree; pre and post: how each was acquired, and the codes of
             its warnings. No date, and nothing of an entry itself: its digest is salted anew in every process
    """
    first, second = ({key: value for key, value in visit.facts.identity.items() if key != SCAN_IDENTITY and value} for visit in (pre, post))
    found = {"interval_days": Case((pre, post)).interval_days, "patient": {key: first[key] == second[key] for key in sorted(first.keys() & second.keys())},
             "pre": _acquisition(pre), "post": _acquisition(post)}
    return {name: value for name, value in found.items() if value not in (None, {})}


def changed(before: Mapping[str, str] | None, now: Mapping[str, str]) -> tuple[str, ...]:
    """Parts that differ, in the order of PARTS; all of them if nobody knows what an earlier result rested on.

    Headers that are not at hand now, as where a scene is opened on another computer, say nothing: that is no change.
    """
    if before is None:
        return tuple(PARTS)
    away = {"headers"} if "headers" in before and not now.get("headers") else set()
    return tuple(part for part in PARTS if before.get(part) != now.get(part) and part not in away)


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


def transform_digest(transform: sitk.Transform, pre: sitk.Image) -> str:
    """SHA-256 of what a transform (pre LPS -> post LPS, mm) does to a lattice of the pre scan's points, so that an Euler transform and its matrix
    are one and the same. pre: only its grid counts."""
    steps = [np.linspace(0, size - 1, LATTICE) for size in pre.GetSize()]
    points = [pre.TransformContinuousIndexToPhysicalPoint([float(i) for i in index]) for index in np.stack(np.meshgrid(*steps), axis=-1).reshape(-1, 3)]
    moved = np.array([transform.TransformPoint(point) for point in points]) - np.array(points)
    return _digest(_rounded(moved))


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


def _acquisition(visit: Timepoint) -> dict[str, Any]:
    facts, codes = visit.facts, sorted(notice.code for notice in visit.notices)
    found = {name: getattr(facts, name) for name in ("modality", "sequence", "manufacturer", "field_strength_t", "repetition_time_ms", "echo_time_ms")}
    return {name: value for name, value in (found | {"warnings": codes}).items() if value not in (None, [])}


def _rounded(values_mm: np.ndarray) -> bytes:
    """The same bytes for values that differ by less than what can be seen."""
    return (np.round(values_mm + _OFF_THE_TIES_MM, DECIMALS) + 0.0).tobytes()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
