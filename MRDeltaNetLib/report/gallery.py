"""The report's pictures, row by row: both scans, attention, change, alignment check."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Result
from MRDeltaNetLib.colours import OUTLINES, OVERLAY_OPACITY, OVERLAY_THRESHOLD
from MRDeltaNetLib.report.pictures import (Overlay, Window, checkerboard_picture, colour_bar, display_window, overlay_of, scan_picture,
                                           swatch)
from MRDeltaNetLib.report.planes import (MAP_FIELD_MM, PLANES, SCAN_FIELD_MM, field, field_width_mm, image_centre, map_maximum,
                                         mask_centre)
from MRDeltaNetLib.report.words import number, sentence, short_number, text

WHEN = {"pre": "before treatment", "post": "after treatment"}
_OUTLINES_OF = {"pre": ("pre_mask",), "post": ("post_mask", "residual_mask")}
_MAPS = (("attention_pre", "pre", "Attention on the scan before treatment",
          "how much each place weighed in the score, carried from the scan after treatment to the places it was compared with"),
         ("attention_post", "post", "Attention on the scan after treatment", "how much each place weighed in the score"),
         ("change_post", "post", "Change between the scans, on the scan after treatment", "size of the aligned change that the network saw"))


FURTHER = ("<!-- further maps -->", "<!-- end of further maps -->")
"""Between these stand maps beside the network's own, so that those which are made later find their place in a page."""


@dataclass(frozen=True)
class _Scan:
    role: str
    image: sitk.Image
    window: Window
    point_mm: np.ndarray


def gallery(result: Result) -> str:
    """Every picture section of the page."""
    images = result.images
    roles = [role for role in ("pre", "post") if images.get(role) is not None]
    if not roles:
        return "<section><h2>Scans</h2><p>This run kept no scans to show.</p></section>"
    points, reason = crossing_points(result)
    scans = {role: _Scan(role, images[role], display_window(images[role]), points[role]) for role in roles}
    width_mm, map_width_mm = (field_width_mm([scan.image for scan in scans.values()], limit) for limit in (SCAN_FIELD_MM, MAP_FIELD_MM))
    parts = [f"<section><h2>Both scans</h2><p>{reason} Patient right is on the left of axial and coronal pictures. R right, L left, "
             "A anterior, P posterior, H head, F foot. All pictures of a section share one scale.</p>", _key(result)]
    parts += [_scan_row(result, scan, width_mm) for scan in scans.values()]
    parts.append("</section>")
    own = "".join(_map_rows(result, scans, map_width_mm, _MAPS)) or "<p>This run made no attention maps.</p>"
    more = "".join(_map_rows(result, scans, map_width_mm, _more_maps(result)))
    parts.append(f"<section><h2>Where the score comes from</h2>{own}{FURTHER[0]}{more}{FURTHER[1]}</section>")
    parts.append(_alignment_check(result, scans, width_mm))
    return "".join(parts)


def with_further_maps(page: str, result: Result) -> str | None:
    """A run's page with the maps that were added since; None if the page has no place for them (of an earlier version, or edited).

    result  all of it on one grid (images "pre", "post", masks, maps; transform: identity), as far as a run's folder still holds it
    """
    before, begin, rest = page.partition(FURTHER[0])
    _, end, after = rest.partition(FURTHER[1])
    if not begin or not end:
        return None
    points, _ = crossing_points(result)
    scans = {role: _Scan(role, result.images[role], display_window(result.images[role]), points[role]) for role in ("pre", "post")}
    width_mm = field_width_mm([scan.image for scan in scans.values()], MAP_FIELD_MM)
    rows = "".join(_map_rows(result, scans, width_mm, _more_maps(result)))
    note = ("<p>The following maps were made after the run. They are shown on both scans as aligned, on the grid of the scan before treatment.</p>" if rows else "")
    return before + begin + note + rows + end + after


def _map_rows(result: Result, scans: dict[str, "_Scan"], width_mm: float, maps) -> list[str]:
    return [_map_row(result, scans[role], width_mm, name, label, meaning) for name, role, label, meaning in maps if role in scans and result.images.get(name) is not None]


def crossing_points(result: Result) -> tuple[dict[str, np.ndarray], str]:
    """Where each scan's three planes cross (LPS, mm), and why there, as a sentence.

    After treatment: the highest attention, else the middle of the residual tumour or tumour bed. Before treatment: the same place
    through the transform, else the middle of the tumour.
    """
    images, points = result.images, {}
    reason = "The planes pass through the middle of the scan."
    if images.get("post") is not None:
        points["post"], reason = _place(result, "post", ("residual_mask", "post_mask"))
    if images.get("pre") is not None:
        carried = _carried_to_pre(result, points.get("post"))
        if carried is not None and _is_inside(images["pre"], carried):
            points["pre"] = carried
            reason += " In the scan before treatment they pass through the same place, found by the alignment."
        else:
            points["pre"], other = _place(result, "pre", ("pre_mask",))
            reason = other if "post" not in points else reason + " Before treatment, each scan's own place is used: " + other
    return points, reason


def _place(result: Result, role: str, masks: tuple[str, ...]) -> tuple[np.ndarray, str]:
    images = result.images
    drawn = [images[name] for name in masks if images.get(name) is not None and mask_centre(images[name]) is not None]
    attention = images.get(f"attention_{role}")
    highest = None if attention is None else map_maximum(attention, drawn[0] if drawn else None)
    if highest is not None:
        return highest, f"The planes pass through the highest attention in the scan {WHEN[role]}."
    if drawn:
        return mask_centre(drawn[0]), f"The planes pass through the middle of the outlined region in the scan {WHEN[role]}."
    return image_centre(images[role]), f"The planes pass through the middle of the scan {WHEN[role]}."


def _carried_to_pre(result: Result, point_mm: np.ndarray | None) -> np.ndarray | None:
    if point_mm is None or result.transform is None:
        return None
    try:
        return np.array(result.transform.GetInverse().TransformPoint([float(value) for value in point_mm]))
    except RuntimeError:                              # SimpleITK: "not able to create inverse", as for free-form transforms
        return None


def _is_inside(image: sitk.Image, point_mm: np.ndarray) -> bool:
    index = image.TransformPhysicalPointToContinuousIndex([float(value) for value in point_mm])
    return all(-0.5 <= value <= size - 0.5 for value, size in zip(index, image.GetSize()))


def _drawn(result: Result, role: str) -> list:
    return [(OUTLINES[name], result.images[name]) for name in _OUTLINES_OF[role] if result.images.get(name) is not None]


def _key(result: Result) -> str:
    items = []
    for names in _OUTLINES_OF.values():
        for name in names:
            mask = result.images.get(name)
            if mask is None:
                continue
            outline = OUTLINES[name]
            note = " (empty: none drawn)" if mask_centre(mask) is None else ""
            if result.mask_sources.get(name.removesuffix("_mask")) == "carried":
                note = " (a suggestion, carried over from the scan before treatment; nobody drew it)"
            items.append(f'<li>{_img(swatch(outline), f"{outline.style} {outline.colour_name} line")}'
                         f"{outline.label}: {outline.style}, {outline.colour_name}{note}</li>")
    return f'<ul class="key">{"".join(items)}</ul>' if items else "<p>No outlines: this run had no masks.</p>"


def _more_maps(result: Result) -> list[tuple[str, str, str, str]]:
    """Maps that the run was asked for: name, role, title, meaning."""
    found = []
    for name, facts in result.map_facts.items():
        if name not in {own for own, *_ in _MAPS} and facts.get("label"):
            role = name.rsplit("_", 1)[1]
            toward = f", towards the class {facts['toward']}" if facts.get("toward") else ""
            found.append((name, role, text(f"{facts['label']}, on the scan {WHEN[role]}"), text(f"{facts.get('formula', 'formula not stated')}{toward}")))
    return found


def _scan_row(result: Result, scan: _Scan, width_mm: float) -> str:
    outlines = _drawn(result, scan.role)
    drawn = " with " + " and ".join(outline.label for outline, _ in outlines) + " outlined" if outlines else ""
    fields = [field(scan.image, plane, scan.point_mm, width_mm) for plane in PLANES]
    pictures = [(one.plane.name, scan_picture(one, scan.image, scan.window, outlines=outlines)) for one in fields]
    unseen = [outline.label for outline, mask in outlines if mask_centre(mask) is not None and not any((one.sample(mask) > 0.5).any() for one in fields)]
    below = f"<p>None of these planes cuts the {' or the '.join(unseen)}.</p>" if unseen else ""
    return _row(f"Scan {WHEN[scan.role]}", f"scan {WHEN[scan.role]}{drawn}", pictures, below)


def _map_row(result: Result, scan: _Scan, width_mm: float, name: str, label: str, meaning: str) -> str:
    overlay = overlay_of(result.images[name], result.map_facts.get(name, {}))
    if overlay is None:
        return f'<div class="row"><h3>{label}</h3><p>The map is zero everywhere, so there is nothing to show.</p></div>'
    pictures = [(plane.name, scan_picture(field(scan.image, plane, scan.point_mm, width_mm), scan.image, scan.window, overlay=overlay,
                                          outlines=_drawn(result, scan.role))) for plane in PLANES]
    colours = "blue (below 0) to orange (above 0)" if overlay.signed else "dark blue (low) to yellow (high)"
    return _row(label, f"{label.lower()}, in colours from {colours}", pictures, _bar(result, name, overlay, meaning) + _numbers(result.map_facts.get(name, {})))


def _numbers(facts) -> str:
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
    return (f'<div class="bar">{_img(colour_bar(overlay, short_number), says)}<p>Colours: {meaning}{unit}. Transparent (hatched) below '
            f"{OVERLAY_THRESHOLD:.0%} of the end of the scale; colours are laid over the scan at {OVERLAY_OPACITY:.0%}.{shared}"
            + (f" <strong>Caution: {sentence(caution)}</strong>" if caution else "") + "</p></div>")


def _sibling(name: str) -> str:
    """The map of the same method on the other scan."""
    method, role = name.rsplit("_", 1)
    return f"{method}_{'post' if role == 'pre' else 'pre'}"


def _alignment_check(result: Result, scans: dict[str, _Scan], width_mm: float) -> str:
    pre, post = result.images.get("pre_common"), result.images.get("post_common")
    if pre is None or post is None:
        return ""
    point = scans["pre"].point_mm if "pre" in scans else image_centre(pre)
    windows = [scans[role].window if role in scans else display_window(image) for role, image in (("pre", pre), ("post", post))]
    pictures = [(plane.name, checkerboard_picture(field(pre, plane, point, width_mm), pre, post, *windows)) for plane in PLANES]
    bent = (" <strong>The deformable alignment is shown, which serves display only: masks and network use the rigid one.</strong>"
            if result.registration.get("method") == "deformable" else "")
    return ('<section class="keep"><h2>Check of the alignment</h2><p>Squares of 15 mm show the two scans in turn; the square at the top left is the scan '
            f"before treatment. Where the alignment is good, borders of bone, muscle and fat run on from square to square. Black squares lie outside one of the scans.{bent}</p>"
            + _row("Both scans after alignment", "checkerboard of the scans before and after treatment", pictures) + "</section>")


def _row(label: str, says: str, pictures: list[tuple[str, bytes]], below: str = "") -> str:
    figures = "".join(f"<figure>{_img(png, f'{plane} plane: {says}')}<figcaption>{plane.capitalize()}</figcaption></figure>"
                      for plane, png in pictures)
    return f'<div class="row"><h3>{label}</h3><div class="planes">{figures}</div>{below}</div>'


def _img(png: bytes, says: str) -> str:
    return f'<img alt="{text(says[:1].upper() + says[1:])}" src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}">'
