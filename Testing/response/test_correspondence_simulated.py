"""Does the correspondence follow a shift that is known? The demo model on simulated pairs; made-up data, no clinical claim."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MRDeltaNetLib.imaging import preprocessing
from MRDeltaNetLib.io.bundle import load_network, read_bundle
from MRDeltaNetLib.models import registry
from MRDeltaNetLib.resources import DEMO_BUNDLE, resource
from MRDeltaNetLib.response import correspondence, prediction
from Testing.simulated import case_of, small_pair

SEEDS = (21, 22, 23, 24)
SHIFT_VOXELS = 8
"""6 mm, one token."""


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(resource(DEMO_BUNDLE))


def prepared(seed: int, bundle):
    pair = small_pair(seed)
    case = case_of(pair)
    return preprocessing.prepare(case.pre, case.post, pair.transform_pre_to_post, bundle.preprocessing)


def answer(network, own, tensor: torch.Tensor, grid: sitk.Image) -> tuple[correspondence.Answer, np.ndarray]:
    """The middle of the tumour bed asked; and the mean displacement along the crop's x, y, z, mm."""
    said = prediction.predict(SimpleNamespace(tensor=tensor, outlines={}), network, own, device="cpu")
    found, _ = correspondence.from_prediction(said, grid)
    bed = tensor[1, 1].numpy()
    middle = [float(np.average(places, weights=bed)) for places in np.indices(bed.shape)]
    asked = correspondence.query(found, grid.TransformContinuousIndexToPhysicalPoint(middle[::-1]), sitk.Transform(3, sitk.sitkIdentity))
    axes = np.array(grid.GetDirection()).reshape(3, 3)
    return asked, axes.T @ np.subtract(asked.centroid_lps_mm, asked.token_lps_mm)


def moved(tensor: torch.Tensor, voxels: int, axis: int) -> torch.Tensor:
    """The same case with the scan before treatment and its outline moved along x (-1) or y (-2)."""
    found = tensor.clone()
    found[0] = torch.roll(tensor[0], voxels, axis)
    return found


@pytest.mark.slow
def test_where_a_place_looks_moves_with_the_first_scan_by_most_of_the_way_and_not_across(bundle):
    """Moved by 6 mm either way along x and along y. The mixture of scanner and tumour frame holds it back: less than the whole way is expected."""
    network, along, across = load_network(bundle, registry.build), [], []
    for seed in SEEDS:
        ready = prepared(seed, bundle)
        for axis, direction in ((-1, 0), (-2, 1)):
            ends = [answer(network, bundle.own, moved(ready.tensor, sign * SHIFT_VOXELS, axis), ready.grid)[1] for sign in (-1, 1)]
            slope = (ends[1] - ends[0]) / (2 * SHIFT_VOXELS * 0.75)
            along.append(slope[direction])
            across.append(slope[1 - direction])
    assert 0.4 < np.mean(along) < 1.1 and min(along) > 0, along
    assert abs(np.mean(across)) < 0.2, across


def test_where_the_prior_alone_answers_the_tumour_frame_is_followed_by_its_weight_and_the_answer_says_so():
    """Without content the mean displacement of the bed's middle is w_1 o: the share of the tumour's frame times the known offset."""
    torch.manual_seed(0)
    network = registry.build("deltanet", preset="tiny", spacing_mm=(2.0, 2.0, 5.0), crop_mm=(128.0, 128.0, 20.0), content=False, auxiliary=False).eval()
    for compare in network.comparisons:
        compare.align.prior.log_scale.data.fill_(float(np.log(4.0)))               # far narrower than the crop, so that no border cuts it
    tensor = torch.randn(2, 2, 4, 64, 64, generator=torch.Generator().manual_seed(1))
    tensor[:, 1] = 0
    tensor[1, 1, :, 28:36, 28:36] = 1
    tensor[0, 1, :, 28:36, 36:44] = 1                                              # 8 voxels of 2 mm further along x
    grid = sitk.Image(64, 64, 4, sitk.sitkUInt8)
    grid.SetSpacing((2.0, 2.0, 5.0))
    asked, found = answer(network, {"recalibration": {"slope": 1.0, "intercept": 0.0}, "threshold": 0.5}, tensor, grid)
    weight = network.comparisons[0].align.prior.mixture.softmax(0).detach().numpy()
    centre = np.array(grid.TransformContinuousIndexToPhysicalPoint([31.5, 31.5, 1.5]))
    anywhere = weight[2] * (centre - np.array(asked.token_lps_mm))[0]
    assert found[0] == pytest.approx(weight[1] * 16.0 + anywhere, abs=0.35)
    assert "by position only" in asked.note and asked.sees_image_content is False
    other = tensor.clone()
    other[:, 0] = torch.randn(2, 4, 64, 64)
    assert answer(network, {"recalibration": {"slope": 1.0, "intercept": 0.0}, "threshold": 0.5}, other, grid)[1] == pytest.approx(found, abs=1e-6)
