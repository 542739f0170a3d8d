"""Does a map stay the same when nothing that matters has changed: the crop lies a little elsewhere, the outline is drawn a little otherwise?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping

import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Iterator

SHIFT_MM = 2.0
SHIFTS_MM = {"left": (SHIFT_MM, 0.0), "right": (-SHIFT_MM, 0.0), "posterior": (0.0, SHIFT_MM), "anterior": (0.0, -SHIFT_MM)}
"""In plane, both visits together: a slice is thicker than the shift."""


def shifted(values: torch.Tensor, by_mm: tuple[float, float], spacing_mm: tuple[float, float, float]) -> torch.Tensor:
    """Volumes (n, channels, depth, height, width) moved by so many mm along x and y, linear; at the border the outermost voxel goes on.

    spacing_mm  (x, y, z)
    """
    if values.shape[-1] < 2 or values.shape[-2] < 2:
        raise ValueError("a volume of one column or one line cannot be moved")
    pixels = [distance / step for distance, step in zip(by_mm, spacing_mm)]
    move = torch.eye(3, 4, dtype=values.dtype, device=values.device)
    move[0, 3], move[1, 3] = (-2 * by / (count - 1) for by, count in zip(pixels, (values.shape[-1], values.shape[-2])))
    grid = F.affine_grid(move.expand(len(values), 3, 4), list(values.shape), align_corners=True)
    return F.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=True)


def variants(x: torch.Tensor, outlines: Mapping[str, np.ndarray], spacing_mm: tuple[float, float, float]) -> "Iterator[tuple[str, str, torch.Tensor]]":
    """("shift" or "outline", name, the case (2, 2, depth, height, width) in that variant).

    outlines  name -> both ROI channels (2, depth, height, width), as the cache keeps them
    """
    for name, by_mm in SHIFTS_MM.items():
        yield "shift", name, shifted(x, by_mm, spacing_mm)
    for name, channels in outlines.items():
        changed = x.clone()
        changed[:, 1] = torch.from_numpy(np.array(channels, dtype=np.float32)).to(x)
        yield "outline", name, changed


def moved_back(values: np.ndarray, name: str, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """A map (depth, height, width) of a shifted case, where it belongs on the case as it was."""
    x_mm, y_mm = SHIFTS_MM[name]
    return shifted(torch.from_numpy(values)[None, None].float(), (-x_mm, -y_mm), spacing_mm)[0, 0].numpy()
