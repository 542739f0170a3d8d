"""What a person chose, and which nodes of the scene the steps left: kept by the door, used by the sitting.

Slicer's panel keeps it in a parameter node, so that it survives saving and loading; the web page keeps it in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from MRDeltaNetLib.colours import OVERLAY_OPACITY, OVERLAY_THRESHOLD

SCANS = {"pre": "pre_volume", "post": "post_volume"}
"""Role of a scan -> the choice that holds its volume node."""

DEFAULT_MAP = "default"
"""In the place of a map's key: the one that the model's tests chose."""


@dataclass
class Choices:
    """The choices of one sitting; a door may hand in any object with these attributes.

    pre_volume, post_volume              the scans before and after treatment
    pre_segmentation, post_segmentation  the outlines, each on its own scan: their voxel grids differ
    alignment                            brings the scan after treatment onto the one before it; nothing is hardened
    alignment_result                     text node: result.json of the run that made the alignment
    result, report, measures             text nodes and table node of the last prediction or report
    point, answer                        where a reader asked, and where the network looked
    registration                         method, one of config.REGISTRATION_METHODS
    complete_response                    the reader sees no viable tumour after treatment
    mrtrg                                the reader's regression grade, 1 to 5, None for none: an opinion, kept and shown, never computed
    device                               where the network runs, as in a job
    outline_step_mm                      how far outlines are moved for the range of P(pCR), mm
    all_members                          whether every network of an ensemble answers, or the first alone
    shown_map                            key of the map that is shown, DEFAULT_MAP, or None for none
    map_threshold                        fraction of the map's largest value below which it is not shown
    map_opacity                          of the map over the scan
    legend                               whether the map's legend is shown
    """

    pre_volume: Any = None
    post_volume: Any = None
    pre_segmentation: Any = None
    post_segmentation: Any = None
    alignment: Any = None
    alignment_result: Any = None
    result: Any = None
    report: Any = None
    measures: Any = None
    point: Any = None
    answer: Any = None
    registration: str = "rigid"
    complete_response: bool = False
    mrtrg: int | None = None
    device: str = "auto"
    outline_step_mm: float = 2.0
    all_members: bool = True
    shown_map: str | None = DEFAULT_MAP
    map_threshold: float = OVERLAY_THRESHOLD
    map_opacity: float = OVERLAY_OPACITY
    legend: bool = True
