"""The report's maps, row by row, in the order of what their tests on this model say; and a page that gains maps later.

Each row stands between two comments that name its map, and all of them between two more, so that a page keeps the rows that it has when others
are added.
"""

from __future__ import annotations

import re
from typing import Any, Container, Iterable, Mapping

from MRDeltaNetLib.case import Result
from MRDeltaNetLib.colours import OVERLAY_OPACITY, OVERLAY_THRESHOLD
from MRDeltaNetLib.io import judged_maps
from MRDeltaNetLib.report.pictures import Overlay, colour_bar, overlay_of, scan_picture
from MRDeltaNetLib.report.planes import PLANES, field
from MRDeltaNetLib.report.rows import WHEN, Scan, drawn_on, img, row
from MRDeltaNetLib.report.words import millimetres, number, sentence, short_number, text

_OWN = (("attention_pre", "pre", "Attention on the scan before treatment",
         "how much each place weighed in the score, carried from the scan after treatment to the places it was compared with"),
        ("attention_post", "post", "Attention on the scan after treatment", "how much each place weighed in the score"),
        ("change_post", "post", "Change between the scans, on the scan after treatment", "size of the aligned change that the network saw"))
"""The network's own: name, role, title, meaning."""

BEGIN, END = "<!-- maps -->", "<!-- end of maps -->"
_ROW = re.compile(r"<!-- map ([a-z_]+) -->(.*?)<!-- end of map -->", re.DOTALL)
_LATER = "<p>Made after the run; shown on both scans as aligned, on the grid of the scan before treatment.</p>"


def section(result: Result, scans: Mapping[str, Scan], width_mm: float) -> str:
    """Every map of a run."""
    rows = {name: _map_row(result, scans[role], width_mm, name, label, meaning) for name, role, label, meaning in _present(result, scans)}
    return BEGIN + _in_order(rows, result.model or {}) + END


def renewed(page: str, result: Result, scans: Mapping[str, Scan], width_mm: float, own: Mapping[str, Any], written: Container[str]) -> str | None:
    """See gallery.with_further_maps."""
    before, begin, rest = page.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not begin or not end:
        return None
    there = {name: html for name, html in _ROW.findall(inside) if name not in written and _LATER not in html}
    rows = {name: there[name] if name in there else _map_row(result, scans[role], width_mm, name, label, meaning, _LATER)
            for name, role, label, meaning in _present(result, scans)}
    return before + begin + _in_order(rows, own) + end + after


def _present(result: Result, scans: Mapping[str, Scan]) -> list[tuple[str, str, str, str]]:
    """The maps that there are: name, role, title, meaning (HTML)."""
    found = list(_OWN)
    for name, facts in result.map_facts.items():
        if name not in {own for own, *_ in _OWN} and facts.get("label"):
            role = name.rsplit("_", 1)[1]
            toward = f", towards the class {facts['toward']}" if facts.get("toward") else ""
            found.append((name, role, text(f"{facts['label']}, on the scan {WHEN[role]}"), text(f"{facts.get('formula', 'formula not stated')}{toward}")))
    return [one for one in found if one[1] in scans and result.images.get(one[0]) is not None]


def _in_order(rows: Mapping[str, str], own: Mapping[str, Any]) -> str:
    """What passed first, the default map before the others; then what was not judged; what failed last, folded away as soon as something passed.

    own  what the model's tests say of its maps; nothing where none was judged
    """
    marked = {name: f"<!-- map {name} -->{html}<!-- end of map -->" for name, html in rows.items()}
    if not rows:
        return "<p>This run made no attention maps.</p>"
    if not own.get("maps"):
        return ("<p>Whether these maps show what the model uses was not tested on this model (<code>mrdeltanet explain verify</code> does).</p>" + "".join(marked.values()))
    of = {said: [name for name in rows if judged_maps.verdict(own, _method(name)) is said] for said in (True, None, False)}
    good = judged_maps.passed(own)
    of[True].sort(key=lambda name: good.index(_method(name)))
    parts = [_heading_of_passed(own, of[True]), *(marked[name] for name in of[True])]
    if of[None]:
        parts += ["<p><strong>Not judged on this model, or not to the end</strong> (the null map, and methods that answer in numbers, are never judged)</p>", *(marked[name] for name in of[None])]
    if of[False]:
        parts.append(_failed([marked[name] for name in of[False]], folded=bool(good)))
    return "".join(parts)


def _heading_of_passed(own: Mapping[str, Any], shown: list[str]) -> str:
    if shown:
        return "<p><strong>Passed every test of their kind on this model</strong></p>"
    if good := judged_maps.passed(own):
        return (f'<p class="important">No map of this run passed the tests on this model. What passed was not asked: {text(", ".join(good))} '
                "(<code>mrdeltanet explain</code> adds it)</p>")
    return '<p class="important">No map passed every test on this model: none should be believed without a look at the model\N{RIGHT SINGLE QUOTATION MARK}s card</p>'


def _failed(rows: Iterable[str], folded: bool) -> str:
    says, html = "Failed tests of their kind on this model: shown for completeness, not to be relied on", "".join(rows)
    return f"<details><summary>{says}</summary>{html}</details>" if folded else f'<p class="important">{says}</p>{html}'


def _method(name: str) -> str:
    return name.rsplit("_", 1)[0]


def _map_row(result: Result, scan: Scan, width_mm: float, name: str, label: str, meaning: str, note: str = "") -> str:
    facts = result.map_facts.get(name, {})
    overlay = overlay_of(result.images[name], facts)
    if overlay is None:
        return f'<div class="row"><h3>{label}</h3><p>The map is zero everywhere, so there is nothing to show.</p>{note}</div>'
    pictures = [(plane.name, scan_picture(field(scan.image, plane, scan.point_mm, width_mm), scan.image, scan.window, overlay=overlay,
                                          outlines=drawn_on(result, scan.role))) for plane in PLANES]
    colours = "blue (below 0) to orange (above 0)" if overlay.signed else "dark blue (low) to yellow (high)"
    return row(label, f"{label.lower()}, in colours from {colours}", pictures, _bar(result, name, overlay, meaning) + _numbers(facts) + note)


def _numbers(facts: Mapping[str, Any]) -> str:
    """The numbers that belong to a map, in words."""
    said = facts.get("numbers") or {}
    if not said:
        return ""
    items = "; ".join(f"{text(key.replace('_', ' '))} {number(value, 2, signed=True)}" for key, value in said.items())
    return f"<p>In numbers: {items}.</p>"


def _bar(result: Result, name: str, overlay: Overlay, meaning: str) -> str:
    facts = result.map_facts.get(name, {})
    unit = f" (unit: {text(facts['unit'])})" if facts.get("unit") else ""
    caution = facts.get("caution") or ("" if facts.get("sees_image_content", True) else
                                       "this map shows position only: it does not depend on what the images show")
    says = f"Colour scale from {short_number(overlay.bottom)} to {short_number(overlay.top)}; transparent below {short_number(overlay.threshold)}"
    shared = " Both scans share this scale." if facts.get("scale_top") and _sibling(name) in result.images else ""
    return (f'<div class="bar">{img(colour_bar(overlay, short_number), says)}<p>Colours: {meaning}{unit}. Transparent (hatched) below '
            f"{OVERLAY_THRESHOLD:.0%} of the end of the scale; colours are laid over the scan at {OVERLAY_OPACITY:.0%}.{shared}{_true_resolution(facts)}"
            + (f" <strong>Caution: {sentence(caution)}</strong>" if caution else "") + "</p></div>")


def _true_resolution(facts: Mapping[str, Any]) -> str:
    if not facts.get("resolution_mm"):
        return ""
    note = f" ({text(facts['resolution_note'])})" if facts.get("resolution_note") else ""
    return f" True resolution: {text(millimetres(facts['resolution_mm']))}{note}."


def _sibling(name: str) -> str:
    """The map of the same method on the other scan."""
    method, role = name.rsplit("_", 1)
    return f"{method}_{'post' if role == 'pre' else 'pre'}"
