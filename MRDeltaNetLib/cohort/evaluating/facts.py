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

PACKAGES = ("pandas", "scipy", "scikit-learn", "statsmodels", "lifelines", "tableone", "matplotlib")


def facts_of(found: Cases, failed: list[dict[str, str]], digests: Mapping[str, str], notices: tuple[Notice, ...]) -> dict[str, Any]:
    """Plain values; the same tables and settings give the same ones."""
    first = next(iter(found.subsets.values()))
    return {"cases": sum(len(subset.outcome) for subset in found.subsets.values()), "enrolled": found.enrolled,
            "excluded": [{"reason": reason, "n": n} for reason, n in found.excluded.items()],
            "sets": {name: _counts(subset) for name, subset in found.subsets.items()},
            "scores": [{"name": score.name, "label": score.label, "probability": score.probability} for score in first.scores.values()],
            "model": first.model.name if first.model else None, "clinical": list(first.clinical),
            "endpoints": {name: {"time": endpoint.time, "event": endpoint.event, "unit": endpoint.unit} for name, endpoint in found.config.endpoints.items()},
            "missing": {name: int(sum(subset.frame[name].isna().sum() for subset in found.subsets.values())) for name in first.clinical},
            "centres": _centres(found), "settings": plain(found.config), "failed": failed, "notices": [asdict(notice) for notice in (*notices, *found.notices)],
            "tables": {f"{name}_sha256": digests.get(name) for name in ("predictions", "cohort")}, "versions": {**_core(), **_packages()}}


def _counts(subset: Subset) -> dict[str, Any]:
    outcome = subset.outcome
    return {"cases": len(outcome), "pcr": int((outcome == 1).sum()), "non_pcr": int((outcome == 0).sum()), "outcome_unknown": int(np.isnan(outcome).sum())}


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
