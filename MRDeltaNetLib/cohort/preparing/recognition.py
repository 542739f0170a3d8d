"""Knowing a training case again: whatever it is called in a table, and whatever its masks are."""

from __future__ import annotations

from typing import Any, Mapping

from MRDeltaNetLib.io.bundle import DIGESTS


def met(listed: Mapping[str, Any], prepared: Any) -> list[bool]:
    """For each prepared case, whether a model lists it among those that it was trained on; all False if it lists none.

    By its key (files and settings); by its crop's digest, where other files or an older version made the same crop; or by a scan of either
    visit, where masks or settings are others.

    listed    what a model says of itself: Bundle.own, or TableModel.trained_on; any of io.bundle.DIGESTS may be missing
    prepared  PreparedCohort
    """
    known = {digest for name in DIGESTS for digest in listed.get(name) or ()}
    return [not known.isdisjoint({key, facts.get("crop", {}).get("sha256"), *facts.get("scans_sha256", {}).values()})
            for key, facts in zip(prepared.keys, prepared.facts)]
