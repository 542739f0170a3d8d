"""Rivals that are trained on the cohort's training rows and scored on the same held-out cases as the model."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from MRDeltaNetLib.cohort.controls.changing import network_logits
from MRDeltaNetLib.cohort.splitting import inner
from MRDeltaNetLib.cohort.tabular import features, fit_tabular, tabular_logits
from MRDeltaNetLib.config import UNPERTURBED, TrainingConfig, ValidationConfig
from MRDeltaNetLib.errors import InputError, Notice, require
from MRDeltaNetLib.io.bundle import Bundle
from MRDeltaNetLib.io.study import RANGES
from MRDeltaNetLib.progress import Progress, part, silent

TABULAR = {"volume_only": "volume_logistic", "scanner_only": "scanner"}
NETWORKS = ("pre_only", "post_only", "shuffled_labels")
RIVALS = (*TABULAR, *NETWORKS)

SMALLEST_PRESET = "tiny"
"""Of pre_only and post_only where the model's own settings name no preset."""


def training_config(bundle: Bundle) -> TrainingConfig:
    """How the bundle says that its network was trained; settings that it does not name, or that are none of this
    version's, are this version's; what the augmentation did not have when the bundle was made stays off."""
    stored = bundle.own.get("training")
    for inside in ("config", "training"):
        if isinstance(stored, Mapping) and isinstance(stored.get(inside), Mapping):
            stored = stored[inside]
    stored = stored if isinstance(stored, Mapping) else {}
    usual = TrainingConfig()
    if isinstance(stored.get("augmentation"), Mapping):
        usual = replace(usual, augmentation=replace(usual.augmentation, **UNPERTURBED))
    return _known(usual, stored, "training")


def tabular_rival(name: str, training, held_out, seed: int) -> tuple[np.ndarray, tuple[Notice, ...]]:
    """Logits (n,) of volume_only or scanner_only, and what has to be said about them (MRD-W789: the headers tell nothing)."""
    model = fit_tabular(TABULAR[name], training, seed=seed)
    logits, notices = tabular_logits(model, held_out)
    if not model.columns:
        notices += (Notice("MRD-W789", f"{name} had nothing to learn from: its columns are empty or the same in every training case",
                           "where headers matter, prepare the cohort from DICOM; anonymised volume files hold none"),)
    return logits, notices


def network_rival(name: str, bundle: Bundle, training, held_out, config: TrainingConfig, folder: Path, *, members: int = 1, seed: int = 0,
                  accelerator: str = "cpu", progress: Progress = silent) -> np.ndarray:
    """Logits (n,) of pre_only, post_only or shuffled_labels: the mean over its members.

    pre_only, post_only  the pooled baseline that reads one visit alone
    shuffled_labels      the bundle's own network, trained on the same cases with their outcomes permuted
    folder               gets one folder a member, from which a killed training is taken up
    raises               as cohort.training.fit
    """
    torch = require("torch", "Controls")
    from MRDeltaNetLib.cohort.training import Crops, fit
    from MRDeltaNetLib.models import registry

    kind, settings = network_of(name, bundle)
    centre, found = np.array([row.centre or "" for row in training.rows]), []
    for member in range(members):
        run_seed = int(np.random.default_rng([seed, member]).integers(2**31))
        outcome = features.outcomes(training)
        if name == "shuffled_labels":
            outcome = np.random.default_rng([seed, member, 1]).permutation(outcome)
        learning, stopping = inner(np.arange(len(outcome)), outcome, centre, ValidationConfig().inner_fraction, (seed, member))
        crops = [Crops([training.crops[k] for k in rows], outcome[rows], [training.keys[k] for k in rows]) for rows in (learning, stopping)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run_seed)
            network = registry.build(kind, **settings)
        share = part(progress, member / members, (member + 1) / members)
        fit(network, *crops, replace(config, seed=run_seed), folder=folder / f"member-{member}", accelerator=accelerator, progress=share)
        found.append(network_logits(network, held_out.crops, accelerator))
    return np.mean(found, axis=0)


def network_of(name: str, bundle: Bundle) -> tuple[str, dict[str, Any]]:
    """Registry name and settings of a rival. The auxiliary loss is as the network has it by default: a bundle is stored without."""
    own = bundle.own["network"]
    if name == "shuffled_labels":
        return own["name"], {key: value for key, value in own["settings"].items() if key not in ("members", "auxiliary")}
    preprocessing = bundle.preprocessing
    return "roi_pooled", {"spacing_mm": list(preprocessing.spacing_mm), "crop_mm": list(preprocessing.crop_mm),
                          "preset": own["settings"].get("preset", SMALLEST_PRESET), "visits": name.removesuffix("_only")}


def require_training_rows(training) -> None:
    """raises InputError MRD-E791 if there are none, or of one class only"""
    counts = np.bincount(features.outcomes(training), minlength=2) if training.rows else np.zeros(2, dtype=int)
    if counts.min() < features.MIN_OF_EACH_CLASS:
        raise InputError("Rivals of the model (volume only, one scan only, scanner only, shuffled labels) need training cases", code="MRD-E791",
                         found=f"set 'train': {counts[1]} with complete response, {counts[0]} without",
                         fix="add the model's training rows to the table, marked train in the column 'set'; or ask for the controls that "
                             "need none: wrong_patient_baseline, swapped_times, random_roi")


def _known(default: Any, stored: Any, table: str) -> Any:
    """The default with what is stored: fields of the same name whose value a study could hold too; whole numbers may stand for others, any finite
    number for a default of None, and a list of as many numbers for a pair."""
    found = {}
    for field in fields(default):
        value, usual, name = stored.get(field.name), getattr(default, field.name), f"{table}.{field.name}"
        if is_dataclass(usual):
            found[field.name] = _known(usual, value, name) if isinstance(value, Mapping) else usual
        elif isinstance(usual, tuple):
            if isinstance(value, (list, tuple)) and len(value) == len(usual) and all(_possible(name, item, kind) for item, kind in zip(value, usual)):
                found[field.name] = tuple(value)
        elif type(value) is type(usual) and isinstance(value, (bool, str)) or _possible(name, value, usual):
            found[field.name] = value
    return replace(default, **found)


def _possible(name: str, value: Any, usual: Any) -> bool:
    """Whether a number is one that a study may give this setting; a whole one where the usual one is."""
    whole = isinstance(usual, int) and not isinstance(usual, bool)
    numeric = isinstance(usual, (int, float, type(None))) and not isinstance(usual, bool)
    return numeric and _is_number(value) and (isinstance(value, int) or not whole) and RANGES[name].holds(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
