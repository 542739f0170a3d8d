"""The report's pictures, row by row: both scans, maps, alignment check."""

from __future__ import annotations

from typing import Any, Container, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Result
from MRDeltaNetLib.colours import OUTLINES
from MRDeltaNetLib.report import maps
from MRDeltaNetLib.report.pictures import checkerboard_picture, display_window, scan_picture, swatch
from MRDeltaNetLib.report.planes import (MAP_FIELD_MM, PLANES, SCAN_FIELD_MM, field, field_width_mm, image_centre, map_maximum,
                                         mask_centre)
from MRDeltaNetLib.report.rows import OUTLINES_OF, WHEN, Scan, drawn_on, img, row


def gallery(result: Result) -> str:
    """Every picture section of the page."""
    images = result.images
    roles = [role for role in ("pre", "post") if images.get(role) is not None]
    if not roles:
        return "<section><h2>Scans</h2><p>This run kept no scans to show.</p></section>"
    points, reason = crossing_points(result)
    scans = {role: Scan(role, images[role], display_window(images[role]), points[role]) for role in roles}
    width_mm, map_width_mm = (field_width_mm([scan.image for scan in scans.values()], limit) for limit in (SCAN_FIELD_MM, MAP_FIELD_MM))
    parts = [f"<section><h2>Both scans</h2><p>{reason} Patient right is on the left of axial and coronal pictures. R right, L left, "
             "A anterior, P posterior, H head, F foot. All pictures of a section share one scale.</p>", _key(result)]
    parts += [_scan_row(result, scan, width_mm) for scan in scans.values()]
    parts.append("</section>")
    parts.append(f"<section><h2>Where the score comes from</h2>{maps.section(result, scans, map_width_mm)}</section>")
    parts.append(_alignment_check(result, scans, width_mm))
    return "".join(parts)


def with_further_maps(page: str, result: Result, own: Mapping[str, Any], written: Container[str]) -> str | None:
    """A run's page with the maps that were added since; None if the page has no place for them (of an earlier version, or edited).

    result   all of it on one grid (images "pre", "post", masks, maps; transform: identity), as far as a run's folder still holds it
    own      what the model's tests say of its maps (io/judged_maps)
    written  names of maps that were made since the page was; the others keep the pictures that they have there
    """
    points, _ = crossing_points(result)
    scans = {role: Scan(role, result.images[role], display_window(result.images[role]), points[role]) for role in ("pre", "post")}
    return maps.renewed(page, result, scans, field_width_mm([scan.image for scan in scans.values()], MAP_FIELD_MM), own, written)


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


def _key(result: Result) -> str:
    items = []
    for names in OUTLINES_OF.values():
        for name in names:
            mask = result.images.get(name)
            if mask is None:
                continue
            outline = OUTLINES[name]
            note = " (empty: none drawn)" if mask_centre(mask) is None else ""
            if result.mask_sources.get(name.removesuffix("_mask")) == "carried":
                note = " (a suggestion, carried over from the scan before treatment; nobody drew it)"
            items.append(f'<li>{img(swatch(outline), f"{outline.style} {outline.colour_name} line")}'
                         f"{outline.label}: {outline.style}, {outline.colour_name}{note}</li>")
    return f'<ul class="key">{"".join(items)}</ul>' if items else "<p>No outlines: this run had no masks.</p>"


def _scan_row(result: Result, scan: Scan, width_mm: float) -> str:
    outlines = drawn_on(result, scan.role)
    drawn = " with " + " and ".join(outline.label for outline, _ in outlines) + " outlined" if outlines else ""
    fields = [field(scan.image, plane, scan.point_mm, width_mm) for plane in PLANES]
    pictures = [(one.plane.name, scan_picture(one, scan.image, scan.window, outlines=outlines)) for one in fields]
    unseen = [outline.label for outline, mask in outlines if mask_centre(mask) is not None and not any((one.sample(mask) > 0.5).any() for one in fields)]
    below = f"<p>None of these planes cuts the {' or the '.join(unseen)}.</p>" if unseen else ""
    return row(f"Scan {WHEN[scan.role]}", f"scan {WHEN[scan.role]}{drawn}", pictures, below)


def _alignment_check(result: Result, scans: dict[str, Scan], width_mm: float) -> str:
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
            + row("Both scans after alignment", "checkerboard of the scans before and after treatment", pictures) + "</section>")
