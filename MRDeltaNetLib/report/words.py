"""Texts and numbers made safe and readable for the page. Whatever reaches the page passes through text()."""

from __future__ import annotations

import html
import math
import re
from typing import Any

_LONGEST = 8000
_HARD_SPACE = "\N{NO-BREAK SPACE}"
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff\ud800-\udfff]")
"""Control characters, direction overrides, zero-width characters, lone surrogates: can hide or reorder text."""


def text(value: Any) -> str:
    """Any value as HTML text or attribute value: escaped, without invisible characters, cut if it is absurdly long."""
    plain = _INVISIBLE.sub("\N{REPLACEMENT CHARACTER}", str(value))
    if len(plain) > _LONGEST:
        plain = plain[:_LONGEST] + " [cut]"
    return html.escape(plain, quote=True)


def sentence(value: Any) -> str:
    """text() with a full stop at its end."""
    plain = str(value).strip()
    return text(plain if plain.endswith((".", "!", "?")) else plain + ".") if plain else ""


def number(value: Any, decimals: int, *, signed: bool = False) -> str:
    """A number with a true minus sign; "not available" for None and for what is not finite."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        return "not available"
    rounded = round(float(value), decimals) + 0.0
    shown = f"{rounded:+.{decimals}f}" if signed and rounded else f"{rounded:.{decimals}f}"
    return shown.replace("-", "\N{MINUS SIGN}")


def short_number(value: float) -> str:
    """A map's value in three digits, such as 0.0042, 1.37 or 2.1e-6."""
    if value and not 1e-4 <= abs(value) < 1e5:
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e").replace("-", "\N{MINUS SIGN}")
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def millimetres(value: Any) -> str:
    """A length or a list of lengths, such as "6 x 6 x 12 mm", which lines do not break."""
    if isinstance(value, (list, tuple)):
        return f" \N{MULTIPLICATION SIGN} ".join(f"{float(item):g}" for item in value).replace(" ", _HARD_SPACE) + _HARD_SPACE + "mm"
    return f"{float(value):g}{_HARD_SPACE}mm" if isinstance(value, (int, float)) else str(value)
