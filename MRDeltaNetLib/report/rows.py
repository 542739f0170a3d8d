"""A row of pictures of the report: one of each plane, with its title; and what every such row needs of a scan."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Result
from MRDeltaNetLib.colours import OUTLINES, Outline
from MRDeltaNetLib.report.pictures import Window
from MRDeltaNetLib.report.words import text

WHEN = {"pre": "before treatment", "post": "after treatment"}
OUTLINES_OF = {"pre": ("pre_mask",), "post": ("post_mask", "residual_mask")}


@dataclass(frozen=True)
class Scan:
    """One scan as its pictures want it. role: "pre" or "post"; window: of its grey values; point_mm: where the planes cross, LPS."""

    role: str
    image: sitk.Image
    window: Window
    point_mm: np.ndarray


def drawn_on(result: Result, role: str) -> list[tuple[Outline, sitk.Image]]:
    """The outlines of a scan that there are, and their masks."""
    return [(OUTLINES[name], result.images[name]) for name in OUTLINES_OF[role] if result.images.get(name) is not None]


def row(label: str, says: str, pictures: list[tuple[str, bytes]], below: str = "") -> str:
    """label, says, below: HTML; pictures: name of the plane, PNG."""
    figures = "".join(f"<figure>{img(png, f'{plane} plane: {says}')}<figcaption>{plane.capitalize()}</figcaption></figure>"
                      for plane, png in pictures)
    return f'<div class="row"><h3>{label}</h3><div class="planes">{figures}</div>{below}</div>'


def img(png: bytes, says: str) -> str:
    """A picture in the page itself, and what it shows, in words."""
    return f'<img alt="{text(says[:1].upper() + says[1:])}" src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}">'
