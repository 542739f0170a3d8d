"""Every network's maps can be shown, under the formula that made them."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MRDeltaNetLib.models.registry import build, names
from MRDeltaNetLib.response.explanation import COARSE_NOTE, FORMULAS, explain
from MRDeltaNetLib.response.prediction import Prediction, map_facts_of

VARIANTS = [(name, {}) for name in names()] + [("deltanet", {"members": 2}), ("roi_pooled", {"visits": "pre"}), ("resnet18", {"visits": "post"})]


@pytest.mark.parametrize("name, more", VARIANTS)
def test_every_networks_maps_can_be_shown_under_their_own_formula(name, more):
    torch.manual_seed(0)
    network = build(name, preset="tiny", crop_mm=(24.0, 24.0, 24.0), **more).eval()
    x = torch.randn(1, 2, 2, 8, 32, 32)
    x[:, :, 1] = 0
    x[:, :, 1, 2:6, 8:24, 8:24] = 1
    with torch.inference_mode():
        output = network(x).cpu()
    prediction = Prediction(p_pcr=0.5, logit=0.0, threshold=0.5, predicted_class="pCR", output=output, device="cpu", map_facts=map_facts_of(network))
    grid = sitk.Image(32, 32, 8, sitk.sitkFloat32)
    maps = explain(prediction, grid, lambda voxels, like: sitk.GetImageFromArray(np.ascontiguousarray(voxels)))
    assert set(maps) == set(FORMULAS)
    aligned, two_scales = name in ("deltanet", "slice2p5d"), name in ("deltanet", "slice2p5d", "subtract", "roi_pooled")
    for which, (image, facts) in maps.items():
        assert image.GetSize() == (32, 32, 8) and np.isfinite(sitk.GetArrayFromImage(image)).all()
        assert (facts["formula"] == FORMULAS[which]) == aligned, "the alignment networks' formula stands under their maps only"
        assert facts["resolution_mm"] == tuple(network.token_size_mm[::-1])
    assert (maps["attention_post"][1]["resolution_note"] == COARSE_NOTE) == two_scales
    if "visits" in more:
        blind = "attention_post" if more["visits"] == "pre" else "attention_pre"
        shown = sitk.GetArrayFromImage(maps[blind][0])
        assert np.ptp(shown) < 1e-6 and "does not see" in maps[blind][1]["formula"]
