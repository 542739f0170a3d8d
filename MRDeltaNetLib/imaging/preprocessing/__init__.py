"""From two aligned scans to the input of a network, and from the network's grid back to each scan.

preparation  prepare: the one path that training and use share; roi_channel: its ROI channel for another outline
grids        crop grid, interpolation, maps back on a scan
intensity    body mask, bias field, normalisation
"""

from MRDeltaNetLib.imaging.preprocessing.grids import common_grid, field_of_view, image_on_grid, in_axial_order, on_scan
from MRDeltaNetLib.imaging.preprocessing.intensity import body_mask, correct_bias
from MRDeltaNetLib.imaging.preprocessing.preparation import prepare, roi_channel

__all__ = ["body_mask", "common_grid", "correct_bias", "field_of_view", "image_on_grid", "in_axial_order", "on_scan", "prepare", "roi_channel"]
