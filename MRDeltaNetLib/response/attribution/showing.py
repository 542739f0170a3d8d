"""From a method's own numbers to what is written and shown: one scale for both visits, and facts for each map."""

from __future__ import annotations

from typing import Any

import numpy as np

from MRDeltaNetLib.response.attribution.readout import PERCENTAGE_POINTS, Attribution

ABSOLUTE = (PERCENTAGE_POINTS, "logit units")
"""Units whose numbers mean something by themselves: such maps are shown as they are. "change" is, too: its unit is the network's."""

RELATIVE = "share of the largest value on either scan"
"""Unit of all others, once they are divided by it."""

EMPTY = "this map is zero everywhere: the method found nothing that speaks for the class"


def shown(attribution: Attribution) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """"<key>_<visit>" -> (float32 (depth, height, width), facts), ready to be written.

    Maps whose unit means nothing from case to case are divided by the largest absolute value over both visits, so that both share
    one scale from 0 (or -1) to 1. The facts say by how much of what (normalisation), the unit that is left, and where the shared scale ends (scale_top).
    """
    facts = {name: value for name, value in attribution.facts.items() if value is not None}
    top = facts["scale_top"]
    relative = facts["unit"] not in ABSOLUTE and attribution.key != "change" and top > 0
    facts["normalisation"] = f"divided by {top:.6g} ({facts['unit']}), the largest absolute value over both scans" if relative else "none: the method's own unit"
    facts["unit"], facts["scale_top"] = (RELATIVE, 1.0) if relative else (facts["unit"], top)
    if top <= 0:
        facts["caution"] = "; ".join(filter(None, (EMPTY, facts.get("caution"))))
    found = {}
    for visit, values in attribution.maps.items():
        own = attribution.numbers.get(visit) or attribution.numbers.get("both")
        found[f"{attribution.key}_{visit}"] = (values / np.float32(top) if relative else values, {**facts, **({"numbers": dict(own)} if own else {})})
    return found
