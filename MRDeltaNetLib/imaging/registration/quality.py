"""How good an alignment is, in numbers with units, and the named limits that refuse or warn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.config import GateLimits, RegistrationConfig
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.imaging.registration.linear import Scene
from MRDeltaNetLib.imaging.preprocessing.intensity import reduced
from MRDeltaNetLib.imaging.registration.regions import centre_of, smoothed
from MRDeltaNetLib.imaging.registration.similarity import Similarity, indices_to_points, linear_parts, points_to_indices, transformed

QUALITY_GRID_MM = 2.0
QUALITY_BINS = 32
QUALITY_POINTS = 60000
"""Mutual information is measured in plane on this grid, with this histogram, on this many points of the pre body."""

DISPLACEMENT_MM = 20.0
"""An alignment found should be better than the same alignment pushed this far to each side."""

OVERLAP_CELLS = 24
"""Cells per axis in which the fields of view are compared."""


def measure(scene: Scene, transform: sitk.Transform) -> dict[str, Any]:
    """Numbers that describe a linear transform pre LPS -> post LPS.

    returns mutual_information_before_nats, _after_nats, _displaced_nats   on the same points of the pre body: as scanned, aligned, and
                                  the mean over six alignments pushed 20 mm to each side
            overlap_fraction      of the smaller field of view, 0 to 1
            rotation_deg          angle of the rotation in the transform
            translation_mm        how far the centre of the pre body moves
            min_jacobian_determinant, max_jacobian_determinant, tumour_volume_change_percent   volume that the transform adds
    """
    similarity = similarity_of(scene)
    matrix, _ = linear_parts(transform)
    centre = np.asarray(centre_of(scene.pre_body))
    determinant = float(np.linalg.det(matrix))
    return {
        "mutual_information_before_nats": similarity(sitk.Transform(3, sitk.sitkIdentity))[0],
        "mutual_information_after_nats": similarity(transform)[0],
        "mutual_information_displaced_nats": _displaced(similarity, transform),
        "overlap_fraction": overlap_fraction(scene.pre, scene.post, transform),
        "rotation_deg": rotation_deg(matrix),
        "translation_mm": float(np.linalg.norm(np.asarray(transform.TransformPoint(centre.tolist())) - centre)),
        "tumour_volume_change_percent": 100.0 * (determinant - 1.0),
        "min_jacobian_determinant": determinant,
        "max_jacobian_determinant": determinant,
    }


def similarity_of(scene: Scene) -> Similarity:
    """The measure of likeness that the result reports."""
    grid = [smoothed(reduced(image, QUALITY_GRID_MM), QUALITY_GRID_MM) for image in (scene.pre, scene.post)]
    return Similarity(*grid, scene.pre_body, bins=QUALITY_BINS, count=QUALITY_POINTS)


def judge(quality: dict[str, Any], config: RegistrationConfig, limits: GateLimits) -> tuple[Notice, ...]:
    """Refuse or warn by the named limits.

    raises InputError MRD-E601 (no or too little overlap), E602 (rotation), E603 (unrelated scans), E604 (alignment made it worse),
           E605 (folding), E606 (volume change)
    """
    notices = [_overlap(quality["overlap_fraction"], limits)]
    judge_volume(quality, config)
    notices.append(_rotation(quality["rotation_deg"], config))
    notices.append(_similarity(quality, config))
    return tuple(notice for notice in notices if notice is not None)


def judge_volume(quality: dict[str, Any], config: RegistrationConfig) -> None:
    """Refuse a transform that folds tissue (MRD-E605) or changes the tumour's volume too much (MRD-E606)."""
    if quality["min_jacobian_determinant"] <= 0.0:
        raise InputError("The alignment folds or mirrors tissue", code="MRD-E605",
                         found=f"smallest Jacobian determinant {quality['min_jacobian_determinant']:.2f}",
                         fix="align rigidly; if you handed in a transform, check that it belongs to this pair")
    change = quality["tumour_volume_change_percent"]
    if change is not None and abs(change) > config.max_volume_change_percent:
        raise InputError("The alignment itself changes the tumour's volume too much", code="MRD-E606",
                         found=f"{change:+.1f} %, limit {config.max_volume_change_percent:g} %", fix="align rigidly")


def no_better(method: str, rigid_nats: float, found_nats: float) -> tuple[Notice, ...]:
    """A warning if a freer alignment did not make the scans more alike than the rigid one (nats)."""
    if found_nats > rigid_nats:
        return ()
    return (Notice("MRD-W606", f"The {method} alignment did not make the scans more alike than the rigid one "
                   f"(mutual information {found_nats:.3f} and {rigid_nats:.3f} nats)", "align rigidly"),)


def overlap_fraction(pre: sitk.Image, post: sitk.Image, transform: sitk.Transform) -> float:
    """Share of the smaller field of view that lies inside the other after the transform (pre LPS -> post LPS)."""
    volumes = [math.prod(image.GetSize()) * math.prod(image.GetSpacing()) for image in (pre, post)]
    if volumes[0] <= volumes[1]:
        small, large, through = pre, post, transform
    else:
        small, large, through = post, pre, transform.GetInverse()
    cells = (np.arange(OVERLAP_CELLS) + 0.5) / OVERLAP_CELLS
    indices = np.stack(np.meshgrid(*[cells * size - 0.5 for size in small.GetSize()], indexing="ij"), axis=-1).reshape(-1, 3)
    at = points_to_indices(large, transformed(indices_to_points(small, indices), through))
    return float(((at >= -0.5) & (at <= np.asarray(large.GetSize()) - 0.5)).all(axis=1).mean())


def rotation_deg(matrix: np.ndarray) -> float:
    """Angle of the rotation nearest to a (3, 3) matrix, degrees: arccos((trace - 1) / 2)."""
    left, _, right = np.linalg.svd(matrix)
    rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1.0) / 2.0, -1.0, 1.0))))


def _displaced(similarity: Similarity, transform: sitk.Transform) -> float:
    """Mean mutual information of the transform pushed to six sides."""
    matrix, offset = linear_parts(transform)
    values = []
    for axis in np.eye(3):
        for sign in (-1.0, 1.0):
            pushed = sitk.AffineTransform(matrix.ravel().tolist(), (offset + sign * DISPLACEMENT_MM * axis).tolist())
            values.append(similarity(pushed)[0])
    return float(np.mean(values))


def _overlap(share: float, limits: GateLimits) -> Notice | None:
    percent = f"{100.0 * share:.0f} % of the smaller field of view"
    if share < limits.min_overlap_fraction:
        raise InputError("The two scans hardly overlap after alignment" if share > 0.0 else "The two scans do not overlap",
                         code="MRD-E601", found=f"{percent}; needed {100.0 * limits.min_overlap_fraction:.0f} %",
                         fix="choose scans that show the same part of the pelvis; if the scanner positions differ, let the scans be "
                             "aligned rigidly")
    if share < limits.warn_overlap_fraction:
        return Notice("MRD-W601", f"The two scans overlap only in part ({percent})",
                      "check that the whole tumour lies inside both scans")
    return None


def _rotation(angle: float, config: RegistrationConfig) -> Notice | None:
    if angle > config.max_rotation_deg:
        raise InputError("The alignment turned one scan implausibly far", code="MRD-E602",
                         found=f"{angle:.0f} degrees, limit {config.max_rotation_deg:g} degrees",
                         fix="check that both scans are of one patient in one position and are not mirrored or upside down")
    if angle > config.warn_rotation_deg:
        return Notice("MRD-W602", f"The alignment turned one scan by {angle:.0f} degrees", "compare both scans side by side in three planes")
    return None


def _similarity(quality: dict[str, Any], config: RegistrationConfig) -> Notice | None:
    after, before = quality["mutual_information_after_nats"], quality["mutual_information_before_nats"]
    peak = after / max(quality["mutual_information_displaced_nats"], 1e-6)
    found = (f"mutual information {after:.3f} nats, {peak:.1f} times that of the same alignment pushed "
             f"{DISPLACEMENT_MM:g} mm aside")
    weak = after < config.min_mutual_information_nats or peak < config.warn_similarity_peak
    if quality["method"] == "none":          # nothing was aligned, so nothing can be refused: the user vouches for the positions
        return Notice("MRD-W603", f"The scans do not seem to lie on each other ({found})",
                      "compare both scans side by side; let them be aligned rigidly") if weak else None
    if after < config.min_mutual_information_nats or peak < config.min_similarity_peak:
        raise InputError("The two scans do not match: after alignment they share almost no information", code="MRD-E603",
                         found=found, fix="check that both scans are T2-weighted pelvic scans of one patient; if they are and were "
                                          "aligned before, run with the registration method 'none'")
    if after - before < config.min_similarity_gain_percent / 100.0 * before:
        raise InputError("The alignment made the two scans less alike than they were", code="MRD-E604",
                         found=f"mutual information {before:.3f} before, {after:.3f} after, nats",
                         fix="run with the registration method 'none' if the scans were aligned before; else check both scans in a viewer")
    return Notice("MRD-W603", f"The aligned scans match only weakly ({found})", "compare both scans side by side in three planes") if weak else None
