"""What was evaluated and how, as plain values for evaluation.json, the page and the reporting aids."""

from __future__ import annotations

from dataclasses import asdict
from importlib import metadata
from typing import Any, Mapping

import numpy as np

from MRDeltaNetLib.cohort.evaluating.frame import Cases
from MRDeltaNetLib.cohort.evaluating.subset import Subset
from MRDeltaNetLib.errors import Notice
from MRDeltaNetLib.io.study import plain
from MRDeltaNetLib.versions import versions

PACKAGES = ("pandas", "scipy", "scikit-learn", "statsmodels", "lifelines", "matplotlib")


def facts_of(found: Cases, failed: list[dict[str, str]], digests: Mapping[str, str], notices: tuple[Notice, ...]) -> dict[str, Any]:
    """Plain values; the same tables and settings give the same ones.

    model          name of the score that the study is about, None without any; scores: name -> label
    sets           set -> n, events (pCR), non_events, unknown (outcome), cases_with_model (outcome and model's score)
    enrolled       rows that were looked at; excluded: reason -> rows that are not evaluated
    threshold      the locked one, None if none was; threshold_source: where it is from, in words
    clinical       columns of clinical values; missing: column -> cases without one; centres: set -> names
    simulated      whether the tables hold a simulation's hidden truth
    failed         sections that failed, set by set
    digests        role of each file that the tables were read from -> its SHA-256
    """
    subsets, config = found.subsets, found.config
    first = next(iter(subsets.values()))
    endpoints = {name: {"time": endpoint.time, "event": endpoint.event, "unit": endpoint.unit, "landmark": endpoint.landmark} for name, endpoint in config.endpoints.items()}
    return {"model": first.model.name if first.model else None, "scores": {score.name: score.label for score in first.scores.values()},
            "sets": {name: _counts(subset) for name, subset in subsets.items()}, "enrolled": found.enrolled, "excluded": dict(found.excluded),
            "outcome": config.outcome or None, "positive": config.positive, "threshold": config.threshold,
            "threshold_source": "the settings" if config.threshold is not None else None, "endpoints": endpoints, "clinical": list(first.clinical),
            "missing": {name: int(sum(subset.frame[name].isna().sum() for subset in subsets.values())) for name in first.clinical},
            "centres": _centres(found), "simulated": found.simulated, "seed": config.seed, "bootstrap": config.bootstrap, "failed": failed,
            "notices": [asdict(notice) for notice in (*notices, *found.notices)], "settings": plain(config),
            "digests": dict(digests), "versions": {**_core(), **_packages()}}


def _counts(subset: Subset) -> dict[str, Any]:
    outcome = subset.outcome
    scored = int((~np.isnan(outcome) & ~np.isnan(subset.model.values)).sum()) if subset.model else 0
    return {"n": len(outcome), "events": int((outcome == 1).sum()), "non_events": int((outcome == 0).sum()), "unknown": int(np.isnan(outcome).sum()),
            "cases_with_model": scored}


def _centres(found: Cases) -> dict[str, list[str]]:
    """Set -> its centres, sorted; empty without such a column."""
    name = found.config.centre
    return {key: sorted({value for value in subset.frame[name] if value is not None}) for key, subset in found.subsets.items() if name in subset.frame.columns}


def _core() -> dict[str, str | None]:
    return {name: version for name, version in versions().items() if name in ("mrdeltanet", "python", "numpy")}


def _packages() -> dict[str, str | None]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found
