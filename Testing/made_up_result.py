"""A Result from plain shapes, for report and scene tests: an elliptic body with a ball tumour that shrinks. No patient, no model."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Result
from MRDeltaNetLib.errors import Notice

TILT = sitk.Euler3DTransform((0.0, 0.0, 0.0), 0.21, -0.12, 0.3).GetMatrix()
"""A doubly oblique direction matrix."""

GRIDS = {
    "straight": dict(direction=(1, 0, 0, 0, 1, 0, 0, 0, 1), size=(64, 60, 20), spacing=(2.5, 2.5, 5.0)),
    "oblique": dict(direction=TILT, size=(64, 60, 20), spacing=(2.5, 2.5, 5.0)),
    "left-handed": dict(direction=(1, 0, 0, 0, 1, 0, 0, 0, -1), size=(64, 60, 20), spacing=(2.5, 2.4, 5.0)),
    "axis-permuted": dict(direction=(0, 0, 1, 1, 0, 0, 0, 1, 0), size=(60, 34, 32), spacing=(2.5, 3.0, 5.0)),
    "flipped": dict(direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1), size=(64, 60, 20), spacing=(2.5, 2.5, 5.0)),
}
"""Kinds of voxel grids; all are centred on CENTRE_MM."""

SPREAD = {"members": 3, "member_p_pcr": [0.7012, 0.7733, 0.7191], "member_sd": 0.0375, "meaning": "made up",
          "outline_p_pcr": {"both_larger_2mm": 0.8107, "bed_left_2mm": 0.7, "bed_right_2mm": 0.71, "bed_posterior_2mm": 0.3821, "bed_anterior_2mm": 0.72},
          "outlines_left_out": {"both_smaller_2mm": "the tumour bed would be gone: too thin to shrink by 2 mm"}}
"""Sources of a range of P(pCR) that holds the threshold."""

FAMILIARITY = {"light": "amber", "training_cases": 440, "reasons": ["field strength after treatment 3 T, in training 1.5 T"],
               "parts": [{"name": "header", "light": "amber", "distance": None, "quantile": None, "reasons": ["field strength after treatment 3 T, in training 1.5 T"]},
                         {"name": "intensity", "light": "green", "distance": 0.71, "quantile": 0.42, "reasons": ["further out than 42 % of the 440 training cases"]},
                         {"name": "embedding", "light": "green", "distance": 9.1, "quantile": 0.8, "reasons": ["further out than 80 % of the 440 training cases"]}]}
"""A light with every part."""

CENTRE_MM = np.array([12.0, -30.0, 45.0])


def empty_image(kind: str = "straight", pixel: int = sitk.sitkFloat32) -> sitk.Image:
    """A zero image of this kind of grid around CENTRE_MM (LPS, mm)."""
    grid = GRIDS[kind]
    image = sitk.Image(list(grid["size"]), pixel)
    image.SetSpacing(grid["spacing"])
    image.SetDirection([float(value) for value in grid["direction"]])
    middle = image.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in grid["size"]])
    image.SetOrigin((CENTRE_MM - middle).tolist())
    return image


def voxel_points(image: sitk.Image) -> np.ndarray:
    """LPS points (mm) of all voxels: array (z, y, x, 3)."""
    z, y, x = np.indices(image.GetSize()[::-1])
    matrix = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return np.stack([x, y, z], axis=-1) @ matrix.T + np.array(image.GetOrigin())


def like(values: np.ndarray, image: sitk.Image) -> sitk.Image:
    """The array (z, y, x) on the image's grid."""
    made = sitk.GetImageFromArray(values)
    made.CopyInformation(image)
    return made


def ellipsoid(image: sitk.Image, centre_mm, radii_mm) -> np.ndarray:
    """Boolean array (z, y, x): voxels inside."""
    return (((voxel_points(image) - np.asarray(centre_mm)) / np.asarray(radii_mm)) ** 2).sum(-1) < 1


def body_with_ball(image: sitk.Image, ball_mm, radius_mm: float, brightness: float = 160.0) -> sitk.Image:
    """A noisy elliptic body around CENTRE_MM with a bright ball."""
    noise = np.random.default_rng(7).normal(0, 1, image.GetSize()[::-1])
    body = ellipsoid(image, CENTRE_MM, (72, 60, 300))
    values = np.where(body, 100.0 + 6 * noise, 3 * np.abs(noise))      # a magnitude image: air is never below zero
    inside = ellipsoid(image, ball_mm, (radius_mm,) * 3)
    values[inside] = brightness + 6 * noise[inside]
    return like(values.astype(np.float32), image)


def ball(image: sitk.Image, ball_mm, radius_mm: float) -> sitk.Image:
    """A ball's mask, uint8 on the image's grid."""
    return like(ellipsoid(image, ball_mm, (radius_mm,) * 3).astype(np.uint8), image)


def bump(image: sitk.Image, at_mm, width_mm: float, top: float) -> sitk.Image:
    """A smooth map with its maximum at a point, float32; zero far away."""
    distance = np.linalg.norm(voxel_points(image) - np.asarray(at_mm), axis=-1)
    values = top * np.exp(-0.5 * (distance / width_mm) ** 2)
    return like(np.where(distance < 3 * width_mm, values, 0).astype(np.float32), image)


def rigid() -> sitk.Transform:
    """pre LPS -> post LPS, mm."""
    transform = sitk.Euler3DTransform(CENTRE_MM.tolist(), 0.05, -0.03, 0.08, (4.0, -3.0, 2.0))
    return sitk.Transform(transform)


def complete_result(kind_pre: str = "straight", kind_post: str = "oblique", *, empty_residual: bool = False, is_demo: bool = True) -> Result:
    """A Result with every field filled."""
    transform = rigid()
    pre_grid, post_grid = empty_image(kind_pre), empty_image(kind_post)
    tumour = CENTRE_MM + (8, 18, -6)
    bed = np.array(transform.TransformPoint(tumour.tolist()))
    pre, post = body_with_ball(pre_grid, tumour, 20), body_with_ball(post_grid, bed, 15, 130)
    residual = like(np.zeros(post.GetSize()[::-1], np.uint8), post) if empty_residual else ball(post_grid, bed + (4, 0, 0), 8)
    images = {
        "pre": pre, "post": post, "pre_mask": ball(pre_grid, tumour, 20), "post_mask": ball(post_grid, bed, 18), "residual_mask": residual,
        "pre_common": pre, "post_common": sitk.Resample(post, pre, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32),
        "attention_pre": bump(pre_grid, tumour, 12, 0.0031), "attention_post": bump(post_grid, bed + (4, 0, 0), 12, 0.0042),
        "change_post": bump(post_grid, bed - (6, 0, 0), 14, 1.7),
    }
    sizes = {"volume_ml": (33.5, 24.4, 2.1), "longest_in_plane_diameter_mm": (40.0, 36.0, 15.8),
             "longest_3d_diameter_mm": (40.2, 36.1, 16.0), "short_axis_mm": (39.1, 35.0, 14.9)}
    measures = {}
    for name, (before, bed_after, left) in sizes.items():
        left = 0.0 if empty_residual else left
        stem, unit = name.rsplit("_", 1)
        measures |= {f"pre_{name}": before, f"post_{name}": bed_after, f"residual_{name}": left}
        for prefix, after in (("", bed_after), ("residual_", left)):
            measures |= {f"{prefix}{stem}_change_{unit}": after - before, f"{prefix}{stem}_change_percent": 100 * (after - before) / before}
    registration = {
        "method": "rigid", "refined_without_tumour": True, "mutual_information_before_nats": 0.21, "mutual_information_after_nats": 0.64,
        "overlap_fraction": 0.93, "rotation_deg": 5.6, "translation_mm": 5.4, "tumour_volume_change_percent": 0.0,
        "min_jacobian_determinant": 1.0, "max_jacobian_determinant": 1.0, "masks_left_out_sha256": {"pre": "ab" * 32, "post": None},
    }
    model = {
        "name": "mrdeltanet-demo", "version": "0.1.0", "weights_sha256": "0f" * 32, "intended_use": "Research and demonstration only.",
        "trained_on": "Made-up data: 600 simulated pelvis pairs; no patient.", "is_demo": is_demo, "held_out_auc": 0.87,
        "held_out_auc_ci": (0.81, 0.92), "held_out_on": "200 simulated pairs",
        "card": "# Model card\n\nTrained on made-up data.", "threshold_source": "the validation part of the made-up data, by Youden's index",
    }
    formula = {"attention_post": "w_i = r_i softmax_i(s_i)", "attention_pre": "sum_i w_i A_ij", "change_post": "||b_i - sum_j A_ij a_j||"}
    return Result(
        p_pcr=0.7312, p_pcr_low=0.3821, p_pcr_high=0.8107, spread=SPREAD, familiarity=FAMILIARITY, logit=1.0, threshold=0.41, predicted_class="pCR", measures=measures, registration=registration,
        warnings=(Notice("MRD-W305", "The tumour bed after treatment was carried from the scan before treatment",
                         "check it on the scan after treatment and correct it"),),
        images=images, transform=transform, model=model,
        map_facts={name: {"formula": text, "resolution_mm": (6.0, 6.0, 6.0), "sees_image_content": True} for name, text in formula.items()},
        history=tuple({"step": step, "parameters": {"seed": 0}, "seconds": 1.0} for step in ("align", "masks", "predict", "explain")),
        interval_days=82, mask_sources={"pre": "drawn", "post": "carried"})
