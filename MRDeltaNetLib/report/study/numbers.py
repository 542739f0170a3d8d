"""Numbers as a journal prints them: sensible digits, true minus signs, intervals, p values, and words where there is none."""

from __future__ import annotations

import math
from typing import Any

MINUS = "\N{MINUS SIGN}"
THIN = "\N{NARROW NO-BREAK SPACE}"
HARD = "\N{NO-BREAK SPACE}"
NOTHING = 1e-12
"""What is smaller is 0 and rounding."""

_RAISED = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
NOT_KNOWN = "not known"
NOT_REACHED = "not reached"


def finite(value: Any) -> bool:
    """Whether this is a number that can be shown; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def decimals(value: float) -> int:
    """How many decimals tell a number of this size in about three digits, two at the least for what is below 100."""
    size = abs(value)
    if size >= 100:
        return 0
    if size >= 10:
        return 1
    return 2 if size >= 1 or size == 0 else 3


def fixed(value: Any, places: int) -> str:
    """A number with so many decimals, "not known" without one."""
    if not finite(value):
        return NOT_KNOWN
    rounded = round(float(value), places) + 0.0
    return f"{rounded:.{places}f}".replace("-", MINUS)


def plain(value: Any) -> str:
    """A number with sensible digits: whole ones grouped by thousands, tiny ones as powers of ten, "not known" without one."""
    if not finite(value):
        return NOT_KNOWN
    if isinstance(value, int):
        return whole(value)
    if abs(value) < NOTHING:
        return "0"
    if not 5e-4 <= abs(value) < 1e6:
        mantissa, power = f"{value:.1e}".split("e")
        return f"{mantissa} \N{MULTIPLICATION SIGN} 10{str(int(power)).translate(_RAISED)}".replace("-", MINUS)
    return whole(round(value)) if abs(value) >= 1000 else fixed(value, decimals(value))


def whole(value: int) -> str:
    """A count, grouped by thousands with a narrow space from 10 000 on."""
    shown = f"{value:,}".replace(",", THIN) if abs(value) >= 10_000 else str(value)
    return shown.replace("-", MINUS)


def interval(value: Any, low: Any, high: Any, places: int | None = None) -> str:
    """Such as "0.81 (0.74 to 0.87)", all three with as many decimals as suit them together; a bound that there is none of is "not reached",
    no bounds at all are left out."""
    if not finite(value):
        return NOT_KNOWN
    if not any(finite(bound) for bound in (low, high)):
        return _shown(value, places)
    if places is None:
        places = _together(value, [bound for bound in (low, high) if finite(bound)])
    return f"{_shown(value, places)} ({_shown(low, places)} to {_shown(high, places)})"


def _together(value: float, bounds: list[float]) -> int | None:
    if isinstance(value, int) and all(isinstance(bound, int) for bound in bounds):
        return 0
    if value and abs(value) < 5e-3 and max(map(abs, bounds)) < 5e-3:
        return None
    return min(decimals(value), 2 if max(map(abs, [*bounds, value])) >= 1 else 3)


def _shown(value: Any, places: int | None) -> str:
    if not finite(value):
        return "\N{INFINITY}" if value == math.inf else NOT_REACHED
    return plain(float(value)) if places is None or abs(value) >= 100 else fixed(value, places)


def bounds(low: Any, high: Any) -> str:
    """An interval alone, such as "0.74 to 0.87"."""
    known = [bound for bound in (low, high) if finite(bound)]
    places = _together(known[0], known) if known else None
    return f"{_shown(low, places)} to {_shown(high, places)}"


def p_value(p: Any, sign: bool = False) -> str:
    """A p value: "< 0.001", three decimals below 0.1, two from there on; sign puts "= " before what has no sign of its own."""
    if not finite(p):
        return NOT_KNOWN
    if p < 0.001:
        return f"<{HARD}0.001"
    if p > 0.99:
        return f">{HARD}0.99"
    shown = f"{p:.3f}" if p < 0.0995 else f"{p:.2f}"
    return f"={HARD}{shown}" if sign else shown


def capital(words: str) -> str:
    """Words with a capital at their start, but for symbols and names of columns such as p, pCR and p_pcr."""
    first = words.split(" ")[0]
    left = len(first) <= 2 or not first[1].islower() or "_" in first or first.endswith(":")
    return words if left else words[:1].upper() + words[1:]
