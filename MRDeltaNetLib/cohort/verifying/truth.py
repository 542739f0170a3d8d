"""Where the evidence is known to lie: the residual tumour (planted in simulated cases, drawn by a reader in others), and whether a map finds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.io.images import read_image, read_mask
from MRDeltaNetLib.response.attribution.regions import distance_mm

if TYPE_CHECKING:
    from MRDeltaNetLib.io.cohort_table import Row

TOLERANCE_MM = 3.0
"""How far the map's maximum may lie from the tumour: half a token, one slice."""

INSIDE = 0.5


@dataclass(frozen=True)
class Blob:
    """Residual tumour on the crop.

    inside  bool (depth, height, width)
    near    inside or not farther than TOLERANCE_MM
    """

    inside: np.ndarray
    near: np.ndarray

    @classmethod
    def of(cls, inside: np.ndarray, spacing_mm: tuple[float, float, float]) -> "Blob":
        """spacing_mm: (x, y, z)."""
        return cls(inside, distance_mm(inside, spacing_mm) <= TOLERANCE_MM)

    def chance(self, region: np.ndarray) -> dict[str, float]:
        """What a map without any knowledge would reach inside a region: share of hits and of energy."""
        return {"hit": float(self.near[region].mean()), "hit_strictly": float(self.inside[region].mean()), "energy": float(self.inside[region].mean())}


def residual_of(row: "Row", facts: Mapping[str, Any]) -> np.ndarray | None:
    """Residual tumour of a prepared case on its crop, bool (depth, height, width); None where none is drawn, it is empty, or it misses the crop.

    row    of the table; facts  of the prepared case: where crop and alignment lie
    raises InputError MRD-E1xx, E2xx, E3xx if scan or mask cannot be read any more
    """
    if "residual_mask" not in row.files or row.complete_response:
        return None
    scan = read_image(row.files["post"], series=row.options.get("post_series"), volume_index=row.options.get("volume_index"))
    mask, _ = read_mask(row.files["residual_mask"], scan.image, role="residual", label=row.options.get("residual_label"), may_be_empty=True)
    found = on_crop(mask, facts)
    return found if found.any() else None


def on_crop(mask: sitk.Image, facts: Mapping[str, Any]) -> np.ndarray:
    """A mask of the scan after treatment on the crop, bool (depth, height, width)."""
    place = facts["grid"]
    grid = sitk.Image([int(count) for count in place["size_voxels"]], sitk.sitkUInt8)
    grid.SetSpacing(place["spacing_mm"])
    grid.SetOrigin(place["origin_lps_mm"])
    grid.SetDirection(place["direction"])
    to_scan = sitk.AffineTransform(3)
    to_scan.SetMatrix([value for line in facts["transform"]["matrix"] for value in line])
    to_scan.SetTranslation(facts["transform"]["offset_mm"])
    share = sitk.Resample(sitk.Cast(mask > 0, sitk.sitkFloat32), grid, to_scan, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    return sitk.GetArrayFromImage(share) >= INSIDE


def localisation(values: np.ndarray, region: np.ndarray, blob: Blob, seed: int) -> dict[str, Any]:
    """Pointing game and energy of a map inside a region.

    values  (depth, height, width), larger where more speaks for the answer
    seed    of equal maxima one is drawn: an even map points nowhere, and must not point at the first voxel
    returns "hit": the maximum lies in the tumour or within TOLERANCE_MM; "hit_strictly": in it; "energy": share of the map's positive values inside
            it, 0 where nothing is positive
    """
    inside = np.where(region, values, -np.inf)
    best = np.flatnonzero(inside.ravel() == inside.max())
    place = np.unravel_index(np.random.default_rng(seed).choice(best), values.shape)
    positive = np.where(region, values, 0).clip(min=0).astype(np.float64)
    energy = positive[blob.inside].sum() / positive.sum() if positive.sum() > 0 else 0.0
    return {"hit": bool(blob.near[place]), "hit_strictly": bool(blob.inside[place]), "energy": float(energy)}
