"""The gate: what may enter. A header is read and judged in plain Python before a native reader sees the file; then the image
that was read is judged; then masks, and the two scans as a pair.
"""

from MRDeltaNetLib.io.gate.facts import FileFacts
from MRDeltaNetLib.io.gate.headers import check_header
from MRDeltaNetLib.io.gate.masks import check_mask, check_residual
from MRDeltaNetLib.io.gate.pair import check_pair
from MRDeltaNetLib.io.gate.voxels import check_image

__all__ = ["FileFacts", "check_header", "check_image", "check_mask", "check_pair", "check_residual"]
