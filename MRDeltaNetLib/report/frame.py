"""The frame of every page that is written: head with its policy (nothing is loaded, nothing runs), the common style, and how it prints."""

from __future__ import annotations

import string
from pathlib import Path

from MRDeltaNetLib.report.words import text

_TEMPLATE = Path(__file__).with_name("frame.html")


def framed(body: str, style: Path, *, title: str, print_footer: str) -> str:
    """A whole page as HTML text.

    body          markup; texts in it are escaped already
    style         CSS file of the page's own rules, which come after the common ones
    title         of the window, as plain text
    print_footer  at the foot of every printed page; no quotation marks
    """
    return string.Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(title=text(title), style=style.read_text(encoding="utf-8"), body=body,
                                                                             print_footer=print_footer)
