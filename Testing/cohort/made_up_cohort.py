"""Made-up prepared cohorts with a planted effect, so that the truth about every control is known. No anatomy, no patient."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

import numpy as np

SPACING_MM = (0.75, 0.75, 3.0)
VOXELS = (4, 32, 32)
CROP_MM = (24.0, 24.0, 12.0)


@dataclass(frozen=True)
class Row:
    """What controls and tabular models read of a table's row."""

    line: int
    id: str
    outcome: int | None
    set: str = "train"
    centre: str | None = None
    fold: int | None = None
    clinical: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cohort:
    """As a prepared cohort."""

    rows: tuple
    crops: tuple
    facts: tuple
    keys: tuple


@dataclass(frozen=True)
class Column:
    """As an entry of a data dictionary."""

    role: str
    categories: tuple[str, ...] | None = None


def cohort(count: int, seed: int, *, sets=("train",), volume=0.0, post=0.0, pair=0.0, scanner=0.0, clinical=None) -> Cohort:
    """Cases whose outcome shows in what is asked for and in nothing else.

    volume   shift of the log volume ratio in responders
    post     shift of the post signal in responders, in the units of its spread over patients
    pair     shift of (post - pre) in responders; the signal itself varies between patients with spread 1, so that each visit alone tells little
    scanner  probability above one half that a responder's scans come from scanner A
    """
    rng = np.random.default_rng(seed)
    outcome = rng.permutation(np.arange(count) % 2)
    rows, crops, facts = [], [], []
    z, y, x = np.mgrid[:VOXELS[0], :VOXELS[1], :VOXELS[2]]
    for k in range(count):
        responder = int(outcome[k])
        signal, crop = rng.normal(0, 1), np.zeros((2, 2, *VOXELS), np.float16)
        centre, radius = (15.5 + rng.uniform(-2, 2), 15.5 + rng.uniform(-2, 2)), rng.uniform(6, 8)
        for time in (0, 1):
            inside = np.hypot(y - centre[0], x - centre[1]) < radius * (1.0 if time == 0 else 0.9)
            shown = signal + (pair * responder + post * responder if time == 1 else 0.0)
            crop[time, 0] = np.where(inside, shown, 0) + rng.normal(0, 0.2, VOXELS)
            crop[time, 1] = inside
        pre_ml = float(np.exp(rng.normal(3, 0.5)))
        post_ml = float(pre_ml * np.exp(rng.normal(-0.7, 0.4) - volume * responder))
        made_by_a = rng.random() < 0.5 + scanner * (1 if responder else -1)
        header = {"manufacturer": "Alpha" if made_by_a else "Beta", "field_strength_t": 1.5, "repetition_time_ms": float(rng.normal(4000, 50)),
                  "echo_time_ms": 100.0, "spacing_mm": [0.6, 0.6, 3.0]}
        diameters = {f"{time}_longest_in_plane_diameter_mm": 12 * ml ** (1 / 3) for time, ml in (("pre", pre_ml), ("post", post_ml))}
        measures = {"pre_volume_ml": pre_ml, "post_volume_ml": post_ml, "volume_change_percent": 100 * (post_ml / pre_ml - 1)} | diameters
        rows.append(Row(line=k + 2, id=f"p{k:03}", outcome=responder, set=sets[k % len(sets)], centre="c1",
                        clinical=clinical(rng, responder) if clinical else {}))
        crops.append(crop)
        facts.append({"measures": measures, "pre": dict(header), "post": dict(header), "notices": []})
    return Cohort(tuple(rows), tuple(crops), tuple(facts), tuple(f"{seed:08x}{k:056x}" for k in range(count)))
