"""How much one lesion changed, in classes of its size and volume.

The thresholds of the diameter are those of RECIST 1.1 (Eisenhauer et al. 2009, doi:10.1016/j.ejca.2008.10.026): 30 % less, or 20 % and 5 mm more.
Those of the volume are what they make of a ball, 0.7^3 and 1.2^3: 65.7 % less, 72.8 % more (RECIST 1.0 tabulates 65 % and 73 %: Therasse et al.
2000, doi:10.1093/jnci/92.3.205); a volume has no counterpart of the 5 mm.

A class describes one lesion. It is never a patient's category: RECIST takes the sum over all target lesions, other lesions and new ones into
account. So the words are not RECIST's.
"""

from __future__ import annotations

from typing import Any, Mapping

DECREASE_PERCENT, INCREASE_PERCENT, INCREASE_MM = -30.0, 20.0, 5.0
VOLUME_DECREASE_PERCENT, VOLUME_INCREASE_PERCENT = 100 * (0.7**3 - 1), 100 * (1.2**3 - 1)

GONE, SMALLER, LARGER, LITTLE_CHANGED = "gone", "smaller", "larger", "little changed"
CLASSES = (GONE, SMALLER, LITTLE_CHANGED, LARGER)

STRUCTURES = {"bed": "post", "residual": "residual"}
"""What the tumour before treatment is compared with -> prefix of its measures."""

SCOPE = "one lesion; never a response category of a patient"
NADIR = ("Growth is counted from the smallest size so far, and with two visits that is the size before treatment: a tumour that shrank and grew again "
         "between them is not seen")

_ROUNDING = 1e-9


def size_class(before_mm: float | None, after_mm: float | None) -> str | None:
    """The class of a lesion's longest in-plane diameter; None if one is not known or there was nothing before."""
    if before_mm is None or after_mm is None or before_mm <= 0:
        return None
    percent = 100 * (after_mm - before_mm) / before_mm
    if after_mm == 0:
        return GONE
    if percent <= DECREASE_PERCENT + _ROUNDING:
        return SMALLER
    return LARGER if percent >= INCREASE_PERCENT - _ROUNDING and after_mm - before_mm >= INCREASE_MM - _ROUNDING else LITTLE_CHANGED


def volume_class(before_ml: float | None, after_ml: float | None) -> str | None:
    """The class of a lesion's volume; None if one is not known or there was nothing before."""
    if before_ml is None or after_ml is None or before_ml <= 0:
        return None
    percent = 100 * (after_ml - before_ml) / before_ml
    if after_ml == 0:
        return GONE
    if percent <= VOLUME_DECREASE_PERCENT + _ROUNDING:
        return SMALLER
    return LARGER if percent >= VOLUME_INCREASE_PERCENT - _ROUNDING else LITTLE_CHANGED


def classes(measures: Mapping[str, float | None]) -> dict[str, Any]:
    """Both classes of each structure, with what they rest on; from what measures.compare gives. Empty if nothing can be compared."""
    found: dict[str, Any] = {}
    for name, prefix in STRUCTURES.items():
        found[f"lesion_size_{name}"] = size_class(measures.get("pre_longest_in_plane_diameter_mm"), measures.get(f"{prefix}_longest_in_plane_diameter_mm"))
        found[f"lesion_volume_{name}"] = volume_class(measures.get("pre_volume_ml"), measures.get(f"{prefix}_volume_ml"))
    if not any(found.values()):
        return {}
    return found | {"scope": SCOPE, "nadir": NADIR, "thresholds": {
        "diameter_decrease_percent": DECREASE_PERCENT, "diameter_increase_percent": INCREASE_PERCENT, "diameter_increase_mm": INCREASE_MM,
        "volume_decrease_percent": round(VOLUME_DECREASE_PERCENT, 1), "volume_increase_percent": round(VOLUME_INCREASE_PERCENT, 1)}}
