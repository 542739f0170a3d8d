"""Experiment 2: which comparison holds when the scans do not lie on each other, and when the outlines are poor?"""

from __future__ import annotations

from dataclasses import replace

from MRDeltaNetLib.cohort.experiments.grid import CHANGES, TRAININGS, Cell

MODELS = {
    "anchored": ("deltanet", {"compare": "anchored"}), "roi_pooled": ("roi_pooled", {}), "subtract": ("subtract", {}),
    "latent": ("deltanet", {"compare": "latent"}), "anchored+latent": ("deltanet", {"compare": "anchored+latent"}),
    "local": ("deltanet", {"compare": "local"}), "full": ("deltanet", {"compare": "full"}),
    "gated_subtract": ("deltanet", {"compare": "subtract"}), "prior": ("deltanet", {"compare": "anchored", "content": False}),
}
"""Name in tables -> network and settings. "subtract" is plain Siamese subtraction with global pooling; "gated_subtract" is deltanet's head on
plain subtraction; "prior" is anchoring by position alone."""
SEEDS = (0, 1, 2)
LONGER = ("subtract", "random", 0, 2)
"""Model, training, seed, and times the epochs: had not begun to learn at the end of the recipe."""
AVERAGE = ("anchored", "roi_pooled")
"""Members of the average that is reported beside the single models."""


def cell(model: str, training: str, seed: int) -> Cell:
    """One training of one of MODELS."""
    name, settings = MODELS[model]
    return Cell(f"{model}-{training}-{seed}", name, settings, training, seed, changes=CHANGES)


def longer_cell() -> Cell:
    """The training of LONGER."""
    model, training, seed, times = LONGER
    return replace(cell(model, training, seed), name=f"{model}-{training}-{seed}-longer", longer=times)


def cells() -> tuple[Cell, ...]:
    """Seeds outermost, so that a run that is stopped leaves whole comparisons; LONGER last."""
    return (*(cell(model, training, seed) for seed in SEEDS for training in TRAININGS for model in MODELS), longer_cell())
