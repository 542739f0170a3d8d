"""From the network's token maps to the full grid of the scan."""

from __future__ import annotations

import statistics
import time

REPEATS = 7


def run() -> list[dict]:
    """One attention map to a 320 x 320 x 30 scan, beside the same map resampled by SimpleITK over the whole scan; both start from tokens."""
    import numpy as np
    import SimpleITK as sitk
    import torch

    from MRDeltaNetLib.imaging import preprocessing
    from MRDeltaNetLib.imaging.phantom import simulate_pair
    from MRDeltaNetLib.response.explanation import on_voxels
    pair = simulate_pair(11)
    grid = sitk.Image(128, 128, 24, sitk.sitkUInt8)
    grid.SetSpacing((0.75, 0.75, 3.0))
    grid.SetDirection(pair.pre.GetDirection())
    inside = np.argwhere(sitk.GetArrayFromImage(pair.pre_mask) > 0).mean(axis=0)[::-1]
    centre = pair.pre.TransformContinuousIndexToPhysicalPoint(inside.tolist())
    grid.SetOrigin(np.subtract(centre, np.subtract(grid.TransformContinuousIndexToPhysicalPoint((63.5, 63.5, 11.5)), grid.GetOrigin())).tolist())
    tokens, inverse = torch.rand(12, 16, 16), pair.transform_pre_to_post.GetInverse()

    def on_grid():
        return preprocessing.image_on_grid(on_voxels(tokens, (24, 128, 128)), grid)

    def ours():
        return preprocessing.on_scan(on_grid(), pair.post, inverse)

    def theirs():
        return sitk.Resample(on_grid(), pair.post, inverse, sitk.sitkLinear, 0.0, sitk.sitkFloat32)

    times = {"ours": [], "peer": []}
    for _ in range(REPEATS):
        for name, action in (("ours", ours), ("peer", theirs)):
            start = time.perf_counter()
            action()
            times[name].append(time.perf_counter() - start)
    return [{"what": "one map, tokens to the scan's full grid", "unit": "s", "ours": statistics.median(times["ours"]), "peer": statistics.median(times["peer"]),
             "peer_name": "SimpleITK over the whole scan", "note": "aim: below 0.2 s"}]
