"""The law of the simulated treatment: what is planted, how strongly, and what must be useless.

Complete responders keep only an inflammatory blob in the scar, brighter than their tumour was by a fixed offset; the others keep
a blob of viable tumour, as bright as before. One scan cannot tell them apart, since tumours differ in brightness from patient to
patient by more than the offset: the pair can. In the controlled setting nothing else depends on the outcome.
Signals are in units of the patient's own pelvic fat (fat = 1). All is drawn before any voxel, so that the law itself can be tested.

Latent names: tumour_length_mm along the rectum; tumour_thickness_mm and tumour_depth_mm (of its middle below the outside of the wall)
across the wall; tumour_arc_deg and tumour_angle_deg around it (0 = towards the back); tumour_centre_mm height above the femoral heads;
bed_volume_fraction volume of the bed over that of the tumour; blob_size_fraction size of the blob over that of the bed, per axis;
blob_shift_* its place in the bed, in half sizes; residual "rim", in cases that were asked to have it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

import numpy as np

SETTINGS = ("controlled", "realistic")
PREVALENCE = {"controlled": 0.5, "realistic": 0.25}
"""Share of complete responders when nothing else is asked for."""

TUMOUR_SIGNAL = (0.34, 0.74)
FIBROSIS_SIGNAL = (0.17, 0.25)
"""Signal of tumour before treatment and of fibrosis, fat = 1; uniform over patients.

No scan with a tumour was at hand to measure: these are the usual words of readers (tumour between muscle and fat, fibrosis a little
brighter than muscle) put into numbers. The tumour's spread over patients is what makes one scan alone a poor guide.
"""

INFLAMMATION_OFFSET = 0.12
"""Default of the difficulty knob: how much brighter an inflammatory blob is than that patient's tumour, fat = 1."""

REALISTIC_VOLUME_SHIFT_SD = 0.742
"""Shift between the classes' volume-change law in its SD: sqrt(2) * probit(0.70), so that volume alone has AUC 0.70 (binormal)."""


RESIDUALS = ("middle", "rim")
"""Where the blob lies: near the middle of the bed, as everything was trained on; or at the end of a random direction along the wall."""

RIM_SIZE_FRACTION = (0.4, 0.5)
"""Size of a blob at the rim over that of the bed, per axis: it must be smaller than the usual one to have room there."""

RIM_SHIFT = (0.5, 0.6)
"""How far from the middle of the bed its own middle lies, half sizes: with RIM_SIZE_FRACTION it reaches 0.9 to 1.1, the bed's border."""


def draw_latent(rng: np.random.Generator, *, setting: str, responder: bool | None, inflammation_offset: float, residual: str = "middle") -> dict[str, Any]:
    """The hidden truth of one case.

    setting              "controlled": shrinkage is the same law in both classes; "realistic": responders shrink more
    responder            True: complete response; None: drawn with PREVALENCE[setting]
    inflammation_offset  how much brighter inflammation is than that patient's tumour, fat = 1
    residual             of RESIDUALS; in both classes alike, so that the place tells nothing of the outcome. Only the blob's size and place change with it
    """
    outcome = int(rng.random() < PREVALENCE[setting] if responder is None else responder)
    shift = REALISTIC_VOLUME_SHIFT_SD * outcome if setting == "realistic" else 0.0
    tumour = float(rng.uniform(*TUMOUR_SIGNAL))
    latent = {
        "outcome": outcome,
        "tumour_length_mm": float(rng.uniform(20.0, 55.0)),
        "tumour_thickness_mm": float(rng.uniform(9.0, 18.0)),
        "tumour_depth_mm": float(rng.uniform(1.0, 4.5)),
        "tumour_arc_deg": float(rng.uniform(110.0, 280.0)),
        "tumour_angle_deg": float(rng.uniform(-180.0, 180.0)),
        "tumour_centre_mm": float(rng.uniform(-22.0, 36.0)),
        "tumour_signal": tumour,
        "fibrosis_signal": float(rng.uniform(*FIBROSIS_SIGNAL)),
        "inflammation_offset": float(inflammation_offset),
        "blob_signal": tumour + inflammation_offset * outcome,
        "bed_volume_fraction": float(_logistic(-0.25 - 0.65 * (rng.standard_normal() + shift))),
        "blob_size_fraction": float(rng.uniform(0.5, 0.8)),
    }
    for axis in ("along", "around", "deep"):
        latent[f"blob_shift_{axis}"] = float(rng.uniform(-0.25, 0.25))
    return latent | (_at_the_rim(latent, rng) if residual == "rim" else {})


def _at_the_rim(latent: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Size and place of a blob at the bed's rim; across the wall, where a bed is thin, it stays as it was drawn."""
    direction, far = rng.uniform(-np.pi, np.pi), rng.uniform(*RIM_SHIFT)
    return {"residual": "rim", "blob_size_fraction": float(rng.uniform(*RIM_SIZE_FRACTION)), "blob_shift_along": float(far * np.sin(direction)),
            "blob_shift_around": float(far * np.cos(direction)), "blob_shift_deep": latent["blob_shift_deep"]}


def draw_clinical(rng: np.random.Generator, latent: dict[str, Any], *, setting: str, sex: str) -> dict[str, Any]:
    """Made-up clinical values; in "realistic" the response weakly follows stage and CEA, in "controlled" nothing does."""
    pull = (0.35 if latent["outcome"] else -0.12) if setting == "realistic" else 0.0
    stage = rng.standard_normal() - pull + 0.3 * (latent["tumour_length_mm"] - 37.0) / 10.0
    verge = 75.0 + latent["tumour_centre_mm"] - 0.5 * latent["tumour_length_mm"] + rng.normal(0.0, 6.0)
    return {
        "age_years": int(np.clip(round(rng.normal(61.0, 11.0)), 25, 88)),
        "sex": sex,
        "cea_ng_ml": round(float(np.exp(1.25 + 0.95 * rng.standard_normal() - 0.5 * pull)), 1),
        "ct_stage": "T2" if stage < -1.35 else "T3" if stage < 1.15 else "T4",
        "cn_stage": "N0" if rng.random() < 0.28 + 0.15 * pull else "N1" if rng.random() < 0.55 else "N2",
        "distance_to_anal_verge_mm": int(round(max(verge, 5.0))),
        "interval_days": int(np.clip(round(rng.normal(98.0 + 14.0 * pull, 18.0)), 56, 180)),
    }


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + np.exp(-value))
