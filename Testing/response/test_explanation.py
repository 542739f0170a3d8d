"""Maps lie where their tokens lie, say what they mean, and depend on the images."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MRDeltaNetLib.case import Prepared
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.models.output import NetworkOutput
from MRDeltaNetLib.models.registry import build
from MRDeltaNetLib.response import explanation
from MRDeltaNetLib.response.prediction import Prediction, predict

VOXELS = (8, 32, 48)
OWN = {"recalibration": {"slope": 1.0, "intercept": 0.0}, "threshold": 0.5}
FACTS = {"token_size_mm": (6.0, 6.0, 6.0), "sees_image_content": True, "alignment_sees_image_content": True}


def grid() -> sitk.Image:
    """An oblique crop grid with anisotropic voxels."""
    image = sitk.Image(VOXELS[::-1], sitk.sitkUInt8)
    image.SetSpacing((0.75, 0.75, 3.0))
    image.SetOrigin((-20.0, 31.0, -7.0))
    turn = sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.5)
    image.SetDirection(turn.GetMatrix())
    return image


def to_image(array: np.ndarray, place: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(place)
    return image


def made_up(post: torch.Tensor, facts=FACTS) -> Prediction:
    output = NetworkOutput(torch.zeros(1), post[None], post[None], post[None], torch.zeros(1, 3))
    return Prediction(0.5, 0.0, 0.5, "pCR", output, "cpu", facts)


@pytest.mark.parametrize("token", [(1, 2, 3), (2, 1, 4), (1, 1, 1)])
def test_an_impulse_comes_out_at_the_middle_of_its_tokens_voxels_in_the_patients_space(token):
    post = torch.zeros(4, 4, 6)
    post[token] = 0.25
    image, _ = explanation.explain(made_up(post), grid(), to_image)["attention_post"]
    weights = sitk.GetArrayFromImage(image)
    places = np.array([image.TransformIndexToPhysicalPoint([int(i) for i in index[::-1]]) for index in np.argwhere(weights > 0)])
    found = np.average(places, axis=0, weights=weights[weights > 0])
    middle = [index * stride + (stride - 1) / 2 for index, stride in zip(token, (2, 8, 8))]
    assert np.linalg.norm(found - grid().TransformContinuousIndexToPhysicalPoint(middle[::-1])) < 0.01


def test_the_value_at_a_tokens_middle_is_the_tokens_value():
    tokens = torch.rand(4, 4, 6)
    array = explanation.on_voxels(tokens, (12, 36, 54))               # stride 3, 9, 9: odd, so that a voxel lies in the middle
    assert np.allclose(array[1::3, 4::9, 4::9], tokens.numpy(), atol=1e-6)


def test_every_map_tells_its_method_and_how_it_was_normalised():
    maps = explanation.explain(made_up(torch.full((4, 4, 6), 0.25)), grid(), to_image)
    said = {name: (facts["method"], facts["normalisation"]) for name, (_, facts) in maps.items()}
    assert said == {"attention_pre": ("attention", "divided by 0.25, the largest token's share on either scan"), "change_post": ("change", "none: network units"),
                    "attention_post": ("attention", "divided by 0.25, the largest token's share on either scan")}


def test_a_flat_map_stays_flat():
    assert np.allclose(explanation.on_voxels(torch.full((2, 3, 4), 0.7), VOXELS[:1] + (48, 32)), 0.7)


def test_attention_is_shown_as_share_of_the_largest_token_and_change_in_its_own_units():
    post = torch.rand(4, 4, 6) * 0.3
    maps = explanation.explain(made_up(post), grid(), to_image)
    assert sitk.GetArrayFromImage(maps["attention_post"][0]).max() <= 1.0 + 1e-6
    facts = maps["attention_post"][1]
    assert facts["largest_token"] == pytest.approx(float(post.max()))
    largest = float(explanation.on_voxels(post, VOXELS).max())
    assert sitk.GetArrayFromImage(maps["change_post"][0]).max() == pytest.approx(largest)


def test_every_map_tells_its_formula_unit_resolution_and_what_it_sees():
    for _, facts in explanation.explain(made_up(torch.rand(4, 4, 6)), grid(), to_image).values():
        assert facts["formula"] and facts["unit"] and facts["resolution_mm"] == (6.0, 6.0, 6.0)
        assert facts["sees_image_content"] is True and "caution" not in facts


def test_a_map_that_shows_position_alone_says_so():
    blind = explanation.explain(made_up(torch.rand(4, 4, 6), FACTS | {"sees_image_content": False}), grid(), to_image)
    assert all("does not depend on the images" in facts["caution"] for _, facts in blind.values())
    prior = explanation.explain(made_up(torch.rand(4, 4, 6), FACTS | {"alignment_sees_image_content": False}), grid(), to_image)
    assert "position" in prior["attention_pre"][1]["caution"] and "caution" not in prior["attention_post"][1]


@pytest.mark.parametrize("values", [torch.zeros(4, 4, 6), torch.full((4, 4, 6), float("inf"))])
def test_an_empty_map_is_refused_instead_of_shown(values):
    with pytest.raises(InputError) as caught:
        explanation.explain(made_up(values), grid(), to_image)
    assert caught.value.code == "MRD-E707" and "verify" in caught.value.fix


def test_another_image_under_the_same_masks_changes_every_map():
    torch.manual_seed(0)
    network = build("deltanet", preset="tiny", crop_mm=(36.0, 24.0, 24.0))
    for pool in network.pools:
        pool.score.data.normal_()
    tensor = torch.randn(2, 2, *VOXELS)
    tensor[:, 1] = 0
    tensor[:, 1, 2:6, 8:24, 16:32] = 1
    other = tensor.clone()
    other[:, 0] = torch.randn(2, *VOXELS)
    maps = [explanation.explain(predict(Prepared(tensor=t, grid=grid()), network, OWN, device="cpu"), grid(), to_image) for t in (tensor, other)]
    for name in maps[0]:
        first, second = (sitk.GetArrayFromImage(found[name][0]) for found in maps)
        assert np.abs(first - second).max() > 1e-3, name
