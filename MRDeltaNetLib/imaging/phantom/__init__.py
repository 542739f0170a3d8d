"""A made-up pelvis before and after treatment, with the truth known: for demonstrations, training of the demo model and tests.

No patient is in it. Results on it are never a clinical claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.imaging.phantom import anatomy, contrast, treatment
from MRDeltaNetLib.imaging.phantom.geometry import Grid, Placement, rigid_between, rotation_matrix
from MRDeltaNetLib.imaging.phantom.render import render

DEFAULT_SIZE = (320, 320, 30)


@dataclass(frozen=True)
class SimulatedPair:
    """Two scans of one made-up patient, and the truth.

    pre, post              SimpleITK.Image float32, each on its own grid (LPS, mm)
    pre_mask               uint8 on pre's grid: the tumour
    post_mask              uint8 on post's grid: the tumour bed (whole original site with blob and fibrosis)
    residual_mask          uint8 on post's grid: viable tumour; empty in complete response
    transform_pre_to_post  carries a bony point from pre LPS to post LPS
    outcome                1: complete response (only inflammation is left), 0: viable tumour is left
    latent                 the hidden truth: signals (fat = 1), sizes, fractions
    clinical               made-up clinical values
    """

    pre: sitk.Image
    post: sitk.Image
    pre_mask: sitk.Image
    post_mask: sitk.Image
    residual_mask: sitk.Image
    transform_pre_to_post: sitk.Transform
    outcome: int
    latent: dict[str, Any]
    clinical: dict[str, Any]


def simulate_pair(seed: int, *, setting: str = "controlled", responder: bool | None = None,
                  spacing_mm: tuple[float, float, float] | None = None, size: tuple[int, int, int] | None = None,
                  inflammation_offset: float = treatment.INFLAMMATION_OFFSET) -> SimulatedPair:
    """One simulated patient; the same arguments give the same bytes.

    setting              "controlled" or "realistic" (see treatment.draw_latent)
    responder            True: complete response, False: not, None: drawn
    spacing_mm           (x, y, z) of both scans; None: drawn for each scan, 0.6-0.7 mm in plane and 3-3.6 mm between slices,
                         or, if size is given, so that the field of view stays that of a whole pelvis
    size                 (x, y, z) voxels; None: 320 x 320 x 30
    inflammation_offset  difficulty knob: how much brighter inflammation is than that patient's tumour, fat = 1
    """
    if setting not in treatment.SETTINGS:
        raise ValueError(f"setting must be one of {treatment.SETTINGS}")
    streams = [np.random.default_rng([int(seed), part]) for part in range(6)]
    latent = treatment.draw_latent(streams[0], setting=setting, responder=responder, inflammation_offset=inflammation_offset)
    patient = anatomy.draw_patient(streams[1])
    latent["sex"] = patient.sex
    clinical = treatment.draw_clinical(streams[2], latent, setting=setting)
    rng = streams[3]
    at_pre = Placement(rotation_matrix(rng.uniform(-3, 3, 3)), rng.uniform(-15, 15, 3))
    turn, move = rotation_matrix(rng.uniform(-8, 8, 3) * np.array([1, 0.6, 0.8])), rng.uniform(-10, 10, 3)
    at_post = Placement(turn @ at_pre.rotation, at_pre.shift_mm + move)
    visits = [_draw_visit(rng, treated) for treated in (False, True)]
    fields = anatomy.Fields.of(patient)
    scans = []
    for stream, visit, place in zip(streams[4:], visits, (at_pre, at_post)):
        grid = _draw_grid(stream, patient, latent, place, spacing_mm, size)
        scans.append(render(grid, place, patient, visit, latent, stream, fields))
    (pre, pre_masks), (post, post_masks) = scans
    blob = post_masks["blob"]
    return SimulatedPair(pre, post, pre_masks["tumour"], post_masks["bed"], blob * 0 if latent["outcome"] else blob,
                         rigid_between(at_pre, at_post), latent["outcome"], latent, clinical)


def _draw_visit(rng: np.random.Generator, treated: bool) -> anatomy.Visit:
    return anatomy.Visit(bladder_fill=float(rng.uniform(0.8, 1.3)), rectum_fill=float(rng.uniform(0.85, 1.25)),
                         content=str(rng.choice(["gas", "gel", "stool"])), soft_mm=float(rng.uniform(1.5, 4.0)) if treated else 0.0,
                         soft_seed=int(rng.integers(2**31)), treated=treated)


def _draw_grid(rng, patient, latent, place: Placement, spacing_mm, size) -> Grid:
    drawn = rng.uniform(0.6, 0.7)
    drawn_mm = (drawn, drawn, rng.uniform(3.0, 3.6))
    tilt = rotation_matrix([rng.uniform(-8, 24), rng.uniform(-4, 4), rng.uniform(-3, 3)])
    jitter = rng.uniform(-5, 5, 3)
    if spacing_mm is None:
        spacing_mm = drawn_mm if size is None else tuple(s * n / m for s, n, m in zip(drawn_mm, DEFAULT_SIZE, size))
    size = DEFAULT_SIZE if size is None else size
    z = latent["tumour_centre_mm"]
    y = anatomy.RECTUM.at(z)[1]
    whole = np.clip((size[0] * spacing_mm[0] - 110) / 90, 0, 1)
    centre = np.array([0.0, (1 - whole) * y + whole * 12, z * (0.9 if whole < 1 else 0.8)]) * patient.scale
    return Grid.centred(size, spacing_mm, place.to_lps(centre + jitter * [1, 1, 0.6]), tilt)
