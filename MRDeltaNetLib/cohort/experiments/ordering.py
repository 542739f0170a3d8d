"""Experiment 1: does the model need the pair? Volumes, one scan, longitudinal models, and inputs that were tampered with."""

from __future__ import annotations

from MRDeltaNetLib.cohort.experiments.alignment import cell as aligned_cell
from MRDeltaNetLib.cohort.experiments.grid import CHANGES, VOLUMES, Cell

LONGITUDINAL = ("anchored", "roi_pooled", "subtract")
SEEDS = (0, 1, 2)


def cells() -> tuple[Cell, ...]:
    """One cell a model and seed. The longitudinal ones are those that the alignment experiment trains on aligned scans."""
    found = [Cell(VOLUMES, VOLUMES, curve=("0-good",))]
    for seed in SEEDS:
        found += [aligned_cell(model, "aligned", seed) for model in LONGITUDINAL]
        found += [Cell(f"{visit}_only-aligned-{seed}", "roi_pooled", {"visits": visit}, seed=seed, curve=("0-good",)) for visit in ("pre", "post")]
        found.append(Cell(f"shuffled-aligned-{seed}", "roi_pooled", seed=seed, shuffled=True, curve=("0-good",), changes=CHANGES))
    return tuple(found)
