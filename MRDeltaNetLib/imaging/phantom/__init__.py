"""A made-up pelvis before and after treatment, with the truth known: for demonstrations, training of the demo model and tests.

No patient is in it. Results on it are never a clinical claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.imaging.phantom import anatomy, contrast, treatment
from MRDeltaNetLib.imaging.phantom.geometry import Grid, Placement, rigid_between, rotation_matrix
from MRDeltaNetLib.imaging.phantom.render import render

DEFAULT_SIZE = (320, 320, 30)
MIN_VOXELS, MAX_VOXELS = 8, 1024


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


@dataclass(frozen=True)
class CasePlan:
    """Everything about a simulated case but its voxels.

    latent, clinical  the hidden truth and the made-up clinical values
    patient           proportions; visits, placements, grids: before and after treatment
    """

    latent: dict[str, Any]
    clinical: dict[str, Any]
    patient: anatomy.Patient
    visits: tuple[anatomy.Visit, anatomy.Visit]
    placements: tuple[Placement, Placement]
    grids: tuple[Grid, Grid]

    @property
    def transform_pre_to_post(self) -> sitk.Transform:
        """Carries a bony point from pre LPS to post LPS."""
        return rigid_between(*self.placements)

    def landmarks(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Bony points by name: where they lie before and after, LPS mm (before the patient's slow warp of a few mm, equal in both)."""
        return {name: tuple(place.to_lps(point) for place in self.placements) for name, point in anatomy.bony_landmarks(self.patient).items()}


def draw_case(seed: int, *, setting: str = "controlled", responder: bool | None = None,
              spacing_mm: tuple[float, float, float] | None = None, size: tuple[int, int, int] | None = None,
              inflammation_offset: float = treatment.INFLAMMATION_OFFSET, scanner: str | None = None, residual: str = "middle") -> CasePlan:
    """Draw one case without rendering it; arguments as in simulate_pair."""
    _check(seed, setting, spacing_mm, size, scanner, residual)
    streams = [np.random.default_rng([int(seed), part]) for part in range(4)]
    latent = treatment.draw_latent(streams[0], setting=setting, responder=responder, inflammation_offset=inflammation_offset, residual=residual)
    patient = anatomy.draw_patient(streams[1])
    clinical = treatment.draw_clinical(streams[2], latent, setting=setting, sex=patient.sex)
    rng = streams[3]
    before = Placement(rotation_matrix(rng.uniform(-3, 3, 3)), rng.uniform(-15, 15, 3))
    turn, move_mm = rotation_matrix(rng.uniform(-8, 8, 3) * (1.0, 0.6, 0.8)), rng.uniform(-10, 10, 3)
    placements = (before, Placement(turn @ before.rotation, before.shift_mm + move_mm))
    visits = tuple(_draw_visit(rng, treated) for treated in (False, True))
    grids = tuple(_draw_grid(rng, patient, latent, place, spacing_mm, size, scanner_named(scanner)) for place in placements)
    return CasePlan(latent, clinical, patient, visits, placements, grids)


def simulate_pair(seed: int, *, setting: str = "controlled", responder: bool | None = None,
                  spacing_mm: tuple[float, float, float] | None = None, size: tuple[int, int, int] | None = None,
                  inflammation_offset: float = treatment.INFLAMMATION_OFFSET, reader_mm: float = 0.0, scanner: str | None = None,
                  residual: str = "middle") -> SimulatedPair:
    """One simulated patient; the same arguments give the same bytes.

    setting              "controlled": size and shrinkage tell nothing, only the pair of signals does;
                         "realistic": responders shrink more (volume change alone has AUC near 0.70) and clinical values tell a little
    responder            True: complete response, False: not, None: drawn
    spacing_mm           (x, y, z) of both scans; None: drawn for each scan, 0.6-0.7 mm in plane and 3-3.6 mm between slices (or
                         the scanner's own ranges), or, if size is given, so that the field of view stays that of a whole pelvis
    size                 (x, y, z) voxels; None: 320 x 320 x 30. A small field of view is centred on the tumour
    inflammation_offset  difficulty knob: how much brighter inflammation is than that patient's tumour, fat = 1
    reader_mm            SD of a smooth error of the masks' borders, as between readers; 0: the masks are the truth
    scanner              one of contrast.SCANNERS for both scans; None: the looks of the measured scan
    residual             "middle" of the bed or at its "rim": where residual tumour (in complete response: inflammation) lies
    raises               UsageError for a negative seed, an unknown setting, scanner or place, a size or spacing that no scan can have
    """
    plan = draw_case(seed, setting=setting, responder=responder, spacing_mm=spacing_mm, size=size, inflammation_offset=inflammation_offset,
                     scanner=scanner, residual=residual)
    fields = anatomy.Fields.of(plan.patient)
    pre, post = (render(grid, place, plan.patient, visit, plan.latent, fields=fields, rng=np.random.default_rng([int(seed), 10 + time]),
                        reader_mm=reader_mm, reader_seed=2 * int(seed) + time, scanner=scanner_named(scanner))
                 for time, (grid, place, visit) in enumerate(zip(plan.grids, plan.placements, plan.visits)))
    blob = post.masks["blob"]
    return SimulatedPair(pre.image, post.image, pre.masks["tumour"], post.masks["bed"], blob * 0 if plan.latent["outcome"] else blob,
                         plan.transform_pre_to_post, plan.latent["outcome"], plan.latent, plan.clinical)


def scanner_named(name: str | None) -> contrast.Scanner:
    """One of the simulated scanners; None: the measured one."""
    return contrast.DEFAULT_SCANNER if name is None else contrast.SCANNERS[name]


def _check(seed: int, setting: str, spacing_mm, size, scanner: str | None, residual: str) -> None:
    if seed < 0:
        raise UsageError("The seed of a simulation cannot be negative", code="MRD-E856", found=str(seed), fix="give zero or a positive whole number")
    if setting not in treatment.SETTINGS:
        raise UsageError("The simulation knows no such setting", code="MRD-E850", fix=f"choose one of {', '.join(treatment.SETTINGS)}")
    if scanner is not None and scanner not in contrast.SCANNERS:
        raise UsageError("The simulation knows no such scanner", code="MRD-E857", fix=f"choose one of {', '.join(contrast.SCANNERS)}")
    if residual not in treatment.RESIDUALS:
        raise UsageError("The simulation knows no such place of residual tumour", code="MRD-E866", fix=f"choose one of {', '.join(treatment.RESIDUALS)}")
    if size is not None and (len(size) != 3 or min(size) < MIN_VOXELS or max(size) > MAX_VOXELS):
        raise UsageError("A simulated scan cannot have this size", code="MRD-E851", found=" x ".join(str(n) for n in size),
                         fix=f"give three numbers of voxels (x, y, z) from {MIN_VOXELS} to {MAX_VOXELS}")
    if spacing_mm is not None and (len(spacing_mm) != 3 or not all(0.2 <= s <= 20 for s in spacing_mm)):
        raise UsageError("A simulated scan cannot have this voxel size", code="MRD-E852", found=" x ".join(f"{s:g}" for s in spacing_mm) + " mm",
                         fix="give three sizes in mm (x, y, z) from 0.2 to 20")


def _draw_visit(rng: np.random.Generator, treated: bool) -> anatomy.Visit:
    return anatomy.Visit(bladder_fill=float(rng.uniform(0.8, 1.3)), rectum_fill=float(rng.uniform(0.85, 1.25)),
                         content=str(rng.choice(["gas", "gel", "stool"])), soft_mm=float(rng.uniform(1.5, 4.0)) if treated else 0.0,
                         soft_seed=int(rng.integers(2**31)), treated=treated)


def _draw_grid(rng: np.random.Generator, patient: anatomy.Patient, latent: dict[str, Any], place: Placement, spacing_mm, size,
               scanner: contrast.Scanner) -> Grid:
    """An axial-oblique grid tilted towards the rectum's axis, over the whole pelvis or, if it is small, over the tumour."""
    in_plane = rng.uniform(*scanner.in_plane_mm)
    drawn_mm = (in_plane, in_plane, rng.uniform(*scanner.slice_mm))
    tilt = rotation_matrix([rng.uniform(-8, 24), rng.uniform(-4, 4), rng.uniform(-3, 3)])
    jitter_mm = rng.uniform(-5, 5, 3) * (1.0, 1.0, 0.6)
    if spacing_mm is None:
        spacing_mm = drawn_mm if size is None else tuple(s * n / m for s, n, m in zip(drawn_mm, DEFAULT_SIZE, size))
    size = DEFAULT_SIZE if size is None else size
    z = latent["tumour_centre_mm"]
    whole = float(np.clip((size[0] * spacing_mm[0] - 110) / 90, 0, 1))
    centre = np.array([0.0, (1 - whole) * anatomy.RECTUM.at(z)[1] + whole * 12, z * (1 - 0.2 * whole)]) * patient.scale
    return Grid.centred(size, spacing_mm, place.to_lps(centre + jitter_mm), tilt)
